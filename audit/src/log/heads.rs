//! The list of every head that was ever published: `heads/YYYY/MM/DD.notes`, each a u32be length and a note.
#![deny(clippy::indexing_slicing)]

use std::{io, sync::Arc};

use memchr::memmem;

use crate::{
    checkpoint::{CheckpointError, Head},
    durable::{File, Files, synced},
    keyring::Keyring,
    note::{NOTE_BYTES_MAX, NoteError},
    stamp,
};

/// What one write that a crash tore can leave: each head is durable before the next one is written.
pub(crate) const TORN_BYTES_MAX: usize = 4 + NOTE_BYTES_MAX;

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
    ///
    /// # Errors
    /// After [`io::ErrorKind::StorageFull`] the list is as it was, and may be appended to later.
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
        if let Err(error) = file.write_at(*len, &framed) {
            if error.kind() == io::ErrorKind::StorageFull {
                // Take back the part that was written; the next note goes to the same place.
                synced(file.truncate(*len))?;
            }
            return Err(error);
        }
        synced(file.sync())?;
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

/// How a list ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The last head.
    pub(crate) head: Option<Head>,
    /// Where it ends; a write that a crash tore follows if the list is longer.
    pub(crate) at: usize,
}

/// Finds the last head of a list, past what a torn write left behind it. Of such a write any sectors may be there and
/// the others be zeros, so even its length may be missing.
///
/// # Errors
/// A good head, or more than one write, follows what is none: no crash did that.
pub(crate) fn ending(bytes: &[u8], keys: &Keyring) -> Result<Ending, CheckpointError> {
    let window = bytes.len().saturating_sub(TORN_BYTES_MAX);
    let mut notes = Notes::new(bytes);
    let recent: Vec<_> =
        notes.by_ref().filter(|(at, note)| at + 4 + note.len() >= window).collect();
    let mut error = CheckpointError::Note(NoteError::Malformed);
    for (at, note) in recent.into_iter().rev() {
        match keys.head_to_compare(note) {
            Ok(head) => {
                let at = at + 4 + note.len();
                // Frames that only a torn length made are no heads either.
                let torn = bytes.get(at..).unwrap_or_default();
                if torn.len() > TORN_BYTES_MAX || holds_head(torn, keys) {
                    return Err(error);
                }
                return Ok(Ending { head: Some(head), at });
            }
            Err(found) => error = found,
        }
    }
    if window > 0 || holds_head(bytes, keys) {
        return Err(error);
    }
    Ok(Ending { head: None, at: 0 })
}

/// Whether a good head begins at any byte.
pub(crate) fn holds_head(bytes: &[u8], keys: &Keyring) -> bool {
    let name = keys.origin().as_bytes();
    memmem::find_iter(bytes, name).any(|at| {
        let framed = at.checked_sub(4).and_then(|at| bytes.get(at..));
        let note = framed.and_then(|framed| Notes::new(framed).next());
        note.is_some_and(|(_, note)| keys.head_to_compare(note).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint, note::Ed25519Signer};

    const ORIGIN: &str = "audit.example.com/node1";

    fn signer(seed: u8) -> Ed25519Signer {
        Ed25519Signer::from_seed(ORIGIN, &[seed; 32])
    }

    fn framed(size: u64, seed: u8) -> Vec<u8> {
        let head = Head { size, root: [size as u8; 32] };
        let note = checkpoint::sign(ORIGIN, &head, &signer(seed)).unwrap();
        [&(note.len() as u32).to_be_bytes()[..], note.as_bytes()].concat()
    }

    fn found(list: &[Vec<u8>]) -> Result<(Option<u64>, usize), CheckpointError> {
        let keys = signer(7).verifier().clone().into();
        ending(&list.concat(), &keys).map(|end| (end.head.map(|head| head.size), end.at))
    }

    #[test]
    fn what_one_write_left_is_torn_and_anything_else_is_damage() {
        let (one, two, three) = (framed(1, 7), framed(2, 7), framed(3, 7));
        let good = one.len() + two.len();
        assert_eq!(found(&[]), Ok((None, 0)));
        assert_eq!(found(&[one.clone(), two.clone()]), Ok((Some(2), good)));
        let mut torn = vec![vec![0], vec![0; three.len()], b"\0\0\0\x05abc".to_vec()];
        torn.extend((0..three.len()).map(|at| three[..at].to_vec()));
        // The first three bytes of a length are zeros in any case.
        for at in 4..three.len() {
            // The first sector is lost, or the last one, or one in the middle.
            torn.push([vec![0; at], three[at..].to_vec()].concat());
            torn.push([three[..at].to_vec(), vec![0; three.len() - at]].concat());
            let zeros = 10.min(three.len() - at);
            torn.push([&three[..at], &vec![0; zeros], &three[at + zeros..]].concat());
        }
        for torn in torn {
            let list = [one.clone(), two.clone(), torn.clone()];
            assert_eq!(found(&list), Ok((Some(2), good)), "{torn:?}");
            assert_eq!(found(std::slice::from_ref(&torn)), Ok((None, 0)), "{torn:?}");
            // What is in front of a good head is no torn write.
            let before = [one.clone(), torn.clone(), two.clone()];
            let all = before.concat().len();
            assert!(found(&before).is_ok_and(|(_, at)| at == all) || found(&before).is_err());
        }
        // More than a write can have left.
        assert!(found(&[one.clone(), vec![0; TORN_BYTES_MAX]]).is_ok());
        assert!(found(&[one.clone(), vec![0; TORN_BYTES_MAX + 1]]).is_err());
        assert!(found(&[vec![0; TORN_BYTES_MAX + 1]]).is_err());
    }
}
