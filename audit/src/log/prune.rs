//! Taking the oldest records away, as whole days of sealed segments, so that the log can still prove itself.
//!
//! ```text
//! 1  every record of the range is hashed once more and must lead to its seals
//! 2  tile/0/…    their leaf hashes, durable
//! 3  pruning     what is about to happen
//! 4  audit:prune the record, durable, and
//! 5              covered by a signed head
//! 6  pruned      where the log begins now: from here on the prune is done
//! 7              segments and the files beside them are removed, oldest first; seals stay
//! 8              pruning is removed
//! ```
//! A crash before 4 leaves nothing but a file to remove. After 4 the next start goes on where this one stopped: so either
//! nothing is missing, or all of the range is and the log says so.

use std::{fs, io, ops::Range, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    durable::{self, Files, read_optional},
    pruned::{self, List, Pruned, Read, tile_path},
    record::{Class, Phase, Record},
    seal::{self, Seal},
    segment::{self, CONTROL_PREFIX, Form, Leaves, Name, Packed, check},
    stamp,
    tiles::TILE_WIDTH,
    tip::Tip,
    tree::{self, Hash},
};

use super::{Log, LogError, Sha256Hex, Shared, lock};

/// What is about to be pruned; there only while it is.
pub(crate) const INTENT_PATH: &str = "pruning";
/// First bytes of the records that say that others were pruned.
pub(crate) const PRUNE_RECORD: &[u8] = br#"{"action":"audit:prune","class":"audit","#;
/// Their parameter that says how often the log's key was changed before.
pub(crate) const KEY_CHANGES: &str = "key_changes";
/// How long a prune waits for a head over its record. A head is signed within a tenth of a second.
const SIGNED_WITHIN: Duration = Duration::from_secs(30);
const WIDTH: usize = TILE_WIDTH as usize;

/// Exactly what would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunePlan {
    /// First record that is there, and first that stays.
    pub first: u64,
    /// See `first`.
    pub end: u64,
    /// Time of the first and of the last record that would go, in microseconds since 1970.
    pub times_us: (u64, u64),
    /// Bytes of the records.
    pub bytes: u64,
    /// UTC days of their segments, oldest first, `YYYY-MM-DD`.
    pub days: Vec<String>,
    /// Root of the log's tree at `end`.
    pub root: Hash,
    /// Number of seals, and SHA-256 over their digests in order.
    pub seals: (u64, Hash),
    /// Digest of the last one, which names the one before it, and so on.
    pub seal: Hash,
}

impl PrunePlan {
    /// Every line of it, for people and for the digest that two of them agree on.
    pub fn text(&self, origin: &str) -> String {
        let (begun, ended) = self.times_us;
        let (seals, sha256) = &self.seals;
        let day = |day: Option<&String>| day.cloned().unwrap_or_default();
        format!(
            "audit-prune/v1\n{origin}\nrecords {} {}\ntime {} {}\nbytes {}\ndays {} {} {}\nroot {} {}\n\
             seals {seals} sha256 {}\nseal {}\n",
            self.first,
            self.end,
            stamp::string(begun),
            stamp::string(ended),
            self.bytes,
            self.days.len(),
            day(self.days.first()),
            day(self.days.last()),
            self.end,
            STANDARD.encode(self.root),
            hex::encode(sha256),
            hex::encode(self.seal),
        )
    }

    /// SHA-256 of the text.
    pub fn digest(&self, origin: &str) -> Sha256Hex {
        Sha256Hex::of(self.text(origin).as_bytes())
    }

    /// Records that would go.
    pub fn records(&self) -> u64 {
        self.end - self.first
    }

