//! `?acl` of an object: get and put.

use audit::Class;
use http::StatusCode;
use storage::ErrorKind;

use super::get_object::missing;
use crate::authz::{Check, Effect, Permit};
use crate::s3::error::S3Error;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{acl, answer};

#[derive(Debug)]
pub struct GetObjectAcl;

impl Operation for GetObjectAcl {
    const NAME: &'static str = "GetObjectAcl";
    const ACTION: &'static str = "s3:GetObjectAcl";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        checks::<Self>(call, "s3:GetObjectVersionAcl")
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        require(&permit, &call).await?;
        let document = acl::document(call.app.owner_id(), call.app.owner_name());
        Ok(answer::xml(StatusCode::OK, document))
    }
}

#[derive(Debug)]
pub struct PutObjectAcl;

impl Operation for PutObjectAcl {
    const NAME: &'static str = "PutObjectAcl";
    const ACTION: &'static str = "s3:PutObjectAcl";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        checks::<Self>(call, "s3:PutObjectVersionAcl")
    }

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        require(&permit, &call).await?;
        let body = call.body(acl::BODY_BYTES_MAX).await?;
        acl::accept(&call.headers, &body, call.app.owner_id())?;
        Ok(answer::empty(StatusCode::OK))
    }
}

fn checks<O: Operation>(call: &Call, of_version: &'static str) -> Result<Vec<Check>, S3Error> {
    let mut context = call.context();
    let action = super::versioned(call, &mut context, O::ACTION, of_version);
    Ok(vec![call.check_on(action, O::CLASS, call.target.resource(), context)?])
}

/// An object that is not there has no ACL, and its absence is told to whoever may list only.
async fn require<O>(permit: &Permit<O>, call: &Call) -> Result<(), S3Error> {
    let (bucket, key) = call.object()?;
    super::null_version(call.query.get("versionId"))?;
    match permit.store().head(&bucket, &key).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NoSuchKey => Err(missing(call).await?),
        Err(error) => Err(error.into()),
    }
}
