//! Proposals over days, with a clock that the test moves.

use std::sync::mpsc;
use std::time::Instant;

use audit::{
    Clock as _, Ed25519Signer, EventId, HandClock, LocalFiles, Options, PruneBounds, plan_prune,
};

use super::*;
use crate::config::Resolved;
use crate::recorder::Recorder;
use crate::scope::Actor;
use crate::server::Connection;
use crate::telemetry::Metrics;

const ORIGIN: &str = "audit.example.com/node1";
const DAY_US: u64 = 86_400_000_000;

struct Scene {
    dir: tempfile::TempDir,
    clock: Arc<HandClock>,
    keeper: Arc<Keeper>,
    recorder: Arc<Recorder>,
}

impl Scene {
    /// Three days of records that are sealed, and the beginning of a fourth; records stay for a day.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::at(1_767_225_600_000_000));
        let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
        let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
        let files = Arc::new(LocalFiles::new(dir.path()));
        let (log, _) = Log::open(files, signer, clock.clone(), options).unwrap();
        let log = Arc::new(log);
        for day in 0..4 {
            let record = Record::new(Class::Data, "s3:GetObject", EventId::new(day, [1; 10]));
            log.append(&record).unwrap().wait().unwrap();
            clock.pass(DAY_US);
        }
        let bounds = PruneBounds { before_us: u64::MAX, below: u64::MAX };
        let deadline = Instant::now() + Duration::from_secs(60);
        while plan_prune(dir.path(), bounds).unwrap().is_none_or(|plan| plan.days.len() < 3) {
            assert!(Instant::now() < deadline, "three days are sealed");
            std::thread::yield_now();
        }
        let keeper = Arc::new(Keeper::new(House {
            log: Arc::clone(&log),
            origin: ORIGIN.to_owned(),
            dir: dir.path().to_owned(),
            retention: Some(Duration::from_secs(24 * 3600)),
            siem: Arc::default(),
            archive_dir: None,
            cloudtrail_dir: None,
        }));
        let rules = Resolved::in_directory("unused").audit_rules;
        let within = Duration::from_secs(60);
        let recorder = Recorder::new(log, clock.clone(), Arc::new(Metrics::new()), rules, within);
        Self { dir, clock, keeper, recorder: Arc::new(recorder) }
    }

    /// A request of somebody.
    fn of(&self, name: &str) -> Scope {
        let connection = Connection {
            peer: "127.0.0.1:40000".parse().unwrap(),
            local: "127.0.0.1:9000".parse().unwrap(),
            tls: None,
        };
        let scope = Scope::open(Arc::clone(&self.recorder), Arc::new(connection), None);
        let principal = policy_lab::Principal::user("123456789012", name);
        let (access_key, signature_sha256) = (Some(name.to_owned()), None);
        scope.identify(Actor { principal, access_key, scheme: "v4", signature_sha256 });
        scope
    }

    fn pass(&self, us: u64) {
        self.clock.pass(us);
    }
}

#[tokio::test]
async fn a_proposal_can_be_confirmed_for_five_days_and_not_longer() {
    let scene = Scene::new();
    let keeper = &scene.keeper;
    let five_days_us = 5 * DAY_US;
    let old = keeper.propose(&scene.of("alice"), "over").await.unwrap();
    scene.pass(five_days_us);
    let confirmed = keeper.confirm(&scene.of("bob"), &old.id, &old.digest).await;
    assert!(matches!(confirmed, Err(RetentionError::Expired)), "{confirmed:?}");
    let status = keeper.status(scene.clock.now_us()).await.unwrap();
    let shown = status.proposal.unwrap();
    assert_eq!((shown.id.as_str(), shown.expired), (old.id.as_str(), true));
    assert_eq!(audit::pruned(scene.dir.path()).unwrap(), None);
    // Another one may be made in its place, and the old one is no way to it.
    let new = keeper.propose(&scene.of("alice"), "still over").await.unwrap();
    let confirmed = keeper.confirm(&scene.of("bob"), &old.id, &old.digest).await;
    assert!(matches!(confirmed, Err(RetentionError::NoProposal(_))), "{confirmed:?}");
    // Just before its end.
    scene.pass(five_days_us - 60_000_000);
    let status = keeper.status(scene.clock.now_us()).await.unwrap();
    assert!(!status.proposal.unwrap().expired);
    let pruned = keeper.confirm(&scene.of("bob"), &new.id, &new.digest).await.unwrap();
    assert_eq!(pruned.end, new.end);
    assert_eq!(audit::pruned(scene.dir.path()).unwrap(), Some(pruned));
}

#[tokio::test]
async fn the_log_is_read_in_pieces_and_a_hold_waits_for_none_of_them() {
    let scene = Scene::new();
    // More than one look takes.
    let mut record = Record::new(Class::Data, "s3:GetObject", EventId::new(9, [2; 10]));
    record.request = Some("x".repeat(1000));
    for _ in 0..12 {
        scene.keeper.house.log.append_all(&vec![record.clone(); 1000]).unwrap().wait().unwrap();
    }
    let watch = scene.keeper.house.log.subscribe();
    let size = watch.size();
    assert!(scene.keeper.read_some(&watch, size).unwrap().is_none());
    // Somebody reads, and a hold is placed all the same.
    let (say, said) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let keeper = Arc::clone(&scene.keeper);
    let reader = std::thread::spawn(move || {
        let reading = keeper.reading.lock().unwrap();
        say.send(reading.tail.position()).unwrap();
        released.recv().unwrap();
    });
    let position = said.recv().unwrap();
    assert!(position > 0 && position < size, "{position} of {size}");
    let subject = Subject::Principal("carol".into());
    let held = scene.keeper.hold(&scene.of("alice"), &subject, "case 7").await.unwrap();
    release.send(()).unwrap();
    reader.join().unwrap();
    let status = scene.keeper.status(scene.clock.now_us()).await.unwrap();
    assert_eq!(status.holds.iter().map(|hold| hold.id.as_str()).collect::<Vec<_>>(), [held]);
}
