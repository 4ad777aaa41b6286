use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    Class, Ed25519Signer, EventId, HandClock, LocalFiles, Log, PruneBounds, Record, Recovery,
    Signer, State, VerifyOptions, plan_prune,
    sim::{SimFiles, Unsynced},
};

const ORIGIN: &str = "audit.example.com/node1";
const BEGIN_US: u64 = 1_767_225_600_000_000;
const DAY_US: u64 = 86_400_000_000;

fn clock() -> Arc<HandClock> {
    Arc::new(HandClock::at(BEGIN_US))
}

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn options(memories: &[Memory], accepted: Option<Acceptance>) -> Options {
    Options {
        origin: ORIGIN.to_owned(),
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        memories: memories.to_vec(),
        accepted,
        ..Options::default()
    }
}

fn open(files: &SimFiles, memories: &[Memory]) -> Result<(Log, Recovery), OpenError> {
    Log::open(Arc::new(files.clone()), signer(), clock(), options(memories, None))
}

fn record(story: u8, i: u64) -> Record {
    let mut random = [story; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    Record::new(Class::Data, "s3:PutObject", EventId::new(BEGIN_US / 1000, random))
}

/// Adds records and closes.
fn write(files: &SimFiles, story: u8, count: u64) {
    let (log, _) = open(files, &[]).unwrap();
    let records: Vec<_> = (0..count).map(|i| record(story, i)).collect();
    log.append_all(&records).unwrap().wait().unwrap();
    log.close().unwrap();
}

/// Leaf hashes of all records.
fn leaves(files: &SimFiles) -> Vec<Hash> {
    let mut records = Records::new(files).unwrap();
    (1..).map_while(|size| records.leaf_hash(size).unwrap()).collect()
}

fn remembers(name: &str, size: u64, marks: &[(u64, Hash)]) -> Memory {
    let marks = marks.iter().map(|(size, leaf)| Mark { size: *size, leaf: *leaf }).collect();
    let marks = Marks::new(marks).unwrap();
    Memory { name: name.into(), place: format!("{name}/cursor.json"), size, marks }
}

fn gap_of(opened: Result<(Log, Recovery), OpenError>) -> Gap {
    match opened {
        Err(OpenError::Gap { gap, digest }) => {
            assert_eq!(digest, gap.digest());
            *gap
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_lacks_what_somebody_knows_is_not_opened() {
    let files = SimFiles::default();
    write(&files, 1, 50);
    let known = leaves(&files);
    let size = known.len() as u64;
    // As it was, but for what happened after the first records: another story.
    let (same, other) = (|at: u64| (at, known[at as usize - 1]), |at: u64| (at, [9; 32]));
    // Size, marks; then where they differ and agree if that is a gap.
    type Row = (u64, Vec<(u64, Hash)>, Option<(Option<u64>, u64)>);
    let rows: Vec<Row> = vec![
        (0, vec![], None),
        (size, vec![], None),
        (size - 1, vec![same(size - 2)], None),
        (size, vec![same(3), same(size)], None),
        (size + 1, vec![], Some((None, 0))),
        (size + 1, vec![same(7), same(30)], Some((None, 30))),
        // A mark beyond the end is knowledge, too.
        (3, vec![same(3), other(size + 5)], Some((None, 3))),
        (size, vec![other(size)], Some((Some(size), 0))),
        (40, vec![same(5), other(20), other(30)], Some((Some(20), 5))),
        (size + 9, vec![same(5), other(20), other(size + 9)], Some((Some(20), 5))),
    ];
    let before = files.paths().iter().map(|path| files.read(path).unwrap()).collect::<Vec<_>>();
    for (known, marks, expected) in rows {
        let memory = remembers("soc", known, &marks);
        let copy = files.snapshot();
        let opened = open(&copy, &[remembers("fine", 1, &[]), memory]);
        let Some((differs, agreed)) = expected else {
            assert!(opened.is_ok(), "{known} {marks:?}: {:?}", opened.err());
            continue;
        };
        let gap = gap_of(opened);
        let [conflict] = gap.conflicts.as_slice() else { panic!("{gap:?}") };
        assert_eq!((conflict.differs, conflict.agreed), (differs, agreed), "{known} {marks:?}");
        assert_eq!((conflict.name.as_str(), gap.head.size), ("soc", size));
        let said = gap.to_string();
        assert!(said.contains("soc knows") && said.contains("soc/cursor.json"), "{said}");
        assert!(said.contains(&size.to_string()), "{said}");
        // Nothing was written.
        let after = copy.paths().iter().map(|path| copy.read(path).unwrap()).collect::<Vec<_>>();
        assert_eq!(after, before);
    }
}

#[test]
fn a_log_that_is_gone_does_not_begin_again_without_a_word() {
    let files = SimFiles::default();
    let gap = gap_of(open(&files, &[remembers("soc", 9, &[(4, [1; 32])])]));
    assert_eq!((gap.head.size, gap.first(), gap.end()), (0, 0, 9));
    assert_eq!(files.paths(), Vec::<String>::new());
    assert!(open(&files, &[remembers("soc", 0, &[])]).is_ok());
}

fn accepted(gap: &Gap) -> Acceptance {
    Acceptance { digest: gap.digest(), by: "uid 0".into(), reason: "disk 3 died".into() }
}

#[test]
fn exactly_what_was_shown_is_accepted_and_is_the_first_record_then() {
    let files = SimFiles::default();
    write(&files, 1, 20);
    let size = leaves(&files).len() as u64;
    let memories =
        [remembers("siem/soc", size + 10, &[(3, leaves(&files)[2])]), remembers("archive", 2, &[])];
    let gap = gap_of(open(&files, &memories));
    let with = |accepted, memories: &[Memory]| {
        let files = Arc::new(files.clone());
        Log::open(files, signer(), clock(), options(memories, Some(accepted)))
    };
    // Another gap than the one that was shown.
    let mut more = memories.clone();
    more[0].size += 1;
    assert_ne!(gap_of(with(accepted(&gap), &more)).digest(), gap.digest());
    // None at all.
    let none = with(accepted(&gap), &[]);
    assert!(matches!(none, Err(OpenError::NoGap { .. })), "{none:?}");
    let (log, recovery) = with(accepted(&gap), &memories).unwrap();
    assert_eq!(recovery.gap.as_ref(), Some(&gap));
    log.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let leaf = crate::read_record(dir.path(), size).unwrap().unwrap();
    let told = ToldGap::of(size, &leaf).unwrap();
    assert_eq!((told.record, told.first, told.end), (size, size, size + 10));
    assert_eq!(told.knew, [("siem/soc".to_owned(), size + 10)]);
    assert_eq!((told.by.as_str(), told.reason.as_str()), ("uid 0", "disk 3 died"));
    let text = String::from_utf8(leaf).unwrap();
    assert!(text.contains(r#"{"k":"agrees.siem/soc","v":"3"}"#), "{text}");
    // The rest is as sound as any log, and says so without being asked for the gap.
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: true, progress: &|_, _| {} };
    let report = crate::verify(dir.path(), &options).unwrap();
    assert_eq!((report.state, report.gaps.as_slice()), (State::TailUnproven, &[told][..]));
    assert!(report.to_string().contains("siem/soc knew 32"), "{report}");
    // A head that was kept from before the gap is of another log: that is no secret.
    let kept = Head { size: size + 5, root: [5; 32] };
    write(&files, 2, 20);
    files.dump(dir.path()).unwrap();
    let report = crate::verify(dir.path(), &VerifyOptions { last_seen: Some(kept), ..options });
    let report = report.unwrap();
    assert_eq!((report.state, report.gaps.len()), (State::Forked, 1), "{report}");
}

/// The record is there, and nobody went back before the end.
#[test]
fn a_gap_that_was_accepted_is_not_asked_about_again() {
    let files = SimFiles::default();
    write(&files, 1, 20);
    let size = leaves(&files).len() as u64;
    let (third, lost) = ((3, leaves(&files)[2]), (size + 10, [6; 32]));
    let memories = [remembers("siem/soc", size + 10, &[third, lost]), remembers("archive", 2, &[])];
    let gap = gap_of(open(&files, &memories));
    let with = |accepted, memories: &[Memory]| {
        let files = Arc::new(files.clone());
        Log::open(files, signer(), clock(), options(memories, Some(accepted)))
    };
    let unfinished = |recovery: Recovery| {
        let unfinished = recovery.unfinished.unwrap();
        assert_eq!((recovery.gap, unfinished.told.record), (None, size));
        let conflicts = unfinished.conflicts.into_iter();
        conflicts.map(|conflict| (conflict.name, conflict.agreed)).collect::<Vec<_>>()
    };
    let (log, recovery) = with(accepted(&gap), &memories).unwrap();
    assert_eq!(recovery.unfinished, None);
    log.close().unwrap();
    // A plain start, the same command, and neither writes another record of it.
    let soc = [("siem/soc".to_owned(), 3)];
    for again in [None, Some(accepted(&gap))] {
        let opened =
            Log::open(Arc::new(files.clone()), signer(), clock(), options(&memories, again));
        let (log, recovery) = opened.unwrap();
        assert_eq!(unfinished(recovery), soc);
        log.close().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    files.dump(dir.path()).unwrap();
    let told = crate::records(dir.path()).filter_map(|record| {
        let (seq, leaf) = record.unwrap();
        ToldGap::of(seq, &leaf)
    });
    assert_eq!(told.map(|told| told.record).collect::<Vec<_>>(), [size]);
    // Another digest is of another gap.
    let wrong = Acceptance { digest: Sha256Hex::of(b"no"), ..accepted(&gap) };
    let none = with(wrong, &memories);
    assert!(matches!(none, Err(OpenError::NoGap { .. })), "{none:?}");
    // Whoever knows more than the record says, or as much of another story, has lost that as well.
    for soc in [
        remembers("siem/soc", size + 11, &[third, lost]),
        remembers("siem/soc", size + 10, &[third, (size + 10, [7; 32])]),
        remembers("siem/soc", size + 10, &[lost]),
        remembers("siem/soc", size + 10, &[third]),
        remembers("siem/two", size + 10, &[third, lost]),
    ] {
        let gap = gap_of(open(&files, &[soc]));
        assert_eq!(gap.conflicts.len(), 1);
    }
    // One that the record does not speak of is asked about, and the other one goes back with it.
    let more = [memories[0].clone(), remembers("cloudtrail", size + 90, &[])];
    let gap = gap_of(open(&files, &more));
    let [conflict] = gap.conflicts.as_slice() else { panic!("{gap:?}") };
    assert_eq!(conflict.name, "cloudtrail");
    let (log, recovery) = with(accepted(&gap), &more).unwrap();
    assert_eq!(recovery.gap.map(|gap| gap.conflicts.len()), Some(1));
    assert_eq!(recovery.unfinished.map(|unfinished| unfinished.conflicts.len()), Some(1));
    log.close().unwrap();
}

#[test]
fn a_mark_at_a_pruned_or_packed_record_is_compared_with_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFiles::new(dir.path()));
    let clock = clock();
    let (log, _) = Log::open(files.clone(), signer(), clock.clone(), options(&[], None)).unwrap();
    for day in 0..4 {
        let records: Vec<_> = (0..300).map(|i| record(day, i)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
        clock.pass(DAY_US);
    }
    log.append(&record(9, 9)).unwrap().wait().unwrap();
    let bounds = |below| PruneBounds { before_us: u64::MAX, below };
    let deadline = Instant::now() + Duration::from_secs(60);
    while plan_prune(dir.path(), bounds(u64::MAX)).unwrap().is_none_or(|p| p.days.len() < 4) {
        assert!(Instant::now() < deadline, "four days are sealed");
        std::thread::yield_now();
    }
    let marks: Vec<Mark> =
        [5, 290, 700, 1150].map(|at| mark_at(dir.path(), at).unwrap().unwrap()).to_vec();
    let plan = plan_prune(dir.path(), bounds(650)).unwrap().unwrap();
    assert!((300..650).contains(&plan.end), "{plan:?}");
    let mut why = Record::new(Class::Audit, "audit:prune", EventId::new(1, [7; 10]));
    why.params.insert("reason".into(), "over".into());
    log.prune(&plan, why).unwrap();
    log.close().unwrap();
    let known = |marks: &[Mark]| {
        let marks = Marks::new(marks.to_vec()).unwrap();
        [Memory { name: "soc".into(), place: String::new(), size: 0, marks }]
    };
    for end in 1..=marks.len() {
        assert_eq!(conflicts(files.as_ref(), 1150, &known(&marks[..end])).unwrap(), []);
        let mut forged = marks[..end].to_vec();
        forged[end - 1].leaf[0] ^= 1;
        let found = conflicts(files.as_ref(), 1150, &known(&forged)).unwrap();
        let agreed = if end > 1 { marks[end - 2].size } else { 0 };
        assert_eq!((found[0].differs, found[0].agreed), (Some(marks[end - 1].size), agreed));
    }
}

#[test]
fn what_was_durable_is_there_after_any_crash() {
    let files = SimFiles::recording();
    let (log, _) = open(&files, &[]).unwrap();
    // What a reader could know, and how much had reached the disk then.
    let mut known = vec![(files.changes(), log.durable_size())];
    for i in 0..12 {
        let records: Vec<_> = (0..=i % 4).map(|j| record(1, 100 * i + j)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
        known.push((files.changes(), log.durable_size()));
    }
    log.close().unwrap();
    let leaves = leaves(&files);
    let mut met = 0;
    for changes in known[0].0..files.changes() {
        let reader = known.iter().rev().find(|(at, _)| *at <= changes).unwrap().1;
        let mark = (reader, leaves[reader as usize - 1]);
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(changes as u64)] {
            let crashed = files.crash(changes, 0, unsynced);
            let opened = open(&crashed, &[remembers("soc", reader, &[mark])]);
            assert!(opened.is_ok(), "after {changes} changes: {:?}", opened.err());
            met += 1;
        }
    }
    assert!(met > 60, "{met}");
}

#[test]
fn marks_are_in_order_and_not_too_many() {
    let mark = |size| Mark { size, leaf: [0; 32] };
    assert!(Marks::new(vec![mark(1), mark(2)]).is_some());
    assert!(Marks::new(vec![mark(2), mark(2)]).is_none());
    assert!(Marks::new((1..=MARKS_MAX as u64 + 1).map(mark).collect()).is_none());
    let mut marks = Marks::default();
    [5, 9, 7, 9].into_iter().for_each(|size| marks.push(mark(size)));
    assert_eq!(marks.as_slice(), [mark(5), mark(9)]);
    assert_eq!((marks.up_to(8).as_slice(), marks.reach()), (&[mark(5)][..], 9));
}

proptest! {
    #[test]
    fn some_mark_is_never_much_further_away_than_where_the_logs_part(
        steps in prop::collection::vec(1u64..5000, 1..400),
    ) {
        let mut marks = Marks::default();
        let (mut size, mut all) = (0, Vec::new());
        for step in steps {
            size += step;
            marks.push(Mark { size, leaf: [0; 32] });
            all.push(size);
        }
        prop_assert_eq!(marks.reach(), size);
        prop_assert!(Marks::new(marks.as_slice().to_vec()).is_some());
        // From any size that once had a mark, the one before it that is left is at most sixteen times as far from the end.
        for at in all {
            let left = marks.up_to(at).reach();
            let (wanted, found) = (size - at, size - left);
            let oldest = marks.as_slice()[0].size;
            prop_assert!(left > 0 || at < oldest, "{at} of {size}: {marks:?}");
            prop_assert!(left == 0 || found <= wanted.max(5000) * 16, "{wanted} {found}");
        }
    }
}
