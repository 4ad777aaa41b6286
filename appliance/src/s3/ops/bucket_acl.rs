//! `?acl` of a bucket: get and put.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{acl, answer};

#[derive(Debug)]
pub struct GetBucketAcl;

impl Operation for GetBucketAcl {
    const NAME: &'static str = "GetBucketAcl";
    const ACTION: &'static str = "s3:GetBucketAcl";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        permit.store().bucket(&call.bucket()?).await?;
        let document = acl::document(call.app.owner_id(), call.app.owner_name());
        Ok(answer::xml(StatusCode::OK, document))
    }
}

#[derive(Debug)]
pub struct PutBucketAcl;

impl Operation for PutBucketAcl {
    const NAME: &'static str = "PutBucketAcl";
    const ACTION: &'static str = "s3:PutBucketAcl";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        permit.store().bucket(&call.bucket()?).await?;
        let body = call.body(acl::BODY_BYTES_MAX).await?;
        acl::accept(&call.headers, &body, call.app.owner_id())?;
        Ok(answer::empty(StatusCode::OK))
    }
}
