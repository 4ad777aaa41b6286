//! `POST /bucket/key?uploadId`: the parts become the object.

use audit::Class;
use http::StatusCode;
use storage::{
    Checksum, ChecksumKind, CompleteUpload, CompletedPart, ErrorKind, Facts, PartInfo, SourceError,
};

use super::put_object::unmet;
use super::upload_part::upload_id;
use crate::authz::{Effect, Permit};
use crate::s3::body::checksum;
use crate::s3::conditions::{unquoted, write_condition};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::{answer_encryption, checksum_kind};
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::xml::Element;
use crate::s3::{answer, xml};

/// Ten thousand parts with their checksums.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

#[derive(Debug)]
pub struct CompleteMultipartUpload;

impl Operation for CompleteMultipartUpload {
    const NAME: &'static str = "CompleteMultipartUpload";
    const ACTION: &'static str = "s3:PutObject";
    const CLASS: Class = Class::Data;
    const EFFECT: Effect = Effect::Write;

    async fn run(permit: Permit<Self>, mut call: Call) -> Result<Response, S3Error> {
        let (bucket, key) = call.object()?;
        // The checksum headers of this request speak of the object, not of this body.
        call.payload.disregard_checksum();
        let parts = parse(&call.body(BODY_BYTES_MAX).await?)?;
        let precondition = write_condition(&call.headers)?;
        let complete = CompleteUpload {
            bucket: bucket.clone(),
            key: key.clone(),
            upload: upload_id(&call),
            parts,
            precondition,
            authorised_by: call.scope.decision(),
            at_us: call.scope.now_us(),
        };
        let begun = permit.store().upload(&bucket, &key, &complete.upload).await?;
        let declared = declared_checksum(&call);
        let facts = |parts: &[PartInfo]| {
            let facts = facts_of(parts, begun.checksum.as_ref());
            match (&declared, &facts.checksum) {
                (Some(declared), Some(found)) if *declared != found.value => {
                    Err(SourceError(Box::new(S3Error::from(Code::BadDigest))))
                }
                _ => Ok(facts),
            }
        };
        let condition = complete.precondition.clone();
        let stored = match permit.store().complete_upload(complete, facts).await {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                return Err(unmet(permit.store(), &bucket, &key, &condition).await);
            }
            stored => stored?,
        };
        let mut document = xml::Writer::document();
        document.root("CompleteMultipartUploadResult");
        document.text("Location", format!("/{}/{}", bucket.as_str(), key.as_str()));
        document.text("Bucket", bucket.as_str());
        document.text("Key", key.as_str());
        document.text("ETag", format!("\"{}\"", stored.etag));
        if let Some(checksum) = &stored.checksum {
            document.text(&format!("Checksum{}", checksum.algorithm), &checksum.value);
            document.text("ChecksumType", checksum_kind(checksum.kind));
        }
        document.close("CompleteMultipartUploadResult");
        let mut response = answer::xml(StatusCode::OK, document.finish());
        answer_encryption(response.headers_mut(), &stored.sse);
        Ok(response)
    }
}

/// What the object's parts make of it: the ETag of ETags, and the checksum if the upload has one.
fn facts_of(parts: &[PartInfo], asked: Option<&(String, ChecksumKind)>) -> Facts {
    let etags: Vec<&str> = parts.iter().map(|part| part.etag.as_str()).collect();
    let checksum = asked.and_then(|(algorithm, kind)| {
        let values: Vec<(&str, u64)> = parts
            .iter()
            .map(|part| part.checksum.as_ref().map(|found| (found.value.as_str(), part.size)))
            .collect::<Option<_>>()?;
        let value = match kind {
            ChecksumKind::Composite => checksum::composite(algorithm, &values)?,
            ChecksumKind::Full => checksum::full_object(algorithm, &values)?,
        };
        Some(Checksum { algorithm: algorithm.clone(), value, kind: *kind })
    });
    Facts { etag: checksum::multipart_etag(&etags), checksum }
}

/// The checksum of the whole object that the client expects.
fn declared_checksum(call: &Call) -> Option<String> {
    ALGORITHMS
        .iter()
        .find_map(|algorithm| {
            call.header(&format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase()))
        })
        .map(ToOwned::to_owned)
}

pub(crate) fn parse(body: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
    let root = Element::parse(body)?;
    if root.name != "CompleteMultipartUpload" {
        return Err(Code::MalformedXml.into());
    }
    let parts: Vec<CompletedPart> = root.all("Part").map(part).collect::<Result<_, _>>()?;
    if parts.is_empty() || parts.len() > 10_000 {
        return Err(Code::MalformedXml.into());
    }
    Ok(parts)
}

fn part(element: &Element) -> Result<CompletedPart, S3Error> {
    let number = element.value("PartNumber").and_then(|text| text.parse::<u16>().ok());
    let number = number.filter(|number| (1..=10_000).contains(number));
    let etag = element.value("ETag").map(|etag| unquoted(etag).to_owned());
    let checksum = ALGORITHMS.iter().find_map(|algorithm| {
        element.value(&format!("Checksum{algorithm}")).map(ToOwned::to_owned)
    });
    match (number, etag) {
        (Some(number), Some(etag)) => Ok(CompletedPart { number, etag, checksum }),
        _ => Err(Code::MalformedXml.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_lists() {
        let parts = parse(
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag><ChecksumCRC32>AA==</ChecksumCRC32></Part></CompleteMultipartUpload>",
        )
        .unwrap();
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (1, "e"));
        assert_eq!(parts[0].checksum.as_deref(), Some("AA=="));
        for junk in [
            "<CompleteMultipartUpload/>",
            "<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><ETag>e</ETag></Part></CompleteMultipartUpload>",
        ] {
            assert_eq!(parse(junk.as_bytes()).unwrap_err().code, "MalformedXML", "{junk}");
        }
    }
}
