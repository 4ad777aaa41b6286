//! Reads a segment ahead of the walk and hashes its lines on other threads.
//!
//! Nine tenths of a verification are SHA-256 over records, which need nothing from each other; the tree and the chain
//! need their order and stay on the walking thread. The walk gets exactly the bytes that were hashed, and every hash
//! carries the place of its line: where damage makes the walk look at other lines than the hashing threads saw, it
//! finds no hash and makes one. Memory is bounded by [`CHUNKS_MAX`] chunks.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs, io,
    num::NonZero,
    os::unix::fs::FileExt as _,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use memchr::{memchr, memrchr};

use crate::{
    segment::{
        CONTROL_PREFIX,
        packed::{Packing, Table, Unpacker},
    },
    tree::{self, Frontier, Hash},
};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that are read and not walked yet, at most.
const CHUNKS_MAX: usize = 8;

/// A log with less is hashed by the walk alone.
const ALONE_BYTES_MAX: u64 = 4 << 20;

/// One chunk on its way to a hashing thread, and how it comes back.
struct Job {
    bytes: Vec<u8>,
    /// The bytes are a packed frame.
    packing: Option<Packing>,
    answer: SyncSender<Chunk>,
}

impl Job {
    /// `None` of an unpacker is one that could not be made.
    fn run(self, unpacker: Option<&mut Unpacker>) {
        let Self { bytes, packing, answer } = self;
        let unpacked = match &packing {
            Some(packing) => unpacker.and_then(|unpacker| unpacker.unpack(&bytes, packing)),
            None => Some(bytes),
        };
        let damaged = unpacked.is_none();
        let bytes = unpacked.unwrap_or_default();
        let lines = hash_lines(&bytes);
        let root = packing.map(|_| {
            let mut frontier = Frontier::default();
            lines.iter().for_each(|(.., hash)| frontier.push(*hash));
            frontier.root()
        });
        // The walk may have given this segment up.
        drop(answer.send(Chunk { bytes, damaged, lines, root }));
    }
}

struct Chunk {
    bytes: Vec<u8>,
    /// A frame that cannot be unpacked.
    damaged: bool,
    /// Start of each whole line that is a record, its length, its leaf hash.
    lines: Vec<(usize, usize, Hash)>,
    /// Root over them, of a packed frame.
    root: Option<Hash>,
}

/// The hashing threads; they end when this is dropped.
pub(super) struct Pool {
    /// None for a log so small that threads cost more than they save; the walk then makes its hashes itself.
    jobs: Option<Sender<Job>>,
}

impl Pool {
    /// Runs something over a log of this many bytes beside one hashing thread per processor that this process may use.
    pub(super) fn with<T>(bytes: u64, run: impl FnOnce(&Self) -> T) -> T {
        if bytes < ALONE_BYTES_MAX {
            return run(&Self { jobs: None });
        }
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let (jobs, queue) = mpsc::channel();
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| serve(&queue));
            }
            run(&Self { jobs: Some(jobs) })
        })
    }
}

fn serve(queue: &Mutex<Receiver<Job>>) {
    let mut unpacker = Unpacker::new().ok();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job.run(unpacker.as_mut());
    }
}

fn hash_lines(bytes: &[u8]) -> Vec<(usize, usize, Hash)> {
    let mut lines = Vec::with_capacity(bytes.len() / 512);
    let (mut rest, mut at) = (bytes, 0);
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end);
        if !line.starts_with(CONTROL_PREFIX) {
            lines.push((at, end, tree::leaf_hash(line)));
        }
        at += end + 1;
        rest = after.get(1..).unwrap_or_default();
    }
    lines
}

/// Leaf hashes that were made ahead, in the order of the file.
#[derive(Default)]
pub(super) struct Hashes {
    made: RefCell<VecDeque<(u64, usize, Hash)>>,
}

impl Hashes {
    /// The hash of the line at `offset`, made ahead or now.
    pub(super) fn of(&self, offset: u64, leaf: &[u8]) -> Hash {
        let mut made = self.made.borrow_mut();
        while made.front().is_some_and(|(at, ..)| *at < offset) {
            made.pop_front();
        }
        let ready = made.pop_front_if(|(at, len, _)| *at == offset && *len == leaf.len());
        ready.map_or_else(|| tree::leaf_hash(leaf), |(.., hash)| hash)
    }
}

