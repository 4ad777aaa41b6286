//! The file system as the log needs it, with the order of system calls in one place.
//!
//! The log owns this trait; tests put a faulty file system behind it, and [`Mirrored`] several drives.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

pub use mirror::{COPIES_MAX, Mirrored};

mod mirror;

/// Something that happened to one of several copies, for the log to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyEvent {
    /// Name of the copy.
    pub copy: String,
    /// In words.
    pub what: String,
}

/// A directory tree that one log owns. Paths are relative, with `/`.
///
/// Durability: once a call that changes names (`create`, `replace`, `remove`, `truncate`) returns `Ok`, its effect survives power
/// loss. Bytes written through [`File::write_at`] survive once [`File::sync`] returned `Ok`. After any `Err` the
/// state on disk is unknown, the caller stops writing, and only reading it again after a restart tells; nothing is
/// retried, because a failed fsync may have marked lost pages clean.
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
    /// Puts `bytes` at `path`, all or nothing, over whatever was there.
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
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
    /// What happened to copies since the last call, oldest first.
    fn take_events(&self) -> Vec<CopyEvent> {
        Vec::new()
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
        self.sync()
    }
    /// Cuts the file and makes that durable.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

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
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_parent(dir)?,
            }
        }
        Ok(())
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
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
        let file = fs::File::options().create_new(true).read(true).write(true).open(&path)?;
        file.sync_all()?;
        sync_parent(&path)?;
        Ok(Box::new(Local(file)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        let file = fs::File::options().read(true).write(true).open(self.root.join(path))?;
        Ok(Box::new(Local(file)))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(path))
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        self.parents(&path)?;
        // The process that holds the lock is the only writer, so one fixed temporary name per file is enough,
        // and a crash leaves at most one stale file that the next replacement overwrites.
        let mut temporary = path.clone().into_os_string();
        temporary.push(".tmp");
        // ORDER: bytes, their fsync, the rename, the directory's fsync; each relies on the one before.
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_parent(&path)
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
struct Local(fs::File);

impl File for Local {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.sync_all()
    }
}
