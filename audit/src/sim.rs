//! A file system in memory that fails on demand and loses what was not synced.
//!
//! Faults that the log promises to survive, one at a time: a write that fails whole or after some sectors, a sync
//! that fails and keeps or loses the data, a creation, replacement, removal, cut or reading that fails, a disk that is
//! full, and the loss of writes since the last sync: of all, up to any sector, or of any set of sectors.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::durable::{File, Files};

/// Unit that a disk writes whole.
pub const SECTOR_BYTES: usize = 512;

/// Calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`File::write_at`].
    Write,
    /// [`File::sync`].
    Sync,
    /// [`File::truncate`].
    Truncate,
    /// [`Files::create`].
    Create,
    /// [`Files::replace`].
    Replace,
    /// [`Files::remove`].
    Remove,
    /// [`Files::stream`].
    Stream,
}

/// One failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which call.
    pub op: Op,
    /// Only calls on paths that begin so.
    pub path: &'static str,
    /// How many such calls succeed before.
    pub after: usize,
    /// What the caller sees.
    pub error: io::ErrorKind,
    /// Bytes of a write that get through all the same; for other calls, whether their effect is kept if not zero.
    pub kept: usize,
}

/// The file system; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimFiles {
    tree: Arc<Mutex<Tree>>,
    locked: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
struct Tree {
    files: BTreeMap<String, Node>,
    faults: Vec<Fault>,
    /// Bytes that all files may have together.
    room: Option<usize>,
    /// Every change so far, if it is recorded.
    trace: Option<Vec<Change>>,
}

/// One change that reached the disk.
#[derive(Clone, Debug)]
enum Change {
    Create(String),
    Replace(String, Vec<u8>),
    Write(String, usize, Vec<u8>),
    Sync(String),
    Truncate(String, usize),
    Remove(String),
}

/// What a power loss leaves of writes that no sync followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// All of them.
    Kept,
    /// None of them.
    Lost,
    /// Some sectors, in no order: the first if the lowest bit is set, and so on. Beyond the last bit it goes by the
    /// number as a seed. The file is as long as it was written; what is not there reads as zeros.
    Some(u64),
}

impl Node {
    /// Sectors that no sync followed.
    fn unsynced(&self) -> Vec<usize> {
        let changed =
            |at: usize, sector: &[u8]| self.synced.get(at..at + sector.len()) != Some(sector);
        let sectors = self.bytes.chunks(SECTOR_BYTES).enumerate();
        let sectors = sectors.map(|(i, sector)| (i * SECTOR_BYTES, sector));
        sectors.filter(|(at, sector)| changed(*at, sector)).map(|(at, _)| at).collect()
    }

    /// Keeps of the unsynced sectors those that `chosen` says.
    fn keep(&mut self, chosen: u64) {
        let mut kept = self.synced.clone();
        kept.resize(self.bytes.len(), 0);
        let mut dice = chosen;
        for (i, at) in self.unsynced().into_iter().enumerate() {
            // Knuth's MMIX generator; its highest bit is the best.
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let keep = if i < 64 { chosen >> i & 1 == 1 } else { dice >> 63 == 1 };
            if keep {
                let end = (at + SECTOR_BYTES).min(self.bytes.len());
                kept[at..end].copy_from_slice(&self.bytes[at..end]);
            }
        }
        *self = Self { synced: kept.clone(), bytes: kept };
    }
}

impl Tree {
    fn used(&self) -> usize {
        self.files.values().map(|node| node.bytes.len()).sum()
    }

    /// How many of `more` bytes there is room for.
    fn fitting(&self, more: usize) -> usize {
        self.room.map_or(more, |room| more.min(room.saturating_sub(self.used())))
    }

    fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(trace) = &mut self.trace {
            trace.push(change());
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(path) => drop(self.files.entry(path.clone()).or_default()),
            Change::Replace(path, bytes) => {
                let node = Node { bytes: bytes.clone(), synced: bytes.clone() };
                self.files.insert(path.clone(), node);
            }
            Change::Write(path, at, bytes) => {
                self.files.entry(path.clone()).or_default().write(*at, bytes);
            }
            Change::Remove(path) => drop(self.files.remove(path)),
            Change::Sync(path) => {
                let node = self.files.entry(path.clone()).or_default();
                node.synced.clone_from(&node.bytes);
            }
            Change::Truncate(path, len) => {
                let node = self.files.entry(path.clone()).or_default();
                node.bytes.resize(*len, 0);
                node.synced.clone_from(&node.bytes);
            }
        }
    }
}

