//! What is appended is durable, verifies, and is found again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::{
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use audit::*;

const ORIGIN: &str = "audit.example.com/node1";

fn open(dir: &std::path::Path, segment_bytes_max: u64) -> (Log, Recovery) {
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max,
        preallocate_bytes: 64 << 10,
        ..Options::default()
    };
    Log::open(Arc::new(LocalFiles::new(dir)), signer, Arc::new(SystemClock), options).unwrap()
}

fn record(thread: u64, i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&((thread << 32) | i).to_be_bytes());
    let mut record =
        Record::new(Class::Data, "s3:GetObject", EventId::new(1_767_225_600_000, random));
    record.request = Some(format!("r{thread}-{i}"));
    record.resources = vec![Resource {
        bucket: Some(format!("b{thread}")),
        key: Some(format!("k/{i}")),
        ..Default::default()
    }];
    record
}

fn segments(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![dir.join("seg")];
    for _ in ["year", "month", "day", "file"] {
        let inside = |dir: &std::path::PathBuf| std::fs::read_dir(dir).unwrap();
        found = found.iter().flat_map(inside).map(|entry| entry.unwrap().path()).collect();
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.sort();
    found
}

fn check(dir: &std::path::Path, last_seen: Option<Head>) -> Report {
    check_while(dir, last_seen, &|_, _| {})
}

fn check_while(
    dir: &std::path::Path,
    last_seen: Option<Head>,
    progress: &dyn Fn(u64, u64),
) -> Report {
    let vkey = Ed25519Signer::from_seed(ORIGIN, &[7; 32]).vkey();
    verify(dir, &VerifyOptions { vkey, last_seen, strict: true, progress }).unwrap()
}

#[test]
fn threads_append_and_every_acknowledged_record_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovery) = open(dir.path(), 64 << 10);
    assert!(recovery.created);
    let committed: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..64u64)
            .map(|t| {
                let log = &log;
                scope.spawn(move || {
                    (0..20u64)
                        .map(|i| (t, i, log.append(&record(t, i)).unwrap().wait().unwrap().first))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    // The live directory verifies; nothing outside confirms its end.
    let live = check(dir.path(), None);
    assert_eq!(live.state, State::TailUnproven, "{live}");
    log.close().unwrap();
    assert_eq!(log.append(&record(0, 0)).unwrap_err(), LogError::Closed);
    let report = check(dir.path(), None);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    let query = Query::parse("class=data | count", 0).unwrap();
    let counted = search(dir.path(), &query, SearchOptions::default()).unwrap();
    assert_eq!(counted.coverage.matches, 64 * 20);
    let report = check(dir.path(), report.head);
    assert_eq!((report.state, report.remarks.as_slice()), (State::Valid, &[][..]), "{report}");
    for (t, i, seq) in committed {
        let leaf = String::from_utf8(read_record(dir.path(), seq).unwrap().unwrap()).unwrap();
        assert!(leaf.contains(&format!("\"request\":\"r{t}-{i}\"")), "{leaf}");
    }
    assert_eq!(read_record(dir.path(), report.size).unwrap(), None);
    let all: Vec<u64> = records(dir.path()).map(|r| r.unwrap().0).collect();
    assert!(all.into_iter().eq(0..report.size));
}

#[test]
fn pieces_are_the_records_in_one_row() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        // Segments so small that there are many.
        let (log, _) = open(dir.path(), 20 << 10);
        for part in 0..4 {
            let records: Vec<Record> = (0..40).map(|i| record(round * 4 + part, i)).collect();
            log.append_all(&records).unwrap().wait().unwrap();
        }
        log.close().unwrap();
    }
    assert!(segments(dir.path()).len() > 1, "several segments");
    let mut next = 0;
    let mut lines = Vec::new();
    for piece in pieces(dir.path()) {
        let piece = piece.unwrap();
        assert_eq!(piece.first, next);
        next += piece.lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        lines.extend(piece.lines);
    }
    let records = records(dir.path()).flat_map(|r| [r.unwrap().1, b"\n".to_vec()].concat());
    assert!(records.eq(lines));

    // Both end before a batch that is not whole.
    let last = segments(dir.path()).pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let at = bytes.iter().rposition(|byte| *byte == b'"').unwrap();
    std::fs::write(&last, &bytes[..at]).unwrap();
    let lines: Vec<u8> = pieces(dir.path()).flat_map(|piece| piece.unwrap().lines).collect();
    let records = audit::records(dir.path()).flat_map(|r| [r.unwrap().1, b"\n".to_vec()].concat());
    assert!(records.eq(lines));
}

#[test]
fn restart_continues_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut size = 0;
    for round in 0..4 {
        let (log, recovery) = open(dir.path(), 20 << 10);
        assert_eq!(
            (recovery.size, recovery.clean),
            (size, round != 0 || recovery.clean),
            "round {round}"
        );
        let records: Vec<Record> = (0..40).map(|i| record(round, i)).collect();
        let committed = log.append_all(&records).unwrap().wait().unwrap();
        assert_eq!(committed.end - committed.first, 40);
        log.close().unwrap();
        size = log.durable_size();
    }
    let report = check(dir.path(), None);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    let query = Query::parse("bucket=b2 and key=\"k/7\"", 0).unwrap();
    let answer = search(dir.path(), &query, SearchOptions::default()).unwrap();
    assert_eq!(answer.rows.len(), 1);
    assert_eq!((answer.coverage.from, answer.coverage.to), (0, size));
    let query = Query::parse("class=data | limit 5", 0).unwrap();
    let first = search(dir.path(), &query, SearchOptions::default()).unwrap();
    let after = first.rows.last().map(|row| row.seq);
    let next = search(dir.path(), &query, SearchOptions { after, ..Default::default() }).unwrap();
    let seqs: Vec<u64> = first.rows.iter().chain(&next.rows).map(|row| row.seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a == &(b + 1)), "{seqs:?}");
    let event = record(3, 39).event.to_string();
    assert!(find_event(dir.path(), &event).unwrap().is_some());
    assert_eq!(find_event(dir.path(), "nothing").unwrap(), None);
}

