//! `POST /bucket?delete`: each key is its own check, its own decision and its own entry in the answer.

use std::sync::Arc;

use audit::Class;
use http::StatusCode;
use policy_lab::Resource;
use storage::{BucketName, ObjectKey};

use crate::authz::{Effect, Permit, Refusal};
use crate::s3::error::{Code, S3Error};
use crate::s3::request::{Call, object_key};
use crate::s3::route::{Operation, Response};
use crate::s3::xml::Element;
use crate::s3::{answer, xml};

/// Source: S3 API reference, DeleteObjects: at most 1000 keys.
const KEYS_MAX: usize = 1000;
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub struct DeleteObjects;

/// One entry of the request.
pub(crate) struct Entry {
    raw: String,
    version: Option<String>,
}

impl Operation for DeleteObjects {
    const NAME: &'static str = "DeleteObjects";
    const ACTION: &'static str = "s3:DeleteObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    /// Never reached with a permit for the whole: [`Self::execute`] decides key by key.
    async fn run(_permit: Permit<Self>, _call: Call) -> Result<Response, S3Error> {
        Err(Code::InternalError.into())
    }

    async fn execute(mut call: Call) -> Result<Response, S3Error> {
        let bucket = call.bucket()?;
        if !call.payload.is_integrity_checked() {
            return Err(Code::InvalidRequest
                .because("Missing required header for this request: Content-MD5 or a checksum"));
        }
        let (entries, quiet) = parse(&call.body(BODY_BYTES_MAX).await?)?;
        let gate = Arc::clone(call.app.gate());
        let mut checks = Vec::with_capacity(entries.len());
        for entry in &entries {
            let resource =
                Resource::Object { bucket: bucket.as_str().to_owned(), key: entry.raw.clone() };
            let mut context = call.context();
            let action = match &entry.version {
                Some(version) => {
                    context.set("s3:versionid", version.clone());
                    "s3:DeleteObjectVersion"
                }
                None => Self::ACTION,
            };
            checks.push(call.check_on(action, Self::CLASS, resource, context)?);
        }
        let permits = gate.decide_each::<Self>(&call.scope, checks).await?;
        let mut document = xml::Writer::document();
        document.root("DeleteResult");
        for (entry, permit) in entries.iter().zip(permits) {
            let deleted = delete_one(permit, &bucket, entry, &call).await;
            answer_entry(&mut document, entry, deleted, quiet);
        }
        document.close("DeleteResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}

async fn delete_one(
    permit: Result<Permit<DeleteObjects>, Refusal>,
    bucket: &BucketName,
    entry: &Entry,
    call: &Call,
) -> Result<(), S3Error> {
    let permit = permit?;
    let key: ObjectKey = object_key(&entry.raw)?;
    super::null_version(entry.version.as_deref())?;
    let decision = call.scope.decision();
    permit.store().delete(bucket, &key, None, &decision, call.scope.now_us()).await?;
    Ok(())
}

fn answer_entry(
    document: &mut xml::Writer,
    entry: &Entry,
    deleted: Result<(), S3Error>,
    quiet: bool,
) {
    match deleted {
        Ok(()) if quiet => {}
        Ok(()) => {
            document.open("Deleted");
            document.text("Key", &entry.raw);
            document.optional("VersionId", entry.version.as_ref());
            document.close("Deleted");
        }
        Err(error) => {
            document.open("Error");
            document.text("Key", &entry.raw);
            document.optional("VersionId", entry.version.as_ref());
            document.text("Code", &error.code);
            document.text("Message", &error.message);
            document.close("Error");
        }
    }
}

pub(crate) fn parse(body: &[u8]) -> Result<(Vec<Entry>, bool), S3Error> {
    let root = Element::parse(body)?;
    if root.name != "Delete" {
        return Err(Code::MalformedXml.into());
    }
    let entries: Vec<Entry> = root
        .all("Object")
        .map(|object| {
            // A key is taken to the letter: white space around it belongs to it.
            let key = object.child("Key").map(|key| key.text.clone());
            let version = object.value("VersionId").filter(|version| !version.is_empty());
            Ok(Entry {
                raw: key.filter(|key| !key.is_empty()).ok_or(Code::MalformedXml)?,
                version: version.map(ToOwned::to_owned),
            })
        })
        .collect::<Result<_, S3Error>>()?;
    if entries.is_empty() || entries.len() > KEYS_MAX {
        return Err(Code::MalformedXml.into());
    }
    Ok((entries, root.value("Quiet") == Some("true")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_spaces_and_limits_hold() {
        let (entries, quiet) =
            parse(b"<Delete><Quiet>true</Quiet><Object><Key> a </Key></Object></Delete>").unwrap();
        assert_eq!(entries[0].raw, " a ");
        assert!(quiet);
        assert!(parse(b"<Delete></Delete>").is_err());
        assert!(parse(b"<Delete><Object><Key></Key></Object></Delete>").is_err());
        let many = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(1001));
        assert!(parse(many.as_bytes()).is_err());
    }
}