    fn params(&self) -> Vec<(&'static str, String)> {
        let (seals, sha256) = &self.seals;
        vec![
            ("first", self.first.to_string()),
            ("end", self.end.to_string()),
            ("root", STANDARD.encode(self.root)),
            ("seal", hex::encode(self.seal)),
            ("seals", seals.to_string()),
            ("seals_sha256", hex::encode(sha256)),
        ]
    }
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// Reading or writing failed.
    #[error("pruning the audit log, `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The records do not lead to their seals, so what is kept of them would prove nothing.
    #[error("`{path}` does not hold what was sealed; run `audit verify`")]
    Damaged {
        /// Which segment.
        path: String,
    },
    /// The log is not as it was when this was planned.
    #[error("the log is not as it was when the prune was planned: {0}")]
    Changed(&'static str),
    /// Another one was begun and is not done.
    #[error("a prune of records up to {end} is not finished")]
    Unfinished {
        /// Where it ends.
        end: u64,
    },
    /// No head came. The record is durable, and the next start finishes what it says.
    #[error("no signed head covers record {record} yet; the next start finishes the prune")]
    Unsigned {
        /// The `audit:prune` record.
        record: u64,
    },
    /// The log was closed while the disk had no room for the end of it. The next start finishes it.
    #[error("no room to finish what record {record} says; the next start finishes the prune")]
    NoRoom {
        /// The `audit:prune` record.
        record: u64,
    },
    /// The log does not take the record.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> PruneError + '_ {
    move |source| PruneError::Io { path: path.to_owned(), source }
}

/// How far a plan may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneBounds {
    /// Only records that are older than this, in microseconds since 1970.
    pub before_us: u64,
    /// Only records before this one.
    pub below: u64,
}

/// What could be pruned of the log in `dir`: the days from its beginning whose segments are all sealed and within the
/// bounds. `None` if there is no such day. The newest segment never is in it.
///
/// # Errors
/// [`PruneError::Io`].
pub fn plan_prune(dir: &Path, bounds: PruneBounds) -> Result<Option<PrunePlan>, PruneError> {
    let read = |path: &str| fs::read(dir.join(path));
    let list = |path: &str| durable::list(&dir.join(path));
    plan(&read, &list, &|seal| seal.times_us.1 < bounds.before_us && seal.end <= bounds.below)
}

/// The longest plan of whole days whose seals are all `wanted`.
fn plan(
    read: Read<'_>,
    list: List<'_>,
    wanted: &dyn Fn(&Seal) -> bool,
) -> Result<Option<PrunePlan>, PruneError> {
    let begin = Pruned::read(read).map_err(io_error(pruned::PATH))?.map_or(0, |p| p.end);
    let names = segment::names(list).map_err(io_error("seg"))?;
    let from = names.partition_point(|name| name.first < begin);
    let names = names.get(from..).unwrap_or_default();
    if names.first().is_none_or(|name| name.first != begin) {
        return Ok(None);
    }
    let (mut building, mut whole) = (Building::new(begin), None);
    for (name, next) in names.iter().zip(names.iter().skip(1)) {
        let path = name.seal_path();
        let note = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            note => note.map_err(io_error(&path))?,
        };
        let Some(seal) = Seal::peek(&note)
            .filter(|seal| seal.first == name.first && seal.end == next.first && wanted(seal))
        else {
            break;
        };
        building.push(&seal, &note, name.day());
        if next.day() != name.day() {
            whole = Some(building.clone());
        }
    }
    Ok(whole.and_then(Building::finish))
}

/// A plan that grows by segments.
#[derive(Clone)]
struct Building {
    first: u64,
    begun_us: Option<u64>,
    last: Option<(Seal, Hash)>,
    bytes: u64,
    days: Vec<String>,
    seals: (u64, Sha256),
}

impl Building {
    fn new(first: u64) -> Self {
        let (days, seals) = (Vec::new(), (0, Sha256::new()));
        Self { first, begun_us: None, last: None, bytes: 0, days, seals }
    }

    fn push(&mut self, seal: &Seal, note: &[u8], day: String) {
        let digest = seal::digest(note);
        self.begun_us.get_or_insert(seal.times_us.0);
        self.bytes += seal.bytes;
        if self.days.last() != Some(&day) {
            self.days.push(day);
        }
        self.seals.0 += 1;
        self.seals.1.update(digest);
        self.last = Some((seal.clone(), digest));
    }

    fn finish(self) -> Option<PrunePlan> {
        let (last, seal) = self.last?;
        Some(PrunePlan {
            first: self.first,
            end: last.end,
            times_us: (self.begun_us?, last.times_us.1),
            bytes: self.bytes,
            days: self.days,
            root: last.root,
            seals: (self.seals.0, self.seals.1.finalize().into()),
            seal,
        })
    }
}

