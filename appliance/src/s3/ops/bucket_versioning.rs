//! `GET /bucket?versioning`: never enabled yet, which S3 says with an empty element.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

#[derive(Debug)]
pub struct GetBucketVersioning;

impl Operation for GetBucketVersioning {
    const NAME: &'static str = "GetBucketVersioning";
    const ACTION: &'static str = "s3:GetBucketVersioning";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        permit.store().bucket(&call.bucket()?).await?;
        let mut document = xml::Writer::document();
        document.root("VersioningConfiguration");
        document.close("VersioningConfiguration");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}
