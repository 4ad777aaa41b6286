//! Whatever is done to a packed segment is named by frame and records.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Class, Ed25519Signer, EventId, Files, Log, Options, Record, Report, Signer, SystemClock,
    VerifyOptions,
    segment::{Leaves, packed},
    sim::SimFiles,
    tree,
    tree::Frontier,
    verify,
};

use super::*;

const ORIGIN: &str = "audit.example.com/node1";

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

/// A log with packed segments of several frames.
fn build() -> (SimFiles, Vec<String>) {
    let files = SimFiles::default();
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 200 << 10,
        preallocate_bytes: 0,
        ..Options::default()
    };
    let (log, _) =
        Log::open(Arc::new(files.clone()), signer(), Arc::new(SystemClock), options).unwrap();
    for i in 0..14 {
        let record = Record::new(Class::Data, "s3:PutObject", EventId::new(i, [i as u8; 10]));
        log.append_all(&vec![record; 300]).unwrap().wait().unwrap();
    }
    let packed = || -> Vec<String> {
        let paths = files.paths().into_iter();
        paths.filter(|path| path.ends_with(".zst")).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while packed().len() < 2 {
        assert!(Instant::now() < deadline, "nothing was packed");
        std::thread::yield_now();
    }
    log.close().unwrap();
    let packed = packed();
    (files, packed)
}

fn check(files: &SimFiles, dir: &Path) -> Report {
    drop(std::fs::remove_dir_all(dir.join("seg")));
    files.dump(dir).unwrap();
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: true, progress: &|_, _| {} };
    verify(dir, &options).unwrap()
}

/// The state, and where it was found.
fn found(report: &Report, file: &str) -> Vec<(State, Option<u64>, Option<u64>)> {
    let here = report.findings.iter().filter(|finding| finding.file == file);
    here.map(|finding| (finding.state, finding.offset, finding.seq)).collect()
}

#[test]
fn a_changed_byte_is_named_by_frame_and_records() {
    let (files, paths) = build();
    let dir = tempfile::tempdir().unwrap();
    let report = check(&files, dir.path());
    assert_eq!(report.state, State::TailUnproven, "{report}");
    let bytes = files.read(&paths[0]).unwrap();
    let table = Table::of_file(&bytes).unwrap();
    assert!(table.frames.len() >= 3);
    for at in (0..bytes.len()).step_by(37) {
        let changed = files.snapshot();
        changed.edit(&paths[0], |bytes| bytes[at] ^= 1 << (at % 8));
        let report = check(&changed, dir.path());
        assert_eq!(report.state, State::Modified, "byte {at}: {report}");
        let found = found(&report, &paths[0]);
        let within = |frame: &&packed::Packing| {
            (frame.offset..frame.offset + u64::from(frame.len)).contains(&(at as u64))
        };
        if let Some(frame) = table.frames.iter().position(|frame| within(&frame)) {
            let (offset, first) = (table.frames[frame].offset, table.records_of(frame).start);
            assert_eq!(found, [(State::Modified, Some(offset), Some(first))], "byte {at}");
        } else {
            assert!(!found.is_empty(), "byte {at}: {report}");
        }
        // The seal gives the tree back, so nothing else is wrong.
        assert!(report.findings.iter().all(|finding| finding.file == paths[0]), "{report}");
    }
}

/// Somebody who can write but not sign packs the segment again over a record of his own.
#[test]
fn forged_records_are_named_by_frame() {
    let (files, paths) = build();
    let dir = tempfile::tempdir().unwrap();
    let bytes = files.read(&paths[0]).unwrap();
    let table = Table::of_file(&bytes).unwrap();
    let lines = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    let victim = table.records_of(1).start + 7;
    let forged: Vec<Vec<u8>> = Leaves::new(&lines)
        .map(|(_, leaf)| {
            let text = String::from_utf8(leaf.to_vec()).unwrap();
            let from = if check::seq(leaf) == Some(victim) { "s3:PutObject" } else { "\0" };
            text.replace(from, "s3:GetObject").into_bytes()
        })
        .collect();
    let roots: Vec<Hash> = table.frames.iter().map(|frame| frame.root).collect();
    let leaves = || forged.iter().map(Vec::as_slice);
    let with_roots = |roots: &[Hash]| {
        let changed = files.snapshot();
        let bytes = packed::pack(table.records.start, leaves(), roots).unwrap();
        changed.edit(&paths[0], |file| file.clone_from(&bytes));
        (Table::of_file(&bytes).unwrap(), check(&changed, dir.path()))
    };
    let (repacked, report) = with_roots(&roots);
    let expected = (State::Modified, Some(repacked.frames[1].offset), Some(256));
    assert_eq!(report.state, State::Modified, "{report}");
    assert_eq!(found(&report, &paths[0]), [expected], "{report}");
    // With roots to match, the table is not the one that was sealed, nor are the records.
    let mut own = roots;
    let mut frontier = Frontier::default();
    leaves().skip(256).take(256).for_each(|leaf| frontier.push(tree::leaf_hash(leaf)));
    own[1] = frontier.root();
    let (_, report) = with_roots(&own);
    assert_eq!(report.state, State::Modified, "{report}");
    assert!(report.to_string().contains("are not the ones that were sealed"), "{report}");
}

#[test]
fn segments_that_are_gone_or_in_the_place_of_others_are_named() {
    let (files, paths) = build();
    let dir = tempfile::tempdir().unwrap();
    let gone = files.snapshot();
    gone.take_away(&paths[0]);
    let report = check(&gone, dir.path());
    assert_eq!(report.state, State::Missing, "{report}");
    let swapped = files.snapshot();
    let (one, other) = (files.read(&paths[0]).unwrap(), files.read(&paths[1]).unwrap());
    swapped.edit(&paths[0], |bytes| bytes.clone_from(&other));
    swapped.edit(&paths[1], |bytes| bytes.clone_from(&one));
    let report = check(&swapped, dir.path());
    assert_eq!(report.state, State::Modified, "{report}");
    for path in &paths[..2] {
        assert!(!found(&report, path).is_empty(), "{path}: {report}");
    }
}
