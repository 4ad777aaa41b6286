//! Values as people write them: times, durations, sizes.
#![deny(clippy::indexing_slicing)]

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A time: RFC 3339, a day, `now`, or a duration before `now_us` such as `-24h`. In microseconds.
pub(super) fn time(text: &str, now_us: u64) -> Option<u64> {
    if text == "now" {
        return Some(now_us);
    }
    if let Some(back) = text.strip_prefix('-') {
        return now_us.checked_sub(duration_us(back)?);
    }
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let midnight = text.parse::<Date>().ok()?.at(0, 0, 0, 0);
            TimeZone::UTC.to_timestamp(midnight).ok()?
        }
    };
    u64::try_from(at.as_microsecond()).ok()
}

/// A number with an optional unit: bytes in powers of ten, or a duration in microseconds.
pub(super) fn number(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (value, unit) = split(digits)?;
    let factor: i128 = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        other => i128::from(unit_us(other)?),
    };
    Some(sign * i128::from(value) * factor)
}

pub(super) fn duration_us(text: &str) -> Option<u64> {
    let (value, unit) = split(text)?;
    value.checked_mul(unit_us(unit)?)
}

fn unit_us(unit: &str) -> Option<u64> {
    Some(match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        "w" => 604_800_000_000,
        _ => return None,
    })
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit))
}
