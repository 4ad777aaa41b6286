//! `HEAD /bucket`.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::answer;
use crate::s3::error::S3Error;
use crate::s3::object_headers::put;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct HeadBucket;

impl Operation for HeadBucket {
    const NAME: &'static str = "HeadBucket";
    const ACTION: &'static str = "s3:ListBucket";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        permit.store().bucket(&call.bucket()?).await?;
        let mut response = answer::empty(StatusCode::OK);
        put(response.headers_mut(), "x-amz-bucket-region", call.app.region());
        Ok(response)
    }
}
