//! The tiles of a running log, for those who ask: a thread hashes what is durable, readers find it hashed.
#![deny(clippy::indexing_slicing)]

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    checkpoint::{CheckpointError, Head},
    detour::Detour,
    durable::led,
    keyring::Keyring,
    log::{Log, TileRoots, Watch},
    note::{NoteError, Vkey},
    proof::{self, ProofFile, Subtrees as _},
    pruned, search,
    tree::{self, Hash},
    upkeep::{Trouble, Upkeep},
};

use super::{
    Kind, ProveError, TILE_WIDTH, TileError, TilePath,
    shelf::{Hashes, Shelf, roots},
};

const WIDTH: u64 = TILE_WIDTH as u64;
/// Records hashed between two looks at whether to stop; readers wait for none of it.
const RECORDS_AT_ONCE: u64 = 64 * WIDTH;
/// Hashing goes after requests where the processors are busy.
const NICENESS: i32 = 10;

/// Pause after new tiles, so that the next look finds more than one.
const GATHER_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is looked whether the log is read from somewhere else.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Tiles and proofs of a log that is being written. Ownership: its thread alone extends the shelf; the lock is held for
/// as long as a tile takes to read or to write, never while records are hashed.
pub struct Tiles {
    dir: PathBuf,
    detour: Detour,
    origin: String,
    keys: Arc<Known>,
    shelf: Arc<RwLock<Shelf>>,
    trouble: Trouble,
    stop: Arc<AtomicBool>,
    watch: Watch,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiles").field("covered", &self.covered()).finish_non_exhaustive()
    }
}

impl Tiles {
    /// Starts to follow the log that was opened over the local directory `dir`. Its first key is `vkey`; changes of it are
    /// followed.
    ///
    /// # Errors
    /// What is there of an earlier run cannot be read.
    pub fn start(dir: &Path, vkey: Vkey, log: &Log) -> io::Result<Self> {
        Self::start_with(dir, vkey, log, log.tile_roots())
    }

