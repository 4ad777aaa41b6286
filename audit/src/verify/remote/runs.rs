//! Runs of 256 records, fetched and hashed ahead of the walk by a few threads that each ask for one file at a time.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use crate::{
    tiles::{Kind, TILE_WIDTH, TilePath},
    tree::{self, Hash},
    verify::{State, VerifyError},
};

use super::{Fetched, Remote, get};

/// Requests under way at once, and runs in memory.
const AT_ONCE: usize = 8;
const WIDTH: u64 = TILE_WIDTH as u64;

/// One file, or why there is none.
#[derive(Debug)]
pub(super) enum Part<T> {
    /// It is what was asked for.
    There(T),
    /// It is not.
    Wrong(State, String),
    /// It was taken away.
    Gone,
    /// It is not for us.
    Denied,
}

/// The records of a run, as far as they can be told apart.
#[derive(Debug)]
pub(super) struct Bundle {
    bytes: Vec<u8>,
    /// Start, length and hash of each.
    records: Vec<(usize, usize, Hash)>,
    /// What is wrong with the framing.
    pub(super) fault: Option<&'static str>,
}

impl Bundle {
    /// Reads at most `width` records, each after its length.
    pub(super) fn parse(bytes: Vec<u8>, width: u16) -> Self {
        let mut records = Vec::with_capacity(usize::from(width));
        let (mut at, mut fault) = (0, None);
        while records.len() < usize::from(width) {
            let Some((start, record)) = entry(&bytes, at) else {
                fault = Some("the bundle ends before its last record");
                break;
            };
            records.push((start, record.len(), tree::leaf_hash(record)));
            at = start + record.len();
        }
        if fault.is_none() && at < bytes.len() {
            fault = Some("the bundle goes on after its last record");
        }
        Self { bytes, records, fault }
    }

    /// Each record with the byte that it begins at, and its hash.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &[u8], Hash)> {
        self.records.iter().map(|(start, len, hash)| {
            let record = self.bytes.get(*start..start + len).unwrap_or_default();
            (*start as u64, record, *hash)
        })
    }

    /// The hashes, if every record is there.
    pub(super) fn hashes(&self, width: u16) -> Option<Vec<Hash>> {
        let whole = self.records.len() == usize::from(width);
        whole.then(|| self.records.iter().map(|(.., hash)| *hash).collect())
    }
}

/// The entry whose length stands at `at`: where it begins, and its bytes.
fn entry(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let (len, after) = bytes.get(at..)?.split_first_chunk::<2>()?;
    Some((at + 2, after.get(..usize::from(u16::from_be_bytes(*len)))?))
}

/// 256 records, or those at the end.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) index: u64,
    pub(super) width: u16,
    pub(super) hashes: Part<Vec<Hash>>,
    pub(super) bundle: Part<Bundle>,
}

impl Run {
    pub(super) fn tile(&self, kind: Kind) -> TilePath {
        TilePath { kind, index: self.index, width: self.width }
    }

    pub(super) fn first(&self) -> u64 {
        self.index * WIDTH
    }

    pub(super) fn end(&self) -> u64 {
        self.first() + u64::from(self.width)
    }
}

/// All runs of a log in order.
pub(super) struct Runs<'a> {
    jobs: mpsc::Sender<Job>,
    next: u64,
    size: u64,
    waiting: VecDeque<Receiver<Result<Run, VerifyError>>>,
    closed: &'a AtomicBool,
}

type Job = (u64, u16, SyncSender<Result<Run, VerifyError>>);

