//! A log whose key changes, stopped at every point of it; and what verify says when somebody pretends.

use super::*;
use crate::{
    Ed25519Signer, Signers, State, VerifyOptions, checkpoint,
    durable::Files,
    log::{Finished, HandClock, OpenError, Options},
    sim::{Fault, Op, SimFiles, Unsynced},
    verify,
};

const ORIGIN: &str = "audit.example.com/node1";

fn signer(seed: u8) -> Arc<dyn Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[seed; 32]))
}

fn vkey(seed: u8) -> Vkey {
    Vkey::parse(&signer(seed).vkey()).unwrap()
}

fn id(seed: u8) -> KeyId {
    vkey(seed).id()
}

/// Without seals, so that the same calls leave the same files.
fn open(files: &SimFiles, seeds: &[u8]) -> Result<Log, OpenError> {
    open_and(Finished::Left, files, seeds)
}

fn open_and(finished: Finished, files: &SimFiles, seeds: &[u8]) -> Result<Log, OpenError> {
    let options = Options {
        origin: ORIGIN.to_owned(),
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        segment_bytes_max: 12 << 10,
        finished,
        ..Options::default()
    };
    let signers = Signers::new(signer(seeds[0]), seeds[1..].iter().map(|seed| signer(*seed)));
    let clock = Arc::new(HandClock::at(1_767_225_600_000_000).stepping(1_000));
    Log::open(Arc::new(files.clone()), signers, clock, options).map(|(log, _)| log)
}

fn append(log: &Log, i: u64) {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let event = EventId::new(1_767_225_600_000, random);
    let record = Record::new(Class::Data, "s3:PutObject", event);
    log.append_all(&vec![record; 5]).unwrap().wait().unwrap();
}

/// What verify says, knowing nothing but the first key.
fn report_with(files: &SimFiles, last_seen: Option<Head>) -> crate::Report {
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let vkey = signer(1).vkey();
    let options = VerifyOptions { vkey, last_seen, strict: true, progress: &|_, _| {} };
    verify(dir.path(), &options).unwrap()
}

fn report(files: &SimFiles) -> crate::Report {
    report_with(files, None)
}

/// A log of three keys, in two lives, closed.
fn rotated_on(files: SimFiles, finished: Finished) -> SimFiles {
    let log = open_and(finished, &files, &[1]).unwrap();
    append(&log, 1);
    log.rotate_key(signer(2)).unwrap();
    append(&log, 2);
    log.close().unwrap();
    let log = open_and(finished, &files, &[1, 2]).unwrap();
    append(&log, 3);
    log.rotate_key(signer(3)).unwrap();
    append(&log, 4);
    log.close().unwrap();
    files
}

fn rotated() -> SimFiles {
    rotated_on(SimFiles::default(), Finished::Left)
}

