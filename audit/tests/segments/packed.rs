//! A segment that was packed says the same as before, to every reader.

use std::{fs, path::Path};

use audit::{note::Vkey, *};

use super::{ORIGIN, open, pack, record, written};

/// What the readers say about the first `size` records.
fn everything(dir: &Path, size: u64) -> Vec<String> {
    let mut said = Vec::new();
    let leaf = |leaf: Vec<u8>| String::from_utf8(leaf).unwrap();
    let all: Vec<(u64, Vec<u8>)> = records(dir).map(Result::unwrap).collect();
    said.extend(all.into_iter().take(size as usize).map(|(seq, l)| format!("{seq} {}", leaf(l))));
    let lines: Vec<u8> = pieces(dir).flat_map(|piece| piece.unwrap().lines).collect();
    said.extend(leaf(lines).lines().take(size as usize).map(str::to_owned));
    for seq in 0..size {
        said.push(leaf(read_record(dir, seq).unwrap().unwrap()));
    }
    for after in (0..size).step_by(131) {
        let mut tail = tail(dir, Some(after));
        let rows = tail.poll().unwrap();
        said.push(format!("{after} {:?}", rows.first().map(|row| (row.seq, &row.leaf))));
    }
    for i in (0..1500).step_by(97) {
        let event = record(i).event.to_string();
        said.push(leaf(find_event(dir, &event).unwrap().unwrap()));
    }
    let options = |method| SearchOptions { after: Some(size), method, ..Default::default() };
    for text in ["bucket=b3 | limit 60", "key=\"k/700\"", "request=r9", "bucket=b1 | sort time asc"]
    {
        let query = Query::parse(text, 0).unwrap();
        for method in [Method::Scan, Method::Index] {
            let answer = search(dir, &query, options(method)).unwrap();
            assert!(!answer.rows.is_empty(), "{text}");
            said.extend(
                answer.rows.into_iter().map(|row| format!("{} {}", row.seq, leaf(row.leaf))),
            );
        }
    }
    said
}

#[test]
fn every_reader_reads_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let size = written(dir);
    index::rebuild(dir, &|_| {}).unwrap();
    let before = everything(dir, size);
    let vkey = Vkey::parse(&Ed25519Signer::from_seed(ORIGIN, &[7; 32]).vkey()).unwrap();
    let tiles = |to: &Path| {
        let covered = tiles::export(dir, to, &vkey, &|_, _| {}).unwrap().head.size;
        assert!(covered >= size);
        let full = size / 256;
        (0..full).map(|n| fs::read(to.join(format!("tile/entries/{n:03}"))).unwrap()).collect()
    };
    let scratch = tempfile::tempdir().unwrap();
    let bundles: Vec<Vec<u8>> = tiles(&scratch.path().join("before"));
    pack(dir);
    assert_eq!(everything(dir, size), before, "with the index that was there");
    let options = VerifyOptions {
        vkey: vkey.to_string(),
        last_seen: None,
        strict: true,
        progress: &|_, _| {},
    };
    let report = verify(dir, &options).unwrap();
    assert_eq!(report.state, State::TailUnproven, "{report}");
    assert_eq!(report.records, report.size);
    index::rebuild(dir, &|_| {}).unwrap();
    assert_eq!(everything(dir, size), before, "with an index of packed segments");
    assert_eq!(index::check(dir, u64::MAX).unwrap().mismatches, []);
    assert_eq!(tiles(&scratch.path().join("after")), bundles);
    for seq in [0, 1, 255, 256, 777, size - 1] {
        let proof = tiles::prove(dir, seq, &vkey, &|_, _| {}).unwrap();
        assert!(proof.verify(None, &vkey).is_ok(), "{seq}");
    }
    // The log goes on, and its index too.
    let log = open(dir, Finished::Packed);
    let indexer = Indexer::start(dir, &log).unwrap();
    let committed = log.append(&record(5000)).unwrap().wait().unwrap();
    indexer.stop();
    log.close().unwrap();
    let query = Query::parse("request=r5000", 0).unwrap();
    let options = SearchOptions { method: Method::Index, ..Default::default() };
    let answer = search(dir, &query, options).unwrap();
    assert_eq!(answer.rows.first().map(|row| row.seq), Some(committed.first));
}

/// What is copied away is compared with the seal: a copy of damage would be none.
#[test]
fn a_damaged_segment_is_not_given_to_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    written(dir);
    pack(dir);
    let sealed = sealed_segments(dir, 0, 100).unwrap();
    assert!(sealed.len() >= 3);
    let begins: Vec<usize> = sealed.iter().map(|segment| segment.files.len()).collect();
    assert!(begins.iter().skip(1).all(|files| *files == 3), "{begins:?}");
    for segment in &sealed {
        let given = segment.read(dir).unwrap();
        for (path, bytes) in given {
            let path = dir.join(path);
            assert_eq!(fs::read(&path).unwrap(), bytes);
            for at in [1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 2] {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                fs::write(&path, changed).unwrap();
                let error = segment.read(dir).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{path:?} {at}: {error}");
            }
            fs::write(&path, bytes).unwrap();
        }
        segment.read(dir).unwrap();
    }
}
