//! Reads a segment ahead of the walk and hashes its lines on other threads.
//!
//! Most of a verification is SHA-256 over records, which need nothing from each other; the tree and the chain need their
//! order and stay on the walking thread. The walk gets exactly the bytes that were hashed, and every hash carries the
//! place of its line: where damage makes the walk look at other lines than the hashing threads saw, it finds no hash and
//! makes one. Memory is bounded by the chunks of a [`Pool`], and their buffers go round.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs, io,
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use memchr::{memchr, memrchr};
use rustix::{buffer::spare_capacity, io::Errno};

use crate::{
    segment::{
        BLOCK_BYTES, CONTROL_PREFIX, FRAME_BYTES_MAX, Source,
        packed::{Packing, Table, Unpacker},
    },
    tree::{self, Frontier, Hash},
};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A log with less is hashed by the walk alone.
const ALONE_BYTES_MAX: u64 = 4 << 20;

/// One chunk on its way to a hashing thread, and how it comes back.
struct Job {
    /// Lines, or room for those of a frame.
    bytes: Vec<u8>,
    frame: Option<Frame>,
    answer: SyncSender<Chunk>,
}

/// A packed frame in its file.
struct Frame {
    file: Arc<Vec<u8>>,
    packing: Packing,
}

impl Frame {
    /// Puts the frame's lines into a buffer; false if it is damaged.
    fn unpack(&self, unpacker: Option<&mut Unpacker>, lines: &mut Vec<u8>) -> bool {
        let bytes = self.packing.of(&self.file);
        unpacker.is_some_and(|unpacker| unpacker.unpack_to(bytes, &self.packing, lines))
    }
}

impl Job {
    /// `None` of an unpacker is one that could not be made.
    fn run(self, unpacker: Option<&mut Unpacker>) {
        let Self { mut bytes, frame, answer } = self;
        let damaged = frame.as_ref().is_some_and(|frame| !frame.unpack(unpacker, &mut bytes));
        if damaged {
            bytes.clear();
        }
        let (lines, hashes) = hash_lines(&bytes);
        let root = frame.map(|_| {
            let mut frontier = Frontier::default();
            frontier.extend(&hashes);
            frontier.root()
        });
        // The walk may have given this segment up.
        drop(answer.send(Chunk { bytes, damaged, lines, hashes, root }));
    }
}

struct Chunk {
    bytes: Vec<u8>,
    /// A frame that cannot be unpacked.
    damaged: bool,
    /// Start and length of each whole line that is a record, and the leaf hashes.
    lines: Vec<(usize, usize)>,
    hashes: Vec<Hash>,
    /// Root over them, of a packed frame.
    root: Option<Hash>,
}

/// The hashing threads; they end when this is dropped.
pub(super) struct Pool {
    /// None for a log so small that threads cost more than they save; the walk then makes its hashes itself.
    jobs: Option<Sender<Job>>,
    /// Chunks that are read and not walked yet, at most: more would leave the processor's cache before they are walked.
    chunks_max: usize,
    /// Buffers that were walked. They serve all segments: the kernel gives memory page by page, with zeros in it, and that
    /// took a tenth of a verification.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    /// Runs something over a log of this many bytes beside one hashing thread per processor that this process may use.
    pub(super) fn with<T>(bytes: u64, run: impl FnOnce(&Self) -> T) -> T {
        if bytes < ALONE_BYTES_MAX {
            return run(&Self { jobs: None, chunks_max: 1, spare: RefCell::default() });
        }
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let (jobs, queue) = mpsc::channel();
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| serve(&queue));
            }
            let chunks_max = 2 * threads + 2;
            run(&Self { jobs: Some(jobs), chunks_max, spare: RefCell::default() })
        })
    }

    /// An empty buffer.
    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.spare.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Takes back a buffer.
    fn spare(&self, buffer: Vec<u8>) {
        self.spare.borrow_mut().push(buffer);
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

fn hash_lines(bytes: &[u8]) -> (Vec<(usize, usize)>, Vec<Hash>) {
    let mut places = Vec::with_capacity(bytes.len() / 512);
    let (mut rest, mut at) = (bytes, 0);
    let lines = std::iter::from_fn(|| {
        loop {
            let end = memchr(b'\n', rest)?;
            let (line, after) = rest.split_at(end);
            let start = at;
            at += end + 1;
            rest = after.get(1..).unwrap_or_default();
            if !line.starts_with(CONTROL_PREFIX) {
                places.push((start, end));
                return Some(line);
            }
        }
    });
    let hashes = tree::leaf_hashes(lines);
    (places, hashes)
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
///
/// A chunk ends with a batch where it can, because then it can be walked where it lies. So one is longer than
/// [`CHUNK_BYTES`] where a batch is, by [`FRAME_BYTES_MAX`] at most.
pub(super) struct Ahead<'a> {
    file: &'a fs::File,
    pool: &'a Pool,
    hashes: &'a Hashes,
    /// Where the next chunk is read, and bytes of an unfinished batch before it.
    offset: u64,
    carry: Vec<u8>,
    ended: bool,
    waiting: VecDeque<(u64, Receiver<Chunk>)>,
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
            ended: false,
            waiting: VecDeque::new(),
        }
    }

    /// Reads one chunk and hands it out to be hashed.
    fn request(&mut self) -> io::Result<()> {
        let mut bytes = self.pool.buffer();
        bytes.append(&mut self.carry);
        let start = self.offset - bytes.len() as u64;
        while !self.ended {
            self.read(&mut bytes)?;
            let end = batches_end(start, &bytes).or_else(|| {
                let longest = bytes.len() >= FRAME_BYTES_MAX;
                longest.then(|| memrchr(b'\n', &bytes)).flatten().map(|newline| newline + 1)
            });
            if let Some(end) = end.filter(|_| !self.ended) {
                self.carry.extend(bytes.drain(end..));
                break;
            }
            if bytes.len() >= FRAME_BYTES_MAX {
                break;
            }
        }
        let (answer, chunk) = mpsc::sync_channel(1);
        match &self.pool.jobs {
            Some(jobs) => {
                jobs.send(Job { bytes, frame: None, answer }).map_err(io::Error::other)?;
            }
            None => {
                let (lines, hashes) = Default::default();
                let chunk = Chunk { bytes, damaged: false, lines, hashes, root: None };
                answer.send(chunk).map_err(io::Error::other)?;
            }
        }
        self.waiting.push_back((start, chunk));
        Ok(())
    }

    /// Reads as much as the buffer has room for, and that is made if there is little. It is never filled with zeros.
    fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if bytes.capacity() - bytes.len() < CHUNK_BYTES / 2 {
            bytes.reserve_exact(CHUNK_BYTES);
        }
        while bytes.len() < bytes.capacity() {
            match rustix::io::pread(self.file, spare_capacity(bytes), self.offset) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => self.offset += read as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        while !self.ended && self.waiting.len() < self.pool.chunks_max {
            self.request()?;
        }
        let Some((start, chunk)) = self.waiting.pop_front() else { return Ok(None) };
        let Chunk { bytes, lines, hashes, .. } = chunk.recv().map_err(io::Error::other)?;
        let placed = lines.into_iter().zip(hashes);
        let placed = placed.map(|((at, len), hash)| (start + at as u64, len, hash));
        self.hashes.made.borrow_mut().extend(placed);
        Ok(Some(bytes))
    }
}

