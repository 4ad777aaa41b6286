//! Presigned URLs: the signature in the query.
//!
//! # Source
//! Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters".

#![deny(clippy::indexing_slicing)]

use super::Policy;
use super::canonical::Query;
use super::failure::{Cause, Failure};
use super::guard::Place;
use super::header::{Claims, algorithm_is_ours};
use super::scope::Moment;

/// What a presigned URL adds to the claims of a header.
#[derive(Debug)]
pub(super) struct Presigned<'a> {
    pub(super) claims: Claims<'a>,
    pub(super) moment: Moment<'a>,
    pub(super) expires_s: u64,
    pub(super) session_token: Option<&'a str>,
}

impl<'a> Presigned<'a> {
    /// Reads the parameters; each has been found at most once by `guard`.
    pub(super) fn of(query: &'a Query<'a>, policy: &Policy) -> Result<Self, Failure> {
        algorithm_is_ours(required(query, "X-Amz-Algorithm")?).map_err(|cause| match cause {
            Cause::VersionFourA => cause,
            _ => Place::Query.malformed("X-Amz-Algorithm only supports AWS4-HMAC-SHA256"),
        })?;
        let claims = Claims::new(
            required(query, "X-Amz-Credential")?,
            required(query, "X-Amz-SignedHeaders")?,
            required(query, "X-Amz-Signature")?,
            Place::Query,
        )?;
        let key = claims.credential.access_key;
        let claimed = |cause: Cause| cause.claimed(key);
        let moment = required(query, "X-Amz-Date")
            .and_then(|date| Moment::parse(date).ok_or_else(bad_date))
            .map_err(claimed)?;
        let expires_s = required(query, "X-Amz-Expires")
            .and_then(|text| expires_s(text, policy.presign_max_s))
            .map_err(claimed)?;
        let session_token = optional(query, "X-Amz-Security-Token").map_err(claimed)?;
        Ok(Self { claims, moment, expires_s, session_token })
    }

    /// Refuses a URL outside its time. A signer's clock may be ahead of ours by the allowed skew.
    pub(super) fn valid_at(&self, now_s: u64, policy: &Policy) -> Result<(), Cause> {
        if self.moment.unix_s > now_s.saturating_add(policy.skew_s) {
            return Err(Cause::NotYetValid);
        }
        if now_s > self.moment.unix_s.saturating_add(self.expires_s) {
            return Err(Cause::Expired);
        }
        Ok(())
    }
}

fn bad_date() -> Cause {
    Place::Query.malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
}

fn optional<'a>(query: &'a Query<'a>, name: &'static str) -> Result<Option<&'a str>, Cause> {
    query
        .named(name)
        .next()
        .map(|value| {
            std::str::from_utf8(value)
                .map_err(|_| Cause::QueryMalformed(format!("{name} is not UTF-8").into()))
        })
        .transpose()
}

fn required<'a>(query: &'a Query<'a>, name: &'static str) -> Result<&'a str, Cause> {
    optional(query, name)?.ok_or_else(|| Cause::QueryMalformed(format!("{name} is missing").into()))
}

/// Plain decimal digits, at least one second and at most `max_s`.
fn expires_s(text: &str, max_s: u64) -> Result<u64, Cause> {
    let plain = !text.is_empty()
        && text.len() <= 10
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { text.parse::<u64>().ok() } else { None };
    match number {
        None => {
            Err(Place::Query.malformed("X-Amz-Expires should be a number of seconds, at least 1"))
        }
        Some(number) if number > max_s => Err(Cause::QueryMalformed(
            format!(
                "X-Amz-Expires must be less than a week (in seconds); that is, {max_s} at most"
            )
            .into(),
        )),
        Some(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_parsed_strictly_and_at_most_seven_days() {
        assert_eq!(expires_s("1", 604_800), Ok(1));
        assert_eq!(expires_s("604800", 604_800), Ok(604_800));
        for text in [
            "",
            "0",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "01",
            "604801",
            "99999999999",
            "١",
        ] {
            assert!(expires_s(text, 604_800).is_err(), "{text}");
        }
    }
}