impl Runs<'_> {
    /// Fetches the runs of a log of `size` records while `walk` takes them.
    pub(super) fn with<T>(
        remote: &dyn Remote,
        size: u64,
        walk: impl FnOnce(&mut Runs<'_>) -> T,
    ) -> T {
        let threads = size.div_ceil(WIDTH).min(AT_ONCE as u64);
        let (jobs, queue) = mpsc::channel::<Job>();
        let (queue, closed) = (Mutex::new(queue), AtomicBool::new(false));
        let work = || loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, width, answer)) = next else { return };
            // The walk may have ended.
            drop(answer.send(fetch(remote, index, width, &closed)));
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
            let waiting = VecDeque::new();
            walk(&mut Runs { jobs, next: 0, size, waiting, closed: &closed })
        })
    }

    /// The next run; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Run>, VerifyError> {
        while self.waiting.len() < AT_ONCE && self.next * WIDTH < self.size {
            let width = (self.size - self.next * WIDTH).min(WIDTH) as u16;
            let (answer, run) = mpsc::sync_channel(1);
            self.jobs.send((self.next, width, answer)).map_err(|_| ended())?;
            self.waiting.push_back(run);
            self.next += 1;
        }
        let Some(run) = self.waiting.pop_front() else { return Ok(None) };
        run.recv().map_err(|_| ended())?.map(Some)
    }

    /// Asks for no more records: they are not open to us.
    pub(super) fn without_records(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Runs<'_> {
    /// Nobody waits for what a slow host has not answered yet.
    fn drop(&mut self) {
        self.without_records();
    }
}

fn ended() -> VerifyError {
    let source = io::Error::other("a thread that fetches ended");
    VerifyError::Io { path: "tile".to_owned(), source }
}

fn fetch(
    remote: &dyn Remote,
    index: u64,
    width: u16,
    closed: &AtomicBool,
) -> Result<Run, VerifyError> {
    let hashes = hashes(remote, &TilePath { kind: Kind::Hashes(0), index, width })?;
    let bundle = match closed.load(Ordering::Relaxed) {
        true => Part::Denied,
        false => {
            let tile = TilePath { kind: Kind::Entries, index, width };
            match file(remote, &tile)? {
                Part::There((bytes, found)) => Part::There(cut(Bundle::parse(bytes, found), width)),
                Part::Wrong(state, what) => Part::Wrong(state, what),
                Part::Gone => Part::Gone,
                Part::Denied => Part::Denied,
            }
        }
    };
    Ok(Run { index, width, hashes, bundle })
}

/// The first records of a bundle that has grown since.
fn cut(mut bundle: Bundle, width: u16) -> Bundle {
    bundle.records.truncate(usize::from(width));
    bundle
}

/// The hashes of a tile.
pub(super) fn hashes(remote: &dyn Remote, tile: &TilePath) -> Result<Part<Vec<Hash>>, VerifyError> {
    Ok(match file(remote, tile)? {
        Part::There((bytes, found)) => {
            let (hashes, rest) = bytes.as_chunks::<32>();
            match hashes.len() == usize::from(found) && rest.is_empty() {
                true => Part::There(hashes.iter().take(usize::from(tile.width)).copied().collect()),
                false => {
                    let what =
                        format!("it has {} bytes and should have {found} hashes", bytes.len());
                    Part::Wrong(State::Modified, what)
                }
            }
        }
        Part::Wrong(state, what) => Part::Wrong(state, what),
        Part::Gone => Part::Gone,
        Part::Denied => Part::Denied,
    })
}

/// A file, and how many hashes or records it should have: a host may drop a partial tile once the full one is there.
fn file(remote: &dyn Remote, tile: &TilePath) -> Result<Part<(Vec<u8>, u16)>, VerifyError> {
    let mut fetched = get(remote, &tile.to_string())?;
    let mut width = tile.width;
    if fetched == Fetched::Absent && width < TILE_WIDTH {
        let full = TilePath { width: TILE_WIDTH, ..*tile };
        if let Fetched::Found(bytes) = get(remote, &full.to_string())? {
            (fetched, width) = (Fetched::Found(bytes), TILE_WIDTH);
        }
    }
    Ok(match fetched {
        Fetched::Found(bytes) => Part::There((bytes, width)),
        Fetched::Absent => {
            Part::Wrong(State::Missing, "it is not there, and a signed head covers it".to_owned())
        }
        Fetched::Failed(what) => {
            Part::Wrong(State::Missing, format!("it is not to be had: {what}"))
        }
        Fetched::TooLong => {
            Part::Wrong(State::Modified, "it is longer than any file of a log".to_owned())
        }
        Fetched::Gone => Part::Gone,
        Fetched::Denied => Part::Denied,
    })
}
