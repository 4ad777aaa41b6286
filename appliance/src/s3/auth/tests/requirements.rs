//! The security requirements, one by one.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};

use super::signer::{
    DATE, KEY, NOW, OneKey, Options, SCOPE, SECRET, authorization, by_hand, by_sdk, code, request,
    signed, verify, verify_at, verify_with,
};
use crate::s3::auth::{Authenticated, Cause, PayloadKind, Policy, Verifier};

const URI: &str = "https://localhost:9000/bucket/key";

fn header_signed() -> Request<()> {
    let mut request = request("PUT", URI, &[("host", "localhost:9000"), ("x-amz-meta-a", "1")]);
    by_sdk(&mut request, Options::default());
    request
}

fn presigned() -> Request<()> {
    let mut request = request("PUT", URI, &[("host", "localhost:9000"), ("x-amz-meta-a", "1")]);
    by_sdk(&mut request, Options { presign: Some(Duration::from_secs(60)), ..Options::default() });
    request
}

fn both() -> [Request<()>; 2] {
    [header_signed(), presigned()]
}

fn add(request: &mut Request<()>, name: &str, value: &str) {
    request
        .headers_mut()
        .append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
}

fn set(request: &mut Request<()>, name: &'static str, value: &str) {
    request.headers_mut().insert(name, value.parse::<HeaderValue>().unwrap());
}

/// The URI of a presigned request with one piece of its text replaced.
fn rewritten(request: &Request<()>, from: &str, to: &str) -> Request<()> {
    let uri = request.uri().to_string();
    assert!(uri.contains(from), "{uri} has no {from}");
    let mut rewritten = request.clone();
    *rewritten.uri_mut() = uri.replacen(from, to, 1).parse().unwrap();
    rewritten
}