    /// The same with what is made already.
    pub(crate) fn start_with(
        dir: &Path,
        vkey: Vkey,
        log: &Log,
        roots: TileRoots,
    ) -> io::Result<Self> {
        let origin = vkey.name().to_owned();
        let keys = Arc::new(Known(RwLock::new(vkey.into())));
        let led = led(dir);
        let shelf = Arc::new(RwLock::new(open(dir)?));
        let stop = Arc::new(AtomicBool::new(false));
        let watch = log.subscribe();
        let upkeep = Upkeep::new("making tiles", watch.clone(), Arc::clone(&stop));
        let trouble = upkeep.trouble().clone();
        let detour = log.detour(dir);
        let hasher = Hasher {
            dir: dir.to_owned(),
            detour: detour.clone(),
            led,
            keys: Arc::clone(&keys),
            shelf: Arc::clone(&shelf),
            stop: Arc::clone(&stop),
            watch: watch.clone(),
            roots,
            upkeep,
            made_again: false,
        };
        let named = thread::Builder::new().name("audit-tiles".to_owned());
        let thread = Mutex::new(Some(named.spawn(move || hasher.run())?));
        Ok(Self { dir: dir.to_owned(), detour, origin, keys, shelf, trouble, stop, watch, thread })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Records that are hashed: at most 255 fewer than are durable, once the thread has caught up.
    pub fn covered(&self) -> u64 {
        read(&self.shelf).covered()
    }

    /// False while an error keeps new tiles from being made; those that are there are given out. It is tried again until it
    /// succeeds.
    pub fn is_running(&self) -> bool {
        !self.trouble.is_there()
    }

    /// The newest signed head, and the note that it came from.
    ///
    /// # Errors
    /// [`ProveError::NoHead`], [`ProveError::Head`] or [`ProveError::Io`].
    pub fn head(&self) -> Result<(Head, Vec<u8>), ProveError> {
        self.keys.head(&self.dir)
    }

    /// A tile of the log at `size`, which a signed head names.
    ///
    /// # Errors
    /// See [`TileError`].
    pub fn tile(&self, tile: TilePath, size: u64) -> Result<Vec<u8>, TileError> {
        let damaged = |made: &Result<Vec<u8>, TileError>| {
            matches!(made, Ok(_) | Err(TileError::Io(_))).then(|| tile.records()).flatten()
        };
        let made = self.detour.read(damaged, || {
            let shelf = read(&self.shelf);
            match shelf.tile(tile, size) {
                Ok(bytes) if shelf.agrees_with(tile, &bytes) => Ok(bytes),
                made => Err(made),
            }
        });
        // What nobody has better is given out as it is, for whoever asks to see that it does not lead to the head.
        made.or_else(|made| made)
    }

    /// The proof of record `seq` under the newest signed head, with the record in it unless it was pruned.
    ///
    /// # Errors
    /// See [`ProveError`]. What is returned was checked as a stranger would.
    pub fn prove(&self, seq: u64) -> Result<ProofFile, ProveError> {
        let (head, note) = self.head()?;
        self.prove_under(seq, &head, &note)
    }

    /// The same under a head that was read before, for many records of one answer.
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub fn prove_under(&self, seq: u64, head: &Head, note: &[u8]) -> Result<ProofFile, ProveError> {
        // Its path is made of the hashes of the records beside it.
        let tile = TilePath { kind: Kind::Hashes(0), index: seq / WIDTH, width: TILE_WIDTH };
        let damaged = |error: &ProveError| match error {
            ProveError::Io(_) | ProveError::Mismatch { .. } => tile.records(),
            ProveError::Tiles(TileError::Io(_)) => tile.records(),
            _ => None,
        };
        self.detour.read(damaged, || self.prove_here(seq, head, note))
    }

    /// The same in the copy of the log that is read now.
    fn prove_here(&self, seq: u64, head: &Head, note: &[u8]) -> Result<ProofFile, ProveError> {
        if seq >= head.size {
            return Err(ProveError::NotCovered { seq, covered: head.size });
        }
        let mismatch = || ProveError::Mismatch { size: head.size };
        let record = search::read_record(&self.dir, seq).map_err(io::Error::other)?;
        let path = {
            let shelf = read(&self.shelf);
            proof::inclusion(seq, head.size, &mut Hashes::new(&shelf, head.size))?
        };
        let checkpoint = String::from_utf8_lossy(note).into_owned();
        let mut leaf = record.as_deref().map(tree::leaf_hash);
        if leaf.is_none() {
            pruned::leaf_hashes(&self.dir, seq..seq + 1, &mut |_, hash, _| {
                leaf = Some(hash);
                Ok(())
            })?;
        }
        let proof = ProofFile { extra: record, index: seq, path, checkpoint };
        let leaf = leaf.ok_or_else(mismatch)?;
        proof.verify_hash(&leaf, &self.keys.read()).map(|_| proof).map_err(|_| mismatch())
    }

    /// The way from an older head to a newer one (RFC 9162 section 2.1.4): hashes by which a stranger sees that the log of
    /// the older is the beginning of the newer one's.
    ///
    /// # Errors
    /// As [`Self::prove`]; [`ProveError::NotCovered`] when the older is empty or not older.
    pub fn grown(&self, old: &Head, new: &Head) -> Result<Vec<Hash>, ProveError> {
        if old.size == 0 || old.size > new.size {
            return Err(ProveError::NotCovered { seq: old.size, covered: new.size });
        }
        let path = {
            let shelf = read(&self.shelf);
            proof::consistency(old.size, new.size, &mut Hashes::new(&shelf, new.size))?
        };
        match proof::verify_consistency(old, new, &path) {
            true => Ok(path),
            false => Err(ProveError::Mismatch { size: new.size }),
        }
    }

    /// Ends the thread; what is kept can be read on.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.watch.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes tiles panicked");
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A panic elsewhere does not make plain hashes wrong, and whoever gets them checks them.
fn read(shelf: &RwLock<Shelf>) -> RwLockReadGuard<'_, Shelf> {
    shelf.read().unwrap_or_else(PoisonError::into_inner)
}

/// The keys, as far as heads have needed them.
struct Known(RwLock<Keyring>);

impl Known {
    fn read(&self) -> RwLockReadGuard<'_, Keyring> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, dir: &Path) -> Result<(Head, Vec<u8>), ProveError> {
        let note = std::fs::read(dir.join("checkpoint")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ProveError::NoHead,
            _ => error.into(),
        })?;
        let known = self.read().head(&note);
        match known {
            // Signed by a key that came since; the change is on disk before its head is.
            Err(CheckpointError::Note(NoteError::UnknownKey) | CheckpointError::Window { .. }) => {
                let keys = Keyring::of_directory(&self.read().first().clone(), dir)?;
                let head = keys.head(&note)?;
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
                Ok((head, note))
            }
            known => Ok((known?, note)),
        }
    }
}

