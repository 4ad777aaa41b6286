//! Credentials: the claim in a request, and the secret that proves it.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use zeroize::Zeroizing;

use super::failure::Cause;
use super::guard::Place;

/// Looks up the secret of an access key: users, service accounts and sessions alike.
///
/// Called once per signed request on the request's own task, so an implementation reads a snapshot and does not block.
/// A disabled or expired key is not known here; the caller's identity store says more about it in the audit record.
pub trait Secrets {
    fn secret(&self, access_key: &str) -> Option<SecretKey>;
}

/// A secret access key; wiped when dropped and never printed.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret itself, for key derivation.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

/// `ACCESS_KEY/DATE/REGION/SERVICE/aws4_request`, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credential<'a> {
    /// The whole text; it names one signing key.
    pub(super) text: &'a str,
    pub(super) access_key: &'a str,
    /// Everything after the access key: the scope line of the string to sign.
    pub(super) scope: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl<'a> Credential<'a> {
    /// Splits from the right, because an access key may contain `/`.
    pub(super) fn parse(text: &'a str, place: Place) -> Result<Self, Cause> {
        let malformed =
            || place.malformed("the Credential is not KEY/DATE/REGION/SERVICE/aws4_request");
        let mut parts = text.rsplitn(5, '/');
        let mut next = || parts.next().ok_or_else(malformed);
        let (terminator, service, region, date, access_key) =
            (next()?, next()?, next()?, next()?, next()?);
        if access_key.is_empty() || terminator != "aws4_request" {
            return Err(malformed());
        }
        let scope = text.get(access_key.len() + 1..).ok_or_else(malformed)?;
        Ok(Self { text, access_key, scope, date, region, service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_parsed_from_the_right() {
        let text = "team/ci/key/20261123/us-east-1/s3/aws4_request";
        let credential = Credential::parse(text, Place::Header).unwrap();
        assert_eq!(credential.access_key, "team/ci/key");
        assert_eq!(credential.scope, "20261123/us-east-1/s3/aws4_request");
    }

    #[test]
    fn an_empty_region_is_a_region() {
        let credential = Credential::parse("k/20261123//s3/aws4_request", Place::Header).unwrap();
        assert_eq!((credential.region, credential.service), ("", "s3"));
    }

    #[test]
    fn short_or_foreign_credentials_are_malformed() {
        for text in [
            "",
            "k",
            "20261123/us-east-1/s3/aws4_request",
            "/20261123/r/s3/aws4_request",
            "k/20261123/r/s3/aws5_request",
        ] {
            assert!(Credential::parse(text, Place::Query).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", SecretKey::new("hunter2")), "SecretKey(..)");
    }
}
