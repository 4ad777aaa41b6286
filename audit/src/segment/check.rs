//! Whether a batch is what it claims to be, given everything before it.
#![deny(clippy::indexing_slicing)]

use memchr::memmem;

use crate::{stamp, tip::Tip};

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

/// Checks a batch as far as what is known allows, and returns the tip after it.
///
/// # Errors
/// The first fault; `tip` is what it was.
pub(crate) fn batch(frame: &Frame<'_>, tip: &Tip, known: Known) -> Result<Tip, Fault> {
    let claim = Control::parse(frame.control);
    let before = match claim {
        Some(claim) if known == Known::Nothing => {
            Tip::unknown(claim.size.saturating_sub(claim.n), 0)
        }
        _ => tip.clone(),
    };
    let fault = |at: usize, seq, what| Fault { offset: frame.offset + at as u64, seq, what };
    let mut next = before.clone();
    // Fixed width makes text order time order, so only the last stamp is worth parsing.
    let mut stamp = stamp::text(before.time_us);
    for (at, leaf) in Leaves::new(frame.leaves) {
        let expected = next.size();
        let seq = seq(leaf).ok_or(fault(at, expected, What::Record))?;
        if seq != expected {
            return Err(fault(at, expected, What::Seq { found: seq }));
        }
        let later = time_text(leaf).filter(|text| **text > stamp);
        stamp = *later.ok_or(fault(at, expected, What::Record))?;
        next.push(leaf);
    }
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
    let at = memmem::rfind(leaf, b"\"seq\":")?;
    let digits = leaf.get(at + 6..)?;
    let end = digits.iter().position(|c| !c.is_ascii_digit())?;
    let (digits, _) = digits.split_at_checked(end)?;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The time that a record names.
pub(crate) fn time_text(leaf: &[u8]) -> Option<&[u8; stamp::LEN]> {
    let at = memmem::rfind(leaf, b"\"time\":\"")?;
    leaf.get(at + 8..)?.first_chunk()
}

/// The same in microseconds.
pub(crate) fn time(leaf: &[u8]) -> Option<u64> {
    stamp::parse(time_text(leaf)?)
}
