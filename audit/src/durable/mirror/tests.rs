use std::time::{Duration, Instant};

use crate::{
    Class, Ed25519Signer, EventId, Finished, Log, LogError, OpenError, Options, Record, State,
    SystemClock, VerifyOptions,
    note::Signer as _,
    sim::{Fault, Op as SimOp, SimFiles},
    verify,
};

use super::*;

const ORIGIN: &str = "audit.example.com/node1";

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn open(copies: &[&SimFiles]) -> Result<Log, OpenError> {
    open_as(copies, options())
}

fn open_as(copies: &[&SimFiles], options: Options) -> Result<Log, OpenError> {
    open_by(copies, signer().into(), options)
}

fn open_by(
    copies: &[&SimFiles],
    signers: crate::Signers,
    options: Options,
) -> Result<Log, OpenError> {
    let named = |(i, files): (usize, &&SimFiles)| {
        let files: Arc<dyn Files> = Arc::new((*files).clone());
        (format!("copy{i}"), files)
    };
    let mirrored = Mirrored::new(copies.iter().enumerate().map(named).collect(), None).unwrap();
    Log::open(Arc::new(mirrored), signers, Arc::new(SystemClock), options).map(|(log, _)| log)
}

fn options() -> Options {
    Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 16 << 10,
        preallocate_bytes: 8 << 10,
        sign_interval: Duration::from_millis(1),
        ..Options::default()
    }
}

/// Looks at the disks before each batch, but takes anything for room. Nothing is sealed: a seal that waits for room when
/// the log ends is on one copy alone until the next start.
fn looking() -> Options {
    let finished = Finished::Left;
    Options { look_interval: Duration::ZERO, free_bytes_min: 0, finished, ..options() }
}

fn append(log: &Log, range: std::ops::Range<u64>) -> Result<(), LogError> {
    for i in range {
        let record = Record::new(Class::Data, "s3:PutObject", EventId::new(i, [i as u8; 10]));
        log.append(&record)?.wait()?;
    }
    Ok(())
}

/// Every file with its bytes.
fn contents(files: &SimFiles) -> Vec<(String, Vec<u8>)> {
    let kept = |path: &String| !path.starts_with("quarantine/");
    let read = |path: String| (path.clone(), files.read(&path).unwrap());
    files.paths().into_iter().filter(kept).map(read).collect()
}

/// Two copies are equal; where not, the message names the files.
fn alike(one: &SimFiles, other: &SimFiles, place: &str) {
    let (one, other) = (contents(one), contents(other));
    let only = |a: &[(String, Vec<u8>)], b: &[(String, Vec<u8>)]| -> Vec<(String, usize)> {
        a.iter().filter(|file| !b.contains(file)).map(|(path, b)| (path.clone(), b.len())).collect()
    };
    assert!(one == other, "{place}: {:?} {:?}", only(&one, &other), only(&other, &one));
}

fn check(files: &SimFiles, contains: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: true, progress: &|_, _| {} };
    let report = verify(dir.path(), &options).unwrap();
    assert_eq!(report.state, State::TailUnproven, "{report}");
    let all: Vec<String> = crate::records(dir.path())
        .map(|record| String::from_utf8(record.unwrap().1).unwrap())
        .filter(|record| record.contains("audit:copy"))
        .collect();
    for wanted in contains {
        assert!(all.iter().any(|record| record.contains(wanted)), "{wanted} in {all:?}");
    }
    assert_eq!(all.len(), contains.len(), "{all:?}");
}

#[test]
fn three_copies_are_equal_and_each_is_a_log() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..60).unwrap();
    log.put_blob(b"policy").unwrap();
    log.close().unwrap();
    for copy in &copies {
        assert_eq!(contents(copy), contents(&copies[0]));
        check(copy, &[]);
    }
}

