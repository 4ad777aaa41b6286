//! `?tagging` of an object: get, put, delete.

use std::collections::BTreeMap;

use audit::Class;
use http::StatusCode;
use storage::ErrorKind;

use super::get_object::missing;
use crate::authz::{Check, Effect, Permit};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{checked_tags, write_context};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::xml::Element;
use crate::s3::{answer, xml};

/// Ten tags of 128 and 256 characters, escaped, fit many times.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub struct GetObjectTagging;

impl Operation for GetObjectTagging {
    const NAME: &'static str = "GetObjectTagging";
    const ACTION: &'static str = "s3:GetObjectTagging";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        let mut context = call.context();
        let action =
            super::versioned(call, &mut context, Self::ACTION, "s3:GetObjectVersionTagging");
        Ok(vec![call.check_on(action, Self::CLASS, call.target.resource(), context)?])
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        super::null_version(call.query.get("versionId"))?;
        let info = match permit.store().head(&bucket, &key).await {
            Ok(info) => info,
            Err(error) if error.kind() == ErrorKind::NoSuchKey => return Err(missing(&call).await?),
            Err(error) => return Err(error.into()),
        };
        let mut document = xml::Writer::document();
        document.root("Tagging");
        document.open("TagSet");
        for (key, value) in &info.tags {
            document.open("Tag");
            document.text("Key", key);
            document.text("Value", value);
            document.close("Tag");
        }
        document.close("TagSet");
        document.close("Tagging");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}

#[derive(Debug)]
pub struct PutObjectTagging;

impl Operation for PutObjectTagging {
    const NAME: &'static str = "PutObjectTagging";
    const ACTION: &'static str = "s3:PutObjectTagging";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    /// The tags are part of the question, so the body is read before the decision; it is small and bounded.
    async fn execute(mut call: Call) -> Result<Response, S3Error> {
        let tags = parse(&call.body(BODY_BYTES_MAX).await?)?;
        let mut context = call.context();
        let action =
            super::versioned(&call, &mut context, Self::ACTION, "s3:PutObjectVersionTagging");
        write_context(&mut context, &call.headers, &tags);
        let check = call.check_on(action, Self::CLASS, call.target.resource(), context)?;
        let gate = std::sync::Arc::clone(call.app.gate());
        let permit = gate.decide::<Self>(&call.scope, Self::EFFECT, vec![check]).await?;
        replace(&permit, &call, tags).await?;
        Ok(answer::empty(StatusCode::OK))
    }

    /// Without a body there are no tags to put.
    async fn run(_permit: Permit<Self>, _call: Call) -> Result<Response, S3Error> {
        Err(Code::MalformedXml.into())
    }
}

#[derive(Debug)]
pub struct DeleteObjectTagging;

impl Operation for DeleteObjectTagging {
    const NAME: &'static str = "DeleteObjectTagging";
    const ACTION: &'static str = "s3:DeleteObjectTagging";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        let mut context = call.context();
        let action =
            super::versioned(call, &mut context, Self::ACTION, "s3:DeleteObjectVersionTagging");
        Ok(vec![call.check_on(action, Self::CLASS, call.target.resource(), context)?])
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        replace(&permit, &call, BTreeMap::new()).await?;
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

async fn replace<O>(
    permit: &Permit<O>,
    call: &Call,
    tags: BTreeMap<String, String>,
) -> Result<(), S3Error> {
    let (bucket, key) = call.object()?;
    super::null_version(call.query.get("versionId"))?;
    match permit.store().set_tags(&bucket, &key, tags).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NoSuchKey => Err(missing(call).await?),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn parse(body: &[u8]) -> Result<BTreeMap<String, String>, S3Error> {
    let root = Element::parse(body)?;
    let set = root.child("TagSet").filter(|_| root.name == "Tagging").ok_or(Code::MalformedXml)?;
    checked_tags(set.all("Tag").map(|tag| {
        let text = |name| tag.child(name).map(|element| element.text.clone());
        match (text("Key"), text("Value")) {
            (Some(key), Some(value)) => Ok((key, value)),
            _ => Err(Code::MalformedXml.into()),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_documents() {
        let one = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
        assert_eq!(parse(one).unwrap().get("a").map(String::as_str), Some("1"));
        let twice = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value>2</Value></Tag></TagSet></Tagging>";
        assert_eq!(parse(twice).unwrap_err().code, "InvalidTag");
        assert_eq!(parse(b"<Tagging/>").unwrap_err().code, "MalformedXML");
    }
}
