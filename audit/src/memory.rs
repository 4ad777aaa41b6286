//! What others remember of the log, and what it means when the log does not.
//!
//! Nothing inside a directory can tell that all of it was put back to an earlier state: heads, records and seals go back
//! together. Whoever reads the log from outside can tell. They keep how many records were durable when they read them,
//! and marks by which they know some of them again. A log that has fewer records, or another one at a mark, is not opened;
//! it goes on only when somebody who was shown exactly that accepts it, and the first record then says so: `audit:gap`.
//!
//! The lost records' numbers are given again, because the position in the log is the leaf's place in the tree.
//!
//! Between that record and the moment when everybody has gone back, a crash may come. The record then speaks of exactly
//! the memories that the next start finds, and nothing has to be accepted again.
#![deny(clippy::indexing_slicing)]

use std::{fmt, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::Head,
    durable::Files,
    leaf,
    log::{OpenError, Options, Sha256Hex},
    pruned::{self, Pruned},
    search::{self, SearchError},
    segment::{self, Form, Leaves, Name, Packed, Reader, check},
    stamp,
    tip::Tip,
    tree::{self, Hash},
};

/// First bytes of the records that say that others are lost.
pub(crate) const GAP_RECORD: &[u8] = br#"{"action":"audit:gap","class":"audit","#;
/// Marks of one memory, at most: one for each power of two of their distance from the newest.
const MARKS_MAX: usize = 65;

/// A record by which the log is known again: the last one of the first `size`. It holds its position, its time and an
/// event that no other record has, so who has the same record there has the same ones before it, unless somebody forged
/// them; that is for the tree to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Records up to and with this one.
    pub size: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

impl Mark {
    /// The mark that is the record `seq`, whose exact bytes are `leaf`.
    #[must_use]
    pub fn of(seq: u64, leaf: &[u8]) -> Self {
        Self { size: seq + 1, leaf: tree::leaf_hash(leaf) }
    }
}

/// The mark at the end of the first `size` records of the log in `dir`; none where that record is not there.
///
/// # Errors
/// [`SearchError::Io`].
pub fn mark_at(dir: &Path, size: u64) -> Result<Option<Mark>, SearchError> {
    let Some(seq) = size.checked_sub(1) else { return Ok(None) };
    Ok(search::read_record(dir, seq)?.map(|leaf| Mark::of(seq, &leaf)))
}

/// Marks by growing size: many near the newest one, few far from it, so that where two logs part is found roughly, and
/// keeping them costs little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Takes marks that were kept; none unless their sizes grow and there are not too many.
    #[must_use]
    pub fn new(marks: Vec<Mark>) -> Option<Self> {
        let grow = marks.is_sorted_by(|a, b| a.size < b.size);
        (grow && marks.len() <= MARKS_MAX).then_some(Self(marks))
    }

    /// Adds a mark; one that is not beyond the newest adds nothing, as when records are read again.
    pub fn push(&mut self, mark: Mark) {
        if self.0.last().is_some_and(|newest| newest.size >= mark.size) {
            return;
        }
        self.0.push(mark);
        let distance = |other: &Mark| (mark.size - other.size).checked_ilog2();
        // The oldest one of each power of two stays, so that there are always some to grow older.
        self.0.dedup_by(|later, earlier| distance(later) == distance(earlier));
    }

    /// Those within the first `size` records.
    #[must_use]
    pub fn up_to(&self, size: u64) -> Self {
        Self(self.0.iter().copied().filter(|mark| mark.size <= size).collect())
    }

    /// From the oldest to the newest.
    #[must_use]
    pub fn as_slice(&self) -> &[Mark] {
        &self.0
    }

    /// Records that the newest one is the end of.
    #[must_use]
    pub fn reach(&self) -> u64 {
        self.0.last().map_or(0, |newest| newest.size)
    }
}

/// What one reader of the log remembers of it. Contract: so many records were durable when it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Who, as an operator knows it: `siem/soc`.
    pub name: String,
    /// The file that it is in.
    pub place: String,
    /// Records that there were, at least.
    pub size: u64,
    /// Some of them.
    pub marks: Marks,
}

