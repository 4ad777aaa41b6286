//! A whole audit log, piece by piece, by as many threads as there are processors.
//!
//! Each thread takes the next piece, replays it with worlds of its own, and what it found is joined in the order of the
//! log. So the outcome does not depend on the number of threads.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::reader::{Read, Reader};
use super::review::{Findings, Review};
use super::{Detail, LineError, Outcome, World, audit_line};

/// Pieces that threads may be ahead of the slowest of them.
const AHEAD_MAX: usize = 16;

/// Unreadable lines that are named.
const COMPLAINTS_MAX: usize = 5;

/// Consecutive records of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Position in the log of the first record.
    pub first: u64,
    /// Records, each with its newline.
    pub lines: Vec<u8>,
}

/// How a log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    pub detail: Detail,
    /// Threads that replay; one if `every` is not one, since counting goes in order.
    pub threads: NonZeroUsize,
    /// Only events at or after this time, in microseconds since 1970, or without a time.
    pub since_us: Option<i64>,
    /// Of these, only every nth.
    pub every: u64,
}

/// What came of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub outcome: Outcome,
    /// Records that say they are decisions and could not be read as such.
    pub unreadable: u64,
    /// The first of them.
    pub complaints: Vec<Unreadable>,
    /// [`World::unmatched`] of the draft.
    pub unmatched: Vec<String>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub seq: u64,
    pub error: LineError,
}

