//! `GET` and `HEAD /bucket/key`: conditions, ranges, parts, overrides.

use audit::Class;
use http::{HeaderMap, StatusCode};
use policy_lab::Resource;
use storage::{ByteRange, ErrorKind, ObjectInfo, Opened};

use crate::authz::{Check, Effect, Permit, Refusal};
use crate::s3::answer;
use crate::s3::auth::Authenticated;
use crate::s3::conditions::{READ, check_read};
use crate::s3::customer::{self, Customer};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{answer_checksum, answer_object, put};
use crate::s3::range::{Selected, parse_range};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};

#[derive(Debug)]
pub struct GetObject;

impl Operation for GetObject {
    const NAME: &'static str = "GetObject";
    const ACTION: &'static str = "s3:GetObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        read_checks(call)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let opened = open(&permit, &call).await?;
        check_read(READ, &call.headers, &opened.info)?;
        let selected = select(&call, &opened.info)?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::read_keys(&permit, &opened.info.sse, customer.as_ref())?;
        let mut headers = answer_headers(&call, &opened.info, &selected)?;
        Customer::answer(customer.as_ref(), &mut headers);
        call.scope.promise(Self::NAME, selected.status().as_u16(), selected.length());
        let range = selected.range.map(|(start, end)| ByteRange::From(start, Some(end - 1)));
        let object = permit.store().read(&*keys, opened, range).await?;
        Ok(answer::stream(selected.status(), headers, object.body))
    }
}

#[derive(Debug)]
pub struct HeadObject;

impl Operation for HeadObject {
    const NAME: &'static str = "HeadObject";
    const ACTION: &'static str = "s3:GetObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        read_checks(call)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let opened = open(&permit, &call).await?;
        check_read(READ, &call.headers, &opened.info)?;
        let selected = select(&call, &opened.info)?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::read_keys(&permit, &opened.info.sse, customer.as_ref())?;
        let mut response = answer::empty(selected.status());
        *response.headers_mut() = answer_headers(&call, &opened.info, &selected)?;
        Customer::answer(customer.as_ref(), response.headers_mut());
        if customer.is_some() {
            // The metadata is for who has the key; only opening tells. Nothing of the body is read.
            call.scope.promise(Self::NAME, selected.status().as_u16(), 0);
            permit.store().read(&*keys, opened, None).await?;
        }
        Ok(response)
    }
}

fn read_checks(call: &Call) -> Result<Vec<Check>, S3Error> {
    let mut context = call.context();
    let action = super::versioned(call, &mut context, "s3:GetObject", "s3:GetObjectVersion");
    Ok(vec![call.check_on(action, Class::Data, call.target.resource(), context)?])
}

async fn open<O>(permit: &Permit<O>, call: &Call) -> Result<Opened, S3Error> {
    let (bucket, key) = call.object()?;
    match permit.store().open_object(&bucket, &key).await {
        Ok(opened) => {
            super::null_version(call.query.get("versionId"))?;
            Ok(opened)
        }
        Err(error) if error.kind() == ErrorKind::NoSuchKey => Err(missing(call).await?),
        Err(error) => Err(error.into()),
    }
}

/// A missing key is only admitted to who may list: otherwise its absence would be a fact given away.
///
/// Source: S3 API reference, GetObject, "Permissions".
pub async fn missing(call: &Call) -> Result<S3Error, S3Error> {
    let (bucket, key) = call.object()?;
    let mut context = call.context();
    context.set("s3:prefix", key.as_str().to_owned());
    let resource = Resource::Bucket(bucket.as_str().to_owned());
    let check = call.check_on("s3:ListBucket", Class::Mgmt, resource, context)?;
    match call.app.gate().decide::<GetObject>(&call.scope, Effect::Read, vec![check]).await {
        Ok(_) => Ok(Code::NoSuchKey.into()),
        Err(refusal @ Refusal::Denied { .. }) => Ok(refusal.into()),
        Err(refusal) => Err(refusal.into()),
    }
}

/// The part of the object that `Range` or `partNumber` names.
fn select(call: &Call, info: &ObjectInfo) -> Result<Selected, S3Error> {
    let range = call.header("range");
    match call.query.get("partNumber") {
        Some(_) if range.is_some() => Err(Code::InvalidRequest
            .because("Cannot specify both Range header and partNumber query parameter")),
        Some(number) => Selected::part(number, info),
        None => {
            Ok(Selected { size: info.size, range: parse_range(range, info.size)?, parts: None })
        }
    }
}

fn answer_headers(
    call: &Call,
    info: &ObjectInfo,
    selected: &Selected,
) -> Result<HeaderMap, S3Error> {
    let mut headers = HeaderMap::new();
    answer_object(&mut headers, info);
    put(&mut headers, "content-length", &selected.length().to_string());
    if let Some((start, end)) = selected.range {
        let range = format!("bytes {start}-{}/{}", end.saturating_sub(1), info.size);
        put(&mut headers, "content-range", &range);
    }
    if let Some(parts) = selected.parts {
        put(&mut headers, "x-amz-mp-parts-count", &parts.to_string());
    }
    let asked =
        call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if asked && selected.range.is_none() {
        answer_checksum(&mut headers, info);
    }
    override_headers(call, &mut headers)?;
    Ok(headers)
}

/// `response-*` query parameters. Source: S3 API reference, GetObject: only signed requests may use them.
fn override_headers(call: &Call, headers: &mut HeaderMap) -> Result<(), S3Error> {
    const OVERRIDES: &[(&str, &str)] = &[
        ("response-content-type", "content-type"),
        ("response-content-language", "content-language"),
        ("response-expires", "expires"),
        ("response-cache-control", "cache-control"),
        ("response-content-disposition", "content-disposition"),
        ("response-content-encoding", "content-encoding"),
    ];
    for (parameter, name) in OVERRIDES {
        let Some(value) = call.query.get(parameter) else { continue };
        if matches!(call.authenticated, Authenticated::Anonymous) {
            return Err(Code::InvalidRequest.because(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        put(headers, name, value);
    }
    Ok(())
}

impl Selected {
    fn status(&self) -> StatusCode {
        if self.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
    }
}
