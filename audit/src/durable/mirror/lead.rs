//! The way to a copy that is in use, for those who read the log's files.
//!
//! Readers hold no lock and open files by path, and the same path leads to the same bytes on each copy. So one symbolic
//! link is all that they need: whoever goes through it reads on where another copy ends.
#![deny(clippy::indexing_slicing)]

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A symbolic link to the first copy that is in use.
///
/// Ownership: the process that holds the log's locks is the only one that moves the link.
#[derive(Debug)]
pub struct Lead {
    link: PathBuf,
    /// Where the copies are, in their order; those that are lost have none.
    copies: Mutex<Vec<Option<PathBuf>>>,
}

/// Where a path leads now: a reader that keeps something of a copy compares it with where it led before.
pub(crate) fn led(given: &Path) -> PathBuf {
    fs::canonicalize(given).unwrap_or_else(|_| given.to_owned())
}

impl Lead {
    /// Puts the link at `link`, whose directory is on none of the copies' drives, and has it lead to the first one.
    ///
    /// # Errors
    /// The link cannot be put there.
    pub fn new(link: &Path, copies: &[PathBuf]) -> io::Result<Self> {
        let absolute = copies.iter().map(|dir| std::path::absolute(dir).map(Some));
        let copies = Mutex::new(absolute.collect::<io::Result<_>>()?);
        let lead = Self { link: link.to_owned(), copies };
        lead.point()?;
        Ok(lead)
    }

    /// The link.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// The copy is not written to any more.
    pub(super) fn without(&self, copy: usize) {
        if let Some(lost) = self.lock().get_mut(copy) {
            *lost = None;
        }
        if let Err(error) = self.point() {
            tracing::error!(%error, link = %self.link.display(), "readers of the audit log find no copy");
            // No answer is better than one from a copy that is behind.
            if let Err(error) = fs::remove_file(&self.link) {
                tracing::error!(%error, "and the link to a lost one stays");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<PathBuf>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn point(&self) -> io::Result<()> {
        let copies = self.lock();
        let first = copies.iter().flatten().next().ok_or(io::ErrorKind::NotFound)?;
        let mut temporary = self.link.clone().into_os_string();
        temporary.push(".tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(first, &temporary)?,
        }
        fs::rename(&temporary, &self.link)
    }
}
