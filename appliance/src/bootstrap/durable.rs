//! Small files that must survive power loss, written so that a reader sees all of one or nothing.
//!
//! ORDER: write a temporary file in the same directory, fsync it, link it to its name, fsync the directory. After a crash
//! there may be a temporary file more, never half a file under its name.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::BootstrapError;

/// Largest file that the configuration directory holds; certificates with long chains stay far below.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// 0600.
    Private,
    /// 0644.
    Public,
}

/// What to do with a file of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Creates a directory that only this user may enter, and what leads to it.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), BootstrapError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |source| io_error("creating", dir, source);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    match dir.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Writes a file unless there is one; true if it wrote.
pub(crate) fn write_if_missing(
    path: &Path,
    bytes: &[u8],
    access: Access,
) -> Result<bool, BootstrapError> {
    write(path, bytes, access, Existing::Keep)
}

/// Writes a file in the order of the module's doc; true if it wrote.
pub(super) fn write(
    path: &Path,
    bytes: &[u8],
    access: Access,
    existing: Existing,
) -> Result<bool, BootstrapError> {
    let failed = |source| io_error("writing", path, source);
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    create_private_dir(dir)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).map_err(failed)?;
    let mode = match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    };
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match existing {
        Existing::Replace => drop(file.persist(path).map_err(|error| failed(error.error))?),
        Existing::Keep => match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(failed(error.error)),
        },
    }
    sync_dir(dir)?;
    Ok(true)
}

/// Reads a whole file, or `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BootstrapError> {
    let failed = |source| io_error("reading", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes))
}

/// Reads a secret; one that everybody on this machine can read is not used.
pub(crate) fn read_secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BootstrapError> {
    let bytes = read(path)?;
    if bytes.is_some() {
        let metadata = fs::metadata(path).map_err(|source| io_error("reading", path, source))?;
        // The group may read: that is how a backup agent is let in.
        if metadata.permissions().mode() & 0o007 != 0 {
            return Err(BootstrapError::Exposed { path: path.to_owned() });
        }
    }
    Ok(bytes)
}

/// Waits for and takes the lock; it is released when the file is dropped, also by a crash.
pub(super) fn lock(path: &Path) -> Result<File, BootstrapError> {
    let failed = |source| io_error("locking", path, source);
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn sync_dir(dir: &Path) -> Result<(), BootstrapError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| io_error("syncing the directory", dir, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> BootstrapError {
    BootstrapError::Io { doing, path: path.to_owned(), source }
}
