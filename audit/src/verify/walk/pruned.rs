//! The beginning of a pruned log: kept hashes in place of records, and the record that says why.
//!
//! The hashes lead to the root and the chain in every seal and every signed head of the range, as the records did; from
//! there the walk goes on as usual. That they stand there in place of records is right only where an `audit:prune` record
//! under a signed head says so. Otherwise records are missing.
#![deny(clippy::indexing_slicing)]

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    leaf,
    log::prune::{INTENT_PATH, Intent, PRUNE_RECORD},
    pruned::{self, Lost, Pruned},
    segment::{
        Name,
        check::{self, Known},
        start,
    },
    tip::Tip,
};

use super::{Findings, Heads, Seals, State, VerifyError, Walk, read_optional};

/// What a record says about those that were pruned.
#[derive(Clone, Debug)]
pub(in crate::verify) struct Said {
    pub(in crate::verify) seq: u64,
    pub(in crate::verify) time_us: u64,
    pub(in crate::verify) end: u64,
    pub(in crate::verify) root: String,
    seal: String,
}

impl Said {
    /// Reads a record; none if it is about something else.
    pub(in crate::verify) fn of(seq: u64, leaf: &[u8]) -> Option<Self> {
        if !leaf.starts_with(PRUNE_RECORD) {
            return None;
        }
        let value = |name| leaf::values(leaf, name).into_iter().next().unwrap_or_default();
        let end = value("params.end").parse().unwrap_or(0);
        let time_us = check::time(leaf).unwrap_or(0);
        Some(Self { seq, time_us, end, root: value("params.root"), seal: value("params.seal") })
    }
}

/// What the walk has learned about pruned records.
#[derive(Debug, Default)]
pub(in crate::verify) struct Front {
    /// Where the records that are there begin, and in which file.
    first: u64,
    file: String,
    /// What is wrong with what is kept of those before.
    faults: Vec<(State, String, Option<u64>, String)>,
    said: Vec<Said>,
}

impl Front {
    /// Looks for a record that says that others were pruned.
    pub(super) fn record(&mut self, seq: u64, leaf: &[u8]) {
        self.said.extend(Said::of(seq, leaf));
    }

    /// What is left once the walk is over. Returns what was pruned, if that is in order.
    pub(in crate::verify) fn finish(
        self,
        dir: &std::path::Path,
        heads: &Heads<'_>,
        seals: &Seals<'_>,
        findings: &mut Findings,
    ) -> Result<Option<Pruned>, VerifyError> {
        let Self { first, file, faults, said } = self;
        let (mut good, mut refused) = (Vec::new(), None);
        for said in said {
            let place = (None, Some(said.seq));
            if heads.matched_size() <= said.seq {
                refused = Some(format!(
                    "record {} says that they were pruned, but no signed head covers it",
                    said.seq
                ));
            } else if !seals.ends_with(said.end, &said.root, &said.seal) {
                let what = "it says that records were pruned, but not what their seal says";
                findings.add(State::Modified, "seg", place, what);
            } else {
                let Said { seq: record, time_us, end, .. } = said;
                good.push(Pruned { end, record, time_us });
            }
        }
        // The newest one that speaks of all that is not there; one before it may be pruned itself.
        let covering = good.iter().rev().find(|pruned| pruned.end == first).copied();
        let beyond = good.iter().rev().find(|pruned| pruned.end > first).copied();
        let pruned = covering.or(beyond).filter(|_| first > 0);
        match pruned {
            Some(pruned) => {
                for (state, path, seq, what) in faults {
                    findings.add(state, &path, (None, seq), what);
                }
                findings.remark(format!("records 0 to {} were {pruned}", first - 1));
            }
            None if first > 0 => {
                let mut what = format!("records 0 to {} are not there", first - 1);
                if let Some(refused) = refused {
                    what = format!("{what}; {refused}");
                }
                findings.add(State::Missing, &file, (Some(0), Some(0)), what);
            }
            None => {}
        }
        if let Some(begun) = beyond {
            let end = begun.end;
            findings.remark(format!("records {first} to {} were {begun}, and are there", end - 1));
        }
        notes(dir, first, &good, findings)?;
        Ok(pruned)
    }
}

