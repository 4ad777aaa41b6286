//! `PUT /bucket/key`.

use std::collections::BTreeMap;

use audit::Class;
use http::{HeaderMap, StatusCode};
use policy_lab::Context;
use storage::{BucketName, ErrorKind, ObjectInfo, ObjectKey, Put, Store, WriteCondition};

use crate::authz::{Check, Effect, Permit};
use crate::s3::answer;
use crate::s3::body::Etag;
use crate::s3::conditions::write_condition;
use crate::s3::customer::{self, Customer};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{
    answer_checksum, answer_encryption, encryption, put, stored_headers, tags_of_header,
    write_context,
};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct PutObject;

impl Operation for PutObject {
    const NAME: &'static str = "PutObject";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::KeyedWrite;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        write_checks(call, &tags_of_header(&call.headers)?)
    }

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let tags = tags_of_header(&call.headers)?;
        let put = put_of(&call, bucket.clone(), key.clone(), tags)?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::write_keys(&permit, customer.as_ref());
        let precondition = put.precondition.clone();
        call.payload.begin(Etag::of(put.sse.kind()))?;
        let stored = permit.store().put(&*keys, put, &mut call.payload).await;
        let stored = match stored {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                return Err(unmet(permit.store(), &bucket, &key, &precondition).await);
            }
            stored => stored?,
        };
        let mut response = answer::empty(StatusCode::OK);
        answer_written(response.headers_mut(), &stored);
        Customer::answer(customer.as_ref(), response.headers_mut());
        Ok(response)
    }
}

/// The checks of a write of the target: the object, and its tags if it brings any.
///
/// # Errors
/// As [`Call::check`].
pub fn write_checks(call: &Call, tags: &BTreeMap<String, String>) -> Result<Vec<Check>, S3Error> {
    let mut context: Context = call.context();
    write_context(&mut context, &call.headers, tags);
    let resource = call.target.resource();
    let mut checks =
        vec![call.check_on("s3:PutObject", Class::Data, resource.clone(), context.clone())?];
    if !tags.is_empty() {
        checks.push(call.check_on("s3:PutObjectTagging", Class::Data, resource, context)?);
    }
    Ok(checks)
}

/// Why a write's condition did not hold: `If-Match` on a key that is not there is `NoSuchKey`.
///
/// Source: S3 user guide, "Conditional writes".
pub async fn unmet(
    store: &Store,
    bucket: &BucketName,
    key: &ObjectKey,
    condition: &WriteCondition,
) -> S3Error {
    let absent = matches!(condition, WriteCondition::IfMatch(_))
        && matches!(store.head(bucket, key).await, Err(error) if error.kind() == ErrorKind::NoSuchKey);
    if absent { Code::NoSuchKey.into() } else { Code::PreconditionFailed.into() }
}

/// What the headers of a write say.
///
/// # Errors
/// What is wrong with a header.
pub fn put_of(
    call: &Call,
    bucket: BucketName,
    key: ObjectKey,
    tags: BTreeMap<String, String>,
) -> Result<Put, S3Error> {
    Ok(Put {
        bucket,
        key,
        headers: stored_headers(&call.headers)?,
        tags,
        precondition: write_condition(&call.headers)?,
        sse: encryption(&call.headers)?,
        authorised_by: call.scope.decision(),
        at_us: call.scope.now_us(),
        size_hint: call.payload.size_hint(),
    })
}

/// The headers after a write.
pub fn answer_written(headers: &mut HeaderMap, stored: &ObjectInfo) {
    put(headers, "etag", &format!("\"{}\"", stored.etag));
    answer_encryption(headers, &stored.sse);
    answer_checksum(headers, stored);
}
