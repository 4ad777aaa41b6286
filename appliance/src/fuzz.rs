//! Every parser of foreign bytes in this crate, as functions of bytes.
//!
//! A target must not panic, and asserts whatever else holds for all inputs. `cargo test` walks around the committed
//! seeds; `./test fuzz` lets libFuzzer search.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::StreamBody;
use hyper::body::Frame;
use policy_lab::Context;
use sha2::{Digest, Sha256};

use crate::s3::auth::{Authenticated, Policy, SecretKey, Secrets, Verifier};
use crate::s3::body::{BodyError, Limits, Payload};
use crate::s3::query::Query;
use crate::s3::request::{self, header};
use crate::s3::xml::Element;
use crate::s3::{conditions, guard, object_headers, ops, range};
use crate::{admin, archive, auditor, cloudtrail, config, retention, siem, timestamp};

/// Name and function; the name is also that of the seeds' directory.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("appliance/archive", archive::fuzz),
    ("appliance/auditor", auditor::fuzz),
    ("appliance/body", body),
    ("appliance/cloudtrail", cloudtrail::fuzz),
    ("appliance/config", config::fuzz),
    ("appliance/envelope", admin::envelope::fuzz),
    ("appliance/head", head),
    ("appliance/retention", retention::fuzz),
    ("appliance/siem", siem::fuzz),
    ("appliance/timestamp", timestamp::fuzz),
    ("appliance/xml", xml),
];

// The key pair and the moment of AWS's published examples.
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const DATE: &str = "20130524T000000Z";
const NOW_S: u64 = 1_369_353_600;

struct OneKey;

impl Secrets for OneKey {
    fn secret(&self, access_key: &str) -> Option<SecretKey> {
        (access_key == KEY).then(|| SecretKey::new(SECRET))
    }
}

/// `METHOD URI LF (name: value LF)*`: the query, the signature by header or URL, and every header that we read.
fn head(bytes: &[u8]) {
    let Some((method, uri, headers)) = request_head(bytes) else { return };
    let query = Query::parse(uri.query());
    let host = header(&headers, "host");
    let _ = request::Target::parse(uri.path(), host, &["s3.example.com".to_owned()]);
    let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
    let verified = verifier.authenticate(&method, &uri, &headers, &OneKey, NOW_S);
    if let Ok(Authenticated::Signed(signed)) = &verified {
        assert_eq!(signed.access_key, KEY, "nobody else has a secret");
        let later = NOW_S + 8 * 24 * 3600;
        let expired = verifier.authenticate(&method, &uri, &headers, &OneKey, later);
        assert!(expired.is_err(), "no signature lives longer than a week");
    }
    if let Ok(query) = query {
        let _ = query.number("max-keys", 1000, 1000);
        let _ = query.number("part-number-marker", 0, 10_000);
    }
    let _ = guard::unsupported(&headers, "000000000000");
    let _ = object_headers::stored_headers(&headers);
    let _ = object_headers::encryption(&headers);
    let tags = object_headers::tags_of_header(&headers).unwrap_or_default();
    object_headers::write_context(&mut Context::new(), &headers, &tags);
    let _ = conditions::write_condition(&headers);
    let _ = header(&headers, "if-modified-since").and_then(object_headers::parse_http_date);
    let _ =
        ops::copy_object::CopySource::parse(header(&headers, "x-amz-copy-source").unwrap_or(""));
    for size in [0, 1, 10, u64::MAX] {
        if let Ok(Some((start, end))) = range::parse_range(header(&headers, "range"), size) {
            assert!(start < end && end <= size, "a range lies within the object");
        }
    }
}

fn request_head(bytes: &[u8]) -> Option<(Method, Uri, HeaderMap)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, uri) = first.split_once(' ')?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let name = HeaderName::from_bytes(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?);
    }
    Some((method.parse().ok()?, uri.parse().ok()?, headers))
}

/// Plaintext bytes of every body of [`body`].
const BODY_BYTES: usize = 12;

/// `kind, body`: plain and in the three framings of aws-chunked, whole and byte by byte.
fn body(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let Some(digest) = DIGESTS.get(usize::from(kind % 4)) else { return };
    let whole = read(digest, vec![Bytes::copy_from_slice(body)]);
    let split = read(digest, body.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect());
    assert_eq!(whole.as_ref().ok(), split.as_ref().ok(), "frames of the connection mean nothing");
    let Ok(text) = whole else { return };
    let expected = if *digest == DIGESTS[0] { body.len() } else { BODY_BYTES };
    assert_eq!(text.len(), expected, "a body that ends well is all there");
}

const DIGESTS: [&str; 4] = [
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
];

