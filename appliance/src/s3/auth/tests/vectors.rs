//! AWS's published examples.
//!
//! # Source
//! Amazon S3 API Reference, "Examples: Signature Calculations in AWS Signature Version 4" and "Authenticating
//! Requests: Using Query Parameters".

use super::signer::{DATE, KEY, NOW, SCOPE, authorization, request, signed, verify_at};
use crate::s3::auth::{PayloadKind, Scheme};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

#[test]
fn get_object() {
    let authorization = authorization(
        KEY,
        SCOPE,
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let request = request(
        "GET",
        "/test.txt",
        &[
            HOST,
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", DATE),
            ("authorization", &authorization),
        ],
    );
    let signed = signed(&request);
    assert_eq!(
        (signed.access_key.as_str(), signed.scheme, signed.signed_at),
        (KEY, Scheme::Header, NOW)
    );
    assert!(matches!(signed.payload, PayloadKind::Sha256(_)));
    assert_eq!(signed.sig_sha256.len(), 64);
}

/// The path is sent with a raw `$` and signed with `%24`; the time is in `Date`.
#[test]
fn put_object() {
    let digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let authorization = authorization(
        KEY,
        SCOPE,
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let request = request(
        "PUT",
        "/test$file.text",
        &[
            HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-date", DATE),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", digest),
            ("authorization", &authorization),
        ],
    );
    assert_eq!(signed(&request).region, "us-east-1");
}

#[test]
fn get_bucket_lifecycle() {
    let authorization = authorization(
        KEY,
        SCOPE,
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    for uri in ["/?lifecycle", "/?lifecycle="] {
        let headers = [
            HOST,
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", DATE),
            ("authorization", &*authorization),
        ];
        signed(&request("GET", uri, &headers));
    }
}

#[test]
fn list_objects() {
    let authorization = authorization(
        KEY,
        SCOPE,
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
    let headers = [
        HOST,
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", DATE),
        ("authorization", &*authorization),
    ];
    signed(&request("GET", "/?prefix=J&max-keys=2", &headers));
}

#[test]
fn presigned_get() {
    let uri = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z\
        &X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let request = request("GET", uri, &[HOST]);
    let signed = signed(&request);
    assert_eq!(
        (signed.scheme, signed.age_ms, signed.payload),
        (Scheme::Presigned, Some(0), PayloadKind::Unsigned)
    );
    assert!(verify_at(&request, NOW + 86_400).is_ok());
    let expired = verify_at(&request, NOW + 86_401).unwrap_err();
    assert_eq!(
        (expired.code(), expired.status(), expired.reason()),
        ("AccessDenied", 403, "expired")
    );
    assert!(verify_at(&request, NOW - 900).is_ok());
    assert_eq!(verify_at(&request, NOW - 901).unwrap_err().reason(), "clock-skew");
}