/// A change of the key is on every copy, also on one that missed it, and one that too few copies hold never was.
#[test]
fn copies_agree_on_the_key() {
    let second =
        || -> Arc<dyn crate::Signer> { Arc::new(Ed25519Signer::from_seed(ORIGIN, &[8; 32])) };
    let both = || crate::Signers::new(signer(), [second()]);
    for victim in 0..3 {
        let copies: [SimFiles; 3] = Default::default();
        let log = open(&copies.each_ref()).unwrap();
        append(&log, 0..5).unwrap();
        let error = io::ErrorKind::Other;
        copies[victim].fail(Fault { op: SimOp::Replace, path: "key/", after: 0, error, kept: 0 });
        log.rotate_key(second()).unwrap();
        append(&log, 5..10).unwrap();
        log.close().unwrap();
        assert!(copies[victim].read("key/0001.note").is_err());
        open_by(&copies.each_ref(), both(), options()).unwrap().close().unwrap();
        for copy in &copies {
            assert_eq!(contents(copy), contents(&copies[0]), "{victim}");
            assert!(copy.read("key/0001.note").is_ok(), "{victim}");
        }
        check(&copies[victim], &["lost: ", "rebuilt: "]);
        // A crash before a second change was on more than one copy, which is not the one that the others follow.
        let lone = copies[2].read("key/0001.note").unwrap();
        copies[0].replace("key/0002.note", &lone).unwrap();
        let log = open_by(&copies.each_ref(), both(), options()).unwrap();
        assert_eq!(log.keys().changes().len(), 1);
        log.close().unwrap();
        assert!(copies[0].read("key/0002.note").is_err(), "{victim}");
    }
}

/// Whatever call fails on one copy: the log goes on, says so, and makes the copy whole at the next start.
#[test]
fn a_copy_that_fails_is_left_and_rebuilt() {
    for (op, after) in [
        (SimOp::Write, 0),
        (SimOp::Write, 9),
        (SimOp::Sync, 5),
        (SimOp::Sync, 20),
        (SimOp::Create, 1),
        (SimOp::Replace, 3),
        (SimOp::Truncate, 0),
    ] {
        for (victim, kept) in [(0, 0), (1, 1), (2, 100)] {
            let copies: [SimFiles; 3] = Default::default();
            let error = io::ErrorKind::StorageFull;
            copies[victim].fail(Fault { op, path: "", after, error, kept });
            let log = open(&copies.each_ref()).unwrap();
            append(&log, 0..40).unwrap();
            log.close().unwrap();
            let good = &copies[(victim + 1) % 3];
            let before = contents(good);
            assert_eq!(before, contents(&copies[(victim + 2) % 3]), "{op:?} {after}");
            let log = open(&copies.each_ref()).unwrap();
            append(&log, 40..45).unwrap();
            log.close().unwrap();
            for copy in &copies {
                assert_eq!(contents(copy), contents(good), "{op:?} {after} on {victim}");
            }
            // Lost in the first run, rebuilt in the second; a copy that failed at the very end had no run left to say so.
            let dir = tempfile::tempdir().unwrap();
            good.dump(dir.path()).unwrap();
            let said: String = crate::records(dir.path())
                .map(|record| String::from_utf8(record.unwrap().1).unwrap())
                .collect();
            let name = format!("copy{victim}");
            assert!(said.contains("audit:copy") && said.contains(&name), "{op:?} {after}");
            assert!(said.contains("rebuilt: "), "{op:?} {after}");
        }
    }
}

#[test]
fn without_a_majority_nothing_is_acknowledged() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..3).unwrap();
    for copy in &copies[1..] {
        let error = io::ErrorKind::Other;
        copy.fail(Fault { op: SimOp::Sync, path: "seg", after: 0, error, kept: 0 });
    }
    let failed = append(&log, 3..10);
    assert!(matches!(failed, Err(LogError::Poisoned { .. })), "{failed:?}");
    assert!(log.close().is_err());
}

#[test]
fn a_new_or_older_copy_is_rebuilt_and_recorded() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..20).unwrap();
    log.close().unwrap();
    let older = copies[2].snapshot();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 20..60).unwrap();
    log.close().unwrap();
    let fresh = SimFiles::default();
    let log = open(&[&fresh, &copies[1], &copies[0]]).unwrap();
    log.close().unwrap();
    assert_eq!(contents(&fresh), contents(&copies[1]));
    let log = open(&[&fresh, &copies[1], &older]).unwrap();
    log.close().unwrap();
    assert_eq!(contents(&older), contents(&fresh));
    check(&older, &[r#""v":"copy0""#, r#""v":"copy2""#]);
}

/// Two empty copies beside one may be new, and may have held what is acknowledged. Who knows that they are new copies the
/// log to most of them.
#[test]
fn a_log_of_one_copy_gets_others_by_hand() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&[&copies[0]]).unwrap();
    append(&log, 0..20).unwrap();
    log.close().unwrap();
    let refused = open(&copies.each_ref()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("only 1 of 3") && refused.contains("copy `copy0`"), "{refused}");
    assert!(contents(&copies[1]).is_empty());
    let by_hand = copies[0].snapshot();
    let log = open(&[&copies[0], &by_hand, &copies[2]]).unwrap();
    append(&log, 20..30).unwrap();
    log.close().unwrap();
    alike(&copies[0], &by_hand, "by hand");
    alike(&copies[0], &copies[2], "filled");
}