/// What comes out of a body whose signed head says this about it.
fn read(digest: &str, frames: Vec<Bytes>) -> Result<Vec<u8>, Option<BodyError>> {
    let mut pairs = vec![("x-amz-content-sha256", digest)];
    let length = BODY_BYTES.to_string();
    if digest.starts_with("STREAMING") {
        pairs.push(("x-amz-decoded-content-length", &length));
    }
    if digest.ends_with("TRAILER") {
        pairs.push(("x-amz-trailer", "x-amz-checksum-crc32"));
    }
    let headers = signed(&pairs).ok_or(None)?;
    let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
    let uri = Uri::from_static("/bucket/key");
    let by = verifier.authenticate(&Method::PUT, &uri, &headers, &OneKey, NOW_S);
    let by = by.map_err(|_| None)?;
    let frames = frames.into_iter().map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let stream = StreamBody::new(futures::stream::iter(frames));
    let limits = Limits { idle: Duration::from_secs(60) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|_| None)?;
    runtime.block_on(async {
        let mut payload = Payload::new(stream, &by, &headers, &limits)?;
        let mut text = Vec::new();
        while let Some(bytes) = payload.next().await? {
            text.extend_from_slice(&bytes);
            assert!(text.len() <= 1 << 20, "no body grows");
        }
        assert!(matches!(payload.next().now_or_never(), Some(Ok(None))), "the end is the end");
        Ok(text)
    })
}

/// Headers of `PUT /bucket/key`, signed at the one moment that this module knows.
fn signed(pairs: &[(&str, &str)]) -> Option<HeaderMap> {
    let mut pairs = pairs.to_vec();
    pairs.extend([("host", "s3.amazonaws.com"), ("x-amz-date", DATE)]);
    pairs.sort_unstable();
    let lines: String = pairs.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let list = pairs.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let payload = pairs.iter().find(|(name, _)| *name == "x-amz-content-sha256")?.1;
    let canonical = format!("PUT\n/bucket/key\n\n{lines}\n{list}\n{payload}");
    let digest = hex::encode(Sha256::digest(canonical));
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S);
    let key = generate_signing_key(SECRET, moment, "us-east-1", "s3");
    let text = format!("AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{digest}");
    let seed = calculate_signature(key, text.as_bytes());
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={KEY}/{SCOPE},SignedHeaders={list},Signature={seed}");
    pairs.push(("authorization", &authorization));
    let pair = |(name, value): &(&str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
    pairs.iter().map(pair).collect()
}

/// Documents of every operation that reads one.
fn xml(bytes: &[u8]) {
    let read = Element::parse(bytes);
    let operations = [
        ops::complete_upload::parse(bytes).is_ok(),
        ops::delete_objects::parse(bytes).is_ok(),
        ops::object_tagging::parse(bytes).is_ok(),
        !bytes.is_empty() && ops::create_bucket::check_location(bytes, "us-east-1").is_ok(),
    ];
    assert!(read.is_ok() || operations.iter().all(|accepted| !accepted));
    let depth_of = |root: &Element| {
        let (mut deepest, mut open) = (0, vec![(root, 1)]);
        while let Some((element, depth)) = open.pop() {
            deepest = deepest.max(depth);
            open.extend(element.children.iter().map(|child| (child, depth + 1)));
        }
        deepest
    };
    assert!(read.is_ok_and(|root| depth_of(&root) <= 17) || Element::parse(bytes).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_neighbour_of_a_seed_breaks_a_parser() {
        for (target, run) in TARGETS {
            // A body is signed, verified and read twice, in debug code.
            let rounds = if *target == "appliance/body" { 300 } else { 2000 };
            fixtures::corpus::replay(target, *run, rounds);
        }
    }

    #[test]
    fn seeds_are_understood() {
        let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
        let signed = fixtures::corpus::seeds("appliance/head")
            .iter()
            .filter(|seed| {
                let (method, uri, headers) = request_head(seed).unwrap();
                let verified = verifier.authenticate(&method, &uri, &headers, &OneKey, NOW_S);
                matches!(verified, Ok(Authenticated::Signed(_)))
            })
            .count();
        assert_eq!(signed, 2, "AWS's examples by header and by URL");
        for seed in fixtures::corpus::seeds("appliance/body") {
            let digest = DIGESTS[usize::from(seed[0])];
            let text = read(digest, vec![Bytes::copy_from_slice(&seed[1..])]);
            assert_eq!(text.ok().as_deref(), Some(&b"hello world!"[..]), "{digest}");
        }
        for seed in fixtures::corpus::seeds("appliance/config") {
            assert!(config::resolve_text(&seed).is_some());
        }
    }
}
