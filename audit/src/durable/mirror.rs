//! One log on several drives: every change goes to all copies in parallel and counts once most of them have it.
//!
//! A copy that is full is lost as well while the others are enough. If they are not, the change that it has no room for is
//! taken back from all of them, and the log waits for room.
//!
//! A copy that failed, or fell too far behind, is lost: nobody knows what is on it, so nothing is written to it until the
//! log is opened again. Opening compares the copies first: one that is empty or behind is rebuilt from the longest, one
//! that tells another story stops the start and is never written to. What happened to a copy is a record of the log.
//!
//! A copy that a reader finds damaged, where another one is whole, is written to and not read.
//!
//! Because an acknowledged batch is on most copies, any majority of them holds every acknowledged record.
#![deny(clippy::indexing_slicing)]

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use super::{Copies, CopyEvent, Damage, File, Files};

pub use lead::Lead;
pub(crate) use lead::led;
use worker::{Change, Copy, InUse, Lane, Op, Request, Verdict};

mod damage;
mod lead;
mod reconcile;
mod worker;

/// How long the end of the log waits for copies that are behind, and a reader for the one that is read next; one that is
/// later is rebuilt at the next start.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Between two looks whether a copy has caught up.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);

/// Copies of one log, at most.
pub const COPIES_MAX: usize = 3;

/// Several directory trees that are one.
///
/// Ownership: each copy's open files belong to its own thread; what the threads share is the list of events.
pub struct Mirrored {
    copies: Vec<Copy>,
    lead: Option<Arc<Lead>>,
    /// Held by the reader who has the copies looked at.
    looking: Mutex<()>,
    events: Arc<Mutex<Vec<CopyEvent>>>,
    next_file: AtomicU64,
}

impl fmt::Debug for Mirrored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.copies.iter().map(Copy::name)).finish()
    }
}

impl Mirrored {
    /// The trees with their names, which appear in records. Who reads the log's files reads those of the first one, or
    /// goes by `lead`, whose copies are in the same order.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] unless there are 1 to [`COPIES_MAX`], and when a thread cannot be started.
    pub fn new(trees: Vec<(String, Arc<dyn Files>)>, lead: Option<Lead>) -> io::Result<Arc<Self>> {
        if trees.is_empty() || trees.len() > COPIES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let events = Arc::new(Mutex::new(Vec::new()));
        let in_use = InUse::new(trees.len(), trees.len() / 2 + 1);
        let lead = lead.map(Arc::new);
        let start = |(i, (name, files))| {
            let lead = lead.clone().map(|lead| (lead, i));
            Copy::start(name, files, Arc::clone(&in_use), lead, Arc::clone(&events))
        };
        let copies = trees.into_iter().enumerate().map(start).collect::<io::Result<Vec<_>>>()?;
        let (looking, next_file) = (Mutex::new(()), AtomicU64::new(0));
        Ok(Arc::new(Self { copies, lead, looking, events, next_file }))
    }

    /// Copies that must have a change before it counts.
    fn majority(&self) -> usize {
        self.copies.len() / 2 + 1
    }

    /// The copy that is read: the first one that is whole as far as anybody knows; a damaged one where no other is left.
    fn any(&self) -> io::Result<&Copy> {
        let in_use = || self.copies.iter().filter(|copy| !copy.is_lost());
        let whole = in_use().find(|copy| !copy.is_damaged());
        whole.or_else(|| in_use().next()).ok_or_else(too_few)
    }

    /// Has every copy carry out `op`; returns when most have, and the first one too unless it is lost.
    fn all(&self, op: Op) -> io::Result<u64> {
        self.all_in(Lane::Ahead, op)
    }

