//! Everything that aws-sigv4 signs verifies; every single mutation of it does not.

use std::time::Duration;

use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::signer::{
    KEY, NOW, OneKey, Options, SECRET, by_sdk, request, signed, verify, verify_with,
};
use crate::s3::auth::{Authenticated, Policy, SecretKey, Secrets, Verifier};

/// A request before it is signed.
fn requests() -> impl Strategy<Value = Request<()>> {
    let method = prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD"]);
    // Sub-delimiters stay raw; what a URI cannot hold is escaped, in either case of hexadecimal.
    let path =
        "(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%2[0-9a-fA-F]|%[eE]4%[bB][dD]%[aA]0|%25){0,12}){1,4}";
    let query = prop::collection::vec(
        ("[a-zA-Z-]{1,8}", prop::option::of("([a-zA-Z0-9/~ +!*-]|é){0,8}")),
        0..5,
    );
    let headers =
        prop::collection::vec(("x-amz-meta-[a-z]{1,6}", "[!-~]([ -~]{0,20}[!-~])?"), 0..5);
    (method, path, query, headers).prop_map(|(method, path, query, headers)| {
        let pairs: Vec<String> = query.iter().map(pair).collect();
        let uri = format!("https://localhost:9000{path}?{}", pairs.join("&"));
        let mut all =
            vec![("host", "localhost:9000"), ("content-type", "text/plain; charset=utf-8")];
        all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        request(method, &uri, &all)
    })
}

fn pair((name, value): &(String, Option<String>)) -> String {
    let Some(value) = value else { return name.clone() };
    let escaped: String =
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC)
            .to_string();
    // One plus in its raw form, which both sides read as a space.
    format!("{name}={}", escaped.replacen("%20", "+", 1))
}

fn options() -> impl Strategy<Value = Options> {
    let presign = prop::option::of((1_u64..=604_800).prop_map(Duration::from_secs));
    let token = prop::option::of("[A-Za-z0-9+/=]{1,40}");
    let region = prop::sample::select(vec!["us-east-1", "eu-central-1"]);
    (presign, token, region).prop_map(|(presign, token, region)| Options {
        presign,
        token,
        region,
        ..Options::default()
    })
}

fn with_uri(request: &Request<()>, change: impl FnOnce(&str, &str) -> String) -> Request<()> {
    let mut changed = request.clone();
    let uri = request.uri();
    let target = change(uri.path(), uri.query().unwrap_or_default());
    *changed.uri_mut() = format!("https://localhost:9000{target}").parse().unwrap();
    changed
}

fn with_header(request: &Request<()>, name: &'static str, value: &str) -> Request<()> {
    let mut changed = request.clone();
    changed.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    changed
}

/// Every single change that an attacker could make on the way.
fn mutations(request: &Request<()>) -> Vec<(&'static str, Request<()>)> {
    let mut mutations = vec![
        ("path", with_uri(request, |path, query| format!("{path}x?{query}"))),
        ("path, one more slash", with_uri(request, |path, query| format!("/{path}?{query}"))),
        ("a parameter more", with_uri(request, |path, query| format!("{path}?{query}&uploads"))),
        ("signed header", with_header(request, "content-type", "text/html")),
        ("added header", with_header(request, "x-amz-acl", "public-read")),
    ];
    let mut method = request.clone();
    *method.method_mut() = "OPTIONS".parse().unwrap();
    mutations.push(("method", method));
    let mut dropped = request.clone();
    dropped.headers_mut().remove("content-type");
    mutations.push(("dropped header", dropped));
    if let Some(value) = request.headers().get("authorization") {
        let value = value.to_str().unwrap();
        mutations.push(("signature", with_header(request, "authorization", &flipped(value))));
        mutations.push(("date", with_header(request, "x-amz-date", "20130524T000001Z")));
    } else {
        let uri = request.uri().query().unwrap();
        let date = uri.replace("20130524T000000Z", "20130524T000001Z");
        mutations.push(("date", with_uri(request, |path, _| format!("{path}?{date}"))));
        let at = uri.find("X-Amz-Signature=").unwrap() + "X-Amz-Signature=".len() + 64;
        let (until, rest) = uri.split_at(at);
        let signature = format!("{}{rest}", flipped(until));
        mutations.push(("signature", with_uri(request, |path, _| format!("{path}?{signature}"))));
    }
    mutations
}

/// The text with its last hexadecimal digit changed.
fn flipped(text: &str) -> String {
    let (head, last) = text.split_at(text.len() - 1);
    format!("{head}{}", if last == "0" { "1" } else { "0" })
}

struct Any;

impl Secrets for Any {
    fn secret(&self, _: &str) -> Option<SecretKey> {
        Some(SecretKey::new(SECRET))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_sdk_signs_verifies_and_no_mutation_does((mut request, options) in (requests(), options())) {
        by_sdk(&mut request, options.clone());
        let by = signed(&request);
        prop_assert_eq!(by.access_key, KEY);
        prop_assert_eq!(by.session_token, options.token);
        for (what, changed) in mutations(&request) {
            prop_assert!(verify(&changed).is_err(), "{} changed, still verified: {:?}", what, changed);
        }
        prop_assert!(verify_with(&request, &OneKey(KEY, "another"), NOW).is_err());
    }

    #[test]
    fn arbitrary_heads_never_panic_and_never_verify(
        authorization in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        query in "[ -~&&[^#<>\"\\\\^`{|} ]]{0,200}",
        date in "[ -~]{0,20}",
    ) {
        let mut request = request("GET", &format!("/b/k?{query}"), &[("host", "h"), ("x-amz-date", &date)]);
        if let Some(value) = authorization.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
            request.headers_mut().insert("authorization", value);
        }
        let verifier = Verifier::new(Policy::s3(vec!["us-east-1".to_owned()]));
        let verified = verifier.authenticate(request.method(), request.uri(), request.headers(), &Any, NOW);
        prop_assert!(!matches!(verified, Ok(Authenticated::Signed(_))));
    }
}
