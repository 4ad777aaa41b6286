//! `--since`

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// The first instant that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(Timestamp);

impl Since {
    /// An event without time counts: better one too many than a silent gap.
    pub(super) fn includes(self, time_us: Option<i64>) -> bool {
        time_us.is_none_or(|time| time >= self.as_us())
    }

    /// In microseconds since 1970.
    pub(super) fn as_us(self) -> i64 {
        self.0.as_microsecond()
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a time, a date, or an age such as 30d");
        if let Some(age) = age(text) {
            return Timestamp::now().checked_sub(age).map(Self).map_err(|_| refuse());
        }
        let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
        whole.parse().map(Self).map_err(|_| refuse())
    }
}

fn age(text: &str) -> Option<SignedDuration> {
    let seconds = match text.chars().last()? {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return None,
    };
    let count: i64 = text.get(..text.len() - 1)?.parse().ok().filter(|count| *count >= 0)?;
    Some(SignedDuration::from_secs(count.checked_mul(seconds)?))
}
