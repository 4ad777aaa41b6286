//! Dates of the Date operators: the W3C profile of ISO 8601, or seconds since 1970.
//!
//! A text of digits alone is seconds, four digits included: AWS documents both readings of `2024`, and the test suites
//! we know read seconds.
#![deny(clippy::indexing_slicing)]

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

/// `None` for anything that is not an instant.
///
/// Source: W3C note "Date and Time Formats": `YYYY-MM`, `YYYY-MM-DD`, `YYYY-MM-DDThh:mmTZD`, with seconds and fraction;
/// a zone is `Z` or `±hh:mm`.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::from_second(text.parse().ok()?).ok();
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let date = civil_date(date, time.is_some())?;
    let (time, offset) = match time {
        Some(time) => clock(time)?,
        None => (Time::midnight(), Offset::UTC),
    };
    offset.to_timestamp(DateTime::from_parts(date, time)).ok()
}

/// The instant, and one second before and after it.
pub(super) fn neighbours(instant: &Timestamp) -> impl Iterator<Item = String> {
    [0, -1, 1]
        .into_iter()
        .filter_map(|seconds| {
            Timestamp::from_second(instant.as_second().checked_add(seconds)?).ok()
        })
        .map(|instant| instant.to_string())
}

fn civil_date(text: &str, whole: bool) -> Option<Date> {
    let mut fields = text.split('-');
    let year = number(fields.next()?, 4)?;
    let month = number(fields.next()?, 2)?;
    let day = match fields.next() {
        Some(day) => number(day, 2)?,
        None if whole => return None,
        None => 1,
    };
    if fields.next().is_some() {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn clock(text: &str) -> Option<(Time, Offset)> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let offset = zone(text.get(zone_at..)?)?;
    let (time, fraction) = match text.get(..zone_at)?.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (text.get(..zone_at)?, None),
    };
    let mut fields = time.split(':');
    let hour = small(fields.next()?)?;
    let minute = small(fields.next()?)?;
    let second = match fields.next() {
        Some(second) => small(second)?,
        None if fraction.is_some() => return None,
        None => 0,
    };
    let nanosecond = fraction.map_or(Some(0), nanoseconds)?;
    if fields.next().is_some() {
        return None;
    }
    Some((Time::new(hour, minute, second, nanosecond).ok()?, offset))
}

fn zone(text: &str) -> Option<Offset> {
    let (sign, rest) = match text {
        "Z" => return Some(Offset::UTC),
        _ => match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+')?),
        },
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (i32::from(small(hours)?), i32::from(small(minutes)?));
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn nanoseconds(text: &str) -> Option<i32> {
    let is_fraction = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let zeros = 9_u32.checked_sub(u32::try_from(text.len()).ok()?)?;
    let digits: i32 = is_fraction.then(|| text.parse().ok()).flatten()?;
    digits.checked_mul(10_i32.checked_pow(zeros)?)
}

fn small(text: &str) -> Option<i8> {
    i8::try_from(number(text, 2)?).ok()
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn forms() {
        let second = |text| parse(text).map(|instant| instant.as_second());
        for (text, expected) in [
            ("0", 0),
            ("2024", 2024),
            ("-1", -1),
            ("1970-02", 31 * 86_400),
            ("1970-01-02", 86_400),
            ("1970-01-01T00:01Z", 60),
            ("1970-01-01T00:00:07Z", 7),
            ("1970-01-01T00:00:07.5Z", 7),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1969-12-31T22:30:00-01:30", 0),
        ] {
            assert_eq!(second(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "1970-1-1",
            "1970-13",
            "1970-02-30",
            "1970-01-01T00:00",
            "1970-01T00:00Z",
            "1970-01-01T24:00Z",
            "1970-01-01 00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00+0200",
            "1970-01-01T00:00:00*",
            "9999999999999999999",
            "1970-01-01T00Z",
        ] {
            assert_eq!(second(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9TZ:.+-]{0,41}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_what_is_written(second in 0_i64..4_000_000_000) {
            let instant = jiff::Timestamp::from_second(second).expect("in range");
            prop_assert_eq!(parse(&instant.to_string()), Some(instant));
        }
    }
}
