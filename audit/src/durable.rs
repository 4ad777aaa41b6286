//! The file system as the log needs it, with the order of system calls in one place.
//!
//! The log owns this trait; tests put a faulty file system behind it, and [`Mirrored`] several drives.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

pub(crate) use mirror::led;
pub use mirror::{COPIES_MAX, Lead, Mirrored};

mod mirror;

/// Something that happened to one of several copies, for the log to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyEvent {
    /// Name of the copy.
    pub copy: String,
    /// In words.
    pub what: String,
}

/// Copies of a tree, by what they are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Written to, and read if need be.
    pub whole: usize,
    /// Written to. A reader met damage, and another copy is read.
    pub damaged: usize,
    /// Neither, until the tree is opened again.
    pub lost: usize,
}

/// What a reader met, for [`Files::go_round`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage<'a> {
    /// Where the reader's path led; none for a reader of [`Files`].
    pub from: Option<&'a Path>,
    /// The records that it was to read, as far as they are durable; all of the segments that they are in are looked at.
    pub records: Range<u64>,
    /// Records that are durable.
    pub size: u64,
}

/// A directory tree that one log owns. Paths are relative, with `/`.
///
/// Durability: once a call that changes names (`create`, `replace`, `remove`, `truncate`) returns `Ok`, its effect survives power
/// loss. Bytes written through [`File::write_at`] survive once [`File::sync`] returned `Ok`. After any `Err` the
/// state on disk is unknown, the caller stops writing, and only reading it again after a restart tells; nothing is
/// retried, because a failed fsync may have marked lost pages clean.
///
/// One error says more: [`io::ErrorKind::StorageFull`] is a write that found no room, before any sync. What was durable
/// still is, a file that was to be replaced is as it was, and the same place may be written again once there is room. An
/// error of a sync never has this kind.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Takes the tree for this process until the guard is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process holds it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// Creates an empty file and its directories; the name is durable on return. An existing file is an error.
    fn create(&self, path: &str) -> io::Result<Box<dyn File>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &str) -> io::Result<Box<dyn File>>;
    /// Reads a whole file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// The same as a stream, for a file that is too large to hold.
    fn stream(&self, path: &str) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.read(path)?)))
    }
    /// Puts `bytes` at `path`, all or nothing, over whatever was there.
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// The same for many files, in no order: after a crash, or an error, any of them may be there and others not.
    fn replace_all(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        files.iter().try_for_each(|(path, bytes)| self.replace(path, bytes))
    }
    /// Deletes a file, durable on return; a file that is not there is none.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names in a directory, in no order, directories with a trailing `/`; a missing directory is empty.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Called once, with the lock held and before anything is read: brings the copies of a tree that has several to one
    /// state.
    ///
    /// # Errors
    /// They cannot be; the tree must not be written to.
    fn reconcile(&self) -> io::Result<()> {
        Ok(())
    }
    /// Bytes that may still be written, as far as anybody knows.
    ///
    /// # Errors
    /// The file system does not say.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    /// How the copies are now.
    fn copies(&self) -> Copies {
        Copies { whole: 1, damaged: 0, lost: 0 }
    }
    /// What happened to copies since the last call, oldest first.
    fn take_events(&self) -> Vec<CopyEvent> {
        Vec::new()
    }
    /// A reader met damage. A tree of several copies looks whether the copy that is read is damaged there and another one
    /// is not; if so, everybody reads another one from then on, while all are written to. Nothing on disk is changed, and
    /// what was done is one of the events. It takes as long as reading a segment from each copy.
    ///
    /// True if reading again may help: the copy that is read now is not the one that the reader read, or, for a reader of
    /// [`Files`], is whole there.
    fn go_round(&self, damage: &Damage<'_>) -> bool {
        let _ = damage;
        false
    }
}

/// One open file of [`Files`].
pub trait File: fmt::Debug + Send {
    /// Current size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` and makes what was written durable.
    fn write_durable(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        synced(self.sync())
    }
    /// Cuts the file and makes that durable.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Whether the file's path still leads to it: what is written to a file that was removed goes nowhere.
    ///
    /// # Errors
    /// The file system does not say.
    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Files that are put in place together; as many are open at a time.
const GROUP_FILES_MAX: usize = 256;

/// Reads a file that may be absent.
pub(crate) fn read_optional(files: &dyn Files, path: &str) -> io::Result<Option<Vec<u8>>> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A directory of the local file system.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    root: PathBuf,
}

impl LocalFiles {
    /// The tree under `root`, which is created when it is first written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the tree is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates missing parents, each durable in its own parent.
    fn parents(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let missing: Vec<_> = parent.ancestors().take_while(|dir| !dir.is_dir()).collect();
        for dir in missing.into_iter().rev() {
            match written(fs::create_dir(dir)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_parent(dir)?,
            }
        }
        Ok(())
    }

