//! The sealer thread: finished segments become sealed ones, and sealed ones packed ones.
//!
//! It works behind the writer and at low priority, so no request ever waits for it. A seal is durable before the record
//! that names it is appended, and the record is durable before the next seal is made; so of all seals only the newest can
//! be without its record, and [`Sealer::catch_up`] looks for that one at a start. A packed segment is whole and durable
//! before the one that was written is deleted; where a crash left both, the packed one stays if it holds what was sealed.

use std::{
    cell::RefCell,
    collections::HashSet,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use memchr::memmem;

use crate::{
    durable::{COPIES_MAX, Damage, read_optional},
    encode,
    record::{Class, EventId, Record},
    seal::{self, Measure, Seal},
    segment::{
        self, Form, Leaves, Name, Reader, Tail,
        check::{self, Known},
        packed::{Packer, Table},
        start,
    },
    tip::Tip,
    tree::{self, Hash},
};

use super::{Clock, Finished, LogError, Sha256Hex, Shared, lock, queue::Job};

/// Requests go first where the processors are busy.
const NICENESS: i32 = 10;
/// How long to wait when the queue, or the disk, is full: requests go first there, too.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait after something could not be read. The drive may come back, or be given up, so that another copy is
/// read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(2);
/// First bytes of the records that name seals.
pub(crate) const SEAL_RECORD: &[u8] = br#"{"action":"audit:seal","class":"audit","#;

/// Wakes the sealer when a segment was finished.
#[derive(Debug, Default)]
pub(super) struct Bell {
    inner: Mutex<Inner>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    rung: bool,
    closed: bool,
}

impl Bell {
    pub(super) fn ring(&self) {
        lock(&self.inner).rung = true;
        self.rung.notify_all();
    }

    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.rung.notify_all();
    }

    fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// Waits for the next ring; false once closed.
    fn wait(&self) -> bool {
        let quiet = |inner: &mut Inner| !inner.rung && !inner.closed;
        let mut inner =
            self.rung.wait_while(lock(&self.inner), quiet).unwrap_or_else(PoisonError::into_inner);
        inner.rung = false;
        !inner.closed
    }

    /// Waits for room; false once closed.
    pub(super) fn pause(&self) -> bool {
        self.pause_for(FULL_PAUSE)
    }

    fn pause_for(&self, time: Duration) -> bool {
        let open = |inner: &mut Inner| !inner.closed;
        let paused = self.rung.wait_timeout_while(lock(&self.inner), time, open);
        !paused.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

/// Why sealing ends. The log goes on in the first three cases.
#[derive(Debug)]
enum Stop {
    /// The log is closing, or has stopped.
    Closed,
    /// Something cannot be read now; it is tried again.
    Unreadable(String),
    /// A segment is not what it should be, and a signature would say that it is.
    Damaged { first: u64, what: String },
    /// A write failed, so nobody knows what is on disk.
    Failed(String),
}

impl Stop {
    fn unreadable(path: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::Unreadable(format!("reading `{path}`: {error}"))
    }
}

/// Everything that only the sealer thread touches.
#[derive(Debug)]
pub(super) struct Sealer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) origin: String,
    pub(super) node: String,
    pub(super) finished: Finished,
}

/// A segment that was measured.
struct Measured {
    seal: Seal,
    /// What it becomes, if it is to be packed.
    packed: Option<Vec<u8>>,
}

/// The newest seal.
#[derive(Debug, Default)]
struct Newest {
    /// Where it ends.
    end: u64,
    digest: Option<Hash>,
}

