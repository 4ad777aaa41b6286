//! Segments that are finished for good, for somebody who copies them away.
//!
//! A sealed and packed segment does not change any more. Its files, put back where they lay, are the log's again: verify
//! reads them like any other. They are compared with the seal before they leave: a copy of damage is none, and where there
//! are copies, the records may be pruned.
#![deny(clippy::indexing_slicing)]

use std::{fs, io, path::Path};

use crate::{
    durable,
    log::Sha256Hex,
    seal::Seal,
    segment::{self, Form, start},
};

/// One segment that was sealed and packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// `seq` of its first record, and after the last one.
    pub first: u64,
    /// See `first`.
    pub end: u64,
    /// SHA-256 of its seal, by which the log names it.
    pub seal: Sha256Hex,
    /// Its files by their paths in the log's directory: the records, what is beside them, and the seal last.
    pub files: Vec<String>,
}

impl SealedSegment {
    /// Its files with their bytes, in this order, once they are what was sealed. They take some tens of megabytes.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] where a file is not what the seal says.
    pub fn read(&self, dir: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
        let read = |path: &String| Ok((path.clone(), fs::read(dir.join(path))?));
        let files: Vec<_> = self.files.iter().map(read).collect::<io::Result<_>>()?;
        let damaged = |path: &str| {
            let what = format!("`{path}` is not what was sealed; run `audit verify`");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let [(packed, records), beside @ .., (sealed, note)] = files.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let seal = Seal::peek(note).filter(|_| Sha256Hex::of(note) == self.seal);
        let seal = seal.ok_or_else(|| damaged(sealed))?;
        if !seal.fits(records) {
            return Err(damaged(packed));
        }
        for (path, start) in beside {
            if !start::parse(start).is_some_and(|tip| seal.begins_at(tip, records)) {
                return Err(damaged(path));
            }
        }
        Ok(files)
    }
}

/// Up to `count` segments from the one with record `from` on, in order and without a gap, as far as they are sealed and
/// packed. The first one begins earlier than `from` where that is no boundary of this log's segments.
///
/// # Errors
/// Reading the directory failed.
pub fn sealed_segments(dir: &Path, from: u64, count: usize) -> io::Result<Vec<SealedSegment>> {
    let names = segment::names(&|path| durable::list(&dir.join(path)))?;
    let mut found = Vec::new();
    let containing = names.partition_point(|name| name.first <= from).saturating_sub(1);
    for name in names.iter().skip(containing) {
        if found.len() == count {
            break;
        }
        let expected = found.last().map_or(name.first, |last: &SealedSegment| last.end);
        let note = match fs::read(dir.join(name.seal_path())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            note => note?,
        };
        let Some(seal) = Seal::peek(&note).filter(|seal| seal.first == name.first) else { break };
        if seal.end <= from {
            continue;
        }
        if name.form != Form::Packed || name.first != expected {
            break;
        }
        let start = Some(name.start_path()).filter(|path| dir.join(path).is_file());
        let files = [Some(name.path.clone()), start, Some(name.seal_path())];
        found.push(SealedSegment {
            first: seal.first,
            end: seal.end,
            seal: Sha256Hex::of(&note),
            files: files.into_iter().flatten().collect(),
        });
    }
    Ok(found)
}
