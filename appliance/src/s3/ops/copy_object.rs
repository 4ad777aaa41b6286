//! `PUT /bucket/key` with `x-amz-copy-source`: a read of the source and a write of the target, each its own check.

use std::collections::BTreeMap;

use audit::Class;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use policy_lab::{Context, Resource};
use storage::{BucketName, ErrorKind, ObjectKey, Opened};

use super::put_object::{put_of, write_checks};
use crate::authz::{Check, Effect, Permit};
use crate::s3::body::{Etag, Hashing};
use crate::s3::conditions::{COPY_SOURCE, check_read};
use crate::s3::customer::{self, Customer};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{answer_encryption, tags_of_header, xml_date};
use crate::s3::request::{Call, object_key};
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

/// Source: S3 API reference, CopyObject: larger objects are copied part by part.
const COPY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

#[derive(Debug)]
pub struct CopyObject;

impl Operation for CopyObject {
    const NAME: &'static str = "CopyObject";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::KeyedWrite;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        let source = CopySource::of(call)?;
        let tags = match tag_directive(call)? {
            Directive::Replace => tags_of_header(&call.headers)?,
            Directive::Copy => BTreeMap::new(),
        };
        let mut checks = source.checks(call)?;
        checks.extend(write_checks(call, &tags)?);
        Ok(checks)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let source = CopySource::of(&call)?;
        let opened = source.open(&permit, &call).await?;
        if opened.info.size > COPY_BYTES_MAX {
            return Err(Code::EntityTooLarge.because("The copy source is larger than 5 GiB."));
        }
        let metadata = directive(call.header("x-amz-metadata-directive"))?;
        if metadata == Directive::Copy && source.names(&bucket, &key) && !changes_storage(&call) {
            return Err(Code::InvalidRequest.because(
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let tags = match tag_directive(&call)? {
            Directive::Copy => opened.info.tags.clone(),
            Directive::Replace => tags_of_header(&call.headers)?,
        };
        let mut put = put_of(&call, bucket, key, tags)?;
        put.size_hint = Some(opened.info.size);
        if metadata == Directive::Copy {
            put.headers = opened.info.headers.clone();
        }
        let algorithm = checksum_of(&call, &opened)?;
        let source = call.customer(&customer::COPY_SOURCE)?;
        let source_keys = customer::read_keys(&permit, &opened.info.sse, source.as_ref())?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::write_keys(&permit, customer.as_ref());
        let body = permit.store().read(&*source_keys, opened, None).await?.body;
        let mut hashing = Hashing::new(body, Etag::of(put.sse.kind()), algorithm.as_deref())?;
        let stored = permit.store().put(&*keys, put, &mut hashing).await?;
        let mut document = xml::Writer::document();
        document.root("CopyObjectResult");
        document.text("LastModified", xml_date(stored.modified_us));
        document.text("ETag", format!("\"{}\"", stored.etag));
        if let Some(checksum) = &stored.checksum {
            document.text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
        }
        document.close("CopyObjectResult");
        let mut response = answer::xml(StatusCode::OK, document.finish());
        answer_encryption(response.headers_mut(), &stored.sse);
        Customer::answer(customer.as_ref(), response.headers_mut());
        Ok(response)
    }
}

/// Whether something of the source is taken over or named anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

fn directive(value: Option<&str>) -> Result<Directive, S3Error> {
    match value {
        None | Some("COPY") => Ok(Directive::Copy),
        Some("REPLACE") => Ok(Directive::Replace),
        Some(_) => Err(Code::InvalidArgument.because("Unknown directive.")),
    }
}

fn tag_directive(call: &Call) -> Result<Directive, S3Error> {
    directive(call.header("x-amz-tagging-directive"))
}

fn changes_storage(call: &Call) -> bool {
    [
        "x-amz-storage-class",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
    ]
    .iter()
    .any(|name| call.header(name).is_some())
}

/// The algorithm asked for, else the one the source has.
fn checksum_of(call: &Call, opened: &Opened) -> Result<Option<String>, S3Error> {
    let asked = call.header("x-amz-checksum-algorithm").map(str::to_ascii_uppercase);
    let kept = || opened.info.checksum.as_ref().map(|checksum| checksum.algorithm.clone());
    Ok(asked.or_else(kept))
}

/// The object that a copy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    bucket: BucketName,
    key: ObjectKey,
    version: Option<String>,
}

impl CopySource {
    /// Reads `x-amz-copy-source`: `[/]bucket/key[?versionId=ID]`, percent-encoded.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub fn of(call: &Call) -> Result<Self, S3Error> {
        Self::parse(call.header("x-amz-copy-source").unwrap_or_default())
    }

    pub(crate) fn parse(header: &str) -> Result<Self, S3Error> {
        let invalid = || {
            Code::InvalidArgument.because(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
        };
        let (path, version) = match header.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version.to_owned())),
            None => (header, None),
        };
        let path = percent_decode_str(path).decode_utf8().map_err(|_| invalid())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(invalid)?;
        let bucket = BucketName::parse(bucket).map_err(|_| invalid())?;
        if key.is_empty() {
            return Err(invalid());
        }
        Ok(Self { bucket, key: object_key(key)?, version })
    }

    fn names(&self, bucket: &BucketName, key: &ObjectKey) -> bool {
        self.bucket == *bucket && self.key == *key
    }

    /// The check on the source. Its context has the caller's keys only: the headers speak of the target.
    ///
    /// # Errors
    /// As [`Call::check`].
    pub fn checks(&self, call: &Call) -> Result<Vec<Check>, S3Error> {
        let mut context: Context = call.context();
        let action = match &self.version {
            Some(version) => {
                context.set("s3:versionid", version.clone());
                "s3:GetObjectVersion"
            }
            None => "s3:GetObject",
        };
        let resource = Resource::Object {
            bucket: self.bucket.as_str().to_owned(),
            key: self.key.as_str().to_owned(),
        };
        Ok(vec![call.check_on(action, Class::Data, resource, context)?])
    }

    /// Opens the source under its copy conditions.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchBucket`, `PreconditionFailed`.
    pub async fn open<O>(&self, permit: &Permit<O>, call: &Call) -> Result<Opened, S3Error> {
        super::null_version(self.version.as_deref())?;
        let opened = match permit.store().open_object(&self.bucket, &self.key).await {
            Err(error) if error.kind() == ErrorKind::NoSuchKey => {
                return Err(Code::NoSuchKey.into());
            }
            opened => opened?,
        };
        // For a copy there is no 304: a condition that does not hold is a failed precondition.
        check_read(COPY_SOURCE, &call.headers, &opened.info)
            .map_err(|_| S3Error::from(Code::PreconditionFailed))?;
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_sources() {
        let source = CopySource::parse("/src-b/a%20b/%C3%A9?versionId=null").unwrap();
        assert_eq!(source.bucket.as_str(), "src-b");
        assert_eq!(source.key.as_str(), "a b/\u{e9}");
        assert_eq!(source.version.as_deref(), Some("null"));
        for junk in ["", "/", "bucket", "bucket/", "B_/k", "b/%ff"] {
            assert_eq!(CopySource::parse(junk).unwrap_err().code, "InvalidArgument", "{junk}");
        }
    }
}