impl Log {
    /// Prunes exactly what was planned. `record` says who and why; what is pruned is added to it. Blocks until the records
    /// are gone, which is after a head was signed over the record that says so, and the disk had room for the note about it.
    ///
    /// # Errors
    /// See [`PruneError`]. Except after [`PruneError::Unsigned`], [`PruneError::NoRoom`], and a failed write, which stops the
    /// log, nothing was pruned and nothing will be.
    pub fn prune(&self, planned: &PrunePlan, record: Record) -> Result<Pruned, PruneError> {
        let shared = self.shared.as_ref();
        // While the disk is full, who holds the segments waits for room.
        shared.queue.check()?;
        let _segments = lock(&shared.segments);
        shared.queue.check()?;
        let files = shared.files.as_ref();
        if let Some(intent) = Intent::of(files)? {
            return Err(PruneError::Unfinished { end: intent.end });
        }
        let (read, list) = (|path: &str| files.read(path), |path: &str| files.list(path));
        let found = plan(&read, &list, &|seal| seal.end <= planned.end)?;
        if found.as_ref() != Some(planned) {
            return Err(PruneError::Changed("other records would go"));
        }
        let failed = |path: &str, source: io::Error| {
            if source.kind() == io::ErrorKind::StorageFull {
                let free_bytes = files.free_bytes().unwrap_or(0);
                return LogError::NoSpace { free_bytes }.into();
            }
            shared.poison(&format!("writing `{path}`: {source}"));
            PruneError::Io { path: path.to_owned(), source }
        };
        keep_hashes(files, planned, &|tiles| {
            let first = tiles.first().map_or("tile", |(path, _)| path);
            files.replace_all(tiles).map_err(|source| failed(first, source))
        })?;
        let intent = Intent { first: planned.first, end: planned.end, size: self.durable_size() };
        // ORDER: a start that finds the record has to know that it may not be carried out yet.
        if let Err(source) = files.replace(INTENT_PATH, &intent.encode()) {
            if source.kind() == io::ErrorKind::StorageFull {
                // One copy of several may have it.
                files.remove(INTENT_PATH).map_err(|source| failed(INTENT_PATH, source))?;
            }
            return Err(failed(INTENT_PATH, source));
        }
        let pruned = match self.record_prune(planned, record) {
            Ok(pruned) => pruned,
            Err(error) => {
                // The log did not take it, so there is nothing to carry out.
                files.remove(INTENT_PATH).map_err(|source| failed(INTENT_PATH, source))?;
                return Err(error.into());
            }
        };
        if shared.signed.wait_past(pruned.record, SIGNED_WITHIN) <= pruned.record {
            return Err(PruneError::Unsigned { record: pruned.record });
        }
        carry_out_here(shared, &intent, &pruned)?;
        Ok(pruned)
    }

    fn record_prune(&self, planned: &PrunePlan, record: Record) -> Result<Pruned, LogError> {
        // Nothing stands between action and class, so that the record is found by its first bytes.
        let mut record = Record {
            class: Class::Audit,
            action: "audit:prune".to_owned(),
            phase: Phase::Single,
            auth: None,
            ..record
        };
        record.params.extend(planned.params().into_iter().map(|(k, v)| (k.to_owned(), v)));
        // The records of older changes go; that there were so many stays.
        record.params.insert(KEY_CHANGES.to_owned(), self.keys().changes().len().to_string());
        let committed = self.append(&record)?.wait()?;
        let seq = committed.first;
        let time_us = time_of(self.shared.files.as_ref(), seq).ok().flatten();
        let time_us = time_us.ok_or_else(|| LogError::Poisoned {
            reason: format!("record {seq} was written and cannot be read").into(),
        })?;
        Ok(Pruned { end: planned.end, record: seq, time_us })
    }
}

/// The time of a record in one of the newest segments.
fn time_of(files: &dyn Files, seq: u64) -> io::Result<Option<u64>> {
    let mut found = None;
    find(files, seq, &mut |at, leaf| {
        if at == seq {
            found = check::time(leaf);
        }
    })?;
    Ok(found)
}

/// Shows every record from `seq` on, and perhaps some before it.
fn find(files: &dyn Files, seq: u64, show: &mut dyn FnMut(u64, &[u8])) -> io::Result<()> {
    let names = segment::names(&|path| files.list(path))?;
    let after = names.partition_point(|name| name.first <= seq).saturating_sub(1);
    for name in names.get(after..).unwrap_or_default() {
        each_leaf(files, name, &mut |leaf| {
            if let Some(at) = check::seq(leaf) {
                show(at, leaf);
            }
        })?;
    }
    Ok(())
}

