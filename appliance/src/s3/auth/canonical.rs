//! The canonical request.
//!
//! # Source
//! Amazon S3 API Reference, "Signature Calculations for the Authorization Header", task 1. Unlike other AWS services,
//! S3 neither normalises the path nor encodes it twice.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::failure::Cause;
use super::guard::Place;

/// Everything but RFC 3986 unreserved characters is escaped.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A client signs perhaps a dozen headers; a list beyond this is an attempt to make us work.
const SIGNED_HEADERS_MAX: usize = 128;

/// The decoded query in the order in which it came. A name without `=` has an empty value.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Text<'a>, Text<'a>)>);

/// Decoded bytes, which need not be UTF-8.
type Text<'a> = Cow<'a, [u8]>;

impl<'a> Query<'a> {
    pub(super) fn parse(raw: Option<&'a str>) -> Self {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(super) fn named<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q [u8]> {
        self.0
            .iter()
            .filter(move |(known, _)| **known == *name.as_bytes())
            .map(|(_, value)| &**value)
    }

    pub(super) fn named_in_any_case(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Escaped and sorted, without the parameter that carries the signature itself.
    fn canonical(&self, place: Place, out: &mut Vec<u8>) {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = self
            .0
            .iter()
            .filter(|(name, _)| place == Place::Header || **name != *b"X-Amz-Signature")
            .map(|(name, value)| {
                (percent_encode(name, QUERY).into(), percent_encode(value, QUERY).into())
            })
            .collect();
        pairs.sort_unstable();
        for (index, (name, value)) in pairs.iter().enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
    }
}

/// As the query is read everywhere else: a `+` is a space. Two readings of one query would be two meanings of one
/// signature.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).into();
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).collect())
}

/// The path as a conforming client writes it.
pub(super) fn path_encoded(raw: &str) -> Cow<'_, str> {
    let decoded: Cow<'_, [u8]> = percent_decode(raw.as_bytes()).into();
    match decoded {
        Cow::Borrowed(bytes) => percent_encode(bytes, PATH).into(),
        Cow::Owned(bytes) => Cow::Owned(percent_encode(&bytes, PATH).to_string()),
    }
}

/// Splits `SignedHeaders`: lower-case names, each once. The canonical form is sorted, whatever the order given.
pub(super) fn signed_headers(list: &str, place: Place) -> Result<Vec<&str>, Cause> {
    let lower_case = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    };
    let mut names: Vec<&str> = list.split(';').take(SIGNED_HEADERS_MAX + 1).collect();
    if names.len() > SIGNED_HEADERS_MAX || !names.iter().all(|name| lower_case(name)) {
        return Err(
            place.malformed("SignedHeaders must be lower-case header names separated by `;`")
        );
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(place.malformed("SignedHeaders names a header twice"));
    }
    Ok(names)
}

/// The parts of a request that a signature covers.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) query: &'a Query<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: Option<&'a [u8]>,
    pub(super) place: Place,
    pub(super) signed: &'a [&'a str],
}

impl Request<'_> {
    /// The canonical bytes for one form of the path and one payload line.
    pub(super) fn canonical(&self, path: &str, payload: &[u8]) -> Result<Vec<u8>, Cause> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b'\n');
        out.extend_from_slice(if path.is_empty() { b"/" } else { path.as_bytes() });
        out.push(b'\n');
        self.query.canonical(self.place, &mut out);
        out.push(b'\n');
        for name in self.signed {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            self.header(name, &mut out)?;
            out.push(b'\n');
        }
        out.push(b'\n');
        for (index, name) in self.signed.iter().enumerate() {
            if index > 0 {
                out.push(b';');
            }
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(payload);
        Ok(out)
    }

    fn header(&self, name: &str, out: &mut Vec<u8>) -> Result<(), Cause> {
        let missing = || Cause::SignedHeaderMissing(name.to_owned());
        if name == "host" {
            collapse(self.host.ok_or_else(missing)?, out);
            return Ok(());
        }
        let mut values = self.headers.get_all(name).iter();
        collapse(values.next().ok_or_else(missing)?.as_bytes(), out);
        for value in values {
            out.push(b',');
            collapse(value.as_bytes(), out);
        }
        Ok(())
    }
}

/// Trims spaces and makes one of several.
fn collapse(value: &[u8], out: &mut Vec<u8>) {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if let Some(word) = words.next() {
        out.extend_from_slice(word);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str, place: Place) -> String {
        let mut out = Vec::new();
        Query::parse(Some(raw)).canonical(place, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_query_is_sorted_escaped_and_every_name_has_an_equals_sign() {
        assert_eq!(query("uploads", Place::Header), "uploads=");
        assert_eq!(query("location=", Place::Header), "location=");
        assert_eq!(query("b=2&a=z&a=b&a-b=1&", Place::Header), "a=b&a=z&a-b=1&b=2");
        assert_eq!(
            query("prefix=a/b+c%2b%7e&x=%E4%BD%A0", Place::Header),
            "prefix=a%2Fb%20c%2B~&x=%E4%BD%A0"
        );
    }

    #[test]
    fn only_a_presigned_query_leaves_its_signature_out() {
        assert_eq!(query("X-Amz-Signature=1&a=2", Place::Query), "a=2");
        assert_eq!(query("X-Amz-Signature=1&a=2", Place::Header), "X-Amz-Signature=1&a=2");
    }

    #[test]
    fn a_path_keeps_slashes_and_escapes_the_rest_once() {
        assert_eq!(path_encoded("/b//k%2Fx/%7ea!(1)/%e4"), "/b//k/x/~a%21%281%29/%E4");
        assert_eq!(path_encoded("/b/%2521"), "/b/%2521");
        assert_eq!(path_encoded("/b/../c"), "/b/../c");
    }

    #[test]
    fn header_values_are_trimmed_and_spaces_collapse() {
        let mut out = Vec::new();
        collapse(b"  a   \"b  c\" ", &mut out);
        assert_eq!(out, b"a \"b c\"");
    }

    #[test]
    fn signed_headers_are_sorted_and_unique() {
        assert_eq!(
            signed_headers("x-amz-date;host", Place::Header).unwrap(),
            ["host", "x-amz-date"]
        );
        for list in ["", "host;", "Host", "host;host", "ho st"] {
            assert!(signed_headers(list, Place::Header).is_err(), "{list}");
        }
        assert!(signed_headers(&"a;".repeat(200_000), Place::Header).is_err());
    }
}