/// What is there of an earlier run; nothing if that is damaged.
fn open(dir: &Path) -> io::Result<Shelf> {
    match Shelf::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%error, "the kept tiles are made again");
            Shelf::discard(dir)?;
            Shelf::open(dir)
        }
        opened => opened,
    }
}

/// What the thread owns.
struct Hasher {
    dir: PathBuf,
    detour: Detour,
    /// Where the directory led when its tiles were opened.
    led: PathBuf,
    keys: Arc<Known>,
    shelf: Arc<RwLock<Shelf>>,
    stop: Arc<AtomicBool>,
    watch: Watch,
    /// What the log's writer has made already.
    roots: TileRoots,
    upkeep: Upkeep,
    /// Whether all tiles were made again, and do not lead to the signed head all the same: once is enough.
    made_again: bool,
}

impl Hasher {
    fn run(mut self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "making tiles at the priority of requests");
        }
        while let Err(error) = self.follow() {
            // The log is whole without; those who ask for tiles are told to come again.
            let (dir, here) = (&self.dir, &self.led);
            // A drive that fails takes its tiles along; the log may be read from another one soon.
            if !self.upkeep.failed(&error, || led(dir) != *here) {
                break;
            }
        }
    }

    /// Begins with the tiles of another copy of the log, once that is the one that is read.
    fn move_on(&mut self) -> io::Result<()> {
        let led = led(&self.dir);
        if led == self.led {
            return Ok(());
        }
        tracing::warn!("the audit log is read from another copy; its tiles are made now");
        let shelf = open(&self.dir)?;
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
        self.led = led;
        self.made_again = false;
        Ok(())
    }

    /// Makes tiles until it is told to stop, or the log is read from somewhere else.
    fn follow(&mut self) -> io::Result<()> {
        while !self.upkeep.is_over() {
            self.move_on()?;
            self.keep_up()?;
        }
        Ok(())
    }

    /// The same on one copy of the log.
    fn keep_up(&mut self) -> io::Result<()> {
        self.catch_up()?;
        if !self.agrees()? {
            if !self.made_again {
                tracing::warn!(
                    "the kept tiles do not lead to the signed head; they are made again"
                );
                self.start_over()?;
                self.made_again = true;
                self.catch_up()?;
            }
            if !self.agrees()? {
                let what = "the records do not match the signed head; run `audit verify`";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        self.made_again = false;
        self.upkeep.goes_well();
        while !self.upkeep.is_over() && led(&self.dir) == self.led {
            let next = read(&self.shelf).covered() + WIDTH;
            self.watch.wait_past_unless(next - 1, LOOK_INTERVAL, &self.stop);
            self.catch_up()?;
            if read(&self.shelf).covered() >= next {
                self.watch.wait_past_unless(u64::MAX, GATHER_INTERVAL, &self.stop);
            }
        }
        Ok(())
    }

    /// Takes in everything that is durable, except what does not fill a tile yet. Records are read and hashed only where the
    /// writer's hashes are not there any more: after a start, and by whoever is far behind.
    fn catch_up(&self) -> io::Result<()> {
        while !self.upkeep.is_over() {
            let from = read(&self.shelf).covered();
            let to = self.watch.size() / WIDTH * WIDTH;
            if to <= from {
                break;
            }
            let records = from..to.min(from + RECORDS_AT_ONCE);
            let mut hashes = self.roots.from(from / WIDTH, (RECORDS_AT_ONCE / WIDTH) as usize);
            if hashes.is_empty() {
                let damaged = |_: &io::Error| Some(records.clone());
                hashes = self.detour.read(damaged, || roots(&self.dir, records.clone()))?;
            }
            if led(&self.dir) != self.led {
                // These tiles belong to another copy now.
                break;
            }
            self.shelf.write().unwrap_or_else(PoisonError::into_inner).extend(&hashes)?;
        }
        Ok(())
    }

    /// Whether the hashes lead to the newest signed head; yes while there is none, or nothing to say yet.
    fn agrees(&self) -> io::Result<bool> {
        let head = match self.keys.head(&self.dir) {
            Err(ProveError::NoHead) => return Ok(true),
            head => head.map_err(io::Error::other)?.0,
        };
        let shelf = read(&self.shelf);
        if head.size == 0 || head.size >= shelf.covered() + WIDTH {
            return Ok(true);
        }
        match Hashes::new(&shelf, head.size).subtree(0..head.size) {
            Ok(root) => Ok(root == head.root),
            Err(TileError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn start_over(&self) -> io::Result<()> {
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        Shelf::discard(&self.dir)?;
        *shelf = Shelf::open(&self.dir)?;
        Ok(())
    }
}
