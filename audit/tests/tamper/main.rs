//! Whatever is done to the directory of a closed log, the verifier names it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod corpus;
mod packed;
mod pruned;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use audit::*;

const ORIGIN: &str = "audit.example.com/node1";
const BLOCK: usize = 4096;

fn signer(seed: u8) -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[seed; 32]))
}

fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let mut record =
        Record::new(Class::Data, "s3:PutObject", EventId::new(1_767_225_600_000, random));
    record.request = Some(format!("request-{i}"));
    record
}

fn open(dir: &Path, seed: u8, finished: Finished) -> Log {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 24 << 10,
        preallocate_bytes: 0,
        finished,
        ..Options::default()
    };
    Log::open(Arc::new(LocalFiles::new(dir)), signer(seed), Arc::new(SystemClock), options)
        .unwrap()
        .0
}

/// A closed log of several segments with several batches each; batches of `batch` records.
fn build(dir: &Path, seed: u8, batch: u64, salt: u64) -> Head {
    build_as(Finished::Sealed, dir, seed, batch, salt)
}

fn build_as(finished: Finished, dir: &Path, seed: u8, batch: u64, salt: u64) -> Head {
    let log = open(dir, seed, finished);
    log.put_blob(b"policy set").unwrap();
    for i in 0..12 {
        let records: Vec<Record> = (0..batch).map(|j| record(salt + i * batch + j)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while finished == Finished::Sealed && seals(dir).len() < 2 {
        assert!(std::time::Instant::now() < deadline, "nothing was sealed");
        std::thread::yield_now();
    }
    log.close().unwrap();
    check(dir, None).head.unwrap()
}

fn check(dir: &Path, last_seen: Option<Head>) -> Report {
    let options =
        VerifyOptions { vkey: signer(7).vkey(), last_seen, strict: false, progress: &|_, _| {} };
    verify(dir, &options).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect()
}

fn seals(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "seal")).collect()
}

/// The text of a note, with its last newline.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap().split("\n\n").next().unwrap().to_owned() + "\n"
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_any_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 7, 8, 0);
    assert_eq!(check(dir.path(), None).state, State::TailUnproven);
    let mut cases = 0;
    for path in files(dir.path()) {
        let original = fs::read(&path).unwrap();
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        // Every byte of small files, a stride through large ones that meets every kind of byte.
        let stride = if original.len() > 2000 { 61 } else { 1 };
        for at in (0..original.len()).step_by(stride) {
            edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let report = check(dir.path(), None);
            let named = report.findings.iter().any(|finding| {
                finding.file == name
                    || name == "checkpoint" && finding.file == "heads"
                    || name.ends_with(".jsonl") && finding.file.ends_with(".jsonl")
            });
            assert!(named && report.state.exit_code() >= 10, "{name} byte {at}: {report}");
            fs::write(&path, &original).unwrap();
            cases += 1;
        }
    }
    assert!(cases > 2500, "{cases}");
    assert_eq!(check(dir.path(), None).state, State::TailUnproven);
}

struct Case {
    name: &'static str,
    change: fn(&Path),
    state: &'static [State],
}

/// Lines of the second batch of the first segment: offset of the batch and its records with their newlines.
fn second_batch(bytes: &[u8]) -> (usize, Vec<Vec<u8>>) {
    let mut start = 0;
    for _ in 0..1 {
        start = batch_end(bytes, start);
    }
    let lines = bytes[start..batch_end(bytes, start)].split_inclusive(|b| *b == b'\n');
    (start, lines.filter(|l| !l.starts_with(b"{\"_c\"")).map(<[u8]>::to_vec).collect())
}

fn batch_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        let end = at + bytes[at..].iter().position(|b| *b == b'\n').unwrap() + 1;
        if bytes[at..].starts_with(b"{\"_c\"") {
            return end;
        }
        at = end;
    }
}

/// Puts lines in place of the second batch's and keeps the framing: as many bytes, with the padding adjusted.
fn put_lines(bytes: &mut Vec<u8>, start: usize, lines: &[Vec<u8>]) {
    let end = batch_end(bytes, start);
    let batch = bytes[start..end].to_vec();
    let control = batch.windows(6).rposition(|w| w == b"{\"_c\":").unwrap();
    let line = String::from_utf8(batch[control..].to_vec()).unwrap();
    let mut new: Vec<u8> = lines.concat();
    new.extend_from_slice(line.trim_end().as_bytes());
    let padded = (new.len() + 1).next_multiple_of(BLOCK);
    new.resize(padded - 1, b' ');
    new.push(b'\n');
    bytes.splice(start..end, new);
}

