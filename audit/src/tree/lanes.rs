//! SHA-256 over several messages at once.
//!
//! One computation waits for itself: each round needs the one before it, and the processor's SHA unit is idle for more than
//! half of the time. Four computations side by side, each waiting for itself, keep it busy. Libraries hash one message after
//! the other, so the rounds are ours here; what is not four messages at once is left to the library.
//!
//! Who has no such unit, or few messages, gets the library's hash of each; the results are the same.
#![deny(clippy::indexing_slicing)]

use std::array;

use sha2::{Digest as _, Sha256, block_api::compress256};

use super::Hash;

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "the processor's SHA rounds; the library is their safe twin in a property test"
)]
mod x86;

/// Messages that are hashed side by side. Two take 460 ns for each message of 900 bytes, three 370, four 320, and one
/// by the library 580; more have no registers.
const LANES: usize = 4;
/// Bytes that are hashed at a time.
const BLOCK_BYTES: usize = 64;

type State = [u32; 8];
type Block = [u8; BLOCK_BYTES];

/// What SHA-256 begins with.
///
/// # Source
/// FIPS 180-4, section 5.3.3.
const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The hash of each message with `prefix` before it, in order.
pub(super) fn digests<'a>(prefix: u8, messages: impl Iterator<Item = &'a [u8]>) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(unit) = x86::Unit::detect() {
        return side_by_side(prefix, messages, |states, lanes, count| {
            unit.compress(states, lanes, count);
        });
    }
    messages.map(|message| one(prefix, message)).collect()
}

/// The library's hash.
fn one(prefix: u8, message: &[u8]) -> Hash {
    Sha256::new().chain_update([prefix]).chain_update(message).finalize().into()
}

/// SHA-256 of two hashes with `prefix` before them. The blocks are made here: the library's buffer and padding take nearly as
/// long as the blocks themselves.
pub(crate) fn pair(prefix: u8, left: &Hash, right: &Hash) -> Hash {
    let mut state = START;
    compress256(&mut state, &pair_blocks(prefix, left, right));
    bytes(&state)
}

/// The same of many pairs, in order.
pub(super) fn pairs(prefix: u8, pairs: &[[Hash; 2]]) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(pairs.len());
    #[cfg(target_arch = "x86_64")]
    let pairs = match x86::Unit::detect() {
        Some(unit) => {
            let (fours, few) = pairs.as_chunks::<LANES>();
            for four in fours {
                let mut states = [START; LANES];
                let lanes = four.each_ref().map(|[left, right]| pair_blocks(prefix, left, right));
                unit.compress(&mut states, &lanes, PAIR_BLOCKS);
                hashes.extend(states.iter().map(bytes));
            }
            few
        }
        None => pairs,
    };
    hashes.extend(pairs.iter().map(|[left, right]| pair(prefix, left, right)));
    hashes
}

/// Blocks that a prefix and two hashes take with their padding.
const PAIR_BLOCKS: usize = 2;

#[inline]
fn pair_blocks(prefix: u8, left: &Hash, right: &Hash) -> [Block; PAIR_BLOCKS] {
    let mut padded = [0; PAIR_BLOCKS * BLOCK_BYTES];
    padded[0] = prefix;
    padded[1..33].copy_from_slice(left);
    padded[33..65].copy_from_slice(right);
    padded[65] = 0x80;
    padded[126..].copy_from_slice(&(65 * 8u16).to_be_bytes());
    let [first, second] = padded.as_chunks().0 else { return [[0; BLOCK_BYTES]; PAIR_BLOCKS] };
    [*first, *second]
}

/// What a lane has before it.
trait Blocks {
    /// One of the blocks that are still to be done.
    fn block(&self, at: usize) -> &Block;
}

impl Blocks for [Block; PAIR_BLOCKS] {
    #[inline]
    fn block(&self, at: usize) -> &Block {
        let [first, second] = self;
        if at == 0 { first } else { second }
    }
}

/// A message on its way, with its prefix and its padding, in blocks. Only the ends are copied.
struct Lane<'a> {
    head: Block,
    middle: &'a [Block],
    tail: [Block; 2],
    /// How many there are, of which as many as one or two are in the tail.
    blocks: usize,
    /// Blocks that are done.
    done: usize,
    /// The message's place among all.
    place: usize,
}

impl<'a> Lane<'a> {
    fn empty() -> Self {
        let (head, tail) = ([0; BLOCK_BYTES], [[0; BLOCK_BYTES]; 2]);
        Self { head, middle: &[], tail, blocks: 0, done: 0, place: 0 }
    }