/// Makes a head the newest one, as somebody would who can write to the directory.
fn pretend(files: &SimFiles, head: &Head, by: &[u8]) {
    let mut note = checkpoint::sign(ORIGIN, head, signer(by[0]).as_ref()).unwrap();
    for seed in &by[1..] {
        note = note::cosign(&note, signer(*seed).as_ref()).unwrap();
    }
    let list = files.paths().into_iter().rfind(|path| path.ends_with(".notes")).unwrap();
    files.edit(&list, |bytes| {
        bytes.extend_from_slice(&u32::try_from(note.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(note.as_bytes());
    });
    files.edit("checkpoint", |bytes| *bytes = note.into_bytes());
}

fn newest(files: &SimFiles) -> Head {
    let note = String::from_utf8(files.read("checkpoint").unwrap()).unwrap();
    let (text, _) = note.split_once("\n\n").unwrap();
    checkpoint::parse(&format!("{text}\n"), ORIGIN).unwrap()
}

#[test]
fn the_first_key_verifies_the_whole_log_across_changes() {
    let files = rotated();
    let found = report(&files);
    assert_eq!(found.state, State::TailUnproven, "{found}");
    assert!(found.remarks.is_empty(), "{found}");
    assert_eq!(found.head.unwrap().size, found.size, "{found}");
    // Earlier keys open it no more, whoever else's never did; the newest does, with the others or without.
    for seeds in [&[1][..], &[2], &[1, 2]] {
        let refused = open(&files, seeds).unwrap_err();
        assert!(matches!(refused, OpenError::NotInForce { .. }), "{refused:?}");
    }
    assert!(matches!(open(&files, &[9]), Err(OpenError::Key { .. })));
    open(&files, &[3]).unwrap().close().unwrap();
    let log = open(&files, &[1, 2, 3]).unwrap();
    let keys = log.keys();
    assert_eq!(keys.keys().map(|key| key.vkey.clone()).collect::<Vec<_>>(), [1, 2, 3].map(vkey));
    let keys: Vec<_> = keys.keys().collect();
    assert_eq!((keys[0].from, keys[2].until), (0, None));
    for pair in keys.windows(2) {
        assert_eq!(pair[0].until.unwrap() + 1, pair[1].from, "no gap and no overlap");
    }
    log.close().unwrap();
}

#[test]
fn each_change_is_one_record_that_carries_its_note() {
    let files = rotated();
    let mut notes = Vec::new();
    for path in files.paths().iter().filter(|path| path.ends_with(".jsonl")) {
        let bytes = files.read(path).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n');
        let changes = lines.filter(|line| line.starts_with(b"{\"action\":\"audit:key-rotate\""));
        notes.extend(changes.flat_map(|line| crate::leaf::values(line, "params.note")));
    }
    let kept = ["key/0001.note", "key/0002.note"].map(|path| files.read(path).unwrap());
    assert_eq!(notes.iter().map(|note| note.as_bytes()).collect::<Vec<_>>(), kept);
}

/// Whoever knows only the old key can follow until the server starts again.
#[test]
fn for_the_rest_of_a_life_both_keys_sign() {
    let files = SimFiles::default();
    let log = open(&files, &[1]).unwrap();
    log.rotate_key(signer(2)).unwrap();
    append(&log, 1);
    log.close().unwrap();
    let note = files.read("checkpoint").unwrap();
    for seed in [1, 2] {
        assert_eq!(checkpoint::open(&note, &vkey(seed)).unwrap(), newest(&files), "{seed}");
    }
    open(&files, &[2]).unwrap().close().unwrap();
    let note = files.read("checkpoint").unwrap();
    assert_eq!(
        checkpoint::open(&note, &vkey(1)),
        Err(checkpoint::CheckpointError::Note(NoteError::UnknownKey))
    );
    assert_eq!(report(&files).state, State::TailUnproven, "{}", report(&files));
}

#[test]
fn proofs_and_memories_from_before_a_change_still_hold() {
    let files = SimFiles::default();
    let log = open(&files, &[1]).unwrap();
    append(&log, 1);
    log.close().unwrap();
    let proven = |files: &SimFiles, seq| {
        let dir = tempfile::tempdir().unwrap();
        files.dump(dir.path()).unwrap();
        let keys = Keyring::of_directory(&vkey(1), dir.path()).unwrap();
        (crate::tiles::prove(dir.path(), seq, &vkey(1), &|_, _| {}).unwrap(), keys)
    };
    let (old, _) = proven(&files, 1);
    let remembered = files.read("checkpoint").unwrap();
    let log = open(&files, &[1]).unwrap();
    log.rotate_key(signer(2)).unwrap();
    append(&log, 2);
    log.close().unwrap();
    let (new, keys) = proven(&files, 1);
    old.verify(None, &vkey(1)).unwrap();
    old.verify_by(None, &keys).unwrap();
    new.verify_by(None, &keys).unwrap();
    let seen = keys.head_to_compare(&remembered).unwrap();
    assert_eq!(report_with(&files, Some(seen)).state, State::Valid);

    let log = open(&files, &[2]).unwrap();
    log.revoke_key(id(1), 0).unwrap();
    log.close().unwrap();
    let (_, keys) = proven(&files, 1);
    let refused = old.verify_by(None, &keys).unwrap_err();
    assert!(refused.to_string().contains(&id(1).to_string()), "{refused}");
    new.verify_by(None, &keys).unwrap();
    // What was kept outside is compared all the same: the log must still be the one that it saw.
    let seen = keys.head_to_compare(&remembered).unwrap();
    assert_eq!(report_with(&files, Some(seen)).state, State::Valid);
    assert_eq!(report(&files).state, State::TailUnproven, "{}", report(&files));
}

#[test]
fn what_is_refused_changes_nothing() {
    let files = SimFiles::default();
    let log = open(&files, &[1]).unwrap();
    let refused = |found: Result<Head, ChangeError>| match found {
        Err(ChangeError::Key(error)) => error,
        other => panic!("{other:?}"),
    };
    let other: Arc<dyn Signer> = Arc::new(Ed25519Signer::from_seed("other.example.com", &[2; 32]));
    assert_eq!(refused(log.rotate_key(other)), KeyError::Text);
    assert_eq!(refused(log.rotate_key(signer(1))), KeyError::Known(id(1)));
    for seed in [1, 2] {
        assert_eq!(refused(log.revoke_key(id(seed), 0)), KeyError::NotEarlier(id(seed)));
    }
    assert_eq!(log.keys(), vkey(1).into());
    assert!(!files.paths().iter().any(|path| path.starts_with("key/")), "{:?}", files.paths());
    log.rotate_key(signer(2)).unwrap();
    assert_eq!(refused(log.rotate_key(signer(1))), KeyError::Known(id(1)));
    assert_eq!(refused(log.revoke_key(id(1), 9)), KeyError::Nothing(id(1), 9));
    log.revoke_key(id(1), 0).unwrap();
    assert_eq!(refused(log.revoke_key(id(1), 0)), KeyError::Nothing(id(1), 0));
    log.close().unwrap();
    assert!(matches!(log.rotate_key(signer(3)), Err(ChangeError::Log(LogError::Closed))));
    open(&files, &[2]).unwrap().close().unwrap();
}

#[test]
fn pretenders_are_named() {
    let whole = rotated();
    let end = newest(&whole);
    let small = Head { size: 2, ..end };
    let reads = |name: &str, forge: &dyn Fn(&SimFiles), expected: State| {
        let files = whole.snapshot();
        forge(&files);
        let found = report(&files);
        assert_eq!(found.state, expected, "{name}: {found}");
        if expected != State::TailUnproven {
            assert!(!found.findings.is_empty(), "{name}: {found}");
        }
    };
    let note = |change: &Change, by: u8, coming: Option<u8>| {
        let coming = coming.map(signer);
        change.sign(ORIGIN, signer(by).as_ref(), coming.as_deref()).unwrap().into_bytes()
    };
    let put = |bytes: Vec<u8>| {
        move |files: &SimFiles| {
            files.replace("key/0003.note", &bytes).unwrap();
            pretend(files, &end, &[9]);
        }
    };
    let (window, unknown) = (State::KeyWindow, State::UnknownKey);
    reads("old key after its time", &|files| pretend(files, &end, &[2]), window);
    reads("first key after its time", &|files| pretend(files, &end, &[1]), window);
    reads("key of nobody", &|files| pretend(files, &end, &[9]), unknown);
    reads("key in force", &|files| pretend(files, &end, &[3]), State::TailUnproven);
    reads("beside another", &|files| pretend(files, &end, &[3, 1]), State::TailUnproven);
    let early = checkpoint::sign(ORIGIN, &small, signer(3).as_ref()).unwrap().into_bytes();
    reads("key before its time", &|files| files.replace("checkpoint", &early).unwrap(), window);
    let to_nine = Change::Rotate { vkey: vkey(9), after: end };
    reads("rotation by an old key", &put(note(&to_nine, 1, Some(9))), unknown);
    reads("rotation by itself", &put(note(&to_nine, 9, Some(9))), unknown);
    reads("rotation without possession", &put(note(&to_nine, 3, None)), unknown);
    let back = Change::Rotate { vkey: vkey(9), after: small };
    reads("rotation in the past", &put(note(&back, 3, Some(9))), State::BadSignature);
    let revoke = Change::Revoke { key: id(3), good: 0, after: end };
    reads("revocation of the key in force", &put(note(&revoke, 3, None)), State::BadSignature);
    let revoke = Change::Revoke { key: id(1), good: 0, after: end };
    reads("revocation by an old key", &put(note(&revoke, 2, None)), unknown);
    // In the last life the second key signed beside the third, so only the record knows that something is gone.
    let cut = |files: &SimFiles| files.take_away("key/0002.note");
    reads("rotation cut", &cut, State::Missing);
    reads("first rotation cut", &|files| files.take_away("key/0001.note"), unknown);
    let changed = |files: &SimFiles| files.edit("key/0001.note", |bytes| bytes[40] ^= 1);
    reads("a note changed", &changed, State::BadSignature);
    let torn = |files: &SimFiles| files.edit("key/0002.note", |bytes| bytes.truncate(90));
    reads("a note torn", &torn, State::Modified);
    // A note that holds and that no record carries is the work of whoever has the secret, or a crash.
    let (kept, revoked) = (
        note(&to_nine, 3, Some(9)),
        note(&Change::Revoke { key: id(1), good: 0, after: end }, 3, None),
    );
    reads(
        "not in the log",
        &|files| {
            files.replace("key/0003.note", &kept).unwrap();
            let after = Head { size: end.size + 1, ..end };
            let more = Change::Revoke { key: id(2), good: 0, after };
            files.replace("key/0004.note", &note(&more, 9, None)).unwrap();
        },
        State::Modified,
    );
    reads(
        "a moment before its record",
        &|files| {
            files.replace("key/0003.note", &revoked).unwrap();
        },
        State::TailUnproven,
    );
    // The note is good, but the log was another one at that moment.
    let elsewhere = Change::Rotate { vkey: vkey(9), after: Head { root: [7; 32], ..end } };
    let forked = note(&elsewhere, 3, Some(9));
    reads("another root", &|files| files.replace("key/0003.note", &forked).unwrap(), State::Forked);
}

/// A stolen key that was revoked: its heads are believed as far as they were good, and beyond only where the log agrees.
#[test]
fn a_revoked_key_signs_nothing_more() {
    let files = rotated();
    let log = open(&files, &[3]).unwrap();
    log.revoke_key(id(2), 8).unwrap();
    let keys = log.keys();
    log.close().unwrap();
    let found = report(&files);
    assert_eq!(found.state, State::TailUnproven, "{found}");
    let key = keys.keys().nth(1).unwrap();
    assert_eq!(key.good, Some(8));
    assert!(key.until.unwrap() > 9);
    for (size, believed) in [(key.from, true), (8, true), (9, false)] {
        let head = Head { size, root: [9; 32] };
        let note = checkpoint::sign(ORIGIN, &head, signer(2).as_ref()).unwrap();
        assert_eq!(keys.head(note.as_bytes()).is_ok(), believed, "{size}");
        assert!(keys.head_to_compare(note.as_bytes()).is_ok(), "{size}");
        files.edit("checkpoint", |bytes| *bytes = note.into_bytes());
        let expected = if believed { State::Forked } else { State::KeyWindow };
        assert_eq!(report(&files).state, expected, "{}", report(&files));
    }
}

#[test]
fn a_crash_at_any_moment_leaves_one_key_in_force() {
    let files = rotated_on(SimFiles::recording(), Finished::Packed);
    let log = open_and(Finished::Packed, &files, &[3]).unwrap();
    log.revoke_key(id(1), 3).unwrap();
    append(&log, 5);
    log.close().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for change in 0..files.changes() {
        for unsynced in [Unsynced::Kept, Unsynced::Lost] {
            let crashed = files.crash(change, 0, unsynced);
            let log = open_and(Finished::Packed, &crashed, &[1, 2, 3]);
            let log = log.unwrap_or_else(|e| panic!("{change}: {e}"));
            let changes = log.keys().changes().len();
            seen.insert(changes);
            append(&log, 6);
            // Another change follows, whatever the crash left of the one before.
            log.rotate_key(signer(4)).unwrap();
            log.close().unwrap();
            assert_eq!(log.keys().changes().len(), changes + 1);
            let found = report(&crashed);
            assert_eq!(found.state, State::TailUnproven, "{change} {unsynced:?} {found}");
            assert!(found.remarks.is_empty(), "{change} {unsynced:?} {found}");
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_failed_write_stops_the_log_with_one_key_in_force() {
    for (op, path, kept) in [
        (Op::Replace, "key/", 0),
        (Op::Replace, "key/", 1),
        (Op::Write, "seg/", 0),
        (Op::Sync, "seg/", 0),
        (Op::Sync, "seg/", 1),
    ] {
        let files = SimFiles::default();
        let log = open(&files, &[1]).unwrap();
        append(&log, 1);
        files.fail(Fault { op, path, after: 0, error: io::ErrorKind::Other, kept });
        let failed = log.rotate_key(signer(2)).unwrap_err();
        assert!(matches!(failed, ChangeError::Log(LogError::Poisoned { .. })), "{failed:?}");
        assert!(matches!(log.rotate_key(signer(3)), Err(ChangeError::Log(_))));
        assert!(log.close().is_err());
        drop(log);
        for crashed in [files.snapshot(), files.after_power_loss(0)] {
            let changed = crashed.paths().iter().any(|path| path.starts_with("key/"));
            let (now, gone) = if changed { (2, 1) } else { (1, 2) };
            assert!(open(&crashed, &[gone]).is_err(), "{op:?} {kept}");
            let log = open(&crashed, &[now]).unwrap_or_else(|e| panic!("{op:?} {kept}: {e}"));
            append(&log, 2);
            log.close().unwrap();
            let found = report(&crashed);
            assert_eq!(found.state, State::TailUnproven, "{op:?} {kept} {found}");
            assert!(found.remarks.is_empty(), "{op:?} {kept} {found}");
        }
    }
}

#[test]
fn a_full_disk_refuses_a_change_and_the_log_goes_on() {
    let files = SimFiles::default();
    let log = open(&files, &[1]).unwrap();
    let error = io::ErrorKind::StorageFull;
    files.fail(Fault { op: Op::Replace, path: "key/", after: 0, error, kept: 0 });
    let refused = log.rotate_key(signer(2)).unwrap_err();
    assert!(matches!(refused, ChangeError::Log(LogError::NoSpace { .. })), "{refused:?}");
    append(&log, 1);
    assert_eq!(log.keys(), vkey(1).into());
    log.rotate_key(signer(2)).unwrap();
    log.close().unwrap();
    assert_eq!(report(&files).state, State::TailUnproven, "{}", report(&files));
}

/// Requests go on while the key changes, and every head is under the key of its size.
#[test]
fn a_busy_log_changes_its_key() {
    let files = SimFiles::default();
    let log = open_and(Finished::Packed, &files, &[1]).unwrap();
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| (0..300).for_each(|i| append(&log, i)));
        for seed in 2..8 {
            log.rotate_key(signer(seed)).unwrap();
            log.revoke_key(id(seed - 1), 0).unwrap();
        }
        appending.join().unwrap();
    });
    log.close().unwrap();
    let found = report(&files);
    assert_eq!(found.state, State::TailUnproven, "{found}");
    assert!(found.findings.is_empty() && found.remarks.is_empty(), "{found}");
}