/// A memory that the log does not agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose.
    pub name: String,
    /// In which file.
    pub place: String,
    /// Records that there were.
    pub known: u64,
    /// The oldest mark at which the log has another record.
    pub differs: Option<u64>,
    /// The newest mark at which it has the same one; 0 where nobody knows of any.
    pub agreed: u64,
    /// The newest mark that the memory has.
    pub newest: Option<Mark>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, place, known, differs, agreed, .. } = self;
        write!(f, "{name} knows {known} records (`{place}`)")?;
        match (differs, agreed) {
            (None, _) => Ok(()),
            (Some(at), 0) => write!(f, ", and record {} is another one there", at - 1),
            (Some(at), agreed) => write!(
                f,
                ", and record {} is another one there; the first {agreed} are the same",
                at - 1
            ),
        }
    }
}

/// How the log and what others remember of it differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The log's name.
    pub origin: String,
    /// What the log has.
    pub head: Head,
    /// At least one.
    pub conflicts: Vec<Conflict>,
}

impl Gap {
    /// The first record that may be lost.
    #[must_use]
    pub fn first(&self) -> u64 {
        let differing = self.conflicts.iter().filter(|conflict| conflict.differs.is_some());
        differing.map(|conflict| conflict.agreed).min().unwrap_or(self.head.size)
    }

    /// Behind the last record that was lost, as far as anybody knows.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.conflicts.iter().map(|conflict| conflict.known).max().unwrap_or(self.head.size)
    }

    /// SHA-256 over all of this: who accepts it names it, and accepts nothing else.
    #[must_use]
    pub fn digest(&self) -> Sha256Hex {
        let Head { size, root } = self.head;
        let mut text = format!("audit-gap/v1\n{}\n{size} {}\n", self.origin, STANDARD.encode(root));
        for Conflict { name, known, differs, agreed, .. } in &self.conflicts {
            let differs = differs.map_or_else(|| "-".to_owned(), |at| at.to_string());
            text.push_str(&format!("{name} {known} {differs} {agreed}\n"));
        }
        Sha256Hex::of(text.as_bytes())
    }

    /// What the record says.
    pub(crate) fn params(&self, accepted: &Acceptance) -> Vec<(String, String)> {
        let mut params = vec![
            ("by".to_owned(), accepted.by.clone()),
            ("digest".to_owned(), accepted.digest.to_string()),
            ("end".to_owned(), self.end().to_string()),
            ("first".to_owned(), self.first().to_string()),
            ("reason".to_owned(), accepted.reason.clone()),
            ("root".to_owned(), STANDARD.encode(self.head.root)),
            ("size".to_owned(), self.head.size.to_string()),
        ];
        for Conflict { name, known, differs, agreed, newest, .. } in &self.conflicts {
            params.push((format!("knew.{name}"), known.to_string()));
            params.push((format!("agrees.{name}"), agreed.to_string()));
            params.extend(differs.map(|at| (format!("differs.{name}"), at.to_string())));
            params.extend(newest.map(|mark| (format!("last.{name}"), hex::encode(mark.leaf))));
        }
        params
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log has {} records, and others know another one: ", self.head.size)?;
        for (i, conflict) in self.conflicts.iter().enumerate() {
            let between = if i == 0 { "" } else { "; " };
            write!(f, "{between}{conflict}")?;
        }
        // Where it is known where they part, it is before `end` in any case.
        let (first, last) = (self.first(), self.end().max(self.first() + 1) - 1);
        write!(
            f,
            ". The records {first} to {last} are lost, or the log was put back to an earlier state"
        )
    }
}

/// Somebody takes the loss upon himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// [`Gap::digest`] of what was shown.
    pub digest: Sha256Hex,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A gap that a record of the log tells of, and those who have not gone back since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What the record says.
    pub told: ToldGap,
    /// At least one; they are as the record says.
    pub conflicts: Vec<Conflict>,
}

/// Where the memories differ from the log, and that is no reason not to open it.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// What the first record of this start must say.
    pub(crate) gap: Option<Gap>,
    /// What one says already.
    pub(crate) unfinished: Option<Unfinished>,
}

