//! Bodies as clients send them, and a reader for them.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{self, calculate_signature, generate_signing_key, sign_chunk};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Uri};
use http_body_util::StreamBody;
use hyper::body::Frame;
use sha2::{Digest, Sha256};

use crate::s3::auth::{Authenticated, Policy, SecretKey, Secrets, Verifier};
use crate::s3::body::checksum::{Algorithm, encode};
use crate::s3::body::{BodyError, Etag, Limits, Payload};

pub(super) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(super) const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
pub(super) const DATE: &str = "20130524T000000Z";
const NOW: u64 = 1_369_353_600;

struct OneKey;

impl Secrets for OneKey {
    fn secret(&self, access_key: &str) -> Option<SecretKey> {
        (access_key == KEY).then(|| SecretKey::new(SECRET))
    }
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

/// A request head that the verifier accepted.
pub(super) struct Head {
    pub(super) authenticated: Authenticated,
    pub(super) headers: HeaderMap,
    pub(super) seed: String,
}

/// Signs a PUT over these headers and authenticates it.
pub(super) fn head(path: &str, pairs: &[(&str, &str)]) -> Head {
    let mut pairs = pairs.to_vec();
    pairs.extend([("host", "s3.amazonaws.com"), ("x-amz-date", DATE)]);
    pairs.sort_unstable();
    let lines: String = pairs.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let list = pairs.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let payload = pairs.iter().find(|(name, _)| *name == "x-amz-content-sha256").unwrap().1;
    let digest = hex::encode(Sha256::digest(format!("PUT\n{path}\n\n{lines}\n{list}\n{payload}")));
    let seed = sign(&format!("AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{digest}"));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={KEY}/{SCOPE},SignedHeaders={list},Signature={seed}");
    let mut headers = headers(&pairs);
    headers.insert("authorization", authorization.parse().unwrap());
    let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
    let uri: Uri = path.parse().unwrap();
    let authenticated = verifier.authenticate(&Method::PUT, &uri, &headers, &OneKey, NOW).unwrap();
    Head { authenticated, headers, seed }
}

fn sign(text: &str) -> String {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    calculate_signature(generate_signing_key(SECRET, moment, "us-east-1", "s3"), text.as_bytes())
}

/// A body chunk by chunk, signed by `aws-sigv4` from `seed`; the last signature comes back.
pub(super) fn signed_chunks(chunks: &[&[u8]], seed: &str) -> (Vec<u8>, String) {
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(())
        .build()
        .unwrap();
    let (mut body, mut previous) = (Vec::new(), seed.to_owned());
    for chunk in chunks.iter().chain([&&b""[..]]) {
        let data = Bytes::copy_from_slice(chunk);
        previous = sign_chunk(&data, &previous, &params).unwrap().signature().to_owned();
        body.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).into_bytes());
        if !chunk.is_empty() {
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
    }
    (body, previous)
}

/// Signed chunks and a signed trailer with the checksum of all of them.
pub(super) fn signed_trailer(
    chunks: &[&[u8]],
    seed: &str,
    algorithm: Algorithm,
    line_end: &str,
) -> Vec<u8> {
    let (mut body, previous) = signed_chunks(chunks, seed);
    let value = encode(&algorithm.digest(&chunks.concat()));
    let canonical = format!("{}:{value}\n", algorithm.header());
    let digest = hex::encode(Sha256::digest(&canonical));
    let signature =
        sign(&format!("AWS4-HMAC-SHA256-TRAILER\n{DATE}\n{SCOPE}\n{previous}\n{digest}"));
    body.extend(format!("{}:{value}{line_end}", algorithm.header()).into_bytes());
    body.extend(format!("x-amz-trailer-signature:{signature}\r\n\r\n").into_bytes());
    body
}

/// Unsigned chunks with their checksum in the trailer.
pub(super) fn unsigned_trailer(chunks: &[&[u8]], algorithm: Algorithm, line_end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    let value = encode(&algorithm.digest(&chunks.concat()));
    body.extend(format!("0\r\n{}:{value}{line_end}\r\n", algorithm.header()).into_bytes());
    body
}

pub(super) fn stream(
    frames: Vec<Bytes>,
) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send {
    StreamBody::new(futures::stream::iter(frames.into_iter().map(|bytes| Ok(Frame::data(bytes)))))
}

pub(super) fn payload(
    frames: Vec<Bytes>,
    by: &Authenticated,
    headers: &HeaderMap,
) -> Result<Payload, BodyError> {
    Payload::new(stream(frames), by, headers, &Limits { idle: Duration::from_secs(60) })
}

/// Everything that was released, and how it ended.
pub(super) fn drain(payload: &mut Payload) -> (Vec<u8>, Result<(), BodyError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut released = Vec::new();
        loop {
            match payload.next().await {
                Ok(Some(bytes)) => released.extend_from_slice(&bytes),
                Ok(None) => return (released, Ok(())),
                Err(error) => return (released, Err(error)),
            }
        }
    })
}

/// Reads a plain anonymous body with these headers.
pub(super) fn plain(
    body: &'static [u8],
    pairs: &[(&str, &str)],
) -> Result<(Vec<u8>, Payload), BodyError> {
    let mut payload =
        payload(vec![Bytes::from_static(body)], &Authenticated::Anonymous, &headers(pairs))?;
    payload.begin(Etag::Md5)?;
    let (released, end) = drain(&mut payload);
    end.map(|()| (released, payload))
}