    /// # Errors
    /// [`io::ErrorKind::StorageFull`]: some copies may have the change, and one that the log needs has no room for it. The
    /// caller takes it back, or tries again.
    fn all_in(&self, lane: Lane, op: Op) -> io::Result<u64> {
        let change = Change::new(op);
        let answers = self.send(lane, &change);
        let (mut done, mut value, mut failure, mut full) = (0, 0, None, false);
        let mut first_pending = self.copies.first().is_some_and(|copy| !copy.is_lost());
        // The channel closes when every copy has answered or is gone.
        while let Ok((copy, result)) = answers.recv() {
            first_pending &= copy != 0;
            match result {
                Ok(found) => {
                    done += 1;
                    value = found;
                }
                Err(error) => {
                    full |= error.kind() == io::ErrorKind::StorageFull;
                    failure = Some(error);
                }
            }
            let enough = done >= self.majority() && !first_pending;
            if enough && change.decide(Verdict::Counts) == Verdict::Counts {
                return Ok(value);
            }
        }
        if done >= self.majority() && change.decide(Verdict::Counts) == Verdict::Counts {
            return Ok(value);
        }
        // Where others failed otherwise, too few may be left to take anything back.
        let left = self.copies.iter().filter(|copy| !copy.is_lost()).count();
        match failure {
            _ if full && left >= self.majority() => Err(io::ErrorKind::StorageFull.into()),
            Some(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            _ => Err(too_few()),
        }
    }

    /// Hands a change to every copy that is not lost.
    fn send(&self, lane: Lane, change: &Arc<Change>) -> Receiver<(usize, io::Result<u64>)> {
        let (answer, answers) = mpsc::channel();
        for (i, copy) in self.copies.iter().enumerate() {
            let request = Request { change: Arc::clone(change), copy: i, answer: answer.clone() };
            copy.send(lane, request);
        }
        answers
    }

    /// Waits until every copy has done what it was asked.
    fn settle(&self) {
        let deadline = Instant::now() + SETTLE_MAX;
        for lane in [Lane::Ahead, Lane::Behind] {
            let answers = self.send(lane, &Change::new(Op::Settle));
            while answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {
            }
        }
    }

    fn file(self: &Arc<Self>, op: impl FnOnce(u64) -> Op) -> io::Result<Box<dyn File>> {
        let id = self.next_file.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.all(op(id)) {
            // Some copies may have opened it.
            drop(self.all(Op::Close(id)));
            return Err(error);
        }
        Ok(Box::new(MirroredFile { tree: Arc::clone(self), id }))
    }
}

/// What happens to finished segments is independent of what is being written. Only the file beside a segment that is
/// about to begin is waited for.
fn lane_of(path: &str) -> Lane {
    let finished = path.starts_with("seg/") && !path.ends_with(".start");
    match finished || path.starts_with("tile/") {
        true => Lane::Behind,
        false => Lane::Ahead,
    }
}

fn too_few() -> io::Error {
    io::Error::other("too few copies of the audit log are left")
}

/// All locks, given back when the copies are done.
struct Guard {
    tree: Arc<Mirrored>,
    #[expect(dead_code, reason = "held for their drop")]
    guards: Vec<Box<dyn Send + Sync>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tree.settle();
    }
}