impl Sealer {
    /// Seals until the log is closed or fails.
    pub(super) fn run(self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "sealing at the priority of requests");
        }
        let (mut newest, mut unreadable, mut damaged) = (None, None, Vec::new());
        let stop = loop {
            let goes_on = match self.catch_up(&mut newest) {
                Ok(()) => {
                    unreadable = None;
                    self.shared.to_seal.wait()
                }
                Err(Stop::Unreadable(what)) => {
                    if unreadable.as_ref() != Some(&what) {
                        tracing::error!(what, "segments are not sealed; it is tried again");
                    }
                    unreadable = Some(what);
                    self.shared.to_seal.pause_for(UNREADABLE_PAUSE)
                }
                Err(Stop::Damaged { first, .. }) if self.goes_round(first, &mut damaged) => true,
                Err(stop) => break stop,
            };
            if !goes_on {
                break Stop::Closed;
            }
        };
        match stop {
            Stop::Closed | Stop::Unreadable(_) => {}
            Stop::Damaged { first, what } => {
                tracing::error!(first, what, "a segment of the audit log cannot be sealed");
                let params = [("first", first.to_string()), ("what", what)];
                // When the log is closing the next start finds the same.
                let _ = self.append(vec![self.record("audit:unsealed", &[0; 10], &params)]);
            }
            Stop::Failed(what) => self.shared.poison(&what),
        }
    }

    /// Whether the segment of record `first` may be whole in another copy of the log. `damaged` has those for which that was
    /// asked before: as often as there can be copies is enough.
    fn goes_round(&self, first: u64, damaged: &mut Vec<u64>) -> bool {
        let before = damaged.iter().filter(|before| **before == first).count();
        damaged.push(first);
        let records = first..first.saturating_add(1);
        let damage = Damage { from: None, records, size: self.shared.durable.size() };
        before < COPIES_MAX && self.shared.files.go_round(&damage)
    }

    /// Seals every finished segment that has no seal yet.
    fn catch_up(&self, newest: &mut Option<Newest>) -> Result<(), Stop> {
        let _segments = lock(&self.shared.segments);
        let list = |path: &str| self.shared.files.list(path);
        let names = segment::names(&list).map_err(Stop::unreadable("seg"))?;
        let newest = match newest {
            Some(newest) => newest,
            None => {
                let found = self.find_newest(&names)?;
                let sealed = names.partition_point(|name| name.first < found.end);
                self.repack(names.get(..sealed).unwrap_or_default())?;
                newest.insert(found)
            }
        };
        let finished = names.split_last().map_or(&[][..], |(_, finished)| finished);
        let from = finished.partition_point(|name| name.first < newest.end);
        let mut due = finished.get(from..).unwrap_or_default();
        // A segment that holds nothing but records of seals waits for one that holds more. Otherwise a log whose
        // segments are full with one batch would go on for ever, sealing what sealing has written.
        while let Some((last, before)) = due.split_last() {
            if !self.is_only_seals(last)? {
                break;
            }
            due = before;
        }
        due.iter().try_for_each(|name| self.seal(name, newest))
    }

    /// The newest seal on disk; its record is appended if a crash came before that.
    fn find_newest(&self, names: &[Name]) -> Result<Newest, Stop> {
        let files = self.shared.files.as_ref();
        let seals = segment::seals(&|path| files.list(path)).map_err(Stop::unreadable("seg"))?;
        let Some(path) = seals.last() else { return Ok(Newest::default()) };
        let note = files.read(path).map_err(Stop::unreadable(path))?;
        let Some(seal) = Seal::peek(&note) else {
            let first = names.last().map_or(0, |name| name.first);
            return Err(Stop::Damaged { first, what: format!("`{path}` is no seal") });
        };
        let newest = Newest { end: seal.end, digest: Some(seal::digest(&note)) };
        if !self.is_recorded(&newest, names)? {
            self.append(vec![self.seal_record(&seal, &note)])?;
        }
        Ok(newest)
    }

    /// Packs what was sealed and not packed before the last stop.
    fn repack(&self, sealed: &[Name]) -> Result<(), Stop> {
        if self.finished != Finished::Packed {
            return Ok(());
        }
        let files = self.shared.files.as_ref();
        let there = segment::files(&|path| files.list(path)).map_err(Stop::unreadable("seg"))?;
        let there: HashSet<&String> = there.iter().collect();
        for name in sealed {
            let written = name.path_as(Form::Written);
            if !there.contains(&written) {
                continue;
            }
            // Without its seal nobody knows what it should hold; the verifier says so.
            let note = read_optional(files, &name.seal_path());
            let note = note.map_err(Stop::unreadable(&name.seal_path()))?;
            let Some(seal) = note.and_then(|note| Seal::peek(&note)) else { continue };
            let path = name.path_as(Form::Packed);
            if there.contains(&path) {
                let bytes = files.read(&path).map_err(Stop::unreadable(&path))?;
                if seal.fits(&bytes) {
                    self.remove(&written)?;
                    continue;
                }
                let aside = format!("quarantine/{}", Sha256Hex::of(&bytes));
                self.replace(&aside, &bytes)?;
                self.remove(&path)?;
            }
            let name = Name { path: written, form: Form::Written, ..name.clone() };
            let before = Newest { end: seal.first, digest: seal.prev };
            match self.measure(&name, &before) {
                Ok(measured) if measured.seal == seal => self.put_packed(&name, measured)?,
                // It stays as it is, for the verifier to say what happened to it; the others are packed.
                Ok(_) | Err(Stop::Damaged { .. }) => {
                    tracing::error!(path = name.path, "a segment does not hold what was sealed");
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Puts the packed form of a sealed segment, if it has one, in place of the one that was written.
    fn put_packed(&self, name: &Name, measured: Measured) -> Result<(), Stop> {
        let Some(bytes) = measured.packed else { return Ok(()) };
        if self.shared.to_seal.is_closed() {
            return Err(Stop::Closed);
        }
        // ORDER: the seal is durable, then the packed segment, then the other one goes.
        self.replace(&name.path_as(Form::Packed), &bytes)?;
        self.remove(&name.path_as(Form::Written))
    }

    /// Puts a file in place, whenever the disk has room for it.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Stop> {
        while let Err(error) = self.shared.files.replace(path, bytes) {
            if error.kind() != io::ErrorKind::StorageFull {
                return Err(failed(path)(error));
            }
            if !self.shared.to_seal.pause() {
                return Err(Stop::Closed);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), Stop> {
        self.shared.files.remove(path).map_err(failed(path))
    }

    /// Whether a record after the sealed ones names the seal.
    fn is_recorded(&self, newest: &Newest, names: &[Name]) -> Result<bool, Stop> {
        let digits = hex::encode(newest.digest.unwrap_or_default());
        let finder = memmem::Finder::new(digits.as_bytes());
        let names_it = |line: &[u8]| line.starts_with(SEAL_RECORD) && finder.find(line).is_some();
        for name in names.iter().filter(|name| name.first >= newest.end) {
            let mut reader = self.reader(name)?;
            while let Ok(frame) = reader.next().map_err(Stop::unreadable(&name.path))? {
                if Leaves::new(frame.leaves).any(|(_, line)| names_it(line)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_only_seals(&self, name: &Name) -> Result<bool, Stop> {
        if name.form == Form::Packed {
            return Ok(false);
        }
        let mut reader = self.reader(name)?;
        loop {
            match reader.next().map_err(Stop::unreadable(&name.path))? {
                Ok(frame) if Leaves::new(frame.leaves).all(|(_, l)| l.starts_with(SEAL_RECORD)) => {
                }
                Err(Tail::Clean(_)) => return Ok(true),
                Ok(_) | Err(Tail::Broken { .. }) => return Ok(false),
            }
        }
    }

    /// A segment, batch by batch: nobody needs the 64 MiB of it at once.
    fn reader(&self, name: &Name) -> Result<Reader<Box<dyn io::Read + Send>>, Stop> {
        let stream = self.shared.files.stream(&name.path).map_err(Stop::unreadable(&name.path))?;
        Ok(Reader::new(stream, 0))
    }

    /// Measures a segment, and makes seal and record durable, in this order.
    fn seal(&self, name: &Name, newest: &mut Newest) -> Result<(), Stop> {
        if self.shared.to_seal.is_closed() {
            return Err(Stop::Closed);
        }
        let measured = self.measure(name, newest)?;
        let seal = &measured.seal;
        let signer = Arc::clone(lock(&self.shared.signing).current());
        let note = seal
            .sign(&self.origin, signer.as_ref())
            .map_err(|error| Stop::Failed(format!("sealing `{}`: {error}", name.path)))?;
        let path = name.seal_path();
        self.replace(&path, note.as_bytes())?;
        self.append(vec![self.seal_record(seal, note.as_bytes())])?;
        *newest = Newest { end: seal.end, digest: Some(seal::digest(note.as_bytes())) };
        self.put_packed(name, measured)
    }

    /// What the segment holds, every batch checked, and packed, on the way.
    fn measure(&self, name: &Name, newest: &Newest) -> Result<Measured, Stop> {
        let damaged = |what: String| Stop::Damaged { first: name.first, what };
        if name.form == Form::Packed {
            return Err(damaged(format!("`{}` has no seal", name.path)));
        }
        let files = self.shared.files.as_ref();
        let tip = match read_optional(files, &name.start_path()) {
            Ok(bytes) => bytes.and_then(|bytes| start::parse(&bytes)),
            Err(error) => return Err(Stop::unreadable(&name.start_path())(error)),
        };
        let first = (name.first == 0).then(Tip::default);
        let mut tip = tip.or(first).filter(|tip| tip.size() == name.first).ok_or_else(|| {
            damaged(format!("`{}` does not hold the state before it", name.start_path()))
        })?;
        if newest.digest.is_some() && newest.end != name.first {
            let what = format!("the newest seal ends at record {}", newest.end);
            return Err(damaged(what));
        }
        let packing = |error| Stop::Failed(format!("packing `{}`: {error}", name.path));
        let mut packer = match self.finished {
            Finished::Packed => Some(Packer::new(name.first).map_err(packing)?),
            Finished::Left | Finished::Sealed => None,
        };
        let mut measure = Measure::new(&tip);
        let mut reader = self.reader(name)?;
        loop {
            match reader.next().map_err(Stop::unreadable(&name.path))? {
                Ok(frame) => {
                    let leaves = || Leaves::new(frame.leaves).map(|(_, leaf)| leaf);
                    let hashes = tree::leaf_hashes(leaves());
                    // A batch is checked record by record, in order.
                    let next = RefCell::new(hashes.iter().copied());
                    let hash = |_, leaf: &[u8]| {
                        next.borrow_mut().next().unwrap_or_else(|| tree::leaf_hash(leaf))
                    };
                    tip = check::batch(&frame, &tip, Known::Tree, &hash).map_err(|fault| {
                        damaged(format!("`{}` is damaged at byte {}", name.path, fault.offset))
                    })?;
                    measure.push(frame.leaves, &hashes);
                    if let Some(packer) = &mut packer {
                        leaves().try_for_each(|leaf| packer.push(leaf)).map_err(packing)?;
                    }
                }
                Err(Tail::Clean(_)) => break,
                Err(Tail::Broken { at, .. }) => {
                    return Err(damaged(format!("`{}` is damaged at byte {at}", name.path)));
                }
            }
        }
        let sealed = measure.finish(&tip, newest.digest);
        let (seal, roots) = sealed.ok_or_else(|| damaged(format!("`{}` is empty", name.path)))?;
        let packed = packer.map(|packer| packer.finish(&roots)).transpose().map_err(packing)?;
        // What was written goes only when what replaces it gives the same records back.
        if packed.as_ref().is_some_and(|(bytes, table)| !is_of(&seal, bytes, table)) {
            return Err(packing(io::Error::other("its tables do not fit the seal")));
        }
        Ok(Measured { seal, packed: packed.map(|(bytes, _)| bytes) })
    }

    fn seal_record(&self, seal: &Seal, note: &[u8]) -> Record {
        let digest = seal::digest(note);
        let mut random = [0; 10];
        random.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let params = [
            ("first", seal.first.to_string()),
            ("end", seal.end.to_string()),
            ("sha256", hex::encode(digest)),
        ];
        self.record("audit:seal", &random, &params)
    }

    fn record(&self, action: &str, random: &[u8; 10], params: &[(&str, String)]) -> Record {
        let event = EventId::new(self.clock.now_us() / 1000, *random);
        let mut record = Record::new(Class::Audit, action, event);
        record.params = params.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        record
    }

    /// Appends records behind the requests, durable on return.
    fn append(&self, records: Vec<Record>) -> Result<(), Stop> {
        let encoded: Result<Vec<_>, _> =
            records.iter().map(|record| encode::encode(record, &self.node)).collect();
        let encoded = encoded.map_err(|error| Stop::Failed(error.to_string()))?;
        loop {
            let (job, pending) = Job::new(encoded.clone(), None);
            let appended = self.shared.queue.push(job).and_then(|()| pending.wait());
            match appended {
                Ok(_) => return Ok(()),
                Err(LogError::Full { .. } | LogError::NoSpace { .. })
                    if self.shared.to_seal.pause() => {}
                Err(_) => return Err(Stop::Closed),
            }
        }
    }
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> Stop + '_ {
    move |error| Stop::Failed(format!("writing `{path}`: {error}"))
}

/// Whether the tables that end these bytes are those of sealed records, whose frames were compared with them.
fn is_of(seal: &Seal, bytes: &[u8], table: &Table) -> bool {
    Table::of_file(bytes).as_ref() == Some(table)
        && table.records == (seal.first..seal.end)
        && table.size() == seal.bytes
        && (table.frames.len() as u64, table.roots_digest()) == seal.frames
}

#[cfg(test)]
mod tests;
