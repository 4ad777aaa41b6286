//! `GET /bucket/key?uploadId`.

use audit::Class;
use http::StatusCode;

use super::upload_part::upload_id;
use crate::authz::{Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::object_headers::{checksum_kind, xml_date};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

/// Source: S3 API reference, ListParts.
const PARTS_MAX: usize = 1000;

#[derive(Debug)]
pub struct ListParts;

impl Operation for ListParts {
    const NAME: &'static str = "ListParts";
    const ACTION: &'static str = "s3:ListMultipartUploadParts";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let upload = upload_id(&call);
        let parts_max = call.query.number("max-parts", PARTS_MAX, PARTS_MAX)?;
        let marker = call.query.number("part-number-marker", 0, 10_000)?;
        let after = u16::try_from(marker).unwrap_or(u16::MAX);
        let begun = permit.store().upload(&bucket, &key, &upload).await?;
        let page = permit.store().list_parts(&bucket, &key, &upload, after, parts_max).await?;
        let mut document = xml::Writer::document();
        document.root("ListPartsResult");
        document.text("Bucket", bucket.as_str());
        document.text("Key", key.as_str());
        document.text("UploadId", &upload);
        for element in ["Initiator", "Owner"] {
            document.open(element);
            document.text("ID", call.app.owner_id());
            document.text("DisplayName", call.app.owner_name());
            document.close(element);
        }
        document.text("StorageClass", "STANDARD");
        document.text("PartNumberMarker", marker);
        document.optional("NextPartNumberMarker", page.next);
        document.text("MaxParts", parts_max);
        document.text("IsTruncated", page.next.is_some());
        if let Some((algorithm, kind)) = &begun.checksum {
            document.text("ChecksumAlgorithm", algorithm);
            document.text("ChecksumType", checksum_kind(*kind));
        }
        for part in &page.parts {
            document.open("Part");
            document.text("PartNumber", part.number);
            document.text("LastModified", xml_date(part.modified_us));
            document.text("ETag", format!("\"{}\"", part.etag));
            document.text("Size", part.size);
            if let Some(checksum) = &part.checksum {
                document.text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
            }
            document.close("Part");
        }
        document.close("ListPartsResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}
