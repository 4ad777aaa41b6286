//! How readers of a log with several copies get round damage in the one that they are led to.
//!
//! A drive may give back other bytes than it was given, and take all that is written to it: nobody who writes notices.
//! A reader does. It asks whether another copy is whole where this one is not, and if so everybody reads that one from
//! then on (`audit:copy` says so). The damaged copy is still written to, counts as one that has the records, and is as it
//! is for `verify` to name; it is read again after the next start, or when no other copy is left.
#![deny(clippy::indexing_slicing)]

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    durable::{COPIES_MAX, Damage, Files, led},
    log::Watch,
};

/// The way round damage in one log, for one directory that leads to a copy of it. Of a log with one copy there is none.
#[derive(Clone, Debug)]
pub struct Detour {
    dir: PathBuf,
    files: Arc<dyn Files>,
    durable: Watch,
}

impl Detour {
    pub(crate) fn new(dir: &Path, files: Arc<dyn Files>, durable: Watch) -> Self {
        Self { dir: dir.to_owned(), files, durable }
    }

    /// Reads, and reads again from another copy where that helps. `damaged` says which records an error is about; none
    /// where another copy would give the same error. Blocks its thread, after an error for as long as it takes to read a
    /// segment from each copy.
    ///
    /// # Errors
    /// The last one of `read`.
    pub fn read<T, E>(
        &self,
        damaged: impl Fn(&E) -> Option<Range<u64>>,
        mut read: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 1..COPIES_MAX {
            // ORDER: the way is looked at before anything is opened, so that no other copy is blamed.
            let from = led(&self.dir);
            match read() {
                Err(error) if damaged(&error).is_some_and(|records| self.go(&from, records)) => {}
                done => return done,
            }
        }
        read()
    }

    /// The same for a reader that may have no log, but only its directory.
    pub(crate) fn round<T, E>(
        detour: Option<&Self>,
        damaged: impl Fn(&E) -> Option<Range<u64>>,
        mut read: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        match detour {
            Some(detour) => detour.read(damaged, read),
            None => read(),
        }
    }

    /// Whether the records can be read somewhere else than where the way led.
    fn go(&self, from: &Path, records: Range<u64>) -> bool {
        let damage = Damage { from: Some(from), records, size: self.durable.size() };
        self.files.go_round(&damage)
    }
}
