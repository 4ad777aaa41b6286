//! SHA-256 over several messages at once.
//!
//! One computation waits for itself: each round needs the one before it, and the processor's SHA unit is idle for more than
//! half of the time. Four computations side by side, each waiting for itself, keep it busy. Libraries hash one message after
//! the other, so the rounds are ours here; what is not four messages at once is left to the library.
//!
//! Who has no such unit, or few messages, gets the library's hash of each; the results are the same.
#![deny(clippy::indexing_slicing)]

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
        return side_by_side(prefix, messages, |states, blocks, count| {
            unit.compress(states, blocks, count);
        });
    }
    messages.map(|message| one(prefix, message)).collect()
}

/// The library's hash.
fn one(prefix: u8, message: &[u8]) -> Hash {
    Sha256::new().chain_update([prefix]).chain_update(message).finalize().into()
}

/// A message with its prefix and its padding, in blocks. Only the ends are copied.
struct Padded<'a> {
    head: Block,
    middle: &'a [Block],
    tail: [Block; 2],
    /// How many there are, of which as many as one or two are in the tail.
    blocks: usize,
}

impl<'a> Padded<'a> {
    /// `None` of a message that does not fill its first block.
    fn new(prefix: u8, message: &'a [u8]) -> Option<Self> {
        let (first, rest) = message.split_first_chunk::<{ BLOCK_BYTES - 1 }>()?;
        let mut head = [prefix; BLOCK_BYTES];
        head.last_chunk_mut().map(|to: &mut [u8; BLOCK_BYTES - 1]| *to = *first)?;
        let (middle, end) = rest.as_chunks::<BLOCK_BYTES>();
        // FIPS 180-4, section 5.1.1: a one bit, zeros, and the number of bits to the end of a block.
        let mut tail = [[0; BLOCK_BYTES]; 2];
        let bytes = tail.as_flattened_mut();
        bytes.get_mut(..end.len())?.copy_from_slice(end);
        *bytes.get_mut(end.len())? = 0x80;
        let tails = if end.len() + 1 + size_of::<u64>() <= BLOCK_BYTES { 1 } else { 2 };
        let bits = (message.len() as u64 + 1) * 8;
        let bytes = bytes.get_mut(..tails * BLOCK_BYTES)?;
        bytes.last_chunk_mut().map(|to| *to = bits.to_be_bytes())?;
        Some(Self { head, middle, tail, blocks: 1 + middle.len() + tails })
    }

    /// One block of those there are.
    #[inline]
    fn block(&self, at: usize) -> &Block {
        let [first, second] = &self.tail;
        match at.checked_sub(1) {
            None => &self.head,
            Some(at) => match self.middle.get(at) {
                Some(block) => block,
                None if at == self.middle.len() => first,
                None => second,
            },
        }
    }
}

/// A message on its way.
struct Lane<'a> {
    message: Padded<'a>,
    /// Blocks that are done.
    done: usize,
    /// The message's place among all.
    place: usize,
}

impl Lane<'_> {
    fn left(&self) -> usize {
        self.message.blocks - self.done
    }
}

/// Keeps all lanes filled while there are messages: one that is done is followed by the next, whatever the others' lengths.
/// `compress` takes as many blocks into each state as it is told, which are those from [`Lane::done`] on.
fn side_by_side<'a>(
    prefix: u8,
    messages: impl Iterator<Item = &'a [u8]>,
    compress: impl Fn(&mut [State; LANES], &[Lane<'_>; LANES], usize),
) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(messages.size_hint().0);
    let mut messages = messages.enumerate();
    // The next message that is worth a lane; shorter ones are hashed at once.
    let mut next = |hashes: &mut Vec<Hash>| {
        messages.by_ref().find_map(|(place, message)| {
            let padded = Padded::new(prefix, message);
            hashes.push(if padded.is_some() { Hash::default() } else { one(prefix, message) });
            padded.map(|message| Lane { message, done: 0, place })
        })
    };
    let mut begun = Vec::with_capacity(LANES);
    while begun.len() < LANES
        && let Some(lane) = next(&mut hashes)
    {
        begun.push(lane);
    }
    let mut states = [START; LANES];
    let mut lanes: [Lane<'_>; LANES] = match begun.try_into() {
        Ok(lanes) => lanes,
        Err(few) => {
            few.into_iter().for_each(|lane| finish(START, &lane, &mut hashes));
            return hashes;
        }
    };
    loop {
        let count = lanes.iter().map(Lane::left).min().unwrap_or_default();
        compress(&mut states, &lanes, count);
        lanes.iter_mut().for_each(|lane| lane.done += count);
        for at in 0..LANES {
            let (Some(lane), Some(state)) = (lanes.get_mut(at), states.get_mut(at)) else { break };
            if lane.left() > 0 {
                continue;
            }
            keep(state, lane.place, &mut hashes);
            match next(&mut hashes) {
                Some(message) => (*lane, *state) = (message, START),
                // The others have a way to go, too few of them to go together.
                None => {
                    let others = lanes.iter().zip(&states).filter(|(lane, _)| lane.left() > 0);
                    others.for_each(|(lane, state)| finish(*state, lane, &mut hashes));
                    let ended = lanes.iter().zip(&states).skip(at + 1);
                    ended
                        .filter(|(lane, _)| lane.left() == 0)
                        .for_each(|(lane, state)| keep(state, lane.place, &mut hashes));
                    return hashes;
                }
            }
        }
    }
}

/// Goes on to the end with the library.
fn finish(mut state: State, lane: &Lane<'_>, hashes: &mut [Hash]) {
    for at in lane.done..lane.message.blocks {
        compress256(&mut state, std::slice::from_ref(lane.message.block(at)));
    }
    keep(&state, lane.place, hashes);
}

fn keep(state: &State, place: usize, hashes: &mut [Hash]) {
    let Some(hash) = hashes.get_mut(place) else { return };
    for (to, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
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
