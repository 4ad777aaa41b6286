//! The hash chain: one hash per record, for readers that follow a stream and keep no tree.
//!
//! chain(n) = SHA-256(0x02 ‖ chain(n−1) ‖ leaf hash(n)), and chain(−1) is 32 zero bytes. The prefix 0x02 keeps it
//! apart from leaves (0x00) and nodes (0x01) of the tree.

use crate::tree::{self, Hash};

/// What is before the two hashes when they are hashed.
const LINK: u8 = 2;

/// The value before the first record.
pub const START: Hash = [0; 32];

/// The value after a record with `leaf` as its leaf hash.
pub fn step(before: &Hash, leaf: &Hash) -> Hash {
    tree::pair_hash(LINK, before, leaf)
}