/// A GET signed by hand over these headers (besides the host), for one path and query.
fn by_hand_get(
    uri: &str,
    canonical_path: &str,
    canonical_query: &str,
    headers: &[(&str, &str)],
) -> Request<()> {
    let names = headers.iter().map(|(name, _)| *name).chain(["host"]);
    let mut all: Vec<(&str, &str)> = names
        .map(|name| {
            (
                name,
                headers.iter().find(|(known, _)| *known == name).map_or("h", |(_, value)| *value),
            )
        })
        .collect();
    all.sort_unstable();
    let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let list = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical =
        format!("GET\n{canonical_path}\n{canonical_query}\n{lines}\n{list}\nUNSIGNED-PAYLOAD");
    let signature = by_hand(&canonical, SCOPE, DATE);
    let mut request = request("GET", uri, &all);
    add(&mut request, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    add(&mut request, "authorization", &authorization(KEY, SCOPE, &list, &signature));
    request
}

#[test]
fn what_the_sdk_signs_verifies() {
    both().iter().for_each(|request| drop(signed(request)));
}

#[test]
fn no_credentials_is_anonymous() {
    let request = request(
        "GET",
        URI,
        &[("host", "localhost:9000"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")],
    );
    assert!(matches!(verify(&request), Ok(Authenticated::Anonymous)));
}

#[test]
fn every_unsigned_amz_header_is_refused() {
    for name in [
        "x-amz-acl",
        "x-amz-bypass-governance-retention",
        "x-amz-checksum-crc32",
        "x-amz-copy-source",
        "x-amz-date-of-birth",
        "x-amz-decoded-content-length",
        "x-amz-grant-read",
        "x-amz-meta-b",
        "x-amz-metadata-directive",
        "x-amz-object-lock-mode",
        "x-amz-security-token",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-trailer",
    ] {
        for mut request in both() {
            add(&mut request, name, "1");
            let failure = verify(&request).unwrap_err();
            assert_eq!((failure.code(), failure.status()), ("AccessDenied", 403), "{name}");
            assert_eq!(failure.cause, Cause::Unsigned(name.to_owned()));
            assert_eq!(failure.claimed_access_key.as_deref(), Some(KEY));
        }
    }
}

#[test]
fn a_listed_but_missing_header_is_refused() {
    for mut request in both() {
        request.headers_mut().remove("x-amz-meta-a");
        assert_eq!(code(&request), "SignatureDoesNotMatch");
    }
}

#[test]
fn the_host_is_always_signed() {
    let canonical = format!("GET\n/b\n\nx-amz-date:{DATE}\n\nx-amz-date\nUNSIGNED-PAYLOAD");
    let signature = by_hand(&canonical, SCOPE, DATE);
    let authorization = authorization(KEY, SCOPE, "x-amz-date", &signature);
    let headers = [
        ("host", "h"),
        ("x-amz-date", DATE),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", &*authorization),
    ];
    assert_eq!(
        verify(&request("GET", "/b", &headers)).unwrap_err().cause,
        Cause::Unsigned("host".into())
    );
}

#[test]
fn duplicates_are_refused() {
    for name in [
        "authorization",
        "host",
        "content-length",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
    ] {
        let mut request = header_signed();
        let value = request.headers().get(name).cloned().unwrap_or(HeaderValue::from_static("1"));
        request.headers_mut().insert(name.parse::<HeaderName>().unwrap(), value.clone());
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
        let failure = verify(&request).unwrap_err();
        assert_eq!((failure.cause.clone(), failure.status()), (Cause::Duplicate(name.into()), 400));
    }
    for name in [
        "X-Amz-Signature",
        "X-Amz-Expires",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Algorithm",
    ] {
        let twice = rewritten(&presigned(), "?", &format!("?{name}=1&"));
        assert_eq!(verify(&twice).unwrap_err().cause, Cause::Duplicate(name.into()));
    }
}

#[test]
fn a_duplicate_authorization_is_never_anonymous() {
    let headers = [("host", "h"), ("authorization", "x"), ("authorization", "y")];
    assert!(verify(&request("GET", "/", &headers)).is_err());
}

#[test]
fn header_and_query_authentication_do_not_mix() {
    let mut request = presigned();
    add(
        &mut request,
        "authorization",
        header_signed().headers()["authorization"].to_str().unwrap(),
    );
    assert!(matches!(verify(&request).unwrap_err().cause, Cause::Ambiguous(_)));
    let mut request = header_signed();
    *request.uri_mut() = format!("{URI}?AWSAccessKeyId=k").parse().unwrap();
    assert!(matches!(verify(&request).unwrap_err().cause, Cause::Ambiguous(_)));
}

#[test]
fn target_and_host_header_must_agree() {
    let mut request = header_signed();
    set(&mut request, "host", "elsewhere:9000");
    assert!(matches!(verify(&request).unwrap_err().cause, Cause::Ambiguous(_)));
}

#[test]
fn the_authority_of_http2_is_the_host() {
    let mut request = header_signed();
    request.headers_mut().remove("host");
    signed(&request);
}

#[test]
fn an_unreadable_authorization_is_never_anonymous() {
    for (value, code) in [
        ("", "InvalidArgument"),
        ("AWS4-HMAC-SHA256", "InvalidArgument"),
        ("Basic dXNlcjpwYXNz", "InvalidArgument"),
        ("Bearer token", "InvalidArgument"),
        ("aws4-hmac-sha256 Credential=a", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential", "AuthorizationHeaderMalformed"),
        (
            "AWS4-HMAC-SHA256 Credential=k/20130524/us-east-1/s3/aws4_request",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=k,SignedHeaders=host,Signature=0",
            "AuthorizationHeaderMalformed",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a,Credential=b,SignedHeaders=host,Signature=0",
            "AuthorizationHeaderMalformed",
        ),
    ] {
        let request =
            request("GET", "/", &[("host", "h"), ("x-amz-date", DATE), ("authorization", value)]);
        assert_eq!(super::signer::code(&request), code, "{value}");
    }
}

#[test]
fn a_presigned_query_in_any_spelling_is_never_anonymous() {
    for query in [
        "x-amz-signature=1",
        "X-Amz-Credential=1",
        "X-AMZ-ALGORITHM=AWS4-HMAC-SHA256",
        "X-Amz-Expires=",
    ] {
        let request = request("GET", &format!("/b/k?{query}"), &[("host", "h")]);
        assert_eq!(code(&request), "AuthorizationQueryParametersError", "{query}");
    }
}

#[test]
fn sigv2_is_refused_clearly() {
    let header =
        request("GET", "/", &[("host", "h"), ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:c2ln")]);
    let query = request("GET", "/b/k?AWSAccessKeyId=k&Expires=1&Signature=s", &[("host", "h")]);
    for request in [header, query] {
        let failure = verify(&request).unwrap_err();
        assert_eq!((failure.code(), failure.status()), ("InvalidRequest", 400));
        assert!(failure.message().contains("AWS4-HMAC-SHA256"));
    }
}

#[test]
fn sigv4a_is_not_implemented() {
    let value = "AWS4-ECDSA-P256-SHA256 Credential=k/20130524/s3/aws4_request,SignedHeaders=host,Signature=00";
    let header = request("GET", "/", &[("host", "h"), ("authorization", value)]);
    let query = request("GET", "/b/k?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", &[("host", "h")]);
    for request in [header, query] {
        let failure = verify(&request).unwrap_err();
        assert_eq!((failure.code(), failure.status()), ("NotImplemented", 501));
    }
}

#[test]
fn skew_is_fifteen_minutes_both_ways() {
    let request = header_signed();
    for now_s in [NOW - 900, NOW, NOW + 900] {
        assert!(verify_at(&request, now_s).is_ok());
    }
    for now_s in [NOW - 901, NOW + 901, 0, u64::MAX] {
        let failure = verify_at(&request, now_s).unwrap_err();
        assert_eq!((failure.code(), failure.reason()), ("RequestTimeTooSkewed", "clock-skew"));
    }
}

#[test]
fn presigned_expiry_is_strict_and_at_most_seven_days() {
    for expires in ["", "0", "-1", "+60", "060", "60 ", "60.0", "604801", "99999999999999999999"] {
        let changed = rewritten(
            &presigned(),
            "X-Amz-Expires=60",
            &format!("X-Amz-Expires={}", expires.replace(' ', "%20")),
        );
        assert_eq!(code(&changed), "AuthorizationQueryParametersError", "{expires}");
    }
    assert_eq!(
        code(&rewritten(&presigned(), "X-Amz-Expires=60", "X-Amz-Expires=604800")),
        "SignatureDoesNotMatch"
    );
    let mut week = request("GET", URI, &[("host", "localhost:9000")]);
    by_sdk(
        &mut week,
        Options { presign: Some(Duration::from_secs(604_800)), ..Options::default() },
    );
    assert!(verify_at(&week, NOW + 604_800).is_ok());
}

#[test]
fn each_presign_parameter_is_required() {
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ] {
        let without = rewritten(&presigned(), name, "x-other");
        assert_eq!(code(&without), "AuthorizationQueryParametersError", "{name}");
    }
}

#[test]
fn the_scope_must_be_ours() {
    let scoped = |scope: &str| {
        let authorization = authorization(KEY, scope, "host;x-amz-date", &"0".repeat(64));
        code(&request(
            "GET",
            "/",
            &[("host", "h"), ("x-amz-date", DATE), ("authorization", &authorization)],
        ))
    };
    assert_eq!(scoped(SCOPE), "SignatureDoesNotMatch");
    assert_eq!(scoped("20130524//s3/aws4_request"), "SignatureDoesNotMatch");
    assert_eq!(scoped("20130524/eu-central-1/s3/aws4_request"), "SignatureDoesNotMatch");
    for scope in [
        "20130525/us-east-1/s3/aws4_request",
        "20130524/us-west-2/s3/aws4_request",
        "20130524/us-east-1/sts/aws4_request",
        "20130524/us-east-1/s3/aws5_request",
        "20130524/us-east-1/s3",
    ] {
        assert_eq!(scoped(scope), "AuthorizationHeaderMalformed", "{scope}");
    }
}

#[test]
fn a_wrong_region_says_the_right_one() {
    let mut request = request("GET", URI, &[("host", "localhost:9000")]);
    by_sdk(&mut request, Options { region: "us-west-2", ..Options::default() });
    let failure = verify(&request).unwrap_err();
    assert_eq!(failure.code(), "AuthorizationHeaderMalformed");
    assert_eq!(failure.details(), [("Region", "eu-central-1".to_owned())]);
}

#[test]
fn sts_is_served_only_where_asked() {
    let scope = "20130524//sts/aws4_request";
    let canonical =
        format!("POST\n/\n\nhost:h\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{}", "ab".repeat(32));
    let authorization =
        authorization(KEY, scope, "host;x-amz-date", &by_hand(&canonical, scope, DATE));
    let digest = "ab".repeat(32);
    let headers = [
        ("host", "h"),
        ("x-amz-date", DATE),
        ("x-amz-content-sha256", &*digest),
        ("authorization", &*authorization),
    ];
    let request = request("POST", "/", &headers);
    assert_eq!(code(&request), "AuthorizationHeaderMalformed");
    let verifier = Verifier::new(Policy::sts(vec!["us-east-1".to_owned()]));
    let verified = verifier.authenticate(
        request.method(),
        request.uri(),
        request.headers(),
        &OneKey(KEY, SECRET),
        NOW,
    );
    assert!(matches!(verified, Ok(Authenticated::Signed(_))));
}

#[test]
fn an_access_key_may_contain_slashes() {
    let key = "team/ci";
    let canonical =
        format!("GET\n/\n\nhost:h\nx-amz-date:{DATE}\n\nhost;x-amz-date\nUNSIGNED-PAYLOAD");
    let authorization =
        authorization(key, SCOPE, "host;x-amz-date", &by_hand(&canonical, SCOPE, DATE));
    let headers = [
        ("host", "h"),
        ("x-amz-date", DATE),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", &*authorization),
    ];
    assert!(verify_with(&request("GET", "/", &headers), &OneKey("team/ci", SECRET), NOW).is_ok());
}

#[test]
fn fields_are_separated_by_comma_or_comma_and_space() {
    let compact = by_hand_get("/b", "/b", "", &[("x-amz-date", DATE)]);
    let mut spaced = compact.clone();
    let value = compact.headers()["authorization"].to_str().unwrap().replace(',', ", ");
    set(&mut spaced, "authorization", &value);
    signed(&compact);
    signed(&spaced);
}

#[test]
fn date_stands_in_for_x_amz_date() {
    signed(&by_hand_get("/b", "/b", "", &[("date", "Fri, 24 May 2013 00:00:00 GMT")]));
    let mut none = by_hand_get("/b", "/b", "", &[("x-amz-date", DATE)]);
    none.headers_mut().remove("x-amz-date");
    let failure = verify(&none).unwrap_err();
    assert_eq!((failure.code(), failure.status()), ("AccessDenied", 400));
}

#[test]
fn raw_and_encoded_path_forms_verify() {
    let date = [("x-amz-date", DATE)];
    signed(&by_hand_get(
        "/b/a!(1)'*$&,;=:@+.txt",
        "/b/a%21%281%29%27%2A%24%26%2C%3B%3D%3A%40%2B.txt",
        "",
        &date,
    ));
    signed(&by_hand_get("/b/a!(1)'*$&,;=:@+.txt", "/b/a!(1)'*$&,;=:@+.txt", "", &date));
    signed(&by_hand_get("/b/%e4%bd%a0%7e", "/b/%E4%BD%A0~", "", &date));
    signed(&by_hand_get("/b/%e4%bd%a0%7e", "/b/%e4%bd%a0%7e", "", &date));
    signed(&by_hand_get("/b//a/../%2F", "/b//a/..//", "", &date));
    assert_eq!(code(&by_hand_get("/b/a%2521", "/b/a%21", "", &date)), "SignatureDoesNotMatch");
}

#[test]
fn a_query_key_without_value_is_signed_with_an_equals_sign() {
    let date = [("x-amz-date", DATE)];
    for uri in ["/b?location", "/b?location=", "/b?location=&"] {
        signed(&by_hand_get(uri, "/b", "location=", &date));
    }
    signed(&by_hand_get("/b?", "/b", "", &date));
}

#[test]
fn the_values_of_a_repeated_header_are_joined() {
    let mut joined = by_hand_get("/b", "/b", "", &[("x-amz-date", DATE), ("x-amz-meta-a", "1,2")]);
    joined.headers_mut().remove("x-amz-meta-a");
    add(&mut joined, "x-amz-meta-a", " 1");
    add(&mut joined, "x-amz-meta-a", "2 ");
    signed(&joined);
}

#[test]
fn an_unknown_key_is_named_but_not_believed() {
    let failure = verify_with(&header_signed(), &OneKey("other", SECRET), NOW).unwrap_err();
    assert_eq!(
        (failure.code(), failure.status(), failure.reason()),
        ("InvalidAccessKeyId", 403, "unknown-key")
    );
    assert_eq!(failure.claimed_access_key.as_deref(), Some(KEY));
}

#[test]
fn a_wrong_secret_shows_what_we_signed_but_no_secret() {
    let failure = verify_with(&header_signed(), &OneKey(KEY, "wrong"), NOW).unwrap_err();
    assert_eq!((failure.code(), failure.reason()), ("SignatureDoesNotMatch", "bad-signature"));
    let details = failure.details();
    assert!(details.iter().any(
        |(name, value)| *name == "CanonicalRequest" && value.starts_with("PUT\n/bucket/key\n")
    ));
    let printed = format!("{failure:?} {failure}");
    assert!(!printed.contains("x-amz-meta-a") && !printed.contains("wrong"), "{printed}");
}

#[test]
fn a_changed_secret_takes_effect_at_once() {
    let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
    let request = header_signed();
    let with = |secret| {
        verifier.authenticate(
            request.method(),
            request.uri(),
            request.headers(),
            &OneKey(KEY, secret),
            NOW,
        )
    };
    assert!(with(SECRET).is_ok());
    assert!(with(SECRET).is_ok());
    assert!(with("changed").is_err());
    assert!(with(SECRET).is_ok());
}

#[test]
fn a_session_token_is_read_where_it_is_signed() {
    for presign in [None, Some(Duration::from_secs(60))] {
        let mut request = request("GET", URI, &[("host", "localhost:9000")]);
        by_sdk(
            &mut request,
            Options { presign, token: Some("tok/en+=".into()), ..Options::default() },
        );
        assert_eq!(signed(&request).session_token.as_deref(), Some("tok/en+="));
    }
}

#[test]
fn payload_kinds_come_from_the_signed_value() {
    for (value, kind) in [
        ("UNSIGNED-PAYLOAD", PayloadKind::Unsigned),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadKind::SignedChunks { trailer: false }),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadKind::SignedChunks { trailer: true }),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadKind::UnsignedChunksTrailer),
    ] {
        let body = aws_sigv4::http_request::SignableBody::Precomputed(value.to_owned());
        let mut request = request("PUT", URI, &[("host", "localhost:9000")]);
        by_sdk(&mut request, Options { body, ..Options::default() });
        let signed = signed(&request);
        assert_eq!(signed.payload, kind);
        assert_eq!(signed.chunk_key.is_some(), matches!(kind, PayloadKind::SignedChunks { .. }));
        set(&mut request, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        assert!(value == "UNSIGNED-PAYLOAD" || code(&request) == "SignatureDoesNotMatch");
        set(&mut request, "x-amz-content-sha256", "STREAMING-SOMETHING-NEW");
        assert_eq!(code(&request), "InvalidArgument");
    }
}

#[test]
fn a_digest_added_to_a_presigned_url_is_enforced_and_a_framing_is_not_believed() {
    let mut request = presigned();
    add(&mut request, "x-amz-content-sha256", &"ab".repeat(32));
    assert_eq!(signed(&request).payload, PayloadKind::Sha256([0xab; 32]));
    set(&mut request, "x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    assert_eq!(code(&request), "SignatureDoesNotMatch");
}

#[test]
fn a_digest_in_the_query_of_a_presigned_url_is_signed() {
    let digest = "ab".repeat(32);
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256={digest}&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2F\
         s3%2Faws4_request&X-Amz-Date={DATE}&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    );
    let canonical = format!("PUT\n/b/k\n{query}\nhost:h\n\nhost\n{digest}");
    let uri = format!("/b/k?{query}&X-Amz-Signature={}", by_hand(&canonical, SCOPE, DATE));
    let mut request = request("PUT", &uri, &[("host", "h")]);
    assert_eq!(signed(&request).payload, PayloadKind::Sha256([0xab; 32]));
    for other in ["cd".repeat(32).as_str(), "UNSIGNED-PAYLOAD"] {
        set(&mut request, "x-amz-content-sha256", other);
        assert_eq!(code(&request), "SignatureDoesNotMatch");
    }
}

#[test]
fn without_a_digest_a_header_signs_an_empty_body() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let canonical = format!("GET\n/b\n\nhost:h\nx-amz-date:{DATE}\n\nhost;x-amz-date\n{empty}");
    let authorization =
        authorization(KEY, SCOPE, "host;x-amz-date", &by_hand(&canonical, SCOPE, DATE));
    let headers = [("host", "h"), ("x-amz-date", DATE), ("authorization", &*authorization)];
    let PayloadKind::Sha256(digest) = signed(&request("GET", "/b", &headers)).payload else {
        panic!("an empty body has a digest");
    };
    assert_eq!(hex::encode(digest), empty);
}
