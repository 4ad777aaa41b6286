//! A published head found by a record that it covers, without reading the list of heads from its beginning.
//!
//! A list of one day may have hundreds of megabytes. Its notes are ordered by size, and each says where it ends, so the
//! first one over a record is found by halving.
#![deny(clippy::indexing_slicing)]

use std::{fs, io, os::unix::fs::FileExt as _, path::Path};

use memchr::memmem;

use crate::{
    checkpoint::{self, Head},
    durable,
    keyring::Keyring,
    log::heads::{self, Notes, TORN_BYTES_MAX},
    stamp,
};

/// Where halving ends and reading begins.
const STRETCH_BYTES: u64 = 32 * 1024;
/// A whole note of one or two signatures is in any window of this size; where it is not, more is read, not less found.
const WINDOW_BYTES: usize = 4 * 1024;

/// The first head that covers record `seq` in the lists of the day of `time_us` and later, with its note. One of the log's
/// keys signed it. None while no head covers the record.
///
/// # Errors
/// Reading the lists failed.
pub fn first_head_over(
    dir: &Path,
    keys: &Keyring,
    seq: u64,
    time_us: u64,
) -> io::Result<Option<(Head, Vec<u8>)>> {
    let day = format!("heads/{}.notes", stamp::day_path(time_us));
    let paths = heads::paths(&|path| durable::list(&dir.join(path)))?;
    for path in paths.iter().filter(|path| **path >= day) {
        if let Some(found) = in_list(&fs::File::open(dir.join(path))?, keys, seq)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn in_list(file: &fs::File, keys: &Keyring, seq: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    // INVARIANT: a note begins at `low`, and no head before it covers the record.
    while high - low > STRETCH_BYTES {
        let middle = low + (high - low) / 2;
        match next_head(file, keys.origin(), middle)? {
            Some((at, size)) if size <= seq => low = at,
            _ => high = middle,
        }
    }
    loop {
        let bytes = window(file, low, TORN_BYTES_MAX)?;
        let mut read = 0;
        for (at, note) in Notes::new(&bytes) {
            read = at + 4 + note.len();
            let covers = peek(note, keys.origin()).is_some_and(|head| head.size > seq);
            if let Some(head) = keys.head_to_compare(note).ok().filter(|_| covers) {
                return Ok(Some((head, note.to_vec())));
            }
        }
        if read == 0 {
            return Ok(None);
        }
        low += read as u64;
    }
}

/// Place and size of a head that begins at or soon after an offset.
fn next_head(file: &fs::File, origin: &str, from: u64) -> io::Result<Option<(u64, u64)>> {
    let bytes = window(file, from, WINDOW_BYTES)?;
    let found = memmem::find_iter(&bytes, origin.as_bytes()).find_map(|name| {
        let at = name.checked_sub(4)?;
        let (_, note) = Notes::new(bytes.get(at..)?).next()?;
        Some((from + at as u64, peek(note, origin)?.size))
    });
    Ok(found)
}

/// What a note says, unsigned: enough to find it by.
fn peek(note: &[u8], origin: &str) -> Option<Head> {
    let text = std::str::from_utf8(note).ok()?;
    let end = text.find("\n\n")? + 1;
    checkpoint::parse(text.get(..end)?, origin)
}

fn window(file: &fs::File, from: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::note::Ed25519Signer;

    use super::*;

    const ORIGIN: &str = "audit.example.com/node1";
    const DAY_US: u64 = 86_400_000_000;

    fn framed(size: u64, signer: &Ed25519Signer) -> Vec<u8> {
        let note = checkpoint::sign(ORIGIN, &Head { size, root: [1; 32] }, signer).unwrap();
        [&(note.len() as u32).to_be_bytes()[..], note.as_bytes()].concat()
    }

    /// Lists of these sizes, one per day from 1970-01-01 on.
    fn lists(days: &[Vec<u64>]) -> tempfile::TempDir {
        let signer = Ed25519Signer::from_seed(ORIGIN, &[7; 32]);
        let dir = tempfile::tempdir().unwrap();
        for (day, sizes) in (0..).zip(days) {
            let path = format!("heads/{}.notes", stamp::day_path(day * DAY_US));
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let list: Vec<u8> = sizes.iter().flat_map(|size| framed(*size, &signer)).collect();
            fs::write(path, list).unwrap();
        }
        dir
    }

    fn keys() -> Keyring {
        Ed25519Signer::from_seed(ORIGIN, &[7; 32]).verifier().clone().into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn it_is_the_first_of_all(steps in prop::collection::vec(1..9u64, 1..900), seqs in prop::collection::vec(0..5000u64, 20)) {
            let sizes: Vec<u64> = steps.iter().scan(0, |size, step| { *size += step; Some(*size) }).collect();
            let days: Vec<Vec<u64>> = sizes.chunks(600).map(<[u64]>::to_vec).collect();
            let dir = lists(&days);
            for seq in seqs {
                let found = first_head_over(dir.path(), &keys(), seq, 0).unwrap();
                let expected = sizes.iter().find(|size| **size > seq).copied();
                prop_assert_eq!(found.map(|(head, _)| head.size), expected);
            }
        }
    }

    #[test]
    fn what_nobody_signed_is_passed_over() {
        let dir = lists(&[vec![3, 5], vec![9]]);
        let path = dir.path().join("heads/1970/01/01.notes");
        let mut list = fs::read(&path).unwrap();
        let stranger = Ed25519Signer::from_seed(ORIGIN, &[8; 32]);
        list.extend(framed(7, &stranger));
        list.extend(b"\0\0\x01\x80half a no");
        fs::write(&path, list).unwrap();
        let found = |seq, time| {
            let found = first_head_over(dir.path(), &keys(), seq, time).unwrap();
            found.map(|(head, note)| (head.size, keys().head(&note).is_ok()))
        };
        assert_eq!(found(2, 0), Some((3, true)));
        assert_eq!(found(5, 0), Some((9, true)));
        assert_eq!(found(2, DAY_US), Some((9, true)), "a list of an earlier day is not read");
        assert_eq!(found(9, 0), None);
        assert_eq!(first_head_over(Path::new("/nowhere"), &keys(), 0, 0).unwrap(), None);
    }
}
