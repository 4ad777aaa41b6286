//! One copy, and the thread that writes to it.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use crate::durable::{CopyEvent, File, Files, synced};

use super::Lead;

/// Requests that may wait for one copy; a batch has at most 4 MiB, so this bounds what a slow copy holds in memory.
const BACKLOG_MAX: usize = 64;
/// How long the log waits for a copy with that many, before it goes on without it.
const LAG_MAX: Duration = Duration::from_secs(5);

/// One change, or a question.
#[derive(Debug)]
pub(super) enum Op {
    Create(u64, String),
    Open(u64, String),
    Replace(String, Box<[u8]>),
    ReplaceAll(Box<[(String, Vec<u8>)]>),
    Remove(String),
    Size(u64),
    Write(u64, u64, Box<[u8]>),
    Sync(u64),
    WriteDurable(u64, u64, Box<[u8]>),
    Truncate(u64, u64),
    /// Whether the file is in place.
    Check(u64),
    Close(u64),
    /// Nothing; answered when everything before it is done.
    Settle,
}

/// Whether a change counts, decided once for all copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// It does; a copy that has no room for it is lost.
    Counts,
    /// A copy that cannot be spared has no room; the caller takes it back from all.
    NoRoom,
}

/// An [`Op`] for all copies.
#[derive(Debug)]
pub(super) struct Change {
    op: Op,
    verdict: Mutex<Verdict>,
}

impl Change {
    pub(super) fn new(op: Op) -> Arc<Self> {
        Arc::new(Self { op, verdict: Mutex::new(Verdict::Open) })
    }

    /// Decides, unless that was done; returns what was decided.
    pub(super) fn decide(&self, verdict: Verdict) -> Verdict {
        let mut decided = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if *decided == Verdict::Open {
            *decided = verdict;
        }
        *decided
    }
}

/// Copies that are not lost, and how many the log needs.
#[derive(Debug)]
pub(super) struct InUse {
    count: AtomicUsize,
    needed: usize,
}

impl InUse {
    pub(super) fn new(count: usize, needed: usize) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(count), needed })
    }
}

/// A [`Change`] on its way to one copy.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) change: Arc<Change>,
    pub(super) copy: usize,
    pub(super) answer: Sender<(usize, io::Result<u64>)>,
}

/// Which of a copy's threads carries a change out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// What requests wait for.
    Ahead,
    /// Whole files behind the log, megabytes each: nobody waits for them, and nobody may wait because of them.
    Behind,
}

/// One copy. Its threads end when it is dropped.
pub(super) struct Copy {
    state: Arc<State>,
    ahead: Queue,
    behind: Queue,
}

/// The way to one thread.
struct Queue {
    requests: Sender<Request>,
    backlog: Arc<Backlog>,
}

/// Requests that are not carried out yet.
#[derive(Default)]
struct Backlog {
    count: Mutex<usize>,
    shrunk: Condvar,
}

struct State {
    name: String,
    files: Arc<dyn Files>,
    lost: AtomicBool,
    /// Written to, and not read while another copy is whole.
    damaged: AtomicBool,
    in_use: Arc<InUse>,
    /// Who leads readers, and the place of this copy there.
    lead: Option<(Arc<Lead>, usize)>,
    events: Arc<Mutex<Vec<CopyEvent>>>,
}

impl State {
    fn report(&self, what: String) {
        let event = CopyEvent { copy: self.name.clone(), what };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn lose(&self, reason: &str) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            self.in_use.count.fetch_sub(1, Ordering::AcqRel);
            self.mourn(reason);
        }
    }

    /// Loses the copy if the log can go on without it. Two copies cannot both be spared when there is one to spare.
    fn spare(&self, reason: &str) -> bool {
        let fewer = |count: usize| (count > self.in_use.needed).then(|| count - 1);
        let count = &self.in_use.count;
        let spared = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok();
        if spared && self.lost.swap(true, Ordering::AcqRel) {
            count.fetch_add(1, Ordering::AcqRel);
        } else if spared {
            self.mourn(reason);
        }
        spared
    }

    fn mourn(&self, reason: &str) {
        tracing::error!(copy = self.name, reason, "a copy of the audit log is lost");
        if let Some((lead, copy)) = &self.lead {
            lead.without(*copy);
        }
        self.report(format!("lost: {reason}"));
    }

    /// What a failure means for the copy.
    fn judge(&self, change: &Change, error: &io::Error) {
        let kind = error.kind();
        // The caller asks whether the file is there, and may create it.
        let absent = matches!(change.op, Op::Open(..)) && kind == io::ErrorKind::NotFound;
        // Without this copy nothing would count, so the change is taken back and the log waits for room.
        let waits = kind == io::ErrorKind::StorageFull
            && !self.spare(&error.to_string())
            && change.decide(Verdict::NoRoom) == Verdict::NoRoom;
        if !absent && !waits {
            self.lose(&error.to_string());
        }
    }
}

