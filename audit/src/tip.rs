//! The end of the log while it is being written or read: the tree's right edge, the chain and the last time.

use crate::{
    chain,
    checkpoint::Head,
    tree::{self, Frontier, Hash},
};

/// Everything that the next record needs to know about all records before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Right edge of the tree.
    pub frontier: Frontier,
    /// Chain value of the last record.
    pub chain: Hash,
    /// Time of the last record in microseconds; the next one is later.
    pub time_us: u64,
}

impl Default for Tip {
    fn default() -> Self {
        Self { frontier: Frontier::default(), chain: chain::START, time_us: 0 }
    }
}

impl Tip {
    /// A tip of which only position and time are known; its hashes mean nothing.
    pub(crate) fn unknown(size: u64, time_us: u64) -> Self {
        let hashes = vec![[0; 32]; size.count_ones() as usize];
        let frontier = Frontier::from_parts(size, hashes).unwrap_or_default();
        Self { frontier, time_us, ..Self::default() }
    }

    /// Number of records, and the `seq` of the next one.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Size and root.
    pub fn head(&self) -> Head {
        Head { size: self.size(), root: self.frontier.root() }
    }

    /// Takes in one record.
    pub fn push(&mut self, leaf: &[u8]) {
        self.push_hash(tree::leaf_hash(leaf));
    }

    /// Takes in many records by their leaf hashes, and returns the root over each full tile that they complete.
    pub(crate) fn extend(&mut self, leaves: &[Hash]) -> Vec<Hash> {
        leaves.iter().for_each(|leaf| self.chain = chain::step(&self.chain, leaf));
        self.frontier.extend(leaves)
    }

    /// Takes in a whole subtree of records: their leaf hashes in order, and the root over them.
    pub(crate) fn push_subtree<'a>(
        &mut self,
        leaves: impl Iterator<Item = &'a Hash>,
        root: Hash,
        level: u32,
    ) {
        leaves.for_each(|leaf| self.chain = chain::step(&self.chain, leaf));
        let _ = self.frontier.push_subtree(root, level);
    }

    /// Takes in one record by its leaf hash.
    pub(crate) fn push_hash(&mut self, hash: Hash) {
        self.chain = chain::step(&self.chain, &hash);
        self.frontier.push(hash);
    }
}
