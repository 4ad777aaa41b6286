//! `DELETE /bucket`: an empty one only.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::answer;
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct DeleteBucket;

impl Operation for DeleteBucket {
    const NAME: &'static str = "DeleteBucket";
    const ACTION: &'static str = "s3:DeleteBucket";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        permit.store().delete_bucket(&bucket).await?;
        call.app.gate().set_bucket_policy(bucket.as_str(), None);
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}
