//! Times as the log writes them: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, fixed width, so text order is time order.

use std::ops::Range;

use jiff::{Timestamp, tz::TimeZone};

/// Length of a stamp's text.
pub const LEN: usize = 27;
/// Microseconds of a day, and of a second.
pub(crate) const DAY_US: u64 = 86_400 * SECOND_US;
const SECOND_US: u64 = 1_000_000;
/// Seconds since 1970 that can be written.
const SECOND_MAX: u64 = 253_370_764_800;
/// Where the microseconds are in the text.
const FRACTION: Range<usize> = 20..26;

/// Microseconds since 1970, which the log can write.
///
/// Years outside 1970 to 9999 cannot be written in the fixed width; they are clamped, and `time` stays monotone.
pub fn text(unix_us: u64) -> [u8; LEN] {
    // 9999-12-31T23:59:59 minus jiff's allowance for offsets is far beyond any clock we meet.
    let last = SECOND_MAX as i64 * SECOND_US as i64 - 1;
    let us = i64::try_from(unix_us).unwrap_or(i64::MAX).min(last);
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    let civil = TimeZone::UTC.to_datetime(at);
    let mut out = *b"0000-00-00T00:00:00.000000Z";
    put(&mut out[0..4], civil.year().unsigned_abs().into());
    put(&mut out[5..7], civil.month().unsigned_abs().into());
    put(&mut out[8..10], civil.day().unsigned_abs().into());
    put(&mut out[11..13], civil.hour().unsigned_abs().into());
    put(&mut out[14..16], civil.minute().unsigned_abs().into());
    put(&mut out[17..19], civil.second().unsigned_abs().into());
    put(&mut out[FRACTION], us.unsigned_abs() % SECOND_US);
    out
}

/// Writes the last digits of a number over all of `digits`.
fn put(digits: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Texts of times that are near each other: within a second only the last digits are written.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    second: u64,
    text: [u8; LEN],
}

impl Default for Texts {
    fn default() -> Self {
        Self { second: 0, text: text(0) }
    }
}

impl Texts {
    /// The same as [`text`].
    pub(crate) fn at(&mut self, unix_us: u64) -> &[u8; LEN] {
        let second = unix_us / SECOND_US;
        if second == self.second && second < SECOND_MAX {
            put(&mut self.text[FRACTION], unix_us % SECOND_US);
        } else {
            self.text = text(unix_us);
            self.second = second;
        }
        &self.text
    }
}

/// The same as a `String`.
pub fn string(unix_us: u64) -> String {
    String::from_utf8_lossy(&text(unix_us)).into_owned()
}

/// Reads a stamp; `None` unless it is exactly what [`text`] would write.
pub fn parse(stamp: &[u8]) -> Option<u64> {
    let at: Timestamp = std::str::from_utf8(stamp).ok()?.parse().ok()?;
    let us = u64::try_from(at.as_microsecond()).ok()?;
    (text(us) == stamp).then_some(us)
}

/// The UTC day as `YYYY/MM/DD`.
pub(crate) fn day_path(unix_us: u64) -> String {
    let stamp = string(unix_us);
    stamp.get(..10).unwrap_or_default().replace('-', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_parse_agree() {
        for us in [0, 1, 1_767_225_600_123_456, 4_102_444_799_999_999] {
            assert_eq!(parse(&text(us)), Some(us));
        }
        assert_eq!(string(1_767_225_600_123_456), "2026-01-01T00:00:00.123456Z");
        assert_eq!(day_path(1_767_225_600_123_456), "2026/01/01");
        assert_eq!(parse(b"2026-01-01T00:00:00.123456z"), None);
        assert_eq!(parse(b"2026-13-01T00:00:00.123456Z"), None);
        assert_eq!(text(u64::MAX).len(), LEN);
    }

    #[test]
    fn times_near_each_other_have_their_own_texts() {
        let last = SECOND_MAX * SECOND_US;
        let mut texts = Texts::default();
        for us in [5, 999_999, 1_000_000, 999_999, last - 1, last, last + 7, u64::MAX, 5] {
            assert_eq!(*texts.at(us), text(us), "{us}");
        }
    }
}
