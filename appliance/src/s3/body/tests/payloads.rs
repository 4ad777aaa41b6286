//! Digests, lengths, checksums and time.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use md5::{Digest, Md5};
use proptest::prelude::*;
use sha2::Sha256;
use storage::{ChecksumKind, Source};

use super::wire::{drain, head, headers, payload, plain, stream};
use crate::s3::auth::Authenticated;
use crate::s3::body::checksum::{Algorithm, encode};
use crate::s3::body::{BodyError, Etag, Hashing, Limits, OBJECT_BYTES_MAX, Payload};

const HELLO: &[u8] = b"hello";

fn refusal(pairs: &[(&str, &str)]) -> (&'static str, u16) {
    let error = plain(HELLO, pairs).map(|_| ()).expect_err("must be refused");
    (error.code(), error.status())
}

#[test]
fn an_object_has_its_md5_as_etag() {
    let (released, mut payload) = plain(HELLO, &[("content-length", "5")]).unwrap();
    assert_eq!(released, HELLO);
    let facts = payload.facts();
    assert_eq!((facts.etag.as_str(), facts.checksum), ("5d41402abc4b2a76b9719d911017c592", None));
    assert_eq!(payload.counter().bytes(), 5);
}

#[test]
fn the_signed_digest_must_be_that_of_the_body() {
    let digest = hex::encode(Sha256::digest(HELLO));
    let head = head("/b/k", &[("content-length", "5"), ("x-amz-content-sha256", &digest)]);
    for (body, code) in [(HELLO, None), (b"hellO", Some("XAmzContentSHA256Mismatch"))] {
        let mut payload =
            payload(vec![Bytes::from_static(body)], &head.authenticated, &head.headers).unwrap();
        let (_, end) = drain(&mut payload);
        assert_eq!(end.err().map(|error| error.code()), code);
    }
}

#[test]
fn content_md5_must_be_that_of_the_body() {
    let right = encode(&Md5::digest(HELLO));
    assert!(plain(HELLO, &[("content-length", "5"), ("content-md5", &right)]).is_ok());
    let wrong = encode(&Md5::digest(b"other"));
    assert_eq!(refusal(&[("content-length", "5"), ("content-md5", &wrong)]), ("BadDigest", 400));
    for invalid in ["", "5d41402abc4b2a76b9719d911017c592", "AAAA", "XUFAKrxLKna5cZ2REBfFkg"] {
        assert_eq!(
            refusal(&[("content-length", "5"), ("content-md5", invalid)]),
            ("InvalidDigest", 400)
        );
    }
}

#[test]
fn a_checksum_header_must_be_that_of_the_body() {
    for algorithm in Algorithm::ALL {
        let right = encode(&algorithm.digest(HELLO));
        let pairs = [
            ("content-length", "5"),
            (algorithm.header(), &*right),
            ("x-amz-sdk-checksum-algorithm", algorithm.name()),
        ];
        let (_, mut payload) = plain(HELLO, &pairs).unwrap();
        let checksum = payload.facts().checksum.unwrap();
        assert_eq!(
            (checksum.algorithm.as_str(), checksum.value, checksum.kind),
            (algorithm.name(), right, ChecksumKind::Full)
        );
        let wrong = encode(&algorithm.digest(b"other"));
        assert_eq!(
            refusal(&[("content-length", "5"), (algorithm.header(), &wrong)]),
            ("BadDigest", 400)
        );
    }
}

#[test]
fn contradictory_checksum_headers_are_refused() {
    let crc = encode(&Algorithm::Crc32.digest(HELLO));
    let sha = encode(&Algorithm::Sha1.digest(HELLO));
    for pairs in [
        vec![("x-amz-checksum-crc32", &*crc), ("x-amz-checksum-sha1", &*sha)],
        vec![("x-amz-checksum-crc32", &*crc), ("x-amz-checksum-crc32", &*crc)],
        vec![("x-amz-checksum-crc32", &*sha)],
        vec![("x-amz-checksum-crc32", "junk")],
        vec![("x-amz-checksum-crc32", &*crc), ("x-amz-sdk-checksum-algorithm", "SHA1")],
        vec![("x-amz-checksum-crc32", &*crc), ("x-amz-sdk-checksum-algorithm", "MD5")],
        vec![("x-amz-sdk-checksum-algorithm", "CRC32")],
    ] {
        let all = [vec![("content-length", "5")], pairs.clone()].concat();
        assert_eq!(refusal(&all), ("InvalidRequest", 400), "{pairs:?}");
    }
}