/// Every record of a segment in whichever form it is.
fn each_leaf(files: &dyn Files, name: &Name, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let bytes = files.read(&name.path)?;
    if name.form == Form::Written {
        let leaves = Leaves::new(&bytes).map(|(_, line)| line);
        let is_leaf = |line: &&[u8]| !line.starts_with(CONTROL_PREFIX) && line.first() != Some(&0);
        leaves.filter(is_leaf).for_each(take);
        return Ok(());
    }
    let packed = Packed::of_bytes(bytes, name.first)?;
    for frame in 0..packed.table().frames.len() {
        let lines = packed.frame(frame)?.unwrap_or_default();
        Leaves::new(&lines).for_each(|(_, leaf)| take(leaf));
    }
    Ok(())
}

/// Makes tiles durable at their paths.
type WriteTiles<'a> = &'a dyn Fn(&[(String, Vec<u8>)]) -> Result<(), PruneError>;

/// Gives the tiles of level 0 over what is planned to `write`, with their paths, those of one segment together, after its
/// seal was compared with what its records lead to. Tiles of records that stay after all do no harm: they are what they are.
fn keep_hashes(
    files: &dyn Files,
    planned: &PrunePlan,
    write: WriteTiles<'_>,
) -> Result<(), PruneError> {
    let (read, list) = (|path: &str| files.read(path), |path: &str| files.list(path));
    let mut tip = pruned::tip_at(&read, &list, planned.first).map_err(io_error("seg"))?;
    let mut open = Vec::with_capacity(WIDTH);
    let tile_first = planned.first - planned.first % WIDTH as u64;
    pruned::kept(&read, tile_first..planned.first, planned.first, &mut |_, hash| {
        open.push(hash);
        Ok(())
    })
    .map_err(|lost| PruneError::Io { path: lost.path, source: lost.error })?;
    let names = segment::names(&list).map_err(io_error("seg"))?;
    for name in names.iter().filter(|name| (planned.first..planned.end).contains(&name.first)) {
        let path = name.seal_path();
        let seal = files.read(&path).map_err(io_error(&path))?;
        let mut tiles = Vec::new();
        each_leaf(files, name, &mut |leaf| {
            let hash = tree::leaf_hash(leaf);
            tip.push_hash(hash);
            tip.time_us = check::time(leaf).unwrap_or(0);
            open.push(hash);
            if open.len() == WIDTH {
                let index = tip.size() / WIDTH as u64 - 1;
                tiles.push((tile_path(index, planned.end), open.concat()));
                open.clear();
            }
        })
        .map_err(io_error(&name.path))?;
        if !Seal::peek(&seal).is_some_and(|seal| seal.leads_to(&tip)) {
            return Err(PruneError::Damaged { path: name.path.clone() });
        }
        write(&tiles)?;
    }
    match open.is_empty() {
        true => Ok(()),
        false => {
            let path = tile_path(tip.size() / WIDTH as u64, planned.end);
            write(&[(path, open.concat())])
        }
    }
}

/// What is about to be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// Records when it was begun: the one that says so is none of them.
    pub(crate) size: u64,
}

impl Intent {
    pub(crate) fn encode(self) -> Vec<u8> {
        let Self { first, end, size } = self;
        format!("{{\"end\":{end},\"first\":{first},\"size\":{size}}}\n").into_bytes()
    }

    /// Reads it; `None` unless it is exactly what [`Intent::encode`] writes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (end, rest) = text.strip_prefix("{\"end\":")?.split_once(",\"first\":")?;
        let (first, rest) = rest.split_once(",\"size\":")?;
        let size = rest.strip_suffix("}\n")?.parse().ok()?;
        let intent = Self { first: first.parse().ok()?, end: end.parse().ok()?, size };
        (intent.encode() == bytes && intent.first < intent.end).then_some(intent)
    }

    fn of(files: &dyn Files) -> Result<Option<Self>, PruneError> {
        let Some(bytes) = read_optional(files, INTENT_PATH).map_err(io_error(INTENT_PATH))? else {
            return Ok(None);
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
        Self::parse(&bytes).map(Some).ok_or_else(|| io_error(INTENT_PATH)(damaged()))
    }
}

/// Steps 6 to 8.
fn carry_out(files: &dyn Files, intent: &Intent, pruned: &Pruned) -> Result<(), PruneError> {
    files.replace(pruned::PATH, &pruned.encode()).map_err(io_error(pruned::PATH))?;
    clear(files, pruned.end)?;
    // The partial tile of the prune before is a part of a larger one now.
    if !intent.first.is_multiple_of(WIDTH as u64) {
        let stale = tile_path(intent.first / WIDTH as u64, intent.first);
        files.remove(&stale).map_err(io_error(&stale))?;
    }
    files.remove(INTENT_PATH).map_err(io_error(INTENT_PATH))
}

