//! Seals against the segments that they speak of, against each other, and against the records that name them.
#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    checkpoint::CheckpointError,
    durable,
    keyring::Keyring,
    leaf,
    log::sealer::SEAL_RECORD,
    seal::{self, Seal},
    segment::{self, check},
    stamp,
    tip::Tip,
    tree::Hash,
};

use super::{Findings, State, VerifyError, read_optional, signed, walk::End};

/// A seal as it was found.
#[derive(Clone, Debug)]
struct Placed {
    path: String,
    digest: Hash,
    seal: Result<Seal, CheckpointError>,
}

/// What a record says about a seal.
#[derive(Clone, Debug)]
struct Recorded {
    seq: u64,
    digest: String,
}

/// All seals by the first record of their segment, and what the walk has learned about them.
pub(super) struct Seals<'a> {
    dir: &'a Path,
    keys: &'a Keyring,
    placed: BTreeMap<u64, Placed>,
    recorded: BTreeMap<u64, Recorded>,
}

/// The records of one segment while they pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    bytes: u64,
    begun: Option<[u8; stamp::LEN]>,
    /// Only where asked for: equal roots over as many records say the same at no cost.
    digest: Option<Sha256>,
}

impl Content {
    pub(super) fn new(strict: bool) -> Self {
        Self { digest: strict.then(Sha256::new), ..Self::default() }
    }

    /// Takes in records with their newlines.
    pub(super) fn take(&mut self, leaves: &[u8]) {
        self.bytes += leaves.len() as u64;
        if self.begun.is_none() {
            let first = leaves.split(|byte| *byte == b'\n').next();
            self.begun = first.and_then(check::time_text).copied();
        }
        if let Some(digest) = &mut self.digest {
            digest.update(leaves);
        }
    }
}

impl<'a> Seals<'a> {
    /// Reads every seal that is there now.
    pub(super) fn open(dir: &'a Path, keys: &'a Keyring) -> Result<Self, VerifyError> {
        let paths = segment::seals(&|path| durable::list(&dir.join(path)))
            .map_err(|source| VerifyError::Io { path: "seg".to_owned(), source })?;
        let mut seals = Self { dir, keys, placed: BTreeMap::new(), recorded: BTreeMap::new() };
        for path in paths {
            seals.place(path)?;
        }
        Ok(seals)
    }

    fn place(&mut self, path: String) -> Result<(), VerifyError> {
        let first =
            path.rsplit('/').next().and_then(|name| name.strip_suffix(".seal")?.parse().ok());
        let Some((first, note)) = first.zip(read_optional(self.dir, &path)?) else { return Ok(()) };
        let (digest, seal) = (seal::digest(&note), self.keys.seal(&note));
        self.placed.insert(first, Placed { path, digest, seal });
        Ok(())
    }

    /// Looks for a record that names a seal.
    pub(super) fn record(&mut self, seq: u64, leaf: &[u8]) {
        if !leaf.starts_with(SEAL_RECORD) {
            return;
        }
        let value = |name| leaf::values(leaf, name).into_iter().next();
        let first = value("params.first").and_then(|first| first.parse().ok());
        if let Some((first, digest)) = first.zip(value("params.sha256")) {
            // A start after a crash may record a seal again; the first record is the one that counts.
            self.recorded.entry(first).or_insert(Recorded { seq, digest });
        }
    }

    /// The tip at `first`, if a good seal ends there and the file beside the next segment holds what it signed.
    pub(super) fn vouch_for(&self, first: u64, tip: Option<&Tip>) -> bool {
        let before = self.placed.range(..first).next_back();
        let seal = before.and_then(|(_, placed)| placed.seal.as_ref().ok());
        seal.zip(tip).is_some_and(|(seal, tip)| seal.leads_to(tip))
    }

    /// Where the segment that begins with `first` ends, and number and digest of its frames, if it has a good seal.
    pub(super) fn end_of(&self, first: u64) -> Option<u64> {
        self.good(first).map(|seal| seal.end)
    }

    pub(super) fn frames_of(&self, first: u64) -> Option<(u64, Hash)> {
        self.good(first).map(|seal| seal.frames)
    }

    /// Where each good seal before a record ends, with the root and the chain there.
    pub(super) fn sealed_before(&self, first: u64) -> Vec<(u64, Option<(Hash, Hash)>)> {
        let good = self.placed.range(..first).filter_map(|(_, placed)| placed.seal.as_ref().ok());
        let mut ends: Vec<_> = good
            .filter(|seal| seal.end <= first)
            .map(|seal| (seal.end, Some((seal.root, seal.chains.1))))
            .collect();
        ends.sort_unstable();
        ends
    }

    /// The last good seal that begins before a record, and its digest.
    pub(super) fn last_before(&self, end: u64) -> Option<(&Seal, Hash)> {
        let (_, placed) = self.placed.range(..end).next_back()?;
        placed.seal.as_ref().ok().map(|seal| (seal, placed.digest))
    }

