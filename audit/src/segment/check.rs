//! Whether a batch is what it claims to be, given everything before it.
#![deny(clippy::indexing_slicing)]

use memchr::memmem;

use crate::{stamp, tip::Tip, tree::Hash};

use super::{Control, Frame, Leaves};

/// The first thing that is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where, from the start of the file.
    pub(crate) offset: u64,
    /// The record that should be there.
    pub(crate) seq: u64,
    /// What.
    pub(crate) what: What,
}

/// Kinds of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A record names another position.
    Seq { found: u64 },
    /// A record has no position, no time, or an earlier time than the one before it.
    Record,
    /// The records differ from the control line's checksum.
    Checksum,
    /// The checksum holds but the control line is not the one that the records call for.
    Control,
}

/// How much of what precedes a batch is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Everything: the tip is right.
    Tree,
    /// Position, chain and time; the tree's hashes in the tip mean nothing.
    Chain,
    /// Nothing: the batch says itself where it stands.
    Nothing,
}

/// Checks a batch as far as what is known allows, and returns the tip after it. `hash` gives the leaf hash of the record
/// at an offset of the file.
///
/// # Errors
/// The first fault; `tip` is what it was.
pub(crate) fn batch(
    frame: &Frame<'_>,
    tip: &Tip,
    known: Known,
    hash: &dyn Fn(u64, &[u8]) -> Hash,
) -> Result<Tip, Fault> {
    let claim = Control::parse(frame.control);
    let before = match claim {
        Some(claim) if known == Known::Nothing => {
            Tip::unknown(claim.size.saturating_sub(claim.n), 0)
        }
        _ => tip.clone(),
    };
    let fault = |at: usize, seq, what| Fault { offset: frame.offset + at as u64, seq, what };
    let mut next = before.clone();
    let mut hashes = Vec::new();
    // Fixed width makes text order time order, so only the last stamp is worth parsing.
    let mut stamp = stamp::text(before.time_us);
    for ((at, leaf), expected) in Leaves::new(frame.leaves).zip(before.size()..) {
        let seq = seq(leaf).ok_or(fault(at, expected, What::Record))?;
        if seq != expected {
            return Err(fault(at, expected, What::Seq { found: seq }));
        }
        let later = time_text(leaf).filter(|text| **text > stamp);
        stamp = *later.ok_or(fault(at, expected, What::Record))?;
        hashes.push(hash(frame.offset + at as u64, leaf));
    }
    next.extend(&hashes);
    let last = next.size().saturating_sub(1);
    next.time_us = stamp::parse(&stamp).ok_or(fault(0, last, What::Record))?;
    let crc = crc(frame.leaves);
    if claim.is_some_and(|claim| claim.crc != crc) {
        return Err(fault(0, before.size(), What::Checksum));
    }
    let mut expected = control(&before, &next, crc);
    if let Some(claim) = claim.filter(|_| known != Known::Tree) {
        expected.root = claim.root;
        if known == Known::Nothing {
            expected.chain = claim.chain;
            next.chain = claim.chain;
        }
    }
    if expected.line(frame.leaves.len()) != frame.control {
        return Err(fault(frame.leaves.len(), before.size(), What::Control));
    }
    Ok(next)
}

/// The control line of a batch that leads from one tip to another.
pub(crate) fn control(before: &Tip, after: &Tip, crc: u32) -> Control {
    Control {
        chain: after.chain,
        crc,
        n: after.size() - before.size(),
        root: after.frontier.root(),
        size: after.size(),
        time_us: after.time_us,
    }
}

/// CRC-32C, the one that storage hardware speaks.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The position that a record names. Found by text, not by parsing: inside a string value every quote is
/// escaped, so `"seq":` can only be a member, and no nested object of the schema has one.
pub(crate) fn seq(leaf: &[u8]) -> Option<u64> {
    if let Some(digits) = time_at_end(leaf).and_then(|at| seq_before(leaf.get(..at)?)) {
        return number(digits);
    }
    let at = memmem::rfind(leaf, SEQ)?;
    let digits = leaf.get(at + SEQ.len()..)?;
    let end = digits.iter().position(|c| !c.is_ascii_digit())?;
    number(digits.get(..end)?)
}

const SEQ: &[u8] = b"\"seq\":";
const TIME: &[u8] = b"\"time\":\"";

/// Where the member `time` begins in a record that ends with it and the version, as nearly all do: searching backwards
/// costs as much as a third of the record's hash.
fn time_at_end(leaf: &[u8]) -> Option<usize> {
    let until = leaf.strip_suffix(b"\",\"v\":1}")?.len();
    let at = until.checked_sub(stamp::LEN + TIME.len())?;
    leaf.get(at..)?.starts_with(TIME).then_some(at)
}

/// The digits of a member `seq` that ends these bytes, with the comma after it.
fn seq_before(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_suffix(b",")?;
    let start = bytes.iter().rposition(|c| !c.is_ascii_digit())? + 1;
    let (before, digits) = bytes.split_at_checked(start)?;
    before.ends_with(SEQ).then_some(digits)
}

/// A decimal number as the log writes it.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The time that a record names.
pub(crate) fn time_text(leaf: &[u8]) -> Option<&[u8; stamp::LEN]> {
    let at = time_at_end(leaf).or_else(|| memmem::rfind(leaf, TIME))?;
    leaf.get(at + TIME.len()..)?.first_chunk()
}

/// The same in microseconds.
pub(crate) fn time(leaf: &[u8]) -> Option<u64> {
    stamp::parse(time_text(leaf)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_and_time_wherever_they_stand() {
        let time = "2026-01-01T00:00:00.123456Z";
        for (before, after) in
            [("", ""), (r#""sse":{"type":"AES256"},"#, ""), ("", r#","trunc":[]"#)]
        {
            let leaf =
                format!(r#"{{"action":"x","seq":4711,{before}"time":"{time}"{after},"v":1}}"#);
            assert_eq!(seq(leaf.as_bytes()), Some(4711), "{leaf}");
            assert_eq!(time_text(leaf.as_bytes()).map(|t| t.as_slice()), Some(time.as_bytes()));
        }
        let odd = |seq: &str| format!(r#"{{"action":"x",{seq}"time":"{time}","v":1}}"#);
        for wrong in [r#""seq":,"#, r#""seq":007,"#, r#""seq":"7","#, r#""sea":7,"#, ""] {
            assert_eq!(seq(odd(wrong).as_bytes()), None, "{wrong}");
        }
        assert_eq!(time_text(br#"{"time":"2026","v":1}"#), None);
    }
}
