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

/// The index only says where a record is; what stands there is compared with what was indexed.
#[test]
fn a_damaged_record_is_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    written(dir);
    index::rebuild(dir, &|_| {}).unwrap();
    let query = Query::parse("action=s3:GetObject", 0).unwrap();
    let by_index = || {
        let options = SearchOptions { limit: 5000, method: Method::Index, ..Default::default() };
        search(dir, &query, options).map(|answer| answer.rows.len())
    };
    assert_eq!(by_index().unwrap(), 1500);
    for path in segments(dir) {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        // Another digit of the same width: the record still reads well.
        for key in text.match_indices("\"key\":\"k/").map(|(at, name)| at + name.len()).step_by(97)
        {
            let rest = text.get(key..).unwrap();
            let seq = rest.split("\"seq\":").nth(1).unwrap().split(',').next().unwrap();
            let seq: u64 = seq.parse().unwrap();
            let whole = read_record(dir, seq).unwrap().unwrap();
            assert!(bytes.windows(whole.len()).any(|window| window == whole));
            let back = flip(&path, key as u64);
            let said = by_index().unwrap_err().to_string();
            assert!(said.contains(&format!("record {seq} is not the one")), "{said}");
            let said = read_record(dir, seq).unwrap_err().to_string();
            assert!(said.contains(&format!("record {seq} is damaged")), "{said}");
            // Other batches are read as before.
            let other = if seq < 700 { seq + 100 } else { seq - 100 };
            assert!(read_record(dir, other).unwrap().is_some());
            back();
        }
    }
    assert_eq!(by_index().unwrap(), 1500);
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
    // The record that a whole line of it is was never in the log.
    let line = String::from_utf8_lossy(&whole[..start + 1]).into_owned();
    let begin = line.split("\"seq\":").next().unwrap();
    let next =
        format!("{begin}\"seq\":{size},\"time\":\"2999-01-01T00:00:00.000000Z\",\"v\":1}}\n");
    fs::write(&newest, [&whole, next.as_bytes()].concat()).unwrap();
    assert_eq!(read_record(dir, size).unwrap(), None);
    assert!(read_record(dir, size - 1).unwrap().is_some());
    for torn in [&whole[..start + 1], &whole[..start / 2], b"\0\0\0\0{\"action\""] {
        fs::write(&newest, [&whole, torn].concat()).unwrap();
        all_read(dir, size);
    }
}
