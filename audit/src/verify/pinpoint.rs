//! Which byte of a damaged batch changed, where it was only one.
//!
//! The checksum of a batch is linear: the difference between what it is and what it should be is the difference that one
//! changed byte makes, carried on over the bytes behind it. Carried back, it is a single byte again at the place of the
//! damage. Such a place is a guess until the batch with that byte put right leads to the root in its control line; then
//! it is certain, and the walk goes on as if nothing had happened.
#![deny(clippy::indexing_slicing)]

use crate::{
    segment::{
        Control, Frame,
        check::{self, Known},
    },
    tip::Tip,
    tree,
};

/// CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Guesses that are tried; by chance there is one in sixteen million bytes.
const GUESSES_MAX: usize = 8;

/// The byte that changed, and the batch with it put right.
#[derive(Debug)]
pub(super) struct Repaired {
    /// Where it is in the batch.
    pub(super) at: usize,
    /// What it was, and is.
    pub(super) was: u8,
    pub(super) is: u8,
    /// Records with their newlines, as they were written.
    pub(super) leaves: Vec<u8>,
    /// The tip after the batch.
    pub(super) after: Tip,
}

/// Looks for one byte whose change explains the batch, given everything before it.
pub(super) fn one_byte(frame: &Frame<'_>, claim: &Control, tip: &Tip) -> Option<Repaired> {
    let difference = check::crc(frame.leaves) ^ claim.crc;
    guesses(difference, frame.leaves.len()).into_iter().find_map(|(at, change)| {
        let mut leaves = frame.leaves.to_vec();
        let byte = leaves.get_mut(at)?;
        let is = *byte;
        *byte ^= change;
        let was = *byte;
        let repaired = Frame { leaves: &leaves, ..*frame };
        let after =
            check::batch(&repaired, tip, Known::Tree, &|_, leaf| tree::leaf_hash(leaf)).ok()?;
        Some(Repaired { at, was, is, leaves, after })
    })
}

/// Places, with the bits that changed there, that would make this difference in the checksum of `len` bytes.
fn guesses(difference: u32, len: usize) -> Vec<(usize, u8)> {
    let table = Backward::new();
    let mut found = Vec::new();
    let mut state = difference;
    for at in (0..len).rev() {
        state = table.step(state);
        if let Ok(change @ 1..) = u8::try_from(state) {
            found.push((at, change));
            if found.len() == GUESSES_MAX {
                break;
            }
        }
    }
    found
}

/// The checksum's step over one byte, taken back.
struct Backward {
    /// By the highest byte after the step: the lowest byte before it, and what the step added.
    steps: Vec<(u8, u32)>,
}

impl Backward {
    fn new() -> Self {
        let mut steps = vec![(0, 0); 256];
        for low in 0..=u8::MAX {
            let bit = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            let added = (0..8).fold(u32::from(low), bit);
            if let Some(step) = steps.get_mut((added >> 24) as usize) {
                *step = (low, added);
            }
        }
        Self { steps }
    }

    fn step(&self, after: u32) -> u32 {
        let (low, added) = self.steps.get((after >> 24) as usize).copied().unwrap_or_default();
        (after ^ added) << 8 | u32::from(low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_changed_byte_is_among_the_guesses(
            bytes in proptest::collection::vec(any::<u8>(), 1..3000),
            place in any::<proptest::sample::Index>(),
            change in 1u8..,
        ) {
            let at = place.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= change;
            let difference = check::crc(&changed) ^ check::crc(&bytes);
            prop_assert!(guesses(difference, bytes.len()).contains(&(at, change)));
        }
    }
}
