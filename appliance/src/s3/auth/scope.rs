//! Time and place of a signature: its timestamp, its date, region and service.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use http::HeaderMap;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;

use super::Policy;
use super::credential::Credential;
use super::failure::Cause;
use super::guard::Place;

/// A moment as the string to sign spells it, and in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment<'a> {
    /// `20261123T093000Z`.
    pub(super) text: Cow<'a, str>,
    pub(super) unix_s: u64,
}

impl<'a> Moment<'a> {
    /// Reads the basic ISO 8601 form, exactly.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        if date.len() != 8 || time.len() != 6 {
            return None;
        }
        let (year, month, day) = (digits(date, 0, 4)?, digits(date, 4, 6)?, digits(date, 6, 8)?);
        let (hour, minute, second) =
            (digits(time, 0, 2)?, digits(time, 2, 4)?, digits(time, 4, 6)?);
        let small = |number: i16| i8::try_from(number).ok();
        let civil = DateTime::new(
            year,
            small(month)?,
            small(day)?,
            small(hour)?,
            small(minute)?,
            small(second)?,
            0,
        )
        .ok()?;
        let unix_s = Offset::UTC.to_timestamp(civil).ok()?.as_second();
        Some(Self { text: Cow::Borrowed(text), unix_s: u64::try_from(unix_s).ok()? })
    }

    /// The signing time of a header-signed request: `x-amz-date`, or `Date` in its place.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, Cause> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        match (text("x-amz-date"), text("date")) {
            (Some(date), _) => Self::parse(date).ok_or(Cause::MissingDate),
            (None, Some(date)) => {
                Self::parse(date).or_else(|| Self::http(date)).ok_or(Cause::MissingDate)
            }
            (None, None) => Err(Cause::MissingDate),
        }
    }

    /// `Mon, 23 Nov 2026 09:30:00 GMT`.
    fn http(text: &str) -> Option<Self> {
        let timestamp = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        let civil = Offset::UTC.to_datetime(timestamp);
        let text = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        );
        Some(Self { text: Cow::Owned(text), unix_s: u64::try_from(timestamp.as_second()).ok()? })
    }

    /// Refuses a clock too far from ours, in either direction.
    pub(super) fn within(&self, skew_s: u64, now_s: u64) -> Result<(), Cause> {
        if self.unix_s.abs_diff(now_s) > skew_s { Err(Cause::Skewed) } else { Ok(()) }
    }
}

fn digits(text: &str, start: usize, end: usize) -> Option<i16> {
    let field = text.get(start..end)?;
    if field.bytes().all(|byte| byte.is_ascii_digit()) { field.parse().ok() } else { None }
}

/// Refuses a credential made for another day, region or service.
pub(super) fn check(
    credential: &Credential<'_>,
    moment: &Moment<'_>,
    policy: &Policy,
    place: Place,
) -> Result<(), Cause> {
    if moment.text.get(..8) != Some(credential.date) {
        return Err(place.malformed("the date of the Credential is not the date of the request"));
    }
    let region = credential.region;
    if !region.is_empty()
        && region != "us-east-1"
        && !policy.regions.iter().any(|known| known == region)
    {
        let expected = policy.regions.first().map_or("us-east-1", String::as_str);
        return Err(Cause::WrongRegion {
            place: place.code(),
            region: region.chars().take(64).collect(),
            expected: expected.to_owned(),
        });
    }
    if !policy.services.contains(&credential.service) {
        return Err(place.malformed("the service of the Credential is not served here"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_one_spelling() {
        assert_eq!(Moment::parse("20130524T000000Z").unwrap().unix_s, 1_369_353_600);
        for text in [
            "",
            "Z",
            "T",
            "20130524",
            "20130524T000000",
            "2013-05-24T00:00:00Z",
            "20131324T000000Z",
            "20130524T250000Z",
            "+0130524T000000Z",
            "20130524T00000+Z",
            "19691231T235959Z",
            "20130524t000000Z",
        ] {
            assert!(Moment::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_http_date_is_the_same_moment() {
        let moment = Moment::http("Fri, 24 May 2013 00:00:00 GMT").unwrap();
        assert_eq!(moment, Moment::parse("20130524T000000Z").unwrap());
    }
}
