//! `?policy` of a bucket: get, put, delete.

use std::sync::Arc;

use audit::Class;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use policy_lab::{Attached, DocumentKind, Policy};

use crate::authz::{Effect, Permit};
use crate::s3::answer;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

/// The configuration row that holds the policy.
pub const KIND: &str = "policy";
/// Source: S3 user guide, "Bucket policies": 20 KB.
const POLICY_BYTES_MAX: usize = 20 * 1024;

#[derive(Debug)]
pub struct GetBucketPolicy;

impl Operation for GetBucketPolicy {
    const NAME: &'static str = "GetBucketPolicy";
    const ACTION: &'static str = "s3:GetBucketPolicy";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let stored = permit.store().bucket_config(&call.bucket()?, KIND).await?;
        let policy = stored.ok_or(Code::NoSuchBucketPolicy)?;
        let mut response = answer::bytes(StatusCode::OK, policy);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

#[derive(Debug)]
pub struct PutBucketPolicy;

impl Operation for PutBucketPolicy {
    const NAME: &'static str = "PutBucketPolicy";
    const ACTION: &'static str = "s3:PutBucketPolicy";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        let body = call.body(POLICY_BYTES_MAX).await.map_err(|error| {
            if error.code == "MaxMessageLengthExceeded" {
                Code::PolicyTooLarge.into()
            } else {
                error
            }
        })?;
        let attached = parse(bucket.as_str(), &body)?;
        permit.store().put_bucket_config(&bucket, KIND, Some(body)).await?;
        call.app.gate().set_bucket_policy(bucket.as_str(), Some(attached));
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

#[derive(Debug)]
pub struct DeleteBucketPolicy;

impl Operation for DeleteBucketPolicy {
    const NAME: &'static str = "DeleteBucketPolicy";
    const ACTION: &'static str = "s3:DeleteBucketPolicy";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        permit.store().put_bucket_config(&bucket, KIND, None).await?;
        call.app.gate().set_bucket_policy(bucket.as_str(), None);
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

/// Reads a bucket policy, as the gate attaches it.
///
/// # Errors
/// `MalformedPolicy` with line, column and reason; also when a resource is not of this bucket.
pub fn parse(bucket: &str, body: &Bytes) -> Result<Attached, S3Error> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Code::MalformedPolicy.because("The policy must be UTF-8."))?;
    let policy = Policy::parse(text, DocumentKind::Bucket)
        .map_err(|error| Code::MalformedPolicy.because(error.to_string()))?;
    if let Some(foreign) = policy.resources().find(|resource| !is_of_bucket(resource, bucket)) {
        return Err(Code::MalformedPolicy
            .because(format!("Policy has invalid resource `{foreign}` for bucket `{bucket}`")));
    }
    Ok(Attached { name: Arc::from(bucket), policy: Arc::new(policy) })
}

/// AWS: a bucket policy speaks of its own bucket and the objects in it.
fn is_of_bucket(resource: &str, bucket: &str) -> bool {
    let Some(path) = resource.strip_prefix("arn:aws:s3:::") else { return false };
    path.strip_prefix(bucket)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == "*")
}