#[test]
fn a_copy_with_another_story_stops_the_start_and_is_not_touched() {
    let [ours, also_ours, theirs]: [SimFiles; 3] = Default::default();
    let log = open(&[&ours, &also_ours]).unwrap();
    append(&log, 0..30).unwrap();
    log.close().unwrap();
    let log = open(&[&theirs]).unwrap();
    append(&log, 100..110).unwrap();
    log.close().unwrap();
    let before = [&ours, &also_ours, &theirs].map(contents);
    let refused = open(&[&ours, &also_ours, &theirs]).unwrap_err();
    assert!(refused.to_string().contains("`copy2`"), "{refused}");
    assert_eq!([&ours, &also_ours, &theirs].map(contents), before);
}

#[test]
fn a_copy_whose_heads_know_more_than_all_records_stops_the_start() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..20).unwrap();
    log.close().unwrap();
    let earlier = copies[0].snapshot();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 20..40).unwrap();
    log.close().unwrap();
    // The records of all copies are put back, and the heads of two of them.
    let third = copies[2].snapshot();
    for path in third.paths().iter().filter(|path| path.starts_with("seg/")) {
        third.take_away(path);
    }
    for path in earlier.paths().iter().filter(|path| path.starts_with("seg/")) {
        Files::replace(&third, path, &earlier.read(path).unwrap()).unwrap();
    }
    let put_back = [earlier.snapshot(), earlier.snapshot(), third];
    for order in [[0, 1, 2], [2, 0, 1], [0, 2, 1]] {
        let copies = order.map(|i| put_back[i].snapshot());
        let before = copies.each_ref().map(contents);
        let error = open(&copies.each_ref()).unwrap_err().to_string();
        assert!(error.contains("newest head was signed for"), "{error}");
        assert_eq!(copies.each_ref().map(contents), before, "nothing was written");
    }
    // Without that copy nothing tells.
    open(&[&put_back[0], &put_back[1], &SimFiles::default()]).unwrap();
}

#[test]
fn a_minority_alone_is_not_the_log() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..5).unwrap();
    log.close().unwrap();
    let refused = open(&[&copies[0], &SimFiles::default(), &SimFiles::default()]).unwrap_err();
    assert!(refused.to_string().contains("only 1 of 3 copies"), "{refused}");
}

/// Power fails at any moment, and each copy keeps another part of what was not synced.
#[test]
fn after_power_loss_no_acknowledged_record_is_missing() {
    for round in 0..12usize {
        let copies: [SimFiles; 3] = Default::default();
        let log = open(&copies.each_ref()).unwrap();
        append(&log, 0..10 + round as u64).unwrap();
        let acknowledged = log.durable_size();
        let error = io::ErrorKind::Other;
        let keep = |copy: usize| (round * (copy + 1) * 7) % 23;
        // The last batch reaches each copy in part.
        for copy in &copies {
            copy.fail(Fault { op: SimOp::Sync, path: "seg", after: 0, error, kept: 1 });
        }
        assert!(append(&log, 50..51).is_err());
        let left: Vec<_> =
            copies.iter().enumerate().map(|(i, copy)| copy.after_power_loss(keep(i))).collect();
        assert!(log.close().is_err());
        let log = open(&[&left[0], &left[1], &left[2]]).unwrap();
        assert!(log.durable_size() > acknowledged, "{} of {acknowledged}", log.durable_size());
        // Where power failed between the packed form of a segment and the end of the other one, the sealer tidies up.
        let deadline = Instant::now() + Duration::from_secs(60);
        let are_equal = || left.iter().all(|copy| contents(copy) == contents(&left[0]));
        while !are_equal() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        log.close().unwrap();
        for copy in &left {
            alike(copy, &left[0], &format!("round {round}"));
        }
    }
}