const CASES: &[Case] = &[
    Case {
        name: "tail cut in the middle of a batch",
        change: |dir| {
            edit(segments(dir).last().unwrap(), |b| b.truncate(b.len() - BLOCK - 100));
        },
        state: &[State::Truncated],
    },
    Case {
        name: "last batch gone",
        change: |dir| {
            edit(segments(dir).last().unwrap(), |b| b.truncate(b.len() - BLOCK));
        },
        state: &[State::Truncated],
    },
    Case {
        name: "last segment gone",
        change: |dir| fs::remove_file(segments(dir).last().unwrap()).unwrap(),
        state: &[State::Truncated],
    },
    Case {
        name: "every segment gone",
        change: |dir| fs::remove_dir_all(dir.join("seg")).unwrap(),
        state: &[State::Truncated],
    },
    Case {
        name: "middle segment gone",
        change: |dir| fs::remove_file(&segments(dir)[1]).unwrap(),
        state: &[State::Missing],
    },
    Case {
        name: "first segment gone",
        change: |dir| fs::remove_file(&segments(dir)[0]).unwrap(),
        state: &[State::Missing],
    },
    Case {
        name: "middle segment and the file beside the next one gone",
        change: |dir| {
            fs::remove_file(segments(dir)[2].with_extension("start")).unwrap();
            fs::remove_file(&segments(dir)[1]).unwrap();
        },
        state: &[State::Missing],
    },
    Case {
        name: "batch gone from the middle",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, _) = second_batch(b);
                let end = batch_end(b, start);
                b.drain(start..end);
            });
        },
        state: &[State::Missing],
    },
    Case {
        name: "two lines swapped",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, mut lines) = second_batch(b);
                lines.swap(1, 4);
                put_lines(b, start, &lines);
            });
        },
        state: &[State::Reordered],
    },
    Case {
        name: "line duplicated",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, mut lines) = second_batch(b);
                lines.insert(2, lines[1].clone());
                put_lines(b, start, &lines);
            });
        },
        state: &[State::Reordered],
    },
    Case {
        name: "line removed",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, mut lines) = second_batch(b);
                lines.remove(2);
                put_lines(b, start, &lines);
            });
        },
        state: &[State::Modified, State::Missing],
    },
    Case {
        name: "line inserted",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, mut lines) = second_batch(b);
                let text = String::from_utf8(lines[1].clone()).unwrap();
                lines.insert(2, text.replace("request-", "invented-").into_bytes());
                put_lines(b, start, &lines);
            });
        },
        state: &[State::Modified, State::Reordered],
    },
    Case {
        name: "two batches swapped",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, _) = second_batch(b);
                let middle = batch_end(b, start);
                let end = batch_end(b, middle);
                b[start..end].rotate_left(middle - start);
            });
        },
        state: &[State::Reordered],
    },
    Case {
        name: "batch duplicated",
        change: |dir| {
            edit(&segments(dir)[0], |b| {
                let (start, _) = second_batch(b);
                let batch = b[start..batch_end(b, start)].to_vec();
                b.splice(start..start, batch);
            });
        },
        state: &[State::Reordered],
    },
    Case {
        name: "bytes appended to a finished segment",
        change: |dir| edit(&segments(dir)[0], |b| b.extend_from_slice(&[0; 10])),
        state: &[State::Modified],
    },
    Case {
        name: "bytes appended to the closed log",
        change: |dir| edit(segments(dir).last().unwrap(), |b| b.extend_from_slice(b"{\"action\"")),
        state: &[State::Modified],
    },
    Case {
        name: "checkpoint gone",
        change: |dir| fs::remove_file(dir.join("checkpoint")).unwrap(),
        state: &[State::Missing],
    },
    Case {
        name: "list of heads gone",
        change: |dir| fs::remove_dir_all(dir.join("heads")).unwrap(),
        state: &[State::Missing],
    },
    Case {
        name: "log.json gone",
        change: |dir| fs::remove_file(dir.join("log.json")).unwrap(),
        state: &[State::Missing],
    },
    Case {
        name: "head signed by another key",
        change: |dir| {
            let note = note::sign(&text(&dir.join("checkpoint")), signer(9).as_ref()).unwrap();
            fs::write(dir.join("checkpoint"), note).unwrap();
        },
        state: &[State::UnknownKey],
    },
    Case {
        name: "seal gone",
        change: |dir| fs::remove_file(&seals(dir)[0]).unwrap(),
        state: &[State::Unsealed],
    },
    Case {
        name: "all seals gone",
        change: |dir| seals(dir).iter().for_each(|path| fs::remove_file(path).unwrap()),
        state: &[State::Unsealed],
    },
    Case {
        name: "seal signed by another key",
        change: |dir| {
            let path = &seals(dir)[1];
            fs::write(path, note::sign(&text(path), signer(9).as_ref()).unwrap()).unwrap();
        },
        state: &[State::UnknownKey],
    },
    Case {
        name: "two seals swapped",
        change: |dir| {
            let (one, other) = (seals(dir)[0].clone(), seals(dir)[1].clone());
            let first = fs::read(&one).unwrap();
            fs::copy(&other, &one).unwrap();
            fs::write(&other, first).unwrap();
        },
        state: &[State::Reordered],
    },
    Case {
        name: "seal replaced by the one before it",
        change: |dir| {
            fs::copy(&seals(dir)[0], &seals(dir)[1]).unwrap();
        },
        state: &[State::Reordered],
    },
    Case {
        name: "seal over other records, signed by the key itself",
        change: |dir| {
            let path = &seals(dir)[0];
            let forged = text(path).replace("\nbytes ", "\nbytes 1");
            fs::write(path, note::sign(&forged, signer(7).as_ref()).unwrap()).unwrap();
        },
        state: &[State::Modified],
    },
    Case {
        name: "the newest seal and all after it gone",
        change: |dir| {
            fs::remove_dir_all(dir.join("heads")).unwrap();
            fs::remove_file(dir.join("checkpoint")).unwrap();
            let last = seals(dir).pop().unwrap().with_extension("jsonl");
            segments(dir).iter().filter(|path| **path >= last).for_each(|path| {
                fs::remove_file(path).unwrap();
            });
        },
        state: &[State::Truncated],
    },
];