impl Copy {
    pub(super) fn start(
        name: String,
        files: Arc<dyn Files>,
        in_use: Arc<InUse>,
        lead: Option<(Arc<Lead>, usize)>,
        events: Arc<Mutex<Vec<CopyEvent>>>,
    ) -> io::Result<Self> {
        let (lost, damaged) = (AtomicBool::new(false), AtomicBool::new(false));
        let state = Arc::new(State { name, files, lost, damaged, in_use, lead, events });
        let ahead = Queue::start("audit-copy", &state)?;
        let behind = Queue::start("audit-copy-behind", &state)?;
        Ok(Self { state, ahead, behind })
    }

    pub(super) fn name(&self) -> &str {
        &self.state.name
    }

    pub(super) fn files(&self) -> &dyn Files {
        self.state.files.as_ref()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state.lost.load(Ordering::Acquire)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.state.damaged.load(Ordering::Acquire)
    }

    /// It is not read any more, because of what is in the segment of record `seq`; said once.
    pub(super) fn pass_over(&self, seq: u64) {
        let state = &self.state;
        if state.damaged.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(
            copy = state.name,
            seq,
            "a copy of the audit log is damaged and another one is read; run `audit verify`"
        );
        if let Some((lead, copy)) = &state.lead {
            lead.pass_over(*copy);
        }
        state.report(format!("damaged: in the segment of record {seq}; it is not read any more"));
    }

    /// Nothing is written to it any more; said once.
    pub(super) fn lose(&self, reason: &str) {
        self.state.lose(reason);
    }

    /// Something else that the log has to record.
    pub(super) fn report(&self, what: String) {
        self.state.report(what);
    }

    /// Hands a request over, unless the copy is lost or has been too slow for too long.
    pub(super) fn send(&self, lane: Lane, request: Request) {
        if self.is_lost() {
            return;
        }
        let queue = match lane {
            Lane::Ahead => &self.ahead,
            Lane::Behind => &self.behind,
        };
        let backlog = queue.backlog.count.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |backlog: &mut usize| *backlog >= BACKLOG_MAX;
        let waited = queue.backlog.shrunk.wait_timeout_while(backlog, LAG_MAX, full);
        let (mut backlog, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return self.lose("it fell behind");
        }
        *backlog += 1;
        drop(backlog);
        if queue.requests.send(request).is_err() {
            self.lose("its thread ended");
        }
    }
}

impl Queue {
    fn start(name: &str, state: &Arc<State>) -> io::Result<Self> {
        let (requests, received) = mpsc::channel();
        let (state, backlog) = (Arc::clone(state), Arc::<Backlog>::default());
        let shared = Arc::clone(&backlog);
        let serve = move || serve(&state, &shared, &received);
        thread::Builder::new().name(name.to_owned()).spawn(serve)?;
        Ok(Self { requests, backlog })
    }
}

fn serve(state: &State, backlog: &Backlog, requests: &Receiver<Request>) {
    let mut open = HashMap::new();
    while let Ok(Request { change, copy, answer }) = requests.recv() {
        let done = || {
            *backlog.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            backlog.shrunk.notify_one();
        };
        if state.lost.load(Ordering::Acquire) {
            done();
            continue;
        }
        let result = carry_out(state.files.as_ref(), &mut open, &change.op);
        if let Err(error) = &result {
            state.judge(&change, error);
        }
        done();
        // The caller may have had enough answers already.
        drop(answer.send((copy, result)));
    }
}

fn carry_out(
    files: &dyn Files,
    open: &mut HashMap<u64, Box<dyn File>>,
    op: &Op,
) -> io::Result<u64> {
    match op {
        Op::Size(id) => return file(open, *id)?.size(),
        Op::Write(id, offset, bytes) => file(open, *id)?.write_at(*offset, bytes)?,
        Op::Sync(id) => synced(file(open, *id)?.sync())?,
        Op::WriteDurable(id, offset, bytes) => file(open, *id)?.write_durable(*offset, bytes)?,
        Op::Truncate(id, len) => synced(file(open, *id)?.truncate(*len))?,
        Op::Check(id) if !file(open, *id)?.is_in_place()? => {
            return Err(io::Error::other("a file was removed or replaced"));
        }
        Op::Check(_) => {}
        Op::Replace(path, bytes) => files.replace(path, bytes)?,
        Op::ReplaceAll(all) => files.replace_all(all)?,
        Op::Remove(path) => synced(files.remove(path))?,
        Op::Create(id, path) => drop(open.insert(*id, files.create(path)?)),
        Op::Open(id, path) => drop(open.insert(*id, files.open(path)?)),
        Op::Close(id) => drop(open.remove(id)),
        Op::Settle => {}
    }
    Ok(0)
}

/// An open file; one that this copy could not open is an error, which loses the copy.
fn file(open: &mut HashMap<u64, Box<dyn File>>, id: u64) -> io::Result<&mut Box<dyn File>> {
    open.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
}