/// Replays the decisions of an audit log in two worlds, as [`super::simulate_in_detail`] replays events.
///
/// `worlds` makes baseline and draft, once per thread. `progress` hears the position up to which the log was read.
///
/// # Errors
/// The first error that `chunks` gives; what was replayed until then is lost.
pub fn simulate_log<E: Send>(
    chunks: impl Iterator<Item = Result<Chunk, E>> + Send,
    worlds: &(dyn Fn() -> (World, World) + Sync),
    options: LogOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Replayed, E> {
    let source = Mutex::new(Source { chunks: Some(chunks), taken: 0 });
    let joined = Joined::new(options.detail);
    let threads = if options.every == 1 { options.threads.get() } else { 1 };
    let work = || {
        let (baseline, draft) = worlds();
        let mut worker = Worker::new(&baseline, &draft, options);
        while let Some((position, chunk)) = take(&source) {
            let piece = chunk.map(|chunk| {
                progress(chunk.first);
                worker.replay(&chunk)
            });
            joined.add(position, piece);
        }
        draft.unmatched().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let unmatched = thread::scope(|scope| {
        let spawned: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut unmatched = work();
        for thread in spawned {
            match thread.join() {
                Ok(others) => unmatched.retain(|name| others.contains(name)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        unmatched
    });
    joined.finish(unmatched)
}

struct Source<I> {
    /// `None` at the end, and after an error.
    chunks: Option<I>,
    taken: usize,
}

/// The next piece and its number.
fn take<E, I: Iterator<Item = Result<Chunk, E>>>(
    source: &Mutex<Source<I>>,
) -> Option<(usize, Result<Chunk, E>)> {
    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
    let chunk = source.chunks.as_mut()?.next();
    if !matches!(chunk, Some(Ok(_))) {
        source.chunks = None;
    }
    source.taken += 1;
    Some((source.taken - 1, chunk?))
}

/// What one piece of the log brought.
struct Piece {
    findings: Findings,
    unreadable: u64,
    complaints: Vec<Unreadable>,
}

impl Piece {
    fn join(&mut self, later: Self) {
        self.findings.join(later.findings);
        self.unreadable += later.unreadable;
        self.complaints.extend(later.complaints);
        self.complaints.truncate(COMPLAINTS_MAX);
    }
}

/// One thread's part.
struct Worker<'a> {
    review: Review<'a>,
    reader: Reader,
    options: LogOptions,
    /// Events so far, for `every`.
    number: u64,
}

impl<'a> Worker<'a> {
    fn new(baseline: &'a World, draft: &'a World, options: LogOptions) -> Self {
        Self { review: Review::new(baseline, draft), reader: Reader::new(), options, number: 0 }
    }

    fn replay(&mut self, chunk: &Chunk) -> Piece {
        let findings = Findings::of_piece(self.options.detail);
        let mut piece = Piece { findings, unreadable: 0, complaints: Vec::new() };
        let lines = chunk.lines.as_slice();
        // All of it at once where it is text; else each line has to show whether it is.
        let text = std::str::from_utf8(lines).ok();
        let (mut at, mut seq) = (0, chunk.first);
        while at < lines.len() {
            let quick = text.and_then(|text| {
                let (read, end) = self.reader.read(seq, text, at)?;
                (lines.get(end) == Some(&b'\n')).then_some((text, read, end))
            });
            match quick {
                Some((text, read, end)) => {
                    self.record(text, read, &mut piece);
                    at = end + 1;
                }
                None => {
                    let rest = lines.get(at..).unwrap_or_default();
                    let Some(end) = memchr::memchr(b'\n', rest) else { break };
                    let line = rest.get(..end).unwrap_or_default();
                    match text {
                        Some(_) => self.unusual(seq, line, &mut piece),
                        None => self.line(seq, line, &mut piece),
                    }
                    at += end + 1;
                }
            }
            seq += 1;
        }
        piece
    }

    /// A line beside others that are not text.
    fn line(&mut self, seq: u64, line: &[u8], piece: &mut Piece) {
        let quick = std::str::from_utf8(line).ok().and_then(|text| {
            let (read, end) = self.reader.read(seq, text, 0)?;
            (end == text.len()).then_some((text, read))
        });
        match quick {
            Some((text, read)) => self.record(text, read, piece),
            None => self.unusual(seq, line, piece),
        }
    }

    /// A record that the quick reader read.
    fn record(&mut self, text: &str, read: Read, piece: &mut Piece) {
        let Read::Decision { time_us } = read else { return };
        if self.is_wanted(time_us) {
            let sides = self.review.sides(self.reader.event());
            self.reader.take_keys(text, &|| sides.sets().map(|set| set.wanted()));
            self.review.event(self.reader.event(), &sides, &mut piece.findings);
        }
    }

    /// A line that the quick reader does not read.
    fn unusual(&mut self, seq: u64, line: &[u8], piece: &mut Piece) {
        match audit_line(seq, line) {
            Ok(None) => {}
            Ok(Some(event)) if self.is_wanted(event.time_us) => {
                let sides = self.review.sides(&event.recorded);
                self.review.event(&event.recorded, &sides, &mut piece.findings);
            }
            Ok(Some(_)) => {}
            Err(error) => {
                piece.unreadable += 1;
                if piece.complaints.len() < COMPLAINTS_MAX {
                    piece.complaints.push(Unreadable { seq, error });
                }
            }
        }
    }

    /// An event without time counts: better one too many than a silent gap.
    fn is_wanted(&mut self, time_us: Option<i64>) -> bool {
        let is_early = |time| self.options.since_us.is_some_and(|since| time < since);
        if time_us.is_some_and(is_early) {
            return false;
        }
        self.number += 1;
        self.number.is_multiple_of(self.options.every.max(1))
    }
}

/// The pieces so far.
struct Joined<E> {
    state: Mutex<State<E>>,
    /// Told whenever a piece was joined.
    progressed: Condvar,
}

struct State<E> {
    all: Piece,
    count: usize,
    /// Pieces whose predecessors are not there yet; at most one per thread and [`AHEAD_MAX`].
    waiting: BTreeMap<usize, Piece>,
    error: Option<E>,
}

impl<E> Joined<E> {
    fn new(detail: Detail) -> Self {
        let findings = Findings::new(detail);
        let all = Piece { findings, unreadable: 0, complaints: Vec::new() };
        let state = State { all, count: 0, waiting: BTreeMap::new(), error: None };
        Self { state: Mutex::new(state), progressed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece, and waits while it is too far ahead of the others.
    fn add(&self, position: usize, piece: Result<Piece, E>) {
        let mut state = self.lock();
        match piece {
            Ok(piece) => {
                state.waiting.insert(position, piece);
            }
            Err(error) => state.error = Some(error),
        }
        loop {
            let next = state.count;
            let Some(piece) = state.waiting.remove(&next) else { break };
            state.all.join(piece);
            state.count += 1;
        }
        self.progressed.notify_all();
        while state.error.is_none() && position > state.count + AHEAD_MAX {
            state = self.progressed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(self, unmatched: Vec<String>) -> Result<Replayed, E> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.error {
            return Err(error);
        }
        let Piece { findings, unreadable, complaints } = state.all;
        Ok(Replayed { outcome: findings.finish(), unreadable, complaints, unmatched })
    }
}

#[cfg(test)]
mod tests;
