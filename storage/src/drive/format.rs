//! `format.json`: which drive of which deployment a directory is.
//!
//! Written once, after the database exists, by write, fsync, rename and fsync of the directory: a drive with this file is
//! complete.

#![deny(clippy::indexing_slicing)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DriveError;
use super::local::{FORMAT_FILE, sync_directory};
use crate::error::OpenError;

/// The newest format that this version reads and the one that it writes.
pub(super) const FORMAT: u32 = 1;

/// A description is below 4 KiB with 16 drives; more is not ours.
const FORMAT_BYTES_MAX: u64 = 64 * 1024;

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
    pub(super) deployment: String,
    /// This drive.
    pub(super) drive: String,
    /// All drives of the deployment in slot order.
    pub(super) drives: Vec<String>,
    pub(super) parity: u8,
}

/// Only this is read of a format that may be newer.
#[derive(Deserialize)]
struct FormatNumber {
    format: u32,
}

impl Format {
    /// Reads the description of a drive; `None` when the directory has none.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, OpenError> {
        let path = directory.join(FORMAT_FILE);
        let drive = |source| OpenError::Drive { path: directory.to_owned(), source };
        let too_long = fs::metadata(&path).is_ok_and(|file| file.len() > FORMAT_BYTES_MAX);
        if too_long {
            return Err(OpenError::Foreign { path: directory.to_owned() });
        }
        match fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes, directory).map(Some),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(source) => Err(drive(DriveError::Io { doing: "reading format.json", source })),
        }
    }

    fn parse(bytes: &[u8], directory: &Path) -> Result<Self, OpenError> {
        let path = directory.to_owned();
        let damaged = |source| OpenError::Format { path: path.clone(), source };
        let FormatNumber { format } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(OpenError::NewerFormat { path, found: format, known: FORMAT });
        }
        let format: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        let mut unique = format.drives.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() != format.drives.len() || !format.drives.contains(&format.drive) {
            return Err(OpenError::Foreign { path });
        }
        Ok(format)
    }

    /// The position of this drive among all.
    pub(super) fn slot(&self) -> Option<usize> {
        self.drives.iter().position(|drive| *drive == self.drive)
    }

    /// Writes the description of a drive, durably.
    pub(super) fn write(&self, directory: &Path) -> Result<(), DriveError> {
        let staged = directory.join("format.json.new");
        let text = serde_json::to_vec_pretty(self).map_err(|error| DriveError::Io {
            doing: "encoding format.json",
            source: error.into(),
        })?;
        let io = DriveError::io;
        let mut file = File::create(&staged).map_err(io("creating format.json"))?;
        file.write_all(&text).map_err(io("writing format.json"))?;
        file.sync_all().map_err(io("syncing format.json"))?;
        fs::rename(&staged, directory.join(FORMAT_FILE)).map_err(io("publishing format.json"))?;
        sync_directory(directory)
    }
}

/// See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(format) = Format::parse(bytes, Path::new("d")) else { return };
    assert!(format.slot().is_some(), "a drive is one of its deployment");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Format::parse(&bytes, Path::new("d")).is_err());
        }
    }

    #[test]
    fn a_newer_format_is_named_even_if_its_fields_are_unknown() {
        let newer = Format::parse(br#"{"format": 9, "other": []}"#, Path::new("d"));
        assert!(matches!(newer, Err(OpenError::NewerFormat { found: 9, known: FORMAT, .. })));
    }

    #[test]
    fn a_drive_must_be_one_of_its_set() {
        let format = Format {
            format: FORMAT,
            deployment: "d".into(),
            drive: "a".into(),
            drives: vec!["b".into(), "a".into()],
            parity: 1,
        };
        let good = serde_json::to_vec(&format).unwrap();
        assert_eq!(Format::parse(&good, Path::new("d")).unwrap().slot(), Some(1));
        let alone = serde_json::to_vec(&Format { drive: "c".into(), ..format.clone() }).unwrap();
        assert!(Format::parse(&alone, Path::new("d")).is_err());
        let twice = Format { drives: vec!["a".into(), "a".into()], ..format };
        assert!(Format::parse(&serde_json::to_vec(&twice).unwrap(), Path::new("d")).is_err());
    }
}
