//! The proof that one record is in the log, made in one pass over the records.
#![deny(clippy::indexing_slicing)]

use std::{collections::HashMap, io, ops::Range, path::Path};

use crate::{
    checkpoint::{CheckpointError, Head},
    durable,
    keyring::{FollowError, Keyring},
    note::Vkey,
    proof::{self, ProofFile, Subtrees},
    pruned,
    segment::{self, start},
    tip::Tip,
    tree::{Frontier, Hash},
};

use super::TileError;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// Reading failed.
    #[error("reading the audit log: {0}")]
    Io(#[from] io::Error),
    /// There is no head to prove against.
    #[error("the log has no signed head yet")]
    NoHead,
    /// The head was refused.
    #[error("the signed head: {0}")]
    Head(#[from] CheckpointError),
    /// The log's keys are not known.
    #[error("the log's keys: {0}")]
    Keys(#[from] FollowError),
    /// No signed head covers the record.
    #[error(
        "record {seq} is not covered by a signed head yet; the newest one covers {covered} records"
    )]
    NotCovered {
        /// The record.
        seq: u64,
        /// Size of the head.
        covered: u64,
    },
    /// The hashes that the proof needs are not there.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// The records do not lead to the signed root.
    #[error("the records do not match the signed head of {size} records; run `audit verify`")]
    Mismatch {
        /// Size of the head.
        size: u64,
    },
}

/// Proves record `seq` of the log in `dir` under the checkpoint in it, which the key `vkey` or one that followed it signed.
/// The file carries the record, so it needs nothing else but the key; of a record that was pruned it proves the hash, and
/// needs the record from elsewhere. `progress` is called with records read and records to read.
///
/// # Errors
/// See [`ProveError`]. What is returned was checked as a stranger would.
pub fn prove(
    dir: &Path,
    seq: u64,
    vkey: &Vkey,
    progress: &dyn Fn(u64, u64),
) -> Result<ProofFile, ProveError> {
    let note = std::fs::read(dir.join("checkpoint")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ProveError::NoHead,
        _ => error.into(),
    })?;
    // ORDER: after the head, so that they are at least as new.
    let keys = Keyring::of_directory(vkey, dir)?;
    let head = keys.head(&note)?;
    if seq >= head.size {
        return Err(ProveError::NotCovered { seq, covered: head.size });
    }
    let mismatch = ProveError::Mismatch { size: head.size };
    // What lies before the record's segment was hashed when the segment was begun; the check below says whether rightly.
    let mut known = edge_before(dir, seq)?;
    let (mut proof, mut leaf) = assemble(dir, seq, &head, &note, &mut known, progress)?;
    if proof.verify_hash(&leaf, &keys).is_err() && !known.is_empty() {
        known.clear();
        (proof, leaf) = assemble(dir, seq, &head, &note, &mut known, progress)?;
    }
    proof.verify_hash(&leaf, &keys).map(|_| proof).map_err(|_| mismatch)
}

/// Subtree hashes by their range.
type Known = HashMap<(u64, u64), Hash>;

/// The complete subtrees before the segment of `seq`, from the file beside it.
fn edge_before(dir: &Path, seq: u64) -> io::Result<Known> {
    let names = segment::names(&|path| durable::list(&dir.join(path)))?;
    let after = names.partition_point(|name| name.first <= seq);
    let name = after.checked_sub(1).and_then(|i| names.get(i));
    let bytes = name.map(|name| std::fs::read(dir.join(name.start_path())));
    let tip = bytes.and_then(Result::ok).and_then(|bytes| start::parse(&bytes));
    Ok(tip.as_ref().map(subtrees).unwrap_or_default())
}

fn subtrees(tip: &Tip) -> Known {
    let mut from = 0;
    let sizes = (0..64).rev().map(|bit| 1u64 << bit).filter(|size| tip.size() & size != 0);
    sizes
        .zip(tip.frontier.hashes())
        .map(|(size, hash)| {
            let range = (from, from + size);
            from += size;
            (range, *hash)
        })
        .collect()
}

fn assemble(
    dir: &Path,
    seq: u64,
    head: &Head,
    note: &[u8],
    known: &mut Known,
    progress: &dyn Fn(u64, u64),
) -> Result<(ProofFile, Hash), ProveError> {
    let mut wanted = Wanted(Vec::new());
    let Ok(_) = proof::inclusion(seq, head.size, &mut wanted);
    let mut missing: Vec<_> = wanted.0.into_iter().filter(|r| !known.contains_key(r)).collect();
    missing.push((seq, seq + 1));
    missing.sort_unstable();
    let total = missing.iter().map(|(from, to)| to - from).sum();
    let (mut done, mut record, mut leaf) = (0, None, [0; 32]);
    for (from, to) in missing {
        let mut frontier = Frontier::default();
        let read = pruned::leaf_hashes(dir, from..to, &mut |at, hash, bytes| {
            frontier.push(hash);
            if at == seq {
                (record, leaf) = (bytes.map(<[u8]>::to_vec), hash);
            }
            if at.is_multiple_of(4096) {
                progress(done + frontier.size(), total);
            }
            Ok(())
        })?;
        if read != to - from {
            return Err(ProveError::Mismatch { size: head.size });
        }
        done += read;
        known.insert((from, to), frontier.root());
    }
    let Ok(path) = proof::inclusion(seq, head.size, &mut Found(known));
    let checkpoint = String::from_utf8_lossy(note).into_owned();
    Ok((ProofFile { extra: record, index: seq, path, checkpoint }, leaf))
}

/// Notes which subtrees a proof asks for.
struct Wanted(Vec<(u64, u64)>);

impl Subtrees for Wanted {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, Self::Error> {
        self.0.push((range.start, range.end));
        Ok([0; 32])
    }
}

/// Answers from what was hashed; a hash that is not there makes a proof that does not hold.
struct Found<'a>(&'a Known);

impl Subtrees for Found<'_> {
    type Error = std::convert::Infallible;

    fn subtree(&mut self, range: Range<u64>) -> Result<Hash, Self::Error> {
        Ok(self.0.get(&(range.start, range.end)).copied().unwrap_or([0; 32]))
    }
}
