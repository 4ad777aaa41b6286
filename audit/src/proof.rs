//! Inclusion and consistency proofs, and the file that carries one record's proof offline.
//!
//! # Source
//! RFC 6962 section 2.1.1 and 2.1.2 for making proofs, RFC 9162 section 2.1.3.2 and 2.1.4.2 for checking them, C2SP
//! tlog-proof for the file.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::{self, CheckpointError, Head},
    keyring::Keyring,
    note::Vkey,
    tree::{self, Hash, node_hash},
};

/// First line of a proof file.
const PROOF_HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 leaves has proofs this long.
const PATH_MAX: usize = 63;

/// Hashes of whole subtrees. Contract: `start` is a multiple of the range's length rounded up to a power of two, and
/// the answer is the RFC 6962 hash over exactly those leaves.
pub trait Subtrees {
    /// Why a hash is not to be had.
    type Error;
    /// MTH of the leaves in `range`, which is never empty.
    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, Self::Error>;
}

/// Leaf hashes in memory.
impl Subtrees for &[Hash] {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, Self::Error> {
        let leaves =
            self.iter().skip(range.start as usize).take((range.end - range.start) as usize);
        let mut frontier = tree::Frontier::default();
        leaves.for_each(|leaf| frontier.push(*leaf));
        Ok(frontier.root())
    }
}

/// Largest power of two below `n`, where the tree of `n > 1` leaves splits.
fn split(n: u64) -> u64 {
    n.next_power_of_two() / 2
}

/// The path that shows record `index` in the tree of `size` records, sibling first.
///
/// # Errors
/// Those of `subtrees`. An index outside the tree has an empty path, which verifies nothing.
pub fn inclusion<S: Subtrees>(
    index: u64,
    size: u64,
    subtrees: &mut S,
) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    let mut range = 0..size;
    while index < size && range.end - range.start > 1 {
        let middle = range.start + split(range.end - range.start);
        let (ours, other) = if index < middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        path.push(subtrees.subtree(other)?);
        range = ours;
    }
    path.reverse();
    Ok(path)
}

