//! `PUT /bucket/key?partNumber&uploadId`: a part from the body, or copied from an object.

use audit::Class;
use http::StatusCode;
use storage::{ByteRange, UploadId};

use super::copy_object::CopySource;
use crate::authz::{Check, Effect, Permit};
use crate::s3::body::{Etag, Hashing};
use crate::s3::customer::{self, Customer};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{answer_encryption, put, xml_date};
use crate::s3::range::parse_range;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

/// Source: S3 user guide, "Amazon S3 multipart upload limits".
const PART_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

#[derive(Debug)]
pub struct UploadPart;

impl Operation for UploadPart {
    const NAME: &'static str = "UploadPart";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::KeyedWrite;

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let number = part_number(&call)?;
        let upload = upload_id(&call);
        let begun = permit.store().upload(&bucket, &key, &upload).await?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::read_keys(&permit, &begun.sse, customer.as_ref())?;
        call.payload.begin(Etag::of(begun.sse.kind))?;
        if let Some((algorithm, _)) = &begun.checksum {
            call.payload.want_checksum(algorithm)?;
        }
        let now_us = call.scope.now_us();
        let part = permit
            .store()
            .put_part(&*keys, &bucket, &key, &upload, number, &mut call.payload, now_us)
            .await?;
        let mut response = answer::empty(StatusCode::OK);
        put(response.headers_mut(), "etag", &format!("\"{}\"", part.etag));
        answer_encryption(response.headers_mut(), &begun.sse);
        Customer::answer(customer.as_ref(), response.headers_mut());
        if let Some(checksum) = &part.checksum {
            let name = format!("x-amz-checksum-{}", checksum.algorithm.to_ascii_lowercase());
            put(response.headers_mut(), &name, &checksum.value);
        }
        Ok(response)
    }
}

#[derive(Debug)]
pub struct UploadPartCopy;

impl Operation for UploadPartCopy {
    const NAME: &'static str = "UploadPartCopy";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::KeyedWrite;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        let mut checks = CopySource::of(call)?.checks(call)?;
        let mut context = call.context();
        if let Some(source) = call.header("x-amz-copy-source") {
            context.set("s3:x-amz-copy-source", source.to_owned());
        }
        checks.push(call.check_on(Self::ACTION, Self::CLASS, call.target.resource(), context)?);
        Ok(checks)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        let number = part_number(&call)?;
        let upload = upload_id(&call);
        let opened = CopySource::of(&call)?.open(&permit, &call).await?;
        let range = copy_range(&call, opened.info.size)?;
        let begun = permit.store().upload(&bucket, &key, &upload).await?;
        let algorithm = begun.checksum.map(|(algorithm, _)| algorithm);
        let source = call.customer(&customer::COPY_SOURCE)?;
        let source_keys = customer::read_keys(&permit, &opened.info.sse, source.as_ref())?;
        let customer = call.customer(&customer::OBJECT)?;
        let keys = customer::read_keys(&permit, &begun.sse, customer.as_ref())?;
        let body = permit.store().read(&*source_keys, opened, range).await?.body;
        let mut hashing = Hashing::new(body, Etag::of(begun.sse.kind), algorithm.as_deref())?;
        let now_us = call.scope.now_us();
        let part = permit
            .store()
            .put_part(&*keys, &bucket, &key, &upload, number, &mut hashing, now_us)
            .await?;
        let mut document = xml::Writer::document();
        document.root("CopyPartResult");
        document.text("LastModified", xml_date(part.modified_us));
        document.text("ETag", format!("\"{}\"", part.etag));
        if let Some(checksum) = &part.checksum {
            document.text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
        }
        document.close("CopyPartResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}

/// The part number of the query.
///
/// # Errors
/// `InvalidArgument` outside 1..=10000.
fn part_number(call: &Call) -> Result<u16, S3Error> {
    call.query
        .get("partNumber")
        .and_then(|number| number.parse::<u16>().ok())
        .filter(|number| (1..=10_000).contains(number))
        .ok_or_else(|| {
            Code::InvalidArgument
                .because("Part number must be an integer between 1 and 10000, inclusive")
        })
}

/// The upload that a request names; the route has made sure that it does.
#[must_use]
pub fn upload_id(call: &Call) -> UploadId {
    UploadId(call.query.get("uploadId").unwrap_or_default().to_owned())
}

/// `x-amz-copy-source-range`: both ends, within the source. Source: S3 API reference, UploadPartCopy.
fn copy_range(call: &Call, size: u64) -> Result<Option<ByteRange>, S3Error> {
    let Some(header) = call.header("x-amz-copy-source-range") else {
        return if size > PART_BYTES_MAX { Err(Code::EntityTooLarge.into()) } else { Ok(None) };
    };
    let invalid = || {
        Code::InvalidArgument.because("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
    };
    let last = header.rsplit_once('-').and_then(|(_, last)| last.parse::<u64>().ok());
    let (start, end) =
        parse_range(Some(header), size).map_err(|_| invalid())?.ok_or_else(invalid)?;
    match last {
        Some(last) if last < size => Ok(Some(ByteRange::From(start, Some(end - 1)))),
        Some(_) => Err(Code::InvalidArgument
            .because(format!("Range specified is not valid for source object of size: {size}"))),
        None => Err(invalid()),
    }
}
