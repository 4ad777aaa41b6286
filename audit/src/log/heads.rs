//! The list of every head that was ever published: `heads/YYYY/MM/DD.notes`, each a u32be length and a note.
#![deny(clippy::indexing_slicing)]

use std::{io, sync::Arc};

use crate::{
    durable::{File, Files},
    note::NOTE_BYTES_MAX,
    stamp,
};

/// Appends to the list.
#[derive(Debug)]
pub(crate) struct Heads {
    files: Arc<dyn Files>,
    open: Option<(String, Box<dyn File>, u64)>,
}

impl Heads {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self { files, open: None }
    }

    /// Appends one note, durable on return.
    pub(crate) fn append(&mut self, note: &[u8], now_us: u64) -> io::Result<()> {
        let path = format!("heads/{}.notes", stamp::day_path(now_us));
        if self.open.as_ref().is_none_or(|(open, ..)| *open != path) {
            let file = self.open_or_create(&path)?;
            let len = file.size()?;
            self.open = Some((path, file, len));
        }
        let Some((_, file, len)) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut framed =
            u32::try_from(note.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        framed.extend_from_slice(note);
        file.write_at(*len, &framed)?;
        file.sync()?;
        *len += framed.len() as u64;
        Ok(())
    }

    fn open_or_create(&self, path: &str) -> io::Result<Box<dyn File>> {
        match self.files.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.files.create(path),
            opened => opened,
        }
    }
}

/// Paths of all lists in order of their days.
pub(crate) fn paths(list: &dyn Fn(&str) -> io::Result<Vec<String>>) -> io::Result<Vec<String>> {
    let mut directories = vec!["heads".to_owned()];
    for _ in ["year", "month"] {
        let mut deeper = Vec::new();
        for directory in directories {
            let entries = list(&directory)?.into_iter();
            deeper.extend(
                entries.filter_map(|e| Some(format!("{directory}/{}", e.strip_suffix('/')?))),
            );
        }
        directories = deeper;
    }
    let mut paths = Vec::new();
    for directory in directories {
        let entries = list(&directory)?.into_iter().filter(|e| e.ends_with(".notes"));
        paths.extend(entries.map(|e| format!("{directory}/{e}")));
    }
    paths.sort();
    Ok(paths)
}

/// The notes of one list with their offsets; ends at the first thing that is not a whole note.
#[derive(Clone, Debug)]
pub(crate) struct Notes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// Where the whole notes end, once the iterator is done.
    pub(crate) fn end(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let len = u32::from_be_bytes(*len) as usize;
        if len > NOTE_BYTES_MAX {
            return None;
        }
        let (note, rest) = rest.split_at_checked(len)?;
        let at = self.offset;
        self.offset += 4 + len;
        self.rest = rest;
        Some((at, note))
    }
}
