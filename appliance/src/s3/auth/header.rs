//! The `Authorization` header.

#![deny(clippy::indexing_slicing)]

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::canonical;
use super::credential::Credential;
use super::failure::{Cause, Failure};
use super::guard::Place;

/// What a request says about its signature.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) credential: Credential<'a>,
    pub(super) signed_headers: Vec<&'a str>,
    /// Lower-case hex, 64 characters.
    pub(super) signature: &'a str,
}

impl<'a> Claims<'a> {
    /// Checks the three fields that both places have.
    pub(super) fn new(
        credential: &'a str,
        signed_headers: &'a str,
        signature: &'a str,
        place: Place,
    ) -> Result<Self, Failure> {
        let credential = Credential::parse(credential, place)?;
        let claimed = |cause: Cause| cause.claimed(credential.access_key);
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if signature.len() != 64 || !signature.bytes().all(lower_hex) {
            return Err(claimed(
                place.malformed("the Signature is not 64 lower-case hexadecimal digits"),
            ));
        }
        let signed_headers = canonical::signed_headers(signed_headers, place).map_err(claimed)?;
        Ok(Self { credential, signed_headers, signature })
    }

    /// Reads `AWS4-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…`; clients separate with `,` or `, `.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, Failure> {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (algorithm, fields) = value
            .and_then(|value| value.trim_start().split_once(' '))
            .ok_or(Cause::UnsupportedType)?;
        algorithm_is_ours(algorithm)?;
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for field in fields.split(',').map(str::trim) {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| Place::Header.malformed("a field has no `=`"))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(Place::Header.malformed("a field is unknown").into()),
            };
            if slot.replace(value).is_some() {
                return Err(Place::Header.malformed("a field is given twice").into());
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            let what = "Credential, SignedHeaders and Signature are required";
            return Err(Place::Header.malformed(what).into());
        };
        Self::new(credential, signed_headers, signature, Place::Header)
    }
}

/// Refuses other mechanisms, each with what the client can do about it.
pub(super) fn algorithm_is_ours(algorithm: &str) -> Result<(), Cause> {
    match algorithm {
        "AWS4-HMAC-SHA256" => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(Cause::VersionFourA),
        "AWS" => Err(Cause::VersionTwo),
        _ => Err(Cause::UnsupportedType),
    }
}
