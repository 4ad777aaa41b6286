//! What can be done to a pruned log, or to one that only looks as if it were.

use std::time::{Duration, Instant};

use super::*;

const DAY_US: u64 = 86_400_000_000;

/// What the log was before it was pruned, and what it is after.
struct Scene {
    before: tempfile::TempDir,
    after: tempfile::TempDir,
    /// First record that is left, and the one that says so.
    end: u64,
    record: u64,
}

fn scene() -> Scene {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(HandClock::at(1_767_225_600_000_000));
    let options = Options { origin: ORIGIN.to_owned(), preallocate_bytes: 0, ..Options::default() };
    let open = || {
        let files = Arc::new(LocalFiles::new(after.path()));
        Log::open(files, signer(7), clock.clone(), options.clone()).unwrap().0
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let log = open();
    for day in 0..4 {
        let records: Vec<Record> = (0..300).map(|i| record(day * 300 + i)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
        // The record of a day's seal is one of the next day, and so may be pruned.
        while log.durable_size() < 1 + (day + 1) * 300 + day {
            assert!(Instant::now() < deadline, "day {day} is not sealed");
            std::thread::yield_now();
        }
        clock.pass(DAY_US);
    }
    let plan = loop {
        let plan =
            plan_prune(after.path(), older_than(1_767_225_600_000_000 + 2 * DAY_US)).unwrap();
        if let Some(plan) = plan.filter(|plan| plan.days.len() == 2) {
            break plan;
        }
        assert!(Instant::now() < deadline, "the days are not sealed");
        std::thread::yield_now();
    };
    let signed = |size: u64| {
        let newest = check(after.path(), None).head;
        newest.is_some_and(|head| head.size >= size)
    };
    while !signed(log.durable_size()) {
        assert!(Instant::now() < deadline, "no head");
        std::thread::yield_now();
    }
    // Tiles come and go while a log is open.
    log.close().unwrap();
    copy(after.path(), before.path());
    let log = open();
    let pruned = log.prune(&plan, record(9999)).unwrap();
    log.close().unwrap();
    Scene { before, after, end: plan.end, record: pruned.record }
}

fn changed(scene: &Scene, change: impl FnOnce(&Path)) -> Report {
    let dir = tempfile::tempdir().unwrap();
    copy(scene.after.path(), dir.path());
    change(dir.path());
    check(dir.path(), None)
}

/// Takes the segments before `end` away, as a prune does.
fn cut(dir: &Path, end: u64) {
    for path in files(&dir.join("seg")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (first, ending) = name.split_once('.').unwrap();
        if first.parse::<u64>().unwrap() < end && ending != "seal" {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_was_done_to_a_pruned_log_is_named() {
    let scene = scene();
    let (end, record) = (scene.end, scene.record);
    let report = check(scene.after.path(), None);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    let report = check(scene.after.path(), report.head);
    assert_eq!(report.state, State::Valid, "{report}");
    assert_eq!(report.pruned.map(|pruned| (pruned.end, pruned.record)), Some((end, record)));
    let missing = format!("records 0 to {} are not there", end - 1);

    // Records that are not there although nothing says so.
    let report = {
        let dir = tempfile::tempdir().unwrap();
        copy(scene.before.path(), dir.path());
        cut(dir.path(), end);
        check(dir.path(), None)
    };
    assert_eq!(report.state, State::Missing, "{report}");
    assert!(report.findings.iter().any(|f| f.what == missing), "{report}");

    // The same with all that a prune leaves, but without the record.
    let report = {
        let dir = tempfile::tempdir().unwrap();
        copy(scene.before.path(), dir.path());
        cut(dir.path(), end);
        copy(&scene.after.path().join("tile"), &dir.path().join("tile"));
        fs::copy(scene.after.path().join("pruned"), dir.path().join("pruned")).unwrap();
        check(dir.path(), None)
    };
    assert_eq!(report.state, State::Missing, "{report}");
    assert!(report.findings.iter().any(|f| f.what == missing), "{report}");
    assert!(report.findings.iter().any(|f| f.file == "pruned"), "{report}");

    // With the record, but under no head: whoever can write into the directory can write that.
    let report = changed(&scene, |dir| {
        fs::remove_dir_all(dir.join("heads")).unwrap();
        copy(&scene.before.path().join("heads"), &dir.join("heads"));
        fs::copy(scene.before.path().join("checkpoint"), dir.join("checkpoint")).unwrap();
    });
    assert_eq!(report.state, State::Missing, "{report}");
    let says = format!("{missing}; record {record} says that they were pruned, but no signed head");
    assert!(report.findings.iter().any(|f| f.what.starts_with(&says)), "{report}");

    // More is gone than the record says.
    let further = segments_from(scene.after.path(), end)[1];
    let report = changed(&scene, |dir| cut(dir, further));
    assert_eq!(report.state, State::Missing, "{report}");

    // Of the kept hashes something is gone.
    for path in files(&scene.after.path().join("tile/0")) {
        let tile = path.strip_prefix(scene.after.path()).unwrap().to_owned();
        let report = changed(&scene, |dir| fs::remove_file(dir.join(&tile)).unwrap());
        assert_eq!(report.state, State::Missing, "{report}");
        let named = tile.to_str().unwrap();
        let near = |f: &Finding| named.starts_with(f.file.split(".p/").next().unwrap());
        assert!(report.findings.iter().any(near), "{named}: {report}");
    }
    // A seal of what was pruned: the record that names the first was pruned, too.
    for seal in &seals(scene.after.path())[..2] {
        let seal = seal.strip_prefix(scene.after.path()).unwrap();
        let report = changed(&scene, |dir| fs::remove_file(dir.join(seal)).unwrap());
        let says = ["the seal before it is not there", "but its seal is not there"];
        let said = |f: &Finding| says.iter().any(|says| f.what.ends_with(says));
        assert!(report.findings.iter().any(said), "{}: {report}", seal.display());
        assert!(matches!(report.state, State::Missing | State::Unsealed), "{report}");
    }
    // The file that tells readers.
    let report = changed(&scene, |dir| fs::remove_file(dir.join("pruned")).unwrap());
    assert_eq!(report.state, State::Missing, "{report}");
    assert!(report.findings.iter().any(|f| f.file == "pruned"), "{report}");
    let report = changed(&scene, |dir| {
        edit(&dir.join("pruned"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace(&end.to_string(), &(end - 1).to_string()).into_bytes();
        });
    });
    assert_eq!(report.state, State::Modified, "{report}");
}

/// First records of the segments from one on.
fn segments_from(dir: &Path, end: u64) -> Vec<u64> {
    let names = files(&dir.join("seg")).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let (first, ending) = name.split_once('.')?;
        ending.starts_with("jsonl").then(|| first.parse().unwrap())
    });
    names.filter(|first| *first >= end).collect()
}

#[test]
fn a_flipped_bit_in_what_stays_of_pruned_records_is_named() {
    let scene = scene();
    let dir = scene.after.path();
    let mut cases = 0;
    let kept = |path: &PathBuf| {
        let path = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        path.starts_with("tile/0") || path == "pruned" || path.ends_with(".seal")
    };
    for path in files(dir).into_iter().filter(kept) {
        let original = fs::read(&path).unwrap();
        let stride = if original.len() > 1000 { 257 } else { 7 };
        for at in (0..original.len()).step_by(stride) {
            let mut bytes = original.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let report = check(dir, None);
            let quiet = matches!(report.state, State::Valid | State::TailUnproven);
            assert!(!quiet, "{} byte {at}: {report}", path.display());
            cases += 1;
        }
        fs::write(&path, &original).unwrap();
    }
    assert!(cases > 200, "{cases}");
    assert_eq!(check(dir, None).state, State::TailUnproven);
}

fn older_than(before_us: u64) -> PruneBounds {
    PruneBounds { before_us, below: u64::MAX }
}
