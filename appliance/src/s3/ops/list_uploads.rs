//! `GET /bucket?uploads`.

use audit::Class;
use http::StatusCode;
use storage::ListUploads;

use super::list_objects::Encoding;
use crate::authz::{Check, Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::object_headers::xml_date;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

/// Source: S3 API reference, ListMultipartUploads.
const UPLOADS_MAX: usize = 1000;

#[derive(Debug)]
pub struct ListMultipartUploads;

impl Operation for ListMultipartUploads {
    const NAME: &'static str = "ListMultipartUploads";
    const ACTION: &'static str = "s3:ListBucketMultipartUploads";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        super::list_objects::list_checks(call, Self::ACTION)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        let uploads_max = call.query.number("max-uploads", UPLOADS_MAX, UPLOADS_MAX)?;
        let text = |name| call.query.get(name).unwrap_or_default().to_owned();
        let some = |name| call.query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let encoding = Encoding::of(&call)?;
        let request = ListUploads {
            bucket: bucket.clone(),
            prefix: text("prefix"),
            delimiter: some("delimiter"),
            key_marker: some("key-marker"),
            upload_marker: some("upload-id-marker"),
            max: uploads_max,
        };
        let page = permit.store().list_uploads(request.clone()).await?;
        let mut document = xml::Writer::document();
        document.root("ListMultipartUploadsResult");
        document.text("Bucket", bucket.as_str());
        document.text("KeyMarker", encoding.apply(&text("key-marker"))?);
        document.text("UploadIdMarker", text("upload-id-marker"));
        if let Some(key) = &page.next_key {
            document.text("NextKeyMarker", encoding.apply(key)?);
        }
        document.optional("NextUploadIdMarker", page.next_upload.as_ref());
        document.text("Prefix", encoding.apply(&request.prefix)?);
        if let Some(delimiter) = &request.delimiter {
            document.text("Delimiter", encoding.apply(delimiter)?);
        }
        document.text("MaxUploads", uploads_max);
        document.text("IsTruncated", page.truncated);
        if encoding == Encoding::Url {
            document.text("EncodingType", "url");
        }
        for upload in &page.uploads {
            document.open("Upload");
            document.text("Key", encoding.apply(upload.key.as_str())?);
            document.text("UploadId", &upload.upload);
            for element in ["Initiator", "Owner"] {
                document.open(element);
                document.text("ID", call.app.owner_id());
                document.text("DisplayName", call.app.owner_name());
                document.close(element);
            }
            document.text("StorageClass", "STANDARD");
            document.text("Initiated", xml_date(upload.created_us));
            document.close("Upload");
        }
        for prefix in &page.prefixes {
            document.open("CommonPrefixes");
            document.text("Prefix", encoding.apply(prefix)?);
            document.close("CommonPrefixes");
        }
        document.close("ListMultipartUploadsResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}