    /// Takes another message, in place, because a lane is long. `None` of one that does not fill its first block.
    #[inline]
    fn begin(&mut self, prefix: u8, message: &'a [u8], place: usize) -> Option<()> {
        let (first, rest) = message.split_first_chunk::<{ BLOCK_BYTES - 1 }>()?;
        self.head[0] = prefix;
        self.head[1..].copy_from_slice(first);
        let (middle, end) = rest.as_chunks::<BLOCK_BYTES>();
        // FIPS 180-4, section 5.1.1: a one bit, zeros, and the number of bits to the end of a block.
        self.tail = [[0; BLOCK_BYTES]; 2];
        let bytes = self.tail.as_flattened_mut();
        bytes.get_mut(..end.len())?.copy_from_slice(end);
        *bytes.get_mut(end.len())? = 0x80;
        let tails = if end.len() + 1 + size_of::<u64>() <= BLOCK_BYTES { 1 } else { 2 };
        let bits = (message.len() as u64 + 1) * 8;
        let bytes = bytes.get_mut(..tails * BLOCK_BYTES)?;
        bytes.last_chunk_mut().map(|to| *to = bits.to_be_bytes())?;
        self.middle = middle;
        (self.blocks, self.done, self.place) = (1 + middle.len() + tails, 0, place);
        Some(())
    }

    fn left(&self) -> usize {
        self.blocks - self.done
    }
}

impl Blocks for Lane<'_> {
    #[inline]
    fn block(&self, at: usize) -> &Block {
        let [first, second] = &self.tail;
        match (self.done + at).checked_sub(1) {
            None => &self.head,
            Some(at) => match self.middle.get(at) {
                Some(block) => block,
                None if at == self.middle.len() => first,
                None => second,
            },
        }
    }
}

/// Keeps all lanes filled while there are messages: one that is done is followed by the next, whatever the others' lengths.
/// `compress` takes as many of their blocks into each state as it is told.
fn side_by_side<'a>(
    prefix: u8,
    messages: impl Iterator<Item = &'a [u8]>,
    compress: impl Fn(&mut [State; LANES], &[Lane<'_>; LANES], usize),
) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(messages.size_hint().0);
    let mut messages = messages.enumerate();
    // Fills a lane with the next message that is worth one; shorter ones are hashed at once.
    let mut next = |lane: &mut Lane<'a>, hashes: &mut Vec<Hash>| {
        messages.by_ref().any(|(place, message)| {
            let begun = lane.begin(prefix, message, place).is_some();
            hashes.push(if begun { Hash::default() } else { one(prefix, message) });
            begun
        })
    };
    let mut states = [START; LANES];
    let mut lanes = array::from_fn(|_| Lane::empty());
    let filled = lanes.iter_mut().map(|lane| next(lane, &mut hashes));
    let begun = filled.take_while(|begun| *begun).count();
    if begun < LANES {
        lanes.iter_mut().take(begun).for_each(|lane| finish(START, lane, &mut hashes));
        return hashes;
    }
    loop {
        let count = lanes.iter().map(Lane::left).min().unwrap_or_default();
        compress(&mut states, &lanes, count);
        lanes.iter_mut().for_each(|lane| lane.done += count);
        let mut done = lanes.iter_mut().zip(&mut states).filter(|(lane, _)| lane.left() == 0);
        let goes_on = done.all(|(lane, state)| {
            keep(state, lane.place, &mut hashes);
            let begun = next(lane, &mut hashes);
            if begun {
                *state = START;
            }
            begun
        });
        if !goes_on {
            // Too few are left to go together. What is done and kept is kept again.
            lanes.iter().zip(&states).for_each(|(lane, state)| finish(*state, lane, &mut hashes));
            return hashes;
        }
    }
}

/// Goes on to the end with the library.
fn finish(mut state: State, lane: &Lane<'_>, hashes: &mut [Hash]) {
    for at in 0..lane.left() {
        compress256(&mut state, std::slice::from_ref(lane.block(at)));
    }
    keep(&state, lane.place, hashes);
}

fn keep(state: &State, place: usize, hashes: &mut [Hash]) {
    if let Some(hash) = hashes.get_mut(place) {
        *hash = bytes(state);
    }
}

/// The hash that a state is.
fn bytes(state: &State) -> Hash {
    let mut hash = Hash::default();
    for (to, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any number of messages of any lengths, so that lanes end together, one by one, and not at all.
        #[test]
        fn many_at_once_are_what_the_library_says_of_each(
            prefix in any::<u8>(),
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..24),
        ) {
            let expected: Vec<Hash> = messages.iter().map(|message| one(prefix, message)).collect();
            prop_assert_eq!(digests(prefix, messages.iter().map(Vec::as_slice)), expected);
        }
    }

    proptest! {
        #[test]
        fn pairs_are_what_the_library_says_of_each(
            prefix in any::<u8>(),
            given in proptest::collection::vec(any::<[Hash; 2]>(), 0..12),
        ) {
            let expected: Vec<Hash> = given.iter().map(|pair| one(prefix, pair.as_flattened())).collect();
            let each: Vec<Hash> = given.iter().map(|[left, right]| pair(prefix, left, right)).collect();
            prop_assert_eq!(&each, &expected);
            prop_assert_eq!(pairs(prefix, &given), expected);
        }
    }

    /// The lengths at which the padding moves to another block, with neighbours that end at other times.
    #[test]
    fn every_length_around_a_block() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for len in 0..bytes.len() {
            let messages: Vec<&[u8]> =
                [len, 64, len, 200, len, 300].iter().map(|len| &bytes[..*len]).collect();
            let expected: Vec<Hash> = messages.iter().map(|message| one(1, message)).collect();
            assert_eq!(digests(1, messages.iter().copied()), expected, "{len} bytes");
        }
    }
}