    fn is_any_before(&self, first: u64) -> bool {
        self.placed.range(..first).next().is_some()
    }

    fn good(&self, first: u64) -> Option<&Seal> {
        let seal = self.placed.get(&first)?.seal.as_ref().ok()?;
        Some(seal).filter(|seal| seal.first == first)
    }

    /// Compares what a segment turned out to hold with its seal.
    pub(super) fn compare(
        &self,
        before: &Tip,
        after: &Tip,
        content: Content,
        findings: &mut Findings,
    ) {
        let Some(Placed { path, seal: Ok(seal), .. }) = self.placed.get(&before.size()) else {
            return;
        };
        let begun = content.begun.and_then(|time| stamp::parse(&time));
        let digest = content.digest.map(|digest| Hash::from(digest.finalize()));
        // Another seal lies here, or records are missing: both are said elsewhere.
        if seal.first != before.size() || after.size() < seal.end {
            return;
        }
        let what = if !seal.leads_to(after) || seal.chains.0 != before.chain {
            "the records are not the ones that were sealed"
        } else if seal.bytes != content.bytes || Some(seal.times_us.0) != begun {
            "the seal does not describe its records"
        } else if digest.is_some_and(|digest| digest != seal.sha256) {
            "the seal has another digest than its records"
        } else {
            return;
        };
        findings.add(State::Modified, path, (None, Some(seal.first)), what);
    }

    /// What is left once the walk is over: signatures, order, links, and what the records say.
    pub(super) fn finish(mut self, end: &End, findings: &mut Findings) -> Result<(), VerifyError> {
        for (first, recorded) in self.recorded.clone() {
            if !self.placed.contains_key(&first) {
                self.look_again(first, &recorded, findings)?;
            }
        }
        let mut before: Option<(&Placed, &Seal)> = None;
        for (first, placed) in &self.placed {
            let at = (None, Some(*first));
            match self.judge(*first, placed, before, end) {
                Ok(seal) => before = Some((placed, seal)),
                Err((state, what)) => {
                    findings.add(state, &placed.path, at, what);
                    // That records are missing says nothing against the seal, which the next one names.
                    let good = placed.seal.as_ref().ok().filter(|_| state == State::Truncated);
                    before = good.map(|seal| (placed, seal));
                }
            }
        }
        Ok(())
    }

    /// A seal that a record names is not there: it was made after the seals were read, or it is gone.
    fn look_again(
        &mut self,
        first: u64,
        recorded: &Recorded,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let paths = segment::seals(&|path| durable::list(&self.dir.join(path)))
            .map_err(|source| VerifyError::Io { path: "seg".to_owned(), source })?;
        let name = format!("/{first:016}.seal");
        if let Some(path) = paths.into_iter().find(|path| path.ends_with(&name)) {
            return self.place(path);
        }
        let seq = recorded.seq;
        let what =
            format!("record {seq} says that the segment was sealed, but its seal is not there");
        findings.add(State::Unsealed, &format!("seg{name}"), (None, Some(first)), what);
        Ok(())
    }

    /// One seal, given the one before it where that is good.
    fn judge<'s>(
        &self,
        first: u64,
        placed: &'s Placed,
        before: Option<(&Placed, &Seal)>,
        end: &End,
    ) -> Result<&'s Seal, (State, String)> {
        let seal = match &placed.seal {
            Ok(seal) => seal,
            Err(error) => return Err((signed::head_state(*error), error.to_string())),
        };
        if seal.first != first {
            let what = format!("this is the seal of records {}..{}", seal.first, seal.end);
            return Err((State::Reordered, what));
        }
        if let Some(Recorded { seq, digest }) = self.recorded.get(&first)
            && *digest != hex::encode(placed.digest)
        {
            return Err((
                State::Modified,
                format!("the seal is not the one that record {seq} names"),
            ));
        }
        let named = seal.prev.map(hex::encode);
        let earlier = self.recorded.range(..first).next_back();
        let expected = match before {
            Some((_, earlier)) if earlier.end != first => {
                let what = format!("the seal before it ends at record {}", earlier.end);
                return Err((State::Missing, what));
            }
            Some((earlier, _)) => Some(hex::encode(earlier.digest)),
            // The record that names the earlier one may have been pruned; seals never are.
            None if named.is_some() && earlier.is_none() && !self.is_any_before(first) => {
                return Err((State::Missing, "the seal before it is not there".to_owned()));
            }
            None => earlier.map(|(_, recorded)| recorded.digest.clone()),
        };
        if expected.is_some() && named != expected {
            let what = "the seal names another one as the one before it".to_owned();
            return Err((State::Modified, what));
        }
        if seal.end > end.tip.size() && !end.damaged_tail {
            let (size, sealed) = (end.tip.size(), seal.end);
            let what = format!("there are {size} records here, but {sealed} were sealed");
            return Err((State::Truncated, what));
        }
        Ok(seal)
    }
}
