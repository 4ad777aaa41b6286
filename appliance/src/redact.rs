//! What of a request never reaches a record.
//!
//! A record is made of named facts: action, resource, caller, condition keys. No header, query or body is copied into one,
//! so signatures, tokens, customers' keys and passwords have no way in. What remains are two texts of the client that are
//! condition keys, `Referer` and `User-Agent`: a URL in them loses its query, fragment and credentials, where a presigned
//! URL has its signature. Policies see what the record has, so that a replay decides by the same text.
//!
//! The member `masked` of a record names what the request held and the log does not. The signature of a signed header is
//! not among it: every request has one, and `principal.sig_sha256` binds it.

use std::borrow::Cow;

use http::HeaderMap;

use crate::s3::request::header;

/// Headers that hold a secret, with their names in `masked`.
const HEADERS: [(&str, &str); 5] = [
    ("cookie", "headers.cookie"),
    ("proxy-authorization", "headers.proxy-authorization"),
    (
        "x-amz-copy-source-server-side-encryption-customer-key",
        "headers.x-amz-copy-source-server-side-encryption-customer-key",
    ),
    ("x-amz-security-token", "headers.x-amz-security-token"),
    (
        "x-amz-server-side-encryption-customer-key",
        "headers.x-amz-server-side-encryption-customer-key",
    ),
];
/// Query parameters that hold a secret; `Signature` is that of the older scheme.
const PARAMETERS: [(&str, &str); 3] = [
    ("signature", "query.Signature"),
    ("x-amz-security-token", "query.X-Amz-Security-Token"),
    ("x-amz-signature", "query.X-Amz-Signature"),
];

/// Kinds of errors about the form of a JSON body, as their texts begin.
const JSON_ERRORS: [&str; 6] = [
    "duplicate field",
    "invalid type",
    "invalid value",
    "missing field",
    "unknown field",
    "unknown variant",
];

/// The names of what a request holds and no record may have; most hold nothing of it.
pub(crate) fn masked(headers: &HeaderMap, query: Option<&str>) -> Vec<String> {
    let named = |(_, pointer): &(&str, &str)| (*pointer).to_owned();
    let mut masked: Vec<String> =
        HEADERS.iter().filter(|(name, _)| headers.contains_key(*name)).map(named).collect();
    if header(headers, "referer").is_some_and(|text| matches!(referer(text), Cow::Owned(_))) {
        masked.push("headers.referer".into());
    }
    if header(headers, "user-agent").is_some_and(|text| matches!(agent(text), Cow::Owned(_))) {
        masked.push("headers.user-agent".into());
    }
    let has = |name: &str| {
        query.into_iter().flat_map(|query| query.split('&')).any(|pair| {
            pair.split('=').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
        })
    };
    masked.extend(PARAMETERS.iter().filter(|(name, _)| has(name)).map(named));
    masked
}

/// A referring URL without query, fragment and credentials.
pub(crate) fn referer(text: &str) -> Cow<'_, str> {
    url(text)
}

/// A product's name; URLs in it are cut as a referring one is.
pub(crate) fn agent(text: &str) -> Cow<'_, str> {
    let is_url = |word: &str| word.contains("://");
    if !text.split(' ').any(|word| is_url(word) && matches!(url(word), Cow::Owned(_))) {
        return Cow::Borrowed(text);
    }
    let cut = |word| if is_url(word) { url(word) } else { Cow::Borrowed(word) };
    Cow::Owned(text.split(' ').map(cut).collect::<Vec<_>>().join(" "))
}

/// What is wrong with a JSON body, without a word of it: what an error says to the client is in the log, too.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        // Only the kind: the rest of the text quotes the body.
        Category::Data => {
            let text = error.to_string();
            let kind = JSON_ERRORS.iter().find(|kind| text.starts_with(**kind));
            kind.copied().unwrap_or("another form is wanted")
        }
        Category::Syntax => "this is no JSON",
        Category::Eof => "the text ends too early",
        Category::Io => "it could not be read",
    };
    format!("{what} (line {line}, column {column})")
}

fn url(text: &str) -> Cow<'_, str> {
    let kept = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = kept.split_once("://").unwrap_or(("", kept));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((_, host)) = authority.rsplit_once('@').filter(|_| !scheme.is_empty()) else {
        return match kept.len() == text.len() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(kept.to_owned()),
        };
    };
    Cow::Owned(format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_may_be_secret() {
        for (text, expected) in [
            ("https://app.example.com/report", "https://app.example.com/report"),
            ("https://s3.example.com/b/k?X-Amz-Signature=ab", "https://s3.example.com/b/k"),
            ("https://app.example.com/#access_token=x", "https://app.example.com/"),
            ("https://me:hush@app.example.com/a@b", "https://app.example.com/a@b"),
            ("/local?token=x", "/local"),
            ("", ""),
        ] {
            assert_eq!(referer(text), expected, "{text}");
        }
        let plain = "aws-cli/2.17 md/awscrt#0.19 (+https://bot.example.com/info)";
        assert!(matches!(agent(plain), Cow::Borrowed(_)));
        assert_eq!(agent("x/1 https://a.example.com/?key=1 y/2"), "x/1 https://a.example.com/ y/2");
    }

    #[test]
    fn an_error_has_nothing_of_the_body() {
        for text in ["{\"hush\":1}", "\"hush\"", "hush", "{\"events\":\"hush\"}"] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, bool>>(text);
            let said = json_error(&error.unwrap_err());
            assert!(said.contains("line 1") && !said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn what_is_withheld_is_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(masked(&headers, Some("list-type=2&prefix=signature")), [""; 0]);
        for name in ["cookie", "authorization", "x-amz-server-side-encryption-customer-key"] {
            headers.insert(name, "x".parse().unwrap());
        }
        headers.insert("referer", "https://a.example.com/?x".parse().unwrap());
        assert_eq!(
            masked(&headers, Some("x-amz-signature=1&X-Amz-Date=2")),
            [
                "headers.cookie",
                "headers.x-amz-server-side-encryption-customer-key",
                "headers.referer",
                "query.X-Amz-Signature",
            ]
        );
    }
}