/// The same in a running log. While the disk is full it waits: nothing has failed, and the prune is what makes room.
fn carry_out_here(shared: &Shared, intent: &Intent, pruned: &Pruned) -> Result<(), PruneError> {
    let is_full = |error: &PruneError| {
        let PruneError::Io { source, .. } = error else { return false };
        source.kind() == io::ErrorKind::StorageFull
    };
    loop {
        match carry_out(shared.files.as_ref(), intent, pruned) {
            Err(error) if is_full(&error) => {
                if !shared.to_seal.pause() {
                    return Err(PruneError::NoRoom { record: pruned.record });
                }
            }
            done => return done.inspect_err(|error| shared.poison(&error.to_string())),
        }
    }
}

/// Removes the segments before `end`, oldest first, and what lies beside them but seals.
fn clear(files: &dyn Files, end: u64) -> Result<(), PruneError> {
    let mut paths: Vec<String> = segment::files(&|path| files.list(path))
        .map_err(io_error("seg"))?
        .into_iter()
        .filter(|path| is_of(path, 0..end))
        .collect();
    paths.sort();
    paths.iter().try_for_each(|path| files.remove(path).map_err(io_error(path)))
}

/// Whether a file goes when its segment, which begins in the range, is pruned.
pub(crate) fn is_of(path: &str, range: Range<u64>) -> bool {
    let Some(name) = path.rsplit('/').next() else { return false };
    let Some((digits, ending)) = name.split_once('.') else { return false };
    let first: Option<u64> = digits.parse().ok();
    ending != "seal" && first.is_some_and(|first| range.contains(&first))
}

/// A prune that was recorded, and whose record no head was known to cover at a start.
#[derive(Debug)]
pub(super) struct Begun {
    intent: Intent,
    pruned: Pruned,
}

/// At a start, before anything is written by others: finishes what was begun, or forgets it. `covered` records are under a
/// signed head. What has to wait for one is returned.
///
/// # Errors
/// Reading or writing failed.
pub(super) fn resume(files: &dyn Files, covered: u64) -> Result<Option<Begun>, PruneError> {
    let read = |path: &str| files.read(path);
    let done = Pruned::read(&read).map_err(io_error(pruned::PATH))?;
    if let Some(done) = &done {
        clear(files, done.end)?;
    }
    let Some(intent) = Intent::of(files)? else { return Ok(None) };
    if let Some(done) = done.filter(|done| done.end >= intent.end) {
        carry_out(files, &intent, &done)?;
        return Ok(None);
    }
    let mut record = None;
    find(files, intent.size, &mut |seq, leaf| {
        if seq >= intent.size && says(leaf, &intent) {
            record = check::time(leaf).map(|time_us| (seq, time_us));
        }
    })
    .map_err(io_error("seg"))?;
    let Some((record, time_us)) = record else {
        files.remove(INTENT_PATH).map_err(io_error(INTENT_PATH))?;
        return Ok(None);
    };
    let pruned = Pruned { end: intent.end, record, time_us };
    if record < covered {
        carry_out(files, &intent, &pruned)?;
        return Ok(None);
    }
    Ok(Some(Begun { intent, pruned }))
}

/// Whether a record says that this was pruned.
fn says(leaf: &[u8], intent: &Intent) -> bool {
    let is = |name: &str, value: u64| crate::leaf::values(leaf, name) == [value.to_string()];
    leaf.starts_with(PRUNE_RECORD)
        && is("params.first", intent.first)
        && is("params.end", intent.end)
}

/// Finishes what a start could not, once a head is there.
pub(super) fn finish(shared: &Shared, begun: &Begun) {
    let _segments = lock(&shared.segments);
    let record = begun.pruned.record;
    while shared.signed.wait_past(record, SIGNED_WITHIN) <= record {
        if shared.signed.is_closed() {
            return;
        }
    }
    // A failure has stopped the log.
    drop(carry_out_here(shared, &begun.intent, &begun.pruned));
}

/// The tip from which recovery walks, where the log was pruned.
pub(crate) fn front(files: &dyn Files, end: u64) -> io::Result<Tip> {
    pruned::tip_at(&|path| files.read(path), &|path| files.list(path), end)
}

#[cfg(test)]
mod tests;