/// The files that say, for readers, what the records say.
fn notes(
    dir: &std::path::Path,
    first: u64,
    good: &[Pruned],
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    let path = pruned::PATH;
    match read_optional(dir, path)? {
        Some(bytes) => {
            let said = Pruned::parse(&bytes).filter(|said| good.contains(said));
            if said.is_none_or(|said| said.end < first) {
                let what = "the file does not say what the log says about pruned records";
                findings.add(State::Modified, path, (Some(0), None), what);
            }
        }
        None if good.iter().any(|pruned| pruned.end == first && first > 0) => {
            let what = "records were pruned, but the file that says so is not there";
            findings.add(State::Missing, path, (None, None), what);
        }
        None => {}
    }
    if let Some(bytes) = read_optional(dir, INTENT_PATH)? {
        match Intent::parse(&bytes) {
            Some(intent) => findings.remark(format!(
                "a prune of the records {} to {} is not finished",
                intent.first,
                intent.end - 1
            )),
            None => {
                let what = "the file does not say what is being pruned";
                findings.add(State::Modified, INTENT_PATH, (Some(0), None), what);
            }
        }
    }
    Ok(())
}

impl Walk<'_, '_> {
    /// Takes in what is kept of the records before the oldest segment.
    pub(super) fn front(&mut self, oldest: &Name) -> Result<(), VerifyError> {
        let first = oldest.first;
        (self.front.first, self.front.file) = (first, oldest.path.clone());
        if first == 0 {
            return Ok(());
        }
        match self.kept(first) {
            Ok(tip) => {
                self.known = Known::Tree;
                self.end.tip = self.timed(oldest, tip)?;
            }
            Err((state, path, seq, what)) => {
                self.front.faults.push((state, path, seq, what));
                self.heads.skip(first, self.findings)?;
                // The file beside the oldest segment carries the walk over the gap. Whether it is one is said at the end.
                self.end.damaged_tail = true;
            }
        }
        Ok(())
    }

    /// The tip after the kept hashes, compared with every seal and head on the way.
    fn kept(&mut self, first: u64) -> Result<Tip, (State, String, Option<u64>, String)> {
        let dir = self.dir;
        let read = |path: &str| fs::read(dir.join(path));
        let (mut tip, mut from) = (Tip::default(), 0);
        let mut ends: Vec<_> = self.seals.sealed_before(first);
        if ends.last().is_none_or(|(end, ..)| *end != first) {
            ends.push((first, None));
        }
        for (end, seal) in ends {
            let heads = &mut *self.heads;
            let findings = &mut *self.findings;
            let kept = pruned::kept(&read, from..end, first, &mut |_, hash| {
                tip.push_hash(hash);
                heads.reach(&tip, findings).map_err(std::io::Error::other)
            });
            if let Err(Lost { path, error }) = kept {
                let state = match error.kind() {
                    std::io::ErrorKind::NotFound => State::Missing,
                    _ => State::Modified,
                };
                let what = format!("the hashes of pruned records from {from} on: {error}");
                return Err((state, path, Some(from), what));
            }
            if let Some((root, chain)) = seal
                && (root != tip.frontier.root() || chain != tip.chain)
            {
                let path = pruned::tile_path(from / 256, first);
                let what = format!(
                    "the hashes of the pruned records {from} to {} do not lead to their seal",
                    end - 1
                );
                return Err((State::Modified, path, Some(from), what));
            }
            from = end;
        }
        Ok(tip)
    }

    /// Hashes have no time; the last seal does, or the file beside the oldest segment.
    fn timed(&self, oldest: &Name, tip: Tip) -> Result<Tip, VerifyError> {
        let stored = read_optional(self.dir, &oldest.start_path())?;
        let stored = stored.as_deref().and_then(start::parse).map_or(0, |stored| stored.time_us);
        let time_us = self.seals.time_before(oldest.first).unwrap_or(stored);
        Ok(Tip { time_us, ..tip })
    }
}

impl Seals<'_> {
    /// Whether a good seal ends here with this root and has this digest.
    fn ends_with(&self, end: u64, root: &str, digest: &str) -> bool {
        self.last_before(end).is_some_and(|(seal, found)| {
            seal.end == end && STANDARD.encode(seal.root) == root && hex::encode(found) == digest
        })
    }

    fn time_before(&self, first: u64) -> Option<u64> {
        let (seal, _) = self.last_before(first)?;
        (seal.end == first).then_some(seal.times_us.1)
    }
}
