//! `PUT /bucket`.

use audit::Class;
use http::{HeaderValue, StatusCode, header};
use storage::ErrorKind;

use crate::authz::{Effect, Permit};
use crate::s3::answer;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::xml::Element;

/// A CreateBucketConfiguration is some hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub struct CreateBucket;

impl Operation for CreateBucket {
    const NAME: &'static str = "CreateBucket";
    const ACTION: &'static str = "s3:CreateBucket";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        check_location(&call.body(BODY_BYTES_MAX).await?, call.app.region())?;
        let owner = call.app.owner_id().to_owned();
        match permit.store().create_bucket(&bucket, &owner, call.scope.now_us()).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::BucketExists => {
                return Err(Code::BucketAlreadyOwnedByYou.into());
            }
            Err(error) => return Err(error.into()),
        }
        let mut response = answer::empty(StatusCode::OK);
        if let Ok(location) = HeaderValue::from_str(&format!("/{}", bucket.as_str())) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

/// Only our own region may be asked for.
pub(crate) fn check_location(body: &[u8], region: &str) -> Result<(), S3Error> {
    if body.is_empty() {
        return Ok(());
    }
    let document = Element::parse(body)?;
    match document.value("LocationConstraint") {
        None | Some("" | "us-east-1") => Ok(()),
        Some(asked) if asked == region => Ok(()),
        Some(_) => Err(S3Error::new(
            "InvalidLocationConstraint",
            400,
            "The specified location-constraint is not valid",
        )),
    }
}