/// What is to be done before the log is written to.
///
/// # Errors
/// [`OpenError::Gap`] where somebody knows another log and nobody accepted exactly that, [`OpenError::NoGap`] where
/// somebody accepted it and nobody does.
pub(crate) fn settle(
    files: &dyn Files,
    tip: &Tip,
    options: &Options,
) -> Result<Settled, OpenError> {
    let unread = |source| OpenError::Io { path: "seg".to_owned(), source };
    let conflicts = conflicts(files, tip.size(), &options.memories).map_err(unread)?;
    let newest = match conflicts.is_empty() {
        true => None,
        false => newest_gap(files).map_err(unread)?,
    };
    let is_told =
        |conflict: &Conflict| newest.as_ref().is_some_and(|(_, leaf)| tells_of(leaf, conflict));
    let (told, conflicts): (Vec<_>, Vec<_>) = conflicts.into_iter().partition(is_told);
    let unfinished = newest.filter(|_| !told.is_empty()).and_then(|(seq, leaf)| {
        Some(Unfinished { told: ToldGap::of(seq, &leaf)?, conflicts: told })
    });
    let accepted = options.accepted.as_ref().map(|accepted| accepted.digest.clone());
    if conflicts.is_empty() {
        let again = unfinished.as_ref().map(|unfinished| unfinished.told.digest.as_str());
        return match accepted {
            Some(digest) if again != Some(digest.to_string().as_str()) => {
                Err(OpenError::NoGap { size: tip.size() })
            }
            _ => Ok(Settled { gap: None, unfinished }),
        };
    }
    let gap = Gap { origin: options.origin.clone(), head: tip.head(), conflicts };
    let digest = gap.digest();
    match accepted {
        Some(accepted) if accepted == digest => Ok(Settled { gap: Some(gap), unfinished }),
        _ => Err(OpenError::Gap { digest, gap: Box::new(gap) }),
    }
}

