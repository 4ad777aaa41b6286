//! A record that cannot be read is named: no reader ends there, or goes on behind it, as if all were well.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use audit::*;

use super::{files, pack, written};

/// Records that each reader gives up to the end, or what it says.
fn read(dir: &Path) -> [Result<u64, String>; 4] {
    let one_by_one = records(dir).try_fold(0, |n, row| row.map(|_| n + 1));
    let in_pieces = pieces(dir).try_fold(0, |n, piece| {
        piece.map(|piece| n + piece.lines.iter().filter(|byte| **byte == b'\n').count() as u64)
    });
    let mut tail = tail(dir, None);
    let followed = loop {
        let before = tail.position();
        match tail.poll() {
            Ok(rows) if rows.is_empty() => break Ok(before),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let query = Query::parse("not action=none", 0).unwrap();
    let options = SearchOptions { limit: usize::MAX, method: Method::Scan, ..Default::default() };
    let scanned = search(dir, &query, options).map(|answer| answer.coverage.matches);
    [one_by_one, in_pieces, followed, scanned].map(|read| read.map_err(|error| error.to_string()))
}

/// The segments in order, whatever their form.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths = files(&dir.join("seg"), ".jsonl");
    paths.extend(files(&dir.join("seg"), ".zst"));
    paths.sort();
    paths
}

/// Changes one byte; returns what puts it back.
fn flip(path: &Path, at: u64) -> impl FnOnce() {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    move || file.write_all_at(&byte, at).unwrap()
}

fn all_refuse(dir: &Path, what: &str) {
    for (i, read) in read(dir).into_iter().enumerate() {
        let Err(said) = read else { panic!("{what}: reader {i} saw nothing") };
        assert!(said.contains("seg/"), "{what}: {said}");
    }
}

fn all_read(dir: &Path, size: u64) {
    assert_eq!(read(dir), [Ok(size), Ok(size), Ok(size), Ok(size)]);
}

#[test]
fn no_reader_passes_over_damage() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let size = written(dir);
    for form in ["written", "packed"] {
        if form == "packed" {
            pack(dir);
        }
        let paths = segments(dir);
        let size = records(dir).count() as u64;
        all_read(dir, size);
        let (newest, older) = paths.split_last().unwrap();
        for path in older {
            let len = fs::metadata(path).unwrap().len();
            // The first record, one in the middle, the end of the last batch or of the tables.
            for at in [100, len / 2, len - 1] {
                let back = flip(path, at);
                all_refuse(dir, &format!("{form}, byte {at} of {}", path.display()));
                back();
            }
        }
        // The newest one has no successor; only what follows in it tells that its first batch was there.
        let batches = fs::read(newest).unwrap().windows(6).filter(|w| w == b"{\"_c\":").count();
        assert!(batches > 1, "{batches}");
        let back = flip(newest, 100);
        all_refuse(dir, &format!("{form}, first batch of the newest"));
        back();
        let aside = dir.join("aside");
        fs::rename(&older[1], &aside).unwrap();
        all_refuse(dir, &format!("{form}, without a segment"));
        fs::rename(&aside, &older[1]).unwrap();
        all_read(dir, size);
    }
    assert!(records(dir).count() as u64 > size, "the second start is recorded");
}

/// What a crash leaves behind the last batch was never acknowledged, and no reader stumbles over it.
#[test]
fn a_torn_batch_at_the_end_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let size = written(dir);
    let newest = segments(dir).pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    let start = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for torn in [&whole[..start + 1], &whole[..start / 2], b"\0\0\0\0{\"action\""] {
        fs::write(&newest, [&whole, torn].concat()).unwrap();
        all_read(dir, size);
    }
}
