//! What a verb writes: to stdout, and into files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// Writes to stdout. Whoever closes it early (`| head`) wants no more of it: that changes no exit code.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes a file in the place of another: the old text or the new one is there, never a part, also after a crash.
/// The new file has the permissions of the old one.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    written(&target, text).with_context(|| format!("writing {}", path.display()))
}

fn written(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut staged = NamedTempFile::new_in(directory)?;
    if let Ok(old) = fs::metadata(path) {
        staged.as_file().set_permissions(old.permissions())?;
    }
    staged.write_all(text.as_bytes())?;
    staged.as_file().sync_all()?;
    staged.persist(path)?;
    File::open(directory)?.sync_all()
}
