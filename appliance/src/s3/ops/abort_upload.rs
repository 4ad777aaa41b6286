//! `DELETE /bucket/key?uploadId`.

use audit::Class;
use http::StatusCode;

use super::upload_part::upload_id;
use crate::authz::{Effect, Permit};
use crate::s3::answer;
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct AbortMultipartUpload;

impl Operation for AbortMultipartUpload {
    const NAME: &'static str = "AbortMultipartUpload";
    const ACTION: &'static str = "s3:AbortMultipartUpload";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        permit.store().abort_upload(&bucket, &key, &upload_id(&call)).await?;
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}
