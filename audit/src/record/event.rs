//! ULIDs: 48 bits of milliseconds and 80 random bits in 26 characters of Crockford base 32.
//!
//! The text sorts by time, so an event is found by its time and needs no index of its own.

use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Name of one record, unique and time-prefixed.
///
/// # Source
/// The ULID specification, "Binary Layout" and "Encoding".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    /// Length of the text.
    pub const LEN: usize = 26;

    /// Joins a time, of which the lower 48 bits count, with 80 random bits.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        let low = random.iter().fold(0u128, |acc, byte| (acc << 8) | u128::from(*byte));
        Self((u128::from(unix_ms & 0xffff_ffff_ffff) << 80) | low)
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; Self::LEN];
        for (i, byte) in text.iter_mut().enumerate() {
            let shift = 5 * (Self::LEN - 1 - i);
            *byte = ALPHABET[(self.0 >> shift) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id has 26 characters of Crockford base 32 and begins with 0 to 7")]
pub struct EventIdError;

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        // 26 characters carry 130 bits; the first may only use three of its five.
        if text.len() != Self::LEN || text.as_bytes().first().is_none_or(|c| *c > b'7') {
            return Err(EventIdError);
        }
        let digit = |c: u8| ALPHABET.iter().position(|a| *a == c.to_ascii_uppercase());
        text.bytes()
            .try_fold(0u128, |acc, c| Some((acc << 5) | digit(c)? as u128))
            .map(Self)
            .ok_or(EventIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_sorts_by_time() {
        let old = EventId::new(1_767_225_600_123, [0xff; 10]);
        let new = EventId::new(1_767_225_600_124, [0; 10]);
        assert_eq!(old.to_string().parse(), Ok(old));
        assert!(old.to_string() < new.to_string());
        assert_eq!(old.unix_ms(), 1_767_225_600_123);
        assert_eq!(EventId::new(u64::MAX, [0xff; 10]).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01JGG3ZQ0M8T5T3X6Z1Y2W3V4U",
            "é1JGG3ZQ0M8T5T3X6Z1Y2W3V4",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text}");
        }
    }
}