#[test]
fn a_checksum_of_the_object_is_not_one_of_this_body() {
    let pairs = headers(&[("x-amz-checksum-crc32", "not the body's-2")]);
    let mut payload =
        payload(vec![Bytes::from_static(HELLO)], &Authenticated::Anonymous, &pairs).unwrap();
    payload.disregard_checksum();
    assert!(drain(&mut payload).1.is_ok());
}

#[test]
fn an_upload_can_ask_for_a_checksum() {
    let head = headers(&[("content-length", "5")]);
    let mut wanted =
        payload(vec![Bytes::from_static(HELLO)], &Authenticated::Anonymous, &head).unwrap();
    wanted.want_checksum("SHA256").unwrap();
    assert!(drain(&mut wanted).1.is_ok());
    assert_eq!(wanted.facts().checksum.unwrap().value, encode(&Sha256::digest(HELLO)));
    let crc = encode(&Algorithm::Crc32.digest(HELLO));
    let head = headers(&[("content-length", "5"), ("x-amz-checksum-crc32", &crc)]);
    let mut other = payload(Vec::new(), &Authenticated::Anonymous, &head).unwrap();
    assert_eq!(other.want_checksum("SHA256").unwrap_err().code(), "InvalidRequest");
}

#[test]
fn the_length_is_required_bounded_and_kept() {
    assert_eq!(refusal(&[]), ("MissingContentLength", 411));
    assert_eq!(refusal(&[("content-length", "4")]), ("IncompleteBody", 400));
    assert_eq!(refusal(&[("content-length", "6")]), ("IncompleteBody", 400));
    assert_eq!(refusal(&[("content-length", "+5")]), ("InvalidRequest", 400));
    let too_large = (OBJECT_BYTES_MAX + 1).to_string();
    assert_eq!(refusal(&[("content-length", &too_large)]), ("EntityTooLarge", 400));
}

#[tokio::test]
async fn a_small_body_is_collected_within_its_bound() {
    let body = |pairs: &[(&str, &str)]| {
        payload(
            vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo")],
            &Authenticated::Anonymous,
            &headers(pairs),
        )
        .unwrap()
    };
    // Without a length, as empty admin requests come.
    assert_eq!(body(&[]).collect(5).await.unwrap(), HELLO);
    for pairs in [&[][..], &[("content-length", "5")]] {
        let error = body(pairs).collect(4).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLong { bytes_max: 4 }));
    }
}

#[tokio::test]
async fn a_silent_client_is_given_up() {
    let silent =
        StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
    let limits = Limits { idle: Duration::from_millis(1) };
    let mut payload =
        Payload::new(silent, &Authenticated::Anonymous, &headers(&[]), &limits).unwrap();
    assert_eq!(payload.next().await.unwrap_err().code(), "RequestTimeout");
}

