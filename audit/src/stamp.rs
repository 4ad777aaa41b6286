//! Times as the log writes them: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, fixed width, so text order is time order.

use jiff::{Timestamp, tz::TimeZone};

/// Length of a stamp's text.
pub const LEN: usize = 27;

/// Microseconds since 1970, which the log can write.
///
/// Years outside 1970 to 9999 cannot be written in the fixed width; they are clamped, and `time` stays monotone.
pub fn text(unix_us: u64) -> [u8; LEN] {
    // 9999-12-31T23:59:59 minus jiff's allowance for offsets is far beyond any clock we meet.
    let us = i64::try_from(unix_us).unwrap_or(i64::MAX).min(253_370_764_799_999_999);
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    let civil = TimeZone::UTC.to_datetime(at);
    let mut out = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |start: usize, width: usize, value: u64| {
        let mut rest = value;
        for i in (start..start + width).rev() {
            out[i] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    };
    put(0, 4, civil.year().unsigned_abs().into());
    put(5, 2, civil.month().unsigned_abs().into());
    put(8, 2, civil.day().unsigned_abs().into());
    put(11, 2, civil.hour().unsigned_abs().into());
    put(14, 2, civil.minute().unsigned_abs().into());
    put(17, 2, civil.second().unsigned_abs().into());
    put(20, 6, us.unsigned_abs() % 1_000_000);
    out
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
}
