//! `DELETE /bucket/key`.

use audit::Class;
use http::StatusCode;
use storage::ErrorKind;

use crate::authz::{Check, Effect, Permit};
use crate::s3::answer;
use crate::s3::conditions::unquoted;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct DeleteObject;

impl Operation for DeleteObject {
    const NAME: &'static str = "DeleteObject";
    const ACTION: &'static str = "s3:DeleteObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        let mut context = call.context();
        let action = super::versioned(call, &mut context, Self::ACTION, "s3:DeleteObjectVersion");
        if let Some(etag) = call.header("if-match") {
            context.set("s3:if-match", etag.to_owned());
        }
        Ok(vec![call.check_on(action, Self::CLASS, call.target.resource(), context)?])
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        super::null_version(call.query.get("versionId"))?;
        let condition = call.header("if-match").map(unquoted);
        let decision = call.scope.decision();
        let deleted =
            permit.store().delete(&bucket, &key, condition, &decision, call.scope.now_us()).await;
        match deleted {
            Ok(_) => Ok(answer::empty(StatusCode::NO_CONTENT)),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                Err(Code::PreconditionFailed.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