#[test]
fn blobs_are_kept_by_digest() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let digest = log.put_blob(b"policy").unwrap();
    assert_eq!(log.put_blob(b"policy").unwrap(), digest);
    assert_eq!(read_blob(dir.path(), digest.as_str()).unwrap(), b"policy");
    assert!(matches!(read_blob(dir.path(), "../log.json"), Err(BlobError::Name(_))));
    std::fs::write(dir.path().join("blob").join(digest.as_str()), b"Policy").unwrap();
    assert!(matches!(read_blob(dir.path(), digest.as_str()), Err(BlobError::Damaged(_))));
}

/// Nothing is locked and nothing waits: what is half written is no finding, and each head holds for the next look.
#[test]
fn a_log_verifies_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 64 << 10);
    let mut looks = 0;
    let mut seen = None;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    for i in 0..300 {
                        log.append(&record(thread, i)).unwrap().wait().unwrap();
                    }
                })
            })
            .collect();
        while looks < 3 || !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let report = check(dir.path(), seen);
            let expected = if seen.is_some() { State::Valid } else { State::TailUnproven };
            assert!(report.state == expected && report.findings.is_empty(), "{looks}: {report}");
            seen = report.head.or(seen);
            looks += 1;
        }
    });
    log.close().unwrap();
    assert_eq!(check(dir.path(), None).state, State::TailUnproven);
}

/// The second of four batches is half there when it is read, and whole with others behind it when the walk comes to it.
#[test]
fn what_is_written_between_two_looks_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for i in 0..4 {
        log.append(&record(0, i)).unwrap().wait().unwrap();
    }
    drop(log);
    // As before the first head.
    std::fs::remove_dir_all(dir.path().join("heads")).unwrap();
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let path = segments(dir.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let starts: Vec<usize> =
        (0..whole.len()).step_by(4096).filter(|at| whole[*at..].starts_with(b"{")).collect();
    assert!(starts.len() >= 4, "{starts:?}");
    let size = check(dir.path(), None).size;

    let half = [&whole[..starts[1] + 100], &vec![0; 8192][..]].concat();
    std::fs::write(&path, &half).unwrap();
    let write_on = |_, _| std::fs::write(&path, &whole).unwrap();
    let report = check_while(dir.path(), None, &write_on);
    assert_eq!((report.state, report.size), (State::TailUnproven, size), "{report}");

    let mut damaged = whole.clone();
    damaged[starts[1] + 100..starts[2]].fill(0);
    std::fs::write(&path, &half).unwrap();
    let write_on = |_, _| std::fs::write(&path, &damaged).unwrap();
    let report = check_while(dir.path(), None, &write_on);
    assert_eq!(report.state, State::Modified, "{report}");
}

/// The same for who reads one record: it is there or not yet, whenever the reader comes.
#[test]
fn a_record_that_is_being_written_is_no_damage() {
    const ROUNDS: usize = 3000;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for i in 0..4 {
        log.append_all(&[record(0, i), record(1, i)]).unwrap().wait().unwrap();
    }
    drop(log);
    let path = segments(dir.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    // One of the second batch is there, and half of the other one. Before them come the start and the first batch.
    let seq = 3;
    let leaf = read_record(dir.path(), seq).unwrap().unwrap();
    let other = read_record(dir.path(), seq + 1).unwrap().unwrap();
    let at = memchr::memmem::find(&whole, &other).unwrap() + other.len() / 2;
    let half = [&whole[..at], &vec![0; whole.len() - at][..]].concat();

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                // Readers of the round before keep what they opened.
                let next = dir.path().join("next");
                std::fs::write(&next, &half).unwrap();
                let file = std::fs::OpenOptions::new().write(true).open(&next).unwrap();
                std::fs::rename(&next, &path).unwrap();
                // Sooner or later in what a reader does with the half.
                (0..round * 37 % 8192).for_each(|_| std::hint::spin_loop());
                file.write_all_at(&whole[at..], at as u64).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let read = read_record(dir.path(), seq).unwrap();
            assert!(read.is_none_or(|read| read == leaf));
        }
    });
    assert_eq!(read_record(dir.path(), seq).unwrap(), Some(leaf));
}