#[tokio::test]
async fn a_failed_body_fails_again() {
    let broken = futures::stream::iter([
        Ok(Frame::data(Bytes::from_static(HELLO))),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let limits = Limits { idle: Duration::from_secs(60) };
    let body = StreamBody::new(broken.chain(futures::stream::pending()));
    let mut payload =
        Payload::new(body, &Authenticated::Anonymous, &headers(&[]), &limits).unwrap();
    assert_eq!(payload.next().await.unwrap().unwrap(), HELLO);
    assert!(matches!(payload.next().await, Err(BodyError::Transport(_))));
    assert!(matches!(payload.next().await, Err(BodyError::Transport(_))));
    assert_eq!(payload.facts().etag, "");
}

#[tokio::test]
async fn storage_gets_our_error_back() {
    let limits = Limits { idle: Duration::from_secs(60) };
    let head = headers(&[("content-length", "9")]);
    let mut payload = Payload::new(
        stream(vec![Bytes::from_static(HELLO)]),
        &Authenticated::Anonymous,
        &head,
        &limits,
    )
    .unwrap();
    assert!(Source::next(&mut payload).await.unwrap().is_some());
    let error = Source::next(&mut payload).await.unwrap_err();
    assert!(matches!(*error.0.downcast::<BodyError>().unwrap(), BodyError::Incomplete));
}

#[tokio::test]
async fn a_copied_stream_has_the_same_facts() {
    let pieces =
        [Ok::<_, std::io::Error>(Bytes::from_static(b"he")), Ok(Bytes::from_static(b"llo"))];
    let mut hashing =
        Hashing::new(futures::stream::iter(pieces), Etag::Md5, Some("CRC32C")).unwrap();
    let mut copied = Vec::new();
    while let Some(bytes) = hashing.next().await.unwrap() {
        copied.extend_from_slice(&bytes);
    }
    let facts = hashing.facts();
    assert_eq!(
        (copied.as_slice(), facts.etag.as_str()),
        (HELLO, "5d41402abc4b2a76b9719d911017c592")
    );
    assert_eq!(facts.checksum.unwrap().value, "mnG7TA==");
    assert!(
        Hashing::new(
            futures::stream::empty::<Result<Bytes, std::io::Error>>(),
            Etag::Md5,
            Some("MD5")
        )
        .is_err()
    );
}

#[test]
fn a_body_says_whether_a_digest_will_prove_it() {
    let md5 = encode(&Md5::digest(HELLO));
    let crc = encode(&Algorithm::Crc32.digest(HELLO));
    for (pairs, checked) in [
        (vec![], false),
        (vec![("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], false),
        (vec![("content-md5", &*md5)], true),
        (vec![("x-amz-checksum-crc32", &*crc)], true),
        (
            vec![(
                "x-amz-content-sha256",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            )],
            true,
        ),
    ] {
        let payload = payload(Vec::new(), &Authenticated::Anonymous, &headers(&pairs)).unwrap();
        assert_eq!(payload.is_integrity_checked(), checked, "{pairs:?}");
    }
}

proptest! {
    /// Headers are foreign bytes: whatever they hold, the body is read or refused.
    #[test]
    fn arbitrary_heads_never_panic(
        values in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "content-length", "content-md5", "x-amz-checksum-crc32", "x-amz-checksum-sha256",
                    "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm",
                    "x-amz-trailer",
                ]),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..50),
                    "[A-Za-z0-9+/=-]{0,48}".prop_map(String::into_bytes),
                    prop::sample::select(vec![
                        "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", "CRC32", "5", "AAAAAA==",
                    ]).prop_map(|text| text.as_bytes().to_vec()),
                ],
            ),
            0..6,
        ),
    ) {
        let mut headers = headers(&[]);
        for (name, value) in values {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        if let Ok(mut payload) = payload(vec![Bytes::from_static(HELLO)], &Authenticated::Anonymous, &headers) {
            let (released, end) = drain(&mut payload);
            prop_assert!(end.is_err() || released == HELLO || released.is_empty());
        }
    }
}

#[test]
fn an_opaque_etag_is_no_digest_and_never_twice_the_same() {
    let etag = || {
        let body = vec![Bytes::from_static(HELLO)];
        let head = headers(&[("content-length", "5")]);
        let mut payload = payload(body, &Authenticated::Anonymous, &head).unwrap();
        payload.begin(Etag::Opaque).unwrap();
        drain(&mut payload).1.unwrap();
        payload.facts().etag
    };
    let (one, other) = (etag(), etag());
    assert_eq!(one.len(), 32);
    assert!(one != other && one != hex::encode(Md5::digest(HELLO)));
}
