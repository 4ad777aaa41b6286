//! `GET /bucket?location`.

use audit::Class;
use http::StatusCode;

use crate::authz::{Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

#[derive(Debug)]
pub struct GetBucketLocation;

impl Operation for GetBucketLocation {
    const NAME: &'static str = "GetBucketLocation";
    const ACTION: &'static str = "s3:GetBucketLocation";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        permit.store().bucket(&call.bucket()?).await?;
        // us-east-1 is spelled as the empty constraint.
        let region = Some(call.app.region()).filter(|region| *region != "us-east-1");
        let mut document = xml::Writer::document();
        document.root("LocationConstraint");
        document.raw_text(region.unwrap_or_default());
        document.close("LocationConstraint");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}