    /// Writes the next contents of a file beside it; nothing is durable yet.
    fn stage(&self, path: &Path, bytes: &[u8]) -> io::Result<fs::File> {
        self.parents(path)?;
        let mut file = written(fs::File::create(temporary(path)))?;
        written(file.write_all(bytes))?;
        Ok(file)
    }
}

/// Where the next contents of a file are put together. The process that holds the lock is the only writer, so one fixed
/// name per file is enough, and a crash leaves stale files that the next replacement overwrites.
fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    temporary.into()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => synced(fs::File::open(".")?.sync_all()),
        Some(parent) => synced(fs::File::open(parent)?.sync_all()),
        None => Ok(()),
    }
}

/// The result of a sync, which never says that the disk is merely full: what it lost is lost.
pub(crate) fn synced<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(error),
        _ => error,
    })
}

/// The result of a write; a used-up quota is a full disk.
fn written<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::QuotaExceeded => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => error,
    })
}

impl Files for LocalFiles {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let path = self.root.join("LOCK");
        self.parents(&path)?;
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(file))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        let path = self.root.join(path);
        self.parents(&path)?;
        let create = fs::File::options().create_new(true).read(true).write(true).open(&path);
        let file = written(create)?;
        synced(file.sync_all())?;
        sync_parent(&path)?;
        Ok(Box::new(Local { file, path }))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        let path = self.root.join(path);
        let file = fs::File::options().read(true).write(true).open(&path)?;
        Ok(Box::new(Local { file, path }))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(path))
    }

    fn stream(&self, path: &str) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(fs::File::open(self.root.join(path))?))
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        // ORDER: bytes, their fsync, the rename, the directory's fsync; each relies on the one before.
        let file = self.stage(&path, bytes)?;
        synced(file.sync_all())?;
        written(fs::rename(temporary(&path), &path))?;
        sync_parent(&path)
    }

    fn replace_all(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        for files in files.chunks(GROUP_FILES_MAX) {
            let mut staged = Vec::with_capacity(files.len());
            for (path, bytes) in files {
                let path = self.root.join(path);
                let file = self.stage(&path, bytes)?;
                // The disk begins with it now, and places all of them before the first fsync, whose journal commit then
                // serves the others. Whether it does is a matter of speed alone.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
                staged.push((file, path));
            }
            // ORDER: as for one file; each step for all of them before the next.
            for (file, _) in &staged {
                synced(file.sync_all())?;
            }
            for (_, path) in &staged {
                written(fs::rename(temporary(path), path))?;
            }
            let named: BTreeMap<_, _> = staged.iter().map(|(_, p)| (p.parent(), p)).collect();
            named.into_values().try_for_each(|path| sync_parent(path))?;
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_parent(&path),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        list(&self.root.join(path))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.root)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// [`Files::list`] of a local path, for readers that hold no lock.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                name.push('/');
            }
            Ok(name)
        })
        .collect()
}

#[derive(Debug)]
struct Local {
    file: fs::File,
    path: PathBuf,
}

impl File for Local {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        written(self.file.write_all_at(bytes, offset))
    }

    fn sync(&mut self) -> io::Result<()> {
        synced(self.file.sync_data())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        synced(self.file.set_len(len))?;
        synced(self.file.sync_all())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let open = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok(open.dev() == there.dev() && open.ino() == there.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_put_in_place_as_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let (one, many) =
            (LocalFiles::new(dir.path().join("one")), LocalFiles::new(dir.path().join("many")));
        let all: Vec<(String, Vec<u8>)> = (0..GROUP_FILES_MAX * 2 + 3)
            .map(|i| (format!("tile/0/{:03}/{i:03}", i / 100), i.to_string().into_bytes()))
            .collect();
        for files in [&one, &many] {
            files.replace("tile/0/001/100", b"older and longer").unwrap();
        }
        all.iter().for_each(|(path, bytes)| one.replace(path, bytes).unwrap());
        many.replace_all(&all).unwrap();
        for (path, bytes) in &all {
            assert_eq!(many.read(path).unwrap(), *bytes, "{path}");
        }
        for directory in ["tile/0", "tile/0/000", "tile/0/001", "tile/0/005"] {
            let sorted = |files: &LocalFiles| {
                let mut names = files.list(directory).unwrap();
                names.sort();
                names
            };
            assert_eq!(sorted(&many), sorted(&one), "{directory}");
        }
        // What cannot be put anywhere is an error, and nothing is left half.
        let broken = [("new".to_owned(), vec![1]), ("tile".to_owned(), vec![2])];
        assert!(many.replace_all(&broken).is_err());
        assert!(many.list("tile/0").unwrap().contains(&"005/".to_owned()));
    }
}
