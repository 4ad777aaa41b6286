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

/// A symbolic link to the first copy that is in use and not known to be damaged.
///
/// Ownership: the process that holds the log's locks is the only one that moves the link.
#[derive(Debug)]
pub struct Lead {
    link: PathBuf,
    /// Where the copies are, in their order, and what they are good for.
    copies: Mutex<Vec<(PathBuf, Use)>>,
}

/// What a copy is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Reading.
    Whole,
    /// Reading, where there is no better one.
    Damaged,
    /// Nothing.
    Lost,
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
        let absolute = copies.iter().map(|dir| Ok((std::path::absolute(dir)?, Use::Whole)));
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
        self.set(copy, Use::Lost);
        if let Err(error) = self.point() {
            tracing::error!(%error, link = %self.link.display(), "readers of the audit log find no copy");
            // No answer is better than one from a copy that is behind.
            if let Err(error) = fs::remove_file(&self.link) {
                tracing::error!(%error, "and the link to a lost one stays");
            }
        }
    }

    /// The copy is written to, and read only if there is no other one.
    pub(super) fn pass_over(&self, copy: usize) {
        self.set(copy, Use::Damaged);
        // Where the link cannot be moved, readers have the errors that they had.
        if let Err(error) = self.point() {
            tracing::error!(%error, link = %self.link.display(), "readers stay with a damaged copy");
        }
    }

    /// A copy that is lost stays so.
    fn set(&self, copy: usize, to: Use) {
        if let Some((_, stands)) = self.lock().get_mut(copy)
            && *stands != Use::Lost
        {
            *stands = to;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Use)>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn point(&self) -> io::Result<()> {
        let copies = self.lock();
        let first_that_is = |good| copies.iter().find(|(_, stands)| *stands == good);
        let first = first_that_is(Use::Whole).or_else(|| first_that_is(Use::Damaged));
        let (first, _) = first.ok_or(io::ErrorKind::NotFound)?;
        let mut temporary = self.link.clone().into_os_string();
        temporary.push(".tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(first, &temporary)?,
        }
        fs::rename(&temporary, &self.link)
    }
}

#[cfg(test)]
mod tests;