/// The bytes of one file from an offset on.
pub(super) struct Ahead<'a> {
    file: &'a fs::File,
    pool: &'a Pool,
    hashes: &'a Hashes,
    /// Where the next chunk is read, and bytes of an unfinished line before it.
    offset: u64,
    carry: Vec<u8>,
    spare: Vec<u8>,
    ended: bool,
    waiting: VecDeque<(u64, Receiver<Chunk>)>,
    current: Vec<u8>,
    taken: usize,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(file: &'a fs::File, offset: u64, pool: &'a Pool, hashes: &'a Hashes) -> Self {
        hashes.made.borrow_mut().clear();
        Self {
            file,
            pool,
            hashes,
            offset,
            carry: Vec::new(),
            spare: Vec::new(),
            ended: false,
            waiting: VecDeque::new(),
            current: Vec::new(),
            taken: 0,
        }
    }

    /// Reads one chunk, which ends with a line where it can, and hands it out to be hashed.
    fn request(&mut self) -> io::Result<()> {
        let begun = self.carry.len();
        let start = self.offset - begun as u64;
        // A buffer that was used before is not filled with zeros again.
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.resize(begun + CHUNK_BYTES, 0);
        if let Some(begin) = bytes.get_mut(..begun) {
            begin.copy_from_slice(&self.carry);
        }
        self.carry.clear();
        let mut filled = begun;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, start + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset = start + filled as u64;
        self.ended = filled < bytes.len();
        bytes.truncate(filled);
        if !self.ended
            && let Some(newline) = memrchr(b'\n', &bytes)
        {
            self.carry.extend(bytes.drain(newline + 1..));
        }
        let (answer, chunk) = mpsc::sync_channel(1);
        match &self.pool.jobs {
            Some(jobs) => {
                jobs.send(Job { bytes, packing: None, answer }).map_err(io::Error::other)?;
            }
            None => {
                let chunk = Chunk { bytes, damaged: false, lines: Vec::new(), root: None };
                answer.send(chunk).map_err(io::Error::other)?;
            }
        }
        self.waiting.push_back((start, chunk));
        Ok(())
    }

    fn next_chunk(&mut self) -> io::Result<bool> {
        while !self.ended && self.waiting.len() < CHUNKS_MAX {
            self.request()?;
        }
        let Some((start, chunk)) = self.waiting.pop_front() else { return Ok(false) };
        let Chunk { bytes, lines, .. } = chunk.recv().map_err(io::Error::other)?;
        let placed = lines.into_iter().map(|(at, len, hash)| (start + at as u64, len, hash));
        self.hashes.made.borrow_mut().extend(placed);
        self.spare = std::mem::replace(&mut self.current, bytes);
        self.taken = 0;
        Ok(true)
    }
}

/// The frames of a packed segment in order, unpacked and hashed ahead.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    table: &'a Table,
    pool: &'a Pool,
    next: usize,
    waiting: VecDeque<Receiver<Chunk>>,
    /// For a log that has no hashing threads.
    unpacker: Option<Unpacker>,
}

/// The lines of a frame, each with its place and its hash; none if the frame is damaged.
pub(super) struct Unpacked {
    pub(super) lines: Vec<u8>,
    pub(super) hashes: Vec<(usize, usize, Hash)>,
    /// Root over them.
    pub(super) root: Hash,
    pub(super) damaged: bool,
}

impl<'a> Frames<'a> {
    /// `bytes` is the whole file.
    pub(super) fn new(bytes: &'a [u8], table: &'a Table, pool: &'a Pool) -> Self {
        let unpacker = pool.jobs.is_none().then(Unpacker::new).and_then(Result::ok);
        Self { bytes, table, pool, next: 0, waiting: VecDeque::new(), unpacker }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Unpacked>> {
        while self.waiting.len() < CHUNKS_MAX
            && let Some(packing) = self.table.frames.get(self.next)
        {
            let from = usize::try_from(packing.offset).map_err(io::Error::other)?;
            let bytes = self.bytes.get(from..from + packing.len as usize).unwrap_or_default();
            let (answer, chunk) = mpsc::sync_channel(1);
            let job = Job { bytes: bytes.to_vec(), packing: Some(*packing), answer };
            match &self.pool.jobs {
                Some(jobs) => jobs.send(job).map_err(io::Error::other)?,
                None => job.run(self.unpacker.as_mut()),
            }
            self.waiting.push_back(chunk);
            self.next += 1;
        }
        let Some(chunk) = self.waiting.pop_front() else { return Ok(None) };
        let Chunk { bytes, damaged, lines, root } = chunk.recv().map_err(io::Error::other)?;
        let root = root.unwrap_or_else(tree::empty_root);
        Ok(Some(Unpacked { lines: bytes, hashes: lines, root, damaged }))
    }
}

impl io::Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let ready = self.current.get(self.taken..).unwrap_or_default();
        let read = ready.len().min(buffer.len());
        if let Some((to, from)) = buffer.get_mut(..read).zip(ready.get(..read)) {
            to.copy_from_slice(from);
        }
        self.taken += read;
        Ok(read)
    }
}