#[test]
fn every_kind_of_tampering_has_its_state() {
    let original = tempfile::tempdir().unwrap();
    build(original.path(), 7, 8, 0);
    assert!(segments(original.path()).len() >= 3);
    for case in CASES {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        (case.change)(dir.path());
        let report = check(dir.path(), None);
        assert!(case.state.contains(&report.state), "{}: {report}", case.name);
    }
}

#[test]
fn a_rolled_back_log_is_only_found_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 7, 8, 0);
    let old = tempfile::tempdir().unwrap();
    copy(dir.path(), old.path());
    let log = open(dir.path(), 7, Finished::Sealed);
    log.append(&record(1000)).unwrap().wait().unwrap();
    log.close().unwrap();
    let newest = check(dir.path(), None).head;
    assert_eq!(check(dir.path(), newest).state, State::Valid);
    assert_eq!(check(old.path(), None).state, State::TailUnproven);
    let report = check(old.path(), newest);
    assert_eq!(report.state, State::Truncated, "{report}");
    assert_eq!(check(old.path(), None).head.map(|h| h.size < newest.unwrap().size), Some(true));
}

#[test]
fn two_stories_under_one_key_are_a_fork() {
    let ours = tempfile::tempdir().unwrap();
    let theirs = tempfile::tempdir().unwrap();
    let head = build_as(Finished::Left, ours.path(), 7, 8, 0);
    let other = build_as(Finished::Left, theirs.path(), 7, 8, 5000);
    assert_eq!(head.size, other.size);
    // The head that an auditor kept is from the other story.
    let report = check(ours.path(), Some(other));
    assert_eq!(report.state, State::Forked, "{report}");
    // A foreign head in the list, under a larger one of ours.
    let list = files(&theirs.path().join("heads")).remove(0);
    let mine = files(&ours.path().join("heads")).remove(0);
    let foreign = fs::read(list).unwrap();
    edit(&mine, |bytes| {
        let mut both = foreign.clone();
        both.extend_from_slice(bytes);
        *bytes = both;
    });
    let report = check(ours.path(), None);
    assert_eq!(report.state, State::Forked, "{report}");
}

#[test]
fn rewritten_history_does_not_fit_the_signed_heads() {
    let ours = tempfile::tempdir().unwrap();
    let theirs = tempfile::tempdir().unwrap();
    build(ours.path(), 7, 8, 0);
    build(theirs.path(), 7, 8, 5000);
    // All segments are replaced by others that are sound in themselves; the heads stay.
    fs::remove_dir_all(ours.path().join("seg")).unwrap();
    copy(&theirs.path().join("seg"), &ours.path().join("seg"));
    let report = check(ours.path(), None);
    assert_eq!(report.state, State::Modified, "{report}");
    // A log that was wholly replaced under another key.
    let forged = tempfile::tempdir().unwrap();
    build_forged(forged.path());
    let report = check(forged.path(), None);
    assert_eq!(report.state, State::UnknownKey, "{report}");
}

fn build_forged(dir: &Path) {
    let log = open(dir, 8, Finished::Sealed);
    log.append(&record(1)).unwrap().wait().unwrap();
    log.close().unwrap();
}