impl Node {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        if self.bytes.len() < at + bytes.len() {
            self.bytes.resize(at + bytes.len(), 0);
        }
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    bytes: Vec<u8>,
    /// What a power loss leaves.
    synced: Vec<u8>,
}

impl SimFiles {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file system that remembers every change, so that [`SimFiles::crash`] can stop after any of them.
    pub fn recording() -> Self {
        let files = Self::default();
        files.tree().trace = Some(Vec::new());
        files
    }

    /// Changes recorded so far.
    pub fn changes(&self) -> usize {
        self.tree().trace.as_ref().map_or(0, Vec::len)
    }

    /// Bytes that a recorded change writes over what was there; 0 for changes that are all or nothing.
    pub fn change_bytes(&self, change: usize) -> usize {
        match self.tree().trace.as_ref().and_then(|trace| trace.get(change)) {
            Some(Change::Write(_, _, bytes)) => bytes.len(),
            _ => 0,
        }
    }

    /// The disk after the first `changes` changes and the first `bytes` bytes of the next one.
    pub fn crash(&self, changes: usize, bytes: usize, unsynced: Unsynced) -> Self {
        let mut tree = Tree::default();
        let trace = self.tree().trace.clone().unwrap_or_default();
        trace.iter().take(changes).for_each(|change| tree.apply(change));
        if let Some(Change::Write(path, at, written)) = trace.get(changes) {
            let part = &written[..bytes.min(written.len())];
            tree.apply(&Change::Write(path.clone(), *at, part.to_vec()));
        }
        for node in tree.files.values_mut() {
            match unsynced {
                Unsynced::Kept => node.synced.clone_from(&node.bytes),
                Unsynced::Lost => node.bytes.clone_from(&node.synced),
                Unsynced::Some(chosen) => node.keep(chosen),
            }
        }
        Self { tree: Arc::new(Mutex::new(tree)), locked: Arc::default() }
    }

    /// Sectors that no sync followed, in all files, just before a recorded change.
    pub fn unsynced(&self, changes: usize) -> usize {
        let mut tree = Tree::default();
        let trace = self.tree().trace.clone().unwrap_or_default();
        trace.iter().take(changes).for_each(|change| tree.apply(change));
        tree.files.values().map(|node| node.unsynced().len()).max().unwrap_or(0)
    }

    /// Arms a fault.
    pub fn fail(&self, fault: Fault) {
        self.tree().faults.push(fault);
    }

    /// Faults that have not hit anything yet.
    pub fn faults_left(&self) -> usize {
        self.tree().faults.len()
    }

    /// Makes the disk this large; what is more than full stays.
    pub fn set_room(&self, bytes: usize) {
        self.tree().room = Some(bytes);
    }

    /// Bytes in all files.
    pub fn used(&self) -> usize {
        self.tree().used()
    }

    /// A copy after power loss: of each file's unsynced bytes only the first `sectors` sectors that changed are there.
    pub fn after_power_loss(&self, sectors: usize) -> Self {
        let mut tree = self.tree().clone();
        tree.faults.clear();
        for node in tree.files.values_mut() {
            let mut bytes = node.synced.clone();
            let mut left = sectors;
            for (i, sector) in node.bytes.chunks(SECTOR_BYTES).enumerate() {
                let at = i * SECTOR_BYTES;
                let end = at + sector.len();
                if bytes.get(at..end) != Some(sector) && left > 0 {
                    left -= 1;
                    if bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                    bytes[at..end].copy_from_slice(sector);
                }
            }
            *node = Node { synced: bytes.clone(), bytes };
        }
        Self { tree: Arc::new(Mutex::new(tree)), locked: Arc::default() }
    }

    /// A copy as another process would find it now.
    pub fn snapshot(&self) -> Self {
        let mut tree = self.tree().clone();
        tree.faults.clear();
        tree.files.values_mut().for_each(|node| node.synced.clone_from(&node.bytes));
        Self { tree: Arc::new(Mutex::new(tree)), locked: Arc::default() }
    }

    /// Paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.tree().files.keys().cloned().collect()
    }

    /// Changes a file behind the log's back.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Some(node) = self.tree().files.get_mut(path) {
            edit(&mut node.bytes);
            node.synced.clone_from(&node.bytes);
        }
    }

    /// Deletes a file behind the log's back.
    pub fn take_away(&self, path: &str) {
        self.tree().files.remove(path);
    }

    /// Writes everything to a real directory, for readers that want one.
    ///
    /// # Errors
    /// Those of the real file system.
    pub fn dump(&self, dir: &Path) -> io::Result<()> {
        for (path, node) in &self.tree().files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(path, &node.bytes)?;
        }
        Ok(())
    }

    /// The fault that hits this call, if one does.
    fn hit(&self, op: Op, path: &str) -> Option<Fault> {
        let mut tree = self.tree();
        let hits = |fault: &Fault| fault.op == op && path.starts_with(fault.path);
        let i = tree.faults.iter().position(hits)?;
        if tree.faults[i].after == 0 {
            return Some(tree.faults.remove(i));
        }
        tree.faults[i].after -= 1;
        None
    }
}