/// The newest record of a gap in the segments that a start may have written to since, with its `seq`.
fn newest_gap(files: &dyn Files) -> io::Result<Option<(u64, Vec<u8>)>> {
    let names = segment::names(&|path| files.list(path))?;
    // A day may have ended between the record and the crash.
    for name in names.iter().rev().take(2).filter(|name| name.form == Form::Written) {
        let mut reader = Reader::new(files.stream(&name.path)?, 0);
        let (mut next, mut found) = (name.first, None);
        while let Ok(frame) = reader.next()? {
            for (_, leaf) in Leaves::new(frame.leaves) {
                if leaf.starts_with(GAP_RECORD) {
                    found = Some((next, leaf.to_vec()));
                }
                next += 1;
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Whether the record of a gap speaks of this memory as it is. The hash of the last record that it knows tells it from a
/// later one that knows as many.
fn tells_of(leaf: &[u8], conflict: &Conflict) -> bool {
    let said = |what: &str| {
        named(leaf, what).into_iter().find(|(name, _)| *name == conflict.name).map(|(_, v)| v)
    };
    said("knew.") == Some(conflict.known.to_string())
        && said("agrees.") == Some(conflict.agreed.to_string())
        && said("last.") == conflict.newest.map(|mark| hex::encode(mark.leaf))
}

/// The memories that a log of `size` records does not agree with.
fn conflicts(files: &dyn Files, size: u64, memories: &[Memory]) -> io::Result<Vec<Conflict>> {
    let mut records = Records::new(files)?;
    let mut found = Vec::new();
    for Memory { name, place, size: known, marks } in memories {
        let (mut differs, mut agreed) = (None, 0);
        for mark in marks.up_to(size).as_slice().iter().rev() {
            if records.leaf_hash(mark.size)? == Some(mark.leaf) {
                agreed = mark.size;
                break;
            }
            differs = Some(mark.size);
        }
        let known = (*known).max(marks.reach());
        if known > size || differs.is_some() {
            let (name, place) = (name.clone(), place.clone());
            let newest = marks.as_slice().last().copied();
            found.push(Conflict { name, place, known, differs, agreed, newest });
        }
    }
    Ok(found)
}

/// The records of a log that is not open. Keeps the segment that was read last: most memories end in the same one.
struct Records<'a> {
    files: &'a dyn Files,
    names: Vec<Name>,
    /// Where pruned records end.
    begin: u64,
    open: Option<(Name, Vec<u8>)>,
}

impl<'a> Records<'a> {
    fn new(files: &'a dyn Files) -> io::Result<Self> {
        let begin = Pruned::read(&|path| files.read(path))?.map_or(0, |pruned| pruned.end);
        Ok(Self { files, names: segment::names(&|path| files.list(path))?, begin, open: None })
    }

    /// The leaf hash of the last one of the first `size` records; none if there is no such record.
    fn leaf_hash(&mut self, size: u64) -> io::Result<Option<Hash>> {
        let Some(seq) = size.checked_sub(1) else { return Ok(None) };
        let files = self.files;
        if seq < self.begin {
            let mut found = None;
            pruned::kept(&|path| files.read(path), seq..size, self.begin, &mut |_, hash| {
                found = Some(hash);
                Ok(())
            })?;
            return Ok(found);
        }
        let after = self.names.partition_point(|name| name.first <= seq);
        let Some(name) = after.checked_sub(1).and_then(|i| self.names.get(i)) else {
            return Ok(None);
        };
        let bytes = match self.open.take() {
            Some((open, bytes)) if open == *name => bytes,
            _ => files.read(&name.path)?,
        };
        let found = match name.form {
            Form::Packed => {
                let packed = Packed::of_bytes(bytes.clone(), name.first)?;
                packed.record(seq)?.map(|leaf| tree::leaf_hash(&leaf))
            }
            Form::Written => written(&bytes, name.first, seq)?,
        };
        self.open = Some((name.clone(), bytes));
        Ok(found)
    }
}

/// The leaf hash of the record `seq` in a segment as it was written.
fn written(bytes: &[u8], first: u64, seq: u64) -> io::Result<Option<Hash>> {
    let mut reader = Reader::new(bytes, 0);
    let mut next = first;
    while let Ok(frame) = reader.next()? {
        for (_, leaf) in Leaves::new(frame.leaves) {
            if next == seq {
                return Ok(Some(tree::leaf_hash(leaf)));
            }
            next += 1;
        }
    }
    Ok(None)
}

/// A gap that a record of the log tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldGap {
    /// `seq` of the record, which is the first one after the gap.
    pub record: u64,
    /// Its time in microseconds since 1970.
    pub time_us: u64,
    /// The first record that may be lost, and behind the last one.
    pub first: u64,
    /// See `first`.
    pub end: u64,
    /// Who knew how many records.
    pub knew: Vec<(String, u64)>,
    /// Who accepted it, and why.
    pub by: String,
    /// See `by`.
    pub reason: String,
    /// [`Gap::digest`] of what was accepted.
    pub digest: String,
}

impl ToldGap {
    /// What a record says, if it is one.
    #[must_use]
    pub fn of(seq: u64, leaf: &[u8]) -> Option<Self> {
        if !leaf.starts_with(GAP_RECORD) {
            return None;
        }
        let value = |name: &str| leaf::values(leaf, name).into_iter().next().unwrap_or_default();
        let number = |name: &str| value(name).parse().unwrap_or(0);
        Some(Self {
            record: seq,
            time_us: check::time(leaf).unwrap_or(0),
            first: number("params.first"),
            end: number("params.end"),
            knew: knew(leaf),
            digest: value("params.digest"),
            by: value("params.by"),
            reason: value("params.reason"),
        })
    }
}

/// The members `knew.NAME` of a record's parameters.
fn knew(leaf: &[u8]) -> Vec<(String, u64)> {
    let knew = named(leaf, "knew.").into_iter();
    knew.filter_map(|(name, size)| Some((name, size.parse().ok()?))).collect()
}

/// Names and values of the parameters whose names begin so.
fn named(leaf: &[u8], prefix: &str) -> Vec<(String, String)> {
    let Ok(record) = serde_json::from_slice::<serde_json::Value>(leaf) else { return Vec::new() };
    let params = record.get("params").and_then(serde_json::Value::as_array);
    let text = |pair: &serde_json::Value, name: &str| {
        pair.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let named = params.into_iter().flatten().filter_map(|pair| {
        let name = text(pair, "k")?.strip_prefix(prefix)?.to_owned();
        Some((name, text(pair, "v")?))
    });
    named.collect()
}

impl fmt::Display for ToldGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, first, end, by, reason, .. } = self;
        let time = stamp::string(self.time_us);
        let last = (*end).max(first + 1) - 1;
        write!(f, "record {record} of {time} says that the records {first} to {last} were lost")?;
        for (i, (name, size)) in self.knew.iter().enumerate() {
            write!(f, "{} {name} knew {size}", if i == 0 { ":" } else { "," })?;
        }
        write!(f, "; accepted by {by}: {reason}")
    }
}

#[cfg(test)]
mod tests;