/// The tree as [`Files`]; a handle, because its files keep it alive.
impl Files for Arc<Mirrored> {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut guards = Vec::new();
        for copy in &self.copies {
            match copy.files().lock() {
                Ok(guard) => guards.push(guard),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => copy.lose(&error.to_string()),
            }
        }
        if guards.len() < self.majority() {
            return Err(too_few());
        }
        Ok(Box::new(Guard { tree: Self::clone(self), guards }))
    }

    fn reconcile(&self) -> io::Result<()> {
        reconcile::run(&self.copies, self.majority())
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.file(|id| Op::Create(id, path.to_owned()))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.file(|id| Op::Open(id, path.to_owned()))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.any()?.files().read(path)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.all_in(lane_of(path), Op::Replace(path.to_owned(), bytes.into())).map(drop)
    }

    fn stream(&self, path: &str) -> io::Result<Box<dyn io::Read + Send>> {
        self.any()?.files().stream(path)
    }

    fn replace_all(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        // Those that requests wait for are none of many.
        let behind = files.iter().all(|(path, _)| lane_of(path) == Lane::Behind);
        let lane = if behind { Lane::Behind } else { Lane::Ahead };
        self.all_in(lane, Op::ReplaceAll(files.into())).map(drop)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.all_in(lane_of(path), Op::Remove(path.to_owned())).map(drop)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.any()?.files().list(path)
    }

    /// What as many copies have room for as the log needs: one that can be spared is lost when it is full.
    fn free_bytes(&self) -> io::Result<u64> {
        let in_use = self.copies.iter().filter(|copy| !copy.is_lost());
        // A drive that does not answer has no room.
        let mut free: Vec<u64> = in_use.map(|c| c.files().free_bytes().unwrap_or(0)).collect();
        free.sort_unstable_by(|a, b| b.cmp(a));
        free.get(self.majority() - 1).copied().ok_or_else(too_few)
    }

    fn copies(&self) -> Copies {
        let lost = self.copies.iter().filter(|copy| copy.is_lost()).count();
        let in_use = self.copies.iter().filter(|copy| !copy.is_lost());
        let damaged = in_use.filter(|copy| copy.is_damaged()).count();
        Copies { whole: self.copies.len() - lost - damaged, damaged, lost }
    }

    fn take_events(&self) -> Vec<CopyEvent> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn go_round(&self, damage: &Damage<'_>) -> bool {
        // One at a time: whoever comes later finds that it was done.
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        match (&self.lead, damage.from) {
            (Some(lead), Some(from)) if led(lead.link()) != from => return true,
            // Nobody can be led anywhere.
            (None, Some(_)) => return false,
            _ => {}
        }
        let Ok(read) = self.any() else { return false };
        if damage::is_whole(read.files(), damage) {
            return damage.from.is_none();
        }
        let others = || {
            let good = |copy: &&Copy| !copy.is_lost() && !copy.is_damaged();
            self.copies.iter().filter(good).filter(|copy| !std::ptr::eq(*copy, read))
        };
        if read.is_damaged() || !others().any(|copy| damage::is_whole(copy.files(), damage)) {
            return false;
        }
        // The next one in their order is read from here on. If it is damaged there as well, its readers will say so; but
        // it must not be one that is still to write what was acknowledged.
        let newest = damage.size.saturating_sub(1)..damage.size;
        let newest = Damage { records: newest, ..damage.clone() };
        let deadline = Instant::now() + SETTLE_MAX;
        while let Some(next) = others().next()
            && !damage::is_whole(next.files(), &newest)
            && Instant::now() < deadline
        {
            std::thread::sleep(BEHIND_PAUSE);
        }
        read.pass_over(damage.records.start);
        true
    }
}

/// One file that is open on every copy.
#[derive(Debug)]
struct MirroredFile {
    tree: Arc<Mirrored>,
    id: u64,
}

impl File for MirroredFile {
    fn size(&self) -> io::Result<u64> {
        self.tree.all(Op::Size(self.id))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.tree.all(Op::Write(self.id, offset, bytes.into())).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.tree.all(Op::Sync(self.id)).map(drop)
    }

    /// One request to each copy: every batch of the log goes through here, and a round of threads that wake each other
    /// costs as much as the sync.
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.tree.all(Op::WriteDurable(self.id, offset, bytes.into())).map(drop)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.tree.all(Op::Truncate(self.id, len)).map(drop)
    }

    /// A copy whose file is not in place is lost.
    fn is_in_place(&self) -> io::Result<bool> {
        self.tree.all(Op::Check(self.id)).map(|_| true)
    }
}

impl Drop for MirroredFile {
    fn drop(&mut self) {
        drop(self.tree.all(Op::Close(self.id)));
    }
}

#[cfg(test)]
mod tests;