/// Regression: power failed when one copy had its segment in both forms, and the one that was read had it in one.
#[test]
fn both_forms_of_a_segment_on_one_copy_become_one_on_all() {
    let copies: [SimFiles; 3] = Default::default();
    let log = open(&copies.each_ref()).unwrap();
    append(&log, 0..20).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let packed = loop {
        let is_packed = |path: &String| path.ends_with(".zst");
        if let Some(packed) = copies[2].paths().into_iter().find(is_packed) {
            break packed;
        }
        assert!(Instant::now() < deadline, "nothing was packed");
        std::thread::yield_now();
    };
    log.close().unwrap();
    // Longer than the others, which are made equal to it.
    let options = Options { finished: Finished::Left, ..options() };
    let log = open_as(&[&copies[2]], options).unwrap();
    append(&log, 20..22).unwrap();
    log.close().unwrap();
    let written = packed.trim_end_matches(".zst").to_owned();
    copies[2].replace(&written, b"as it was written").unwrap();
    let log = open(&copies.each_ref()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while copies.iter().any(|copy| copy.paths().contains(&written)) {
        assert!(Instant::now() < deadline, "both forms are there");
        std::thread::yield_now();
    }
    log.close().unwrap();
}

/// Regression: a copy that ends exactly where the others begin their newest segment was taken for another story.
#[test]
fn a_copy_may_end_anywhere_before_the_others() {
    for count in 1..=8 {
        let copies: [SimFiles; 3] = Default::default();
        let log = open(&copies.each_ref()).unwrap();
        append(&log, 0..count).unwrap();
        log.close().unwrap();
        let older = copies[2].snapshot();
        let log = open(&[&copies[0], &copies[1], &SimFiles::default()]).unwrap();
        append(&log, count..count + 4).unwrap();
        log.close().unwrap();
        let log = open(&[&copies[0], &copies[1], &older]).unwrap();
        log.close().unwrap();
        assert_eq!(contents(&older), contents(&copies[0]), "{count}");
    }
}

/// Two copies are both needed: what one has no room for is taken back from the other, and the log goes on later.
#[test]
fn a_full_copy_that_is_needed_makes_the_log_wait() {
    for op in [SimOp::Write, SimOp::Create, SimOp::Replace] {
        for (victim, kept, after) in
            [(0, 0, 0), (1, 0, 0), (0, 700, 0), (1, 700, 1), (1, 0, 5), (0, 1, 7)]
        {
            let place = format!("{op:?} {after} {kept} on {victim}");
            let copies: [SimFiles; 2] = Default::default();
            let log = open_as(&copies.each_ref(), looking()).unwrap();
            append(&log, 0..3).unwrap();
            let error = io::ErrorKind::StorageFull;
            copies[victim].fail(Fault { op, path: "", after, error, kept });
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut i = 3;
            while copies[victim].faults_left() > 0 || i < 20 {
                match append(&log, i..i + 1) {
                    Ok(()) => i += 1,
                    Err(LogError::NoSpace { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{place}: {error}"),
                }
                assert!(Instant::now() < deadline, "{place}: {i}");
            }
            while log.put_blob(b"policy").is_err() {
                assert!(!log.is_poisoned() && Instant::now() < deadline, "{place}");
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            while log.is_full() {
                assert!(Instant::now() < deadline, "{place}");
                std::thread::yield_now();
            }
            log.close().unwrap();
            for copy in &copies {
                alike(copy, &copies[0], &place);
                check(copy, &[]);
            }
        }
    }
}

/// The disk of one copy has no byte left for a while.
#[test]
fn a_copy_without_any_room_stops_neither_two_nor_three() {
    for count in [2, 3] {
        for victim in 0..count {
            let copies: Vec<SimFiles> = (0..count).map(|_| SimFiles::default()).collect();
            let log = open_as(&copies.iter().collect::<Vec<_>>(), looking()).unwrap();
            append(&log, 0..3).unwrap();
            copies[victim].set_room(copies[victim].used());
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut refused = 0;
            let mut i = 3;
            while i < 30 {
                match append(&log, i..i + 1) {
                    Ok(()) => i += 1,
                    Err(LogError::NoSpace { .. }) => {
                        refused += 1;
                        if refused == 20 {
                            copies[victim].set_room(usize::MAX);
                        }
                        std::thread::yield_now();
                    }
                    Err(error) => panic!("{count} {victim}: {error}"),
                }
                assert!(Instant::now() < deadline, "{count} {victim}: {i} {refused}");
            }
            assert_eq!(refused > 0, count == 2, "{victim}");
            log.close().unwrap();
            let all = contents(&copies[(victim + 1) % count]);
            assert_eq!(contents(&copies[victim]) == all, count == 2, "{victim}");
            let lost = format!("copy{victim}");
            let said: &[&str] = if count == 2 { &[] } else { &[lost.as_str()] };
            check(&copies[(victim + 1) % count], said);
        }
    }
}
