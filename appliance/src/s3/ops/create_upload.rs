//! `POST /bucket/key?uploads`.

use audit::Class;
use http::StatusCode;
use storage::{ChecksumKind, CreateUpload};

use super::put_object::write_checks;
use crate::authz::{Check, Effect, Permit};
use crate::s3::customer::{self, Customer};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{
    answer_encryption, checksum_kind, encryption, put, stored_headers, tags_of_header,
};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

#[derive(Debug)]
pub struct CreateMultipartUpload;

impl Operation for CreateMultipartUpload {
    const NAME: &'static str = "CreateMultipartUpload";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::KeyedWrite;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        write_checks(call, &tags_of_header(&call.headers)?)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let checksum = checksum_asked(&call)?;
        let tags = tags_of_header(&call.headers)?;
        let upload = CreateUpload {
            bucket: bucket.clone(),
            key: key.clone(),
            headers: stored_headers(&call.headers)?,
            tags,
            sse: encryption(&call.headers)?,
            checksum: checksum.clone(),
            authorised_by: call.scope.decision(),
            at_us: call.scope.now_us(),
        };
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::write_keys(&permit, customer.as_ref());
        let id = permit.store().create_upload(&*keys, upload).await?;
        let mut document = xml::Writer::document();
        document.root("InitiateMultipartUploadResult");
        document.text("Bucket", bucket.as_str());
        document.text("Key", key.as_str());
        document.text("UploadId", &id);
        document.close("InitiateMultipartUploadResult");
        let mut response = answer::xml(StatusCode::OK, document.finish());
        let headers = response.headers_mut();
        answer_encryption(headers, &permit.store().upload(&bucket, &key, &id).await?.sse);
        Customer::answer(customer.as_ref(), headers);
        if let Some((algorithm, kind)) = checksum {
            put(headers, "x-amz-checksum-algorithm", &algorithm);
            put(headers, "x-amz-checksum-type", checksum_kind(kind));
        }
        Ok(response)
    }
}

/// The checksum that the parts will bring. Source: S3 user guide, "Checking object integrity": SHA digests can only be
/// composite, CRC64NVME only whole; CRC32 and CRC32C are composite unless asked.
fn checksum_asked(call: &Call) -> Result<Option<(String, ChecksumKind)>, S3Error> {
    let Some(algorithm) = call.header("x-amz-checksum-algorithm") else { return Ok(None) };
    let algorithm = algorithm.to_ascii_uppercase();
    let kind = call.header("x-amz-checksum-type").map(str::to_ascii_uppercase);
    let kind = match (algorithm.as_str(), kind.as_deref()) {
        ("CRC64NVME", None | Some("FULL_OBJECT")) | ("CRC32" | "CRC32C", Some("FULL_OBJECT")) => {
            ChecksumKind::Full
        }
        ("CRC32" | "CRC32C" | "SHA1" | "SHA256", None | Some("COMPOSITE")) => {
            ChecksumKind::Composite
        }
        ("CRC32" | "CRC32C" | "CRC64NVME" | "SHA1" | "SHA256", Some(_)) => {
            return Err(Code::InvalidRequest
                .because("The checksum type cannot be used with the checksum algorithm."));
        }
        _ => {
            return Err(Code::InvalidRequest.because("Checksum algorithm provided is unsupported."));
        }
    };
    Ok(Some((algorithm, kind)))
}