/// The path that shows the tree of `old` records to be the beginning of the tree of `new` records.
///
/// # Errors
/// Those of `subtrees`. `old` of 0 or not below `new` has an empty path.
pub fn consistency<S: Subtrees>(
    old: u64,
    new: u64,
    subtrees: &mut S,
) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let mut range = 0..new;
    // Whether the old tree is exactly the subtree we stand in, and so known to the verifier.
    let mut is_old_root = true;
    while range.end != old {
        let middle = range.start + split(range.end - range.start);
        if old <= middle {
            path.push(subtrees.subtree(middle..range.end)?);
            range.end = middle;
        } else {
            path.push(subtrees.subtree(range.start..middle)?);
            range.start = middle;
            is_old_root = false;
        }
    }
    if !is_old_root {
        path.push(subtrees.subtree(range)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` shows a leaf with this hash at `index` of the tree behind `head`.
pub fn verify_inclusion(index: u64, leaf: &Hash, path: &[Hash], head: &Head) -> bool {
    if index >= head.size {
        return false;
    }
    let (mut node, mut last, mut root) = (index, head.size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(sibling, &root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && root == head.root
}

/// Whether `path` shows the tree behind `old` to be the beginning of the tree behind `new`.
pub fn verify_consistency(old: &Head, new: &Head, path: &[Hash]) -> bool {
    if old.size > new.size {
        return false;
    }
    if old.size == new.size {
        return path.is_empty() && old.root == new.root;
    }
    if old.size == 0 {
        return path.is_empty() && old.root == tree::empty_root();
    }
    let whole = old.size.is_power_of_two();
    let mut hashes = whole.then_some(&old.root).into_iter().chain(path);
    let Some(first) = hashes.next() else { return false };
    let (mut node, mut last) = (old.size - 1, new.size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_root, mut new_root) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_root = node_hash(hash, &old_root);
            new_root = node_hash(hash, &new_root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = node_hash(&new_root, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_root == old.root && new_root == new.root
}

/// A record's proof as one file: optional record, index, path, signed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The record's bytes; they become authenticated because the verifier hashes them as the leaf.
    pub extra: Option<Vec<u8>>,
    /// Position in the log.
    pub index: u64,
    /// Inclusion path, sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint note, verbatim.
    pub checkpoint: String,
}

/// Why a proof file proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof file.
    #[error("not a proof file of the form {PROOF_HEADER}")]
    Malformed,
    /// The checkpoint was refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the record to the signed root.
    #[error("the record is not at this place of the log")]
    NotIncluded,
}

impl ProofFile {
    /// The file's text.
    pub fn encode(&self) -> String {
        let mut text = format!("{PROOF_HEADER}\n");
        if let Some(extra) = &self.extra {
            text += &format!("extra {}\n", STANDARD.encode(extra));
        }
        text += &format!("index {}\n", self.index);
        self.path.iter().for_each(|hash| text += &format!("{}\n", STANDARD.encode(hash)));
        text + "\n" + &self.checkpoint
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        Self::parse_text(text).ok_or(ProofError::Malformed)
    }

    fn parse_text(text: &str) -> Option<Self> {
        let (body, checkpoint) = text.split_once("\n\n")?;
        let mut lines = body.split('\n').peekable();
        if lines.next() != Some(PROOF_HEADER) {
            return None;
        }
        let extra = match lines.peek()?.strip_prefix("extra ") {
            Some(extra) => Some(STANDARD.decode(extra).ok()?),
            None => None,
        };
        if extra.is_some() {
            lines.next();
        }
        let digits = lines.next()?.strip_prefix("index ")?;
        let index: u64 = digits.parse().ok()?;
        let path = lines
            .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
            .collect::<Option<Vec<Hash>>>()?;
        let canonical = index.to_string() == digits && path.len() <= PATH_MAX;
        canonical.then(|| Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks the file for a record, given or carried, and returns the head that covers it.
    ///
    /// # Errors
    /// [`ProofError::Checkpoint`] or [`ProofError::NotIncluded`], the latter also when there is no record at all.
    pub fn verify(&self, record: Option<&[u8]>, vkey: &Vkey) -> Result<Head, ProofError> {
        let head = checkpoint::open(self.checkpoint.as_bytes(), vkey)?;
        self.under(head, self.leaf(record))
    }

    /// The same under all keys that the log had.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_by(&self, record: Option<&[u8]>, keys: &Keyring) -> Result<Head, ProofError> {
        self.under(keys.head(self.checkpoint.as_bytes())?, self.leaf(record))
    }

    /// Checks the file for a record of which only the leaf hash is known, and returns the head that covers it.
    ///
    /// # Errors
    /// [`ProofError::Checkpoint`] or [`ProofError::NotIncluded`].
    pub fn verify_hash(&self, leaf: &Hash, keys: &Keyring) -> Result<Head, ProofError> {
        self.under(keys.head(self.checkpoint.as_bytes())?, Some(*leaf))
    }

    fn leaf(&self, record: Option<&[u8]>) -> Option<Hash> {
        record.or(self.extra.as_deref()).map(tree::leaf_hash)
    }

    fn under(&self, head: Head, leaf: Option<Hash>) -> Result<Head, ProofError> {
        let leaf = leaf.ok_or(ProofError::NotIncluded)?;
        if verify_inclusion(self.index, &leaf, &self.path, &head) {
            Ok(head)
        } else {
            Err(ProofError::NotIncluded)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| tree::leaf_hash(&i.to_be_bytes())).collect()
    }

    fn head(leaves: &[Hash]) -> Head {
        let mut frontier = tree::Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        Head { size: frontier.size(), root: frontier.root() }
    }

    #[test]
    fn every_proof_to_size_80_holds_and_no_changed_one_does() {
        let all = leaves(80);
        for new in 1..=80u64 {
            let whole = &all[..new as usize];
            let new_head = head(whole);
            for other in 0..new {
                let Ok(path) = inclusion(other, new, &mut &*whole);
                let leaf = all[other as usize];
                assert!(verify_inclusion(other, &leaf, &path, &new_head), "{other} of {new}");
                assert!(!verify_inclusion(other, &[9; 32], &path, &new_head));
                assert!(!verify_inclusion(other + 1, &leaf, &path, &new_head) || path.is_empty());
                let old_head = head(&all[..other as usize]);
                let Ok(path) = consistency(other, new, &mut &*whole);
                assert!(verify_consistency(&old_head, &new_head, &path), "{other} to {new}");
                let changed = Head { root: [9; 32], ..old_head };
                assert!(!verify_consistency(&changed, &new_head, &path));
            }
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(text in ".{0,300}", index in any::<u64>(), size in any::<u64>(),
            path in proptest::collection::vec(any::<Hash>(), 0..70)) {
            prop_assert!(ProofFile::parse(&text).is_err());
            let head = Head { size, root: [1; 32] };
            prop_assert!(!verify_inclusion(index, &[2; 32], &path, &head));
            let old = Head { size: index, root: [2; 32] };
            prop_assert!(!verify_consistency(&old, &head, &path));
        }
    }
}