#[derive(Debug)]
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Files for SimFiles {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Guard(self.locked.clone())))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        if let Some(fault) = self.hit(Op::Create, path) {
            if fault.kept > 0 {
                self.tree().files.entry(path.to_owned()).or_default();
            }
            return Err(fault.error.into());
        }
        if self.tree().files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.tree().files.insert(path.to_owned(), Node::default());
        self.tree().note(|| Change::Create(path.to_owned()));
        self.open(path)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        if !self.tree().files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(SimFile { files: self.clone(), path: path.to_owned() }))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.tree().files.get(path).map(|node| node.bytes.clone());
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn stream(&self, path: &str) -> io::Result<Box<dyn io::Read + Send>> {
        match self.hit(Op::Stream, path) {
            Some(fault) => Err(fault.error.into()),
            None => Ok(Box::new(io::Cursor::new(self.read(path)?))),
        }
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        // The new file is there before the old one goes.
        if self.tree().fitting(bytes.len()) < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fault = self.hit(Op::Replace, path);
        if fault.is_none_or(|fault| fault.kept > 0) {
            let node = Node { bytes: bytes.to_vec(), synced: bytes.to_vec() };
            let mut tree = self.tree();
            tree.files.insert(path.to_owned(), node);
            tree.note(|| Change::Replace(path.to_owned(), bytes.to_vec()));
        }
        fault.map_or(Ok(()), |fault| Err(fault.error.into()))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let fault = self.hit(Op::Remove, path);
        if fault.is_none_or(|fault| fault.kept > 0) {
            let mut tree = self.tree();
            if tree.files.remove(path).is_some() {
                tree.note(|| Change::Remove(path.to_owned()));
            }
        }
        fault.map_or(Ok(()), |fault| Err(fault.error.into()))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let tree = self.tree();
        Ok(tree.room.map_or(u64::MAX, |room| room.saturating_sub(tree.used()) as u64))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{path}/");
        let mut names: Vec<String> = Vec::new();
        for rest in self.tree().files.keys().filter_map(|key| key.strip_prefix(&prefix)) {
            let name = rest.split_inclusive('/').next().unwrap_or_default().to_owned();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

#[derive(Debug)]
struct SimFile {
    files: SimFiles,
    path: String,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        act(self.files.tree().files.entry(self.path.clone()).or_default())
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|node| node.bytes.len() as u64))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.files.hit(Op::Write, &self.path);
        let at = offset as usize;
        let grows = (at + bytes.len()).saturating_sub(self.with(|node| node.bytes.len()));
        let lacking = grows - self.files.tree().fitting(grows);
        let kept = fault.map_or(bytes.len(), |fault| fault.kept.min(bytes.len()));
        let kept = kept.min(bytes.len() - lacking);
        self.with(|node| node.write(at, &bytes[..kept]));
        let mut tree = self.files.tree();
        tree.note(|| Change::Write(self.path.clone(), at, bytes[..kept].to_vec()));
        if lacking > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        fault.map_or(Ok(()), |fault| Err(fault.error.into()))
    }

    fn sync(&mut self) -> io::Result<()> {
        let fault = self.files.hit(Op::Sync, &self.path);
        self.with(|node| match fault {
            Some(fault) if fault.kept == 0 => node.bytes.clone_from(&node.synced),
            _ => node.synced.clone_from(&node.bytes),
        });
        if fault.is_none() {
            self.files.tree().note(|| Change::Sync(self.path.clone()));
        }
        fault.map_or(Ok(()), |fault| Err(fault.error.into()))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let fault = self.files.hit(Op::Truncate, &self.path);
        if fault.is_none_or(|fault| fault.kept > 0) {
            self.with(|node| {
                node.bytes.resize(len as usize, 0);
                node.synced.clone_from(&node.bytes);
            });
            self.files.tree().note(|| Change::Truncate(self.path.clone(), len as usize));
        }
        fault.map_or(Ok(()), |fault| Err(fault.error.into()))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(self.files.tree().files.contains_key(&self.path))
    }
}