impl Source for Ahead<'_> {
    fn more(&mut self, buffer: &mut Vec<u8>, _: usize) -> io::Result<usize> {
        let Some(mut bytes) = self.next_chunk()? else { return Ok(0) };
        let read = bytes.len();
        if buffer.is_empty() {
            std::mem::swap(buffer, &mut bytes);
        } else {
            buffer.extend_from_slice(&bytes);
        }
        self.pool.spare(bytes);
        Ok(read)
    }
}

/// Where the last whole batch ends among bytes that begin at an offset of the file: a control line ends at a boundary, so
/// only boundaries are looked at. It only says where to cut.
fn batches_end(start: u64, bytes: &[u8]) -> Option<usize> {
    let before = usize::try_from(start % BLOCK_BYTES as u64).ok()?;
    let boundaries = (1..=(before + bytes.len()) / BLOCK_BYTES).rev();
    boundaries.map(|boundary| boundary * BLOCK_BYTES - before).find(|end| {
        let line = bytes.get(..*end).and_then(|bytes| bytes.strip_suffix(b"\n"));
        let begin = |line| memrchr(b'\n', line).map_or(0, |newline| newline + 1);
        line.is_some_and(|line| {
            line.get(begin(line)..).is_some_and(|line| line.starts_with(CONTROL_PREFIX))
        })
    })
}

/// The frames of a packed segment in order, unpacked and hashed ahead.
pub(super) struct Frames<'a> {
    file: Arc<Vec<u8>>,
    table: &'a Table,
    pool: &'a Pool,
    next: usize,
    waiting: VecDeque<Receiver<Chunk>>,
    /// For a log that has no hashing threads.
    unpacker: Option<Unpacker>,
}

/// The records of a frame, each with its place and its hash; none if the frame is damaged.
pub(super) struct Unpacked {
    pub(super) bytes: Vec<u8>,
    /// Start and length of each.
    pub(super) lines: Vec<(usize, usize)>,
    pub(super) hashes: Vec<Hash>,
    /// Root over them.
    pub(super) root: Hash,
    pub(super) damaged: bool,
}

impl<'a> Frames<'a> {
    /// `file` is the whole of it.
    pub(super) fn new(file: Arc<Vec<u8>>, table: &'a Table, pool: &'a Pool) -> Self {
        let unpacker = pool.jobs.is_none().then(Unpacker::new).and_then(Result::ok);
        Self { file, table, pool, next: 0, waiting: VecDeque::new(), unpacker }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Unpacked>> {
        while self.waiting.len() < self.pool.chunks_max
            && let Some(packing) = self.table.frames.get(self.next)
        {
            let (answer, chunk) = mpsc::sync_channel(1);
            let frame = Frame { file: self.file.clone(), packing: *packing };
            let bytes = self.pool.buffer();
            let job = Job { bytes, frame: Some(frame), answer };
            match &self.pool.jobs {
                Some(jobs) => jobs.send(job).map_err(io::Error::other)?,
                None => job.run(self.unpacker.as_mut()),
            }
            self.waiting.push_back(chunk);
            self.next += 1;
        }
        let Some(chunk) = self.waiting.pop_front() else { return Ok(None) };
        let Chunk { bytes, damaged, lines, hashes, root } =
            chunk.recv().map_err(io::Error::other)?;
        let root = root.unwrap_or_else(tree::empty_root);
        Ok(Some(Unpacked { bytes, lines, hashes, root, damaged }))
    }

    /// Takes back what was walked.
    pub(super) fn done(&mut self, unpacked: Unpacked) {
        self.pool.spare(unpacked.bytes);
    }
}
