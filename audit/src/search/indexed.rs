//! The search that lets the index propose.

use std::{fs, io::Read, os::unix::fs::FileExt as _, path::Path};

use memchr::memchr;

use crate::{
    encode::LEAF_BYTES_MAX,
    index::{Candidates, Found, Wanted},
    query::Filter,
    segment::{Name, check},
    stamp,
};

use super::{Deadline, Method, Row, SearchError, names, scan::Bounds};

/// Most records are shorter, so one read is enough.
const READ_BYTES: usize = 4096;

/// The index, if it exists, may be used, and helps.
pub(super) fn choose(
    dir: &Path,
    filter: &Filter,
    method: Method,
) -> Result<Option<Candidates>, SearchError> {
    match method {
        Method::Scan => Ok(None),
        Method::Index => Ok(Candidates::open(dir)?),
        // A query that the index cannot narrow down, such as one for an event, is faster over raw bytes; and a broken
        // index is no reason not to answer.
        Method::Auto if !Candidates::helps(filter) => Ok(None),
        Method::Auto => Ok(Candidates::open(dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "searching without the index");
            None
        })),
    }
}

/// Reads candidates back, newest first, and gives those that match to `take`.
pub(super) fn newest_first(
    dir: &Path,
    index: Candidates,
    filter: &Filter,
    deadline: &Deadline,
    to: u64,
    take: &mut dyn FnMut(Row) -> Result<bool, SearchError>,
) -> Result<(), SearchError> {
    let bounds = Bounds::of(filter);
    let since_us = bounds.since.and_then(|since| stamp::parse(&since)).unwrap_or(0);
    let until_us = bounds.until.and_then(|until| stamp::parse(&until)).unwrap_or(u64::MAX);
    let wanted = Wanted { seqs: 0..to, times: since_us..=until_us };
    let mut rows = Rows { dir, names: names(dir)?, open: None };
    index.newest_first(filter, &wanted, &mut |found: Found| {
        deadline.check()?;
        let leaf = rows.read(found)?;
        if check::seq(&leaf) != Some(found.seq) {
            let what = format!("record {} is not where it says", found.seq);
            return Err(SearchError::Index(what));
        }
        if !filter.matches(&leaf) {
            return Ok(true);
        }
        take(Row { seq: found.seq, leaf })
    })
}

/// Reads records by place; keeps the segment open that it read last.
struct Rows<'a> {
    dir: &'a Path,
    names: Vec<Name>,
    open: Option<(u64, fs::File)>,
}

impl Rows<'_> {
    fn read(&mut self, found: Found) -> Result<Vec<u8>, SearchError> {
        let after = self.names.partition_point(|name| name.first <= found.seq);
        let Some(name) = after.checked_sub(1).and_then(|i| self.names.get(i)) else {
            return Err(SearchError::Index(format!("record {} has no segment", found.seq)));
        };
        if self.open.as_ref().is_none_or(|(first, _)| *first != name.first) {
            let file =
                fs::File::open(self.dir.join(&name.path)).map_err(SearchError::io(&name.path))?;
            self.open = Some((name.first, file));
        }
        let Some((_, file)) = &self.open else { return Ok(Vec::new()) };
        let mut leaf = vec![0; READ_BYTES];
        let read = file.read_at(&mut leaf, found.offset).map_err(SearchError::io(&name.path))?;
        leaf.truncate(read);
        if memchr(b'\n', &leaf).is_none() {
            leaf = At(file, found.offset).long().map_err(SearchError::io(&name.path))?;
        }
        leaf.truncate(memchr(b'\n', &leaf).unwrap_or(leaf.len()));
        Ok(leaf)
    }
}

/// A file from an offset on.
struct At<'a>(&'a fs::File, u64);

impl At<'_> {
    fn long(mut self) -> std::io::Result<Vec<u8>> {
        let mut leaf = Vec::new();
        self.by_ref().take(LEAF_BYTES_MAX as u64 + 1).read_to_end(&mut leaf)?;
        Ok(leaf)
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}
