//! The Merkle tree of RFC 6962 section 2.1 over the exact bytes of the records, kept as its right edge only.

use sha2::{Digest, Sha256};

pub(crate) use lanes::pair as pair_hash;

mod lanes;

/// What is before a leaf, and before two nodes, when they are hashed.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// Level of the subtrees that tiles and frames are made of: 256 records.
pub(crate) const TILE_LEVEL: u32 = 8;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// Hash of one leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([LEAF]).chain_update(leaf).finalize().into()
}

/// Hashes of many leaves, in order; together they take two thirds of the time.
pub(crate) fn leaf_hashes<'a>(leaves: impl Iterator<Item = &'a [u8]>) -> Vec<Hash> {
    lanes::digests(LEAF, leaves)
}

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    pair_hash(NODE, left, right)
}

/// Root over the leaves of a complete subtree, level by level: the nodes of a level do not wait for each other.
fn complete_root(leaves: &[Hash]) -> Hash {
    debug_assert!(leaves.len().is_power_of_two(), "a complete subtree");
    let parents = |level: &[Hash]| lanes::pairs(NODE, level.as_chunks().0);
    match leaves {
        [] => empty_root(),
        [root] => *root,
        leaves => {
            let mut level = parents(leaves);
            while level.len() > 1 {
                level = parents(&level);
            }
            level.first().copied().unwrap_or_else(empty_root)
        }
    }
}

/// Root of the tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The complete subtrees along the right edge, largest first: all that appending and the root need.
///
/// INVARIANT: `hashes.len()` is the number of one bits in `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// A frontier from its parts; `None` when the count does not fit the size.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, largest subtree first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let _ = self.push_subtree(leaf, 0);
    }

    /// Appends many leaves by their hashes, and returns the root over each full tile that they complete, in order.
    pub(crate) fn extend(&mut self, leaves: &[Hash]) -> Vec<Hash> {
        let (mut rest, mut tiles) = (leaves, Vec::new());
        while let Some(fits) = rest.len().checked_ilog2() {
            let level = self.size.trailing_zeros().min(fits).min(TILE_LEVEL);
            let (subtree, after) = rest.split_at(1 << level);
            tiles.extend(self.push_subtree(complete_root(subtree), level));
            rest = after;
        }
        tiles
    }

    /// Appends `1 << level` leaves by the root over them, and returns the root over the full tile that they complete. The
    /// size must be a multiple of that number.
    pub(crate) fn push_subtree(&mut self, root: Hash, level: u32) -> Option<Hash> {
        debug_assert!(self.size.trailing_zeros() >= level, "a subtree begins where it may");
        let mut hash = root;
        let mut tile = (level == TILE_LEVEL).then_some(root);
        // Each trailing one bit of the size is a complete subtree as large as the one we carry.
        for carried in level..level + (self.size >> level).trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
            }
            if carried + 1 == TILE_LEVEL {
                tile = Some(hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1 << level;
        tile
    }

    /// Root over all leaves so far.
    pub fn root(&self) -> Hash {
        self.hashes
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// MTH as RFC 6962 section 2.1 writes it.
    pub(crate) fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(split);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    proptest! {
        #[test]
        fn root_is_the_naive_root(n in 0usize..600) {
            let leaves: Vec<Hash> = (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let mut frontier = Frontier::default();
            for leaf in &leaves {
                frontier.push(*leaf);
            }
            prop_assert_eq!(frontier.root(), naive_root(&leaves));
            let mut halves = Frontier::default();
            for (i, leaf) in leaves.iter().enumerate() {
                // Every complete group of eight at once, and the others one by one.
                match (i % 8, leaves.get(i / 8 * 8..i / 8 * 8 + 8)) {
                    (0, Some(eight)) => drop(halves.push_subtree(naive_root(eight), 3)),
                    (_, Some(_)) => {}
                    (_, None) => halves.push(*leaf),
                }
            }
            prop_assert_eq!(&halves, &frontier);
            let mut together = Frontier::default();
            let (some, others) = leaves.split_at(n * 2 / 3);
            let tiles = [together.extend(some), together.extend(others)].concat();
            prop_assert_eq!(&together, &frontier);
            let full = leaves.chunks_exact(1 << TILE_LEVEL).map(naive_root);
            prop_assert_eq!(tiles, full.collect::<Vec<_>>());
            let again = Frontier::from_parts(frontier.size(), frontier.hashes().to_vec());
            prop_assert_eq!(again, Some(frontier));
        }
    }
}
