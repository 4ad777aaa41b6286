//! Pause, resume, replay and test of a destination, and the records that they leave.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use appliance::siem::{Deliveries, Destination, Kind, ReplayFrom, SiemError, Start, State};

use super::receiver::{Authority, Received, Receiver, Reply};
use super::scene::{Scene, destination, until, until_status};

/// A receiver that keeps what it takes and answers what it is told.
struct Desk {
    receiver: Receiver,
    status: Arc<AtomicU16>,
    seqs: Arc<Mutex<Vec<u64>>>,
    authority: Authority,
}

impl Desk {
    async fn open(scene: &Scene) -> Self {
        let authority = Authority::new(&scene.path().join("tls"));
        let (status, seqs) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(Vec::new())));
        let (answer, taken) = (Arc::clone(&status), Arc::clone(&seqs));
        let receiver = Receiver::start(&authority, None, move |received: Received| {
            let status = answer.load(Ordering::Acquire);
            if status == 200 {
                let whole = received.json();
                let records = whole["data"]["records"].as_array().unwrap().iter();
                taken.lock().unwrap().extend(records.map(|record| record["seq"].as_u64().unwrap()));
            }
            Reply::new(status).body("as told")
        });
        Self { receiver: receiver.await, status, seqs, authority }
    }

    fn destination(&self) -> Destination {
        destination(Kind::Webhook, &self.receiver.url(), Some(self.authority.ca()))
    }

    fn taken(&self) -> Vec<u64> {
        self.seqs.lock().unwrap().clone()
    }
}

fn param<'a>(record: &'a serde_json::Value, name: &str) -> &'a str {
    let pair = record["params"].as_array().unwrap().iter().find(|pair| pair["k"] == name);
    pair.unwrap()["v"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_pauses_until_somebody_acts() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    desk.status.store(403, Ordering::Release);
    let written = scene.write(5, "x");
    let deliveries = scene.start(&desk.destination());
    let paused = until_status(&deliveries, "a pause", |status| status.state == State::Paused).await;
    assert_eq!(paused.last_error.unwrap(), "403 Forbidden as told");
    assert_eq!(paused.lag_records, scene.house.log.durable_size() - paused.next);
    let record = until("a record of the pause", || {
        scene.search("class=delivery and action=delivery:pause").pop()
    });
    assert_eq!(record.await["err"]["msg"], "403 Forbidden as told");
    let page = scene.house.metrics.encode();
    assert!(page.contains("appliance_siem_paused{destination=\"soc\"} 1"), "{page}");

    desk.status.store(200, Ordering::Release);
    deliveries.resume("soc").await.unwrap();
    until_status(&deliveries, "delivery", |status| status.delivered == 5).await;
    assert_eq!(desk.taken(), written);
    assert_eq!(scene.search("action=delivery:resume").len(), 1);
    let page = scene.house.metrics.encode();
    for line in [
        "appliance_siem_paused{destination=\"soc\"} 0",
        "appliance_siem_delivered_total{destination=\"soc\"} 5",
        "appliance_siem_failed_attempts_total{destination=\"soc\"} 1",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_sends_again_from_a_position_or_a_time() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    let first = scene.write(10, "first");
    // Times of the log are its own; the second half begins with what it says.
    let second = scene.write(10, "second");
    let leaf = audit::read_record(&scene.house.audit_dir, second[0]).unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
    let time: jiff::Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    let deliveries = scene.start(&desk.destination());
    until_status(&deliveries, "delivery", |status| status.delivered == 20).await;

    assert_eq!(deliveries.replay("soc", ReplayFrom::Seq(first[4])).await.unwrap(), first[4]);
    until_status(&deliveries, "the first replay", |status| status.delivered == 36).await;
    let since = u64::try_from(time.as_microsecond()).unwrap();
    let next = deliveries.replay("soc", ReplayFrom::Time(since)).await.unwrap();
    assert!(next <= second[0] && next > first[0], "{next}");
    let again = second.len() as u64 + first.iter().filter(|seq| **seq >= next).count() as u64;
    until_status(&deliveries, "the second", |status| status.delivered == 36 + again).await;
    let taken = desk.taken();
    let expected: Vec<u64> = first
        .iter()
        .chain(&second)
        .chain(&first[4..])
        .chain(&second)
        .chain(first.iter().filter(|seq| **seq >= next))
        .chain(&second)
        .copied()
        .collect();
    assert_eq!(taken, expected);

    let replays = scene.search("action=delivery:replay");
    assert_eq!(replays.len(), 2);
    assert_eq!(param(&replays[0], "from"), first[4].to_string());
    let beyond = deliveries.replay("soc", ReplayFrom::Seq(1 << 40)).await;
    assert!(matches!(beyond, Err(SiemError::BeyondLog { .. })), "{beyond:?}");
    let unknown = deliveries.replay("nobody", ReplayFrom::Seq(0)).await;
    assert!(matches!(unknown, Err(SiemError::Unknown { .. })), "{unknown:?}");
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_a_record_and_says_what_the_destination_says() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    let deliveries = scene.start(&desk.destination());
    let tested = deliveries.test("soc").await.unwrap();
    assert_eq!(tested.answer, Ok(()));
    assert_eq!(desk.taken(), [tested.seq]);
    assert_eq!(scene.search("action=delivery:test")[0]["event"], tested.event);
    desk.status.store(401, Ordering::Release);
    let tested = deliveries.test("soc").await.unwrap();
    assert_eq!(tested.answer, Err("401 Unauthorized as told".into()));
    assert_eq!(deliveries.status()[0].state, State::Delivering, "a test pauses nothing");
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_destination_begins_where_it_is_told_to() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    scene.write(5, "before");
    let now = Destination { start: Start::Now, ..desk.destination() };
    let deliveries = scene.start(&now);
    let after = scene.write(5, "after");
    until_status(&deliveries, "delivery", |status| status.delivered == 5).await;
    deliveries.stop();
    assert_eq!(desk.taken(), after);
    // What comes while nobody delivers is not "before".
    let missed = scene.write(5, "missed");
    let deliveries = scene.start(&now);
    until_status(&deliveries, "delivery", |status| status.delivered == 5).await;
    deliveries.stop();
    assert_eq!(desk.taken(), [after, missed].concat());
}

/// A log that was put back from a backup must not be passed over in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_log_waits_for_a_replay() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    scene.start(&desk.destination()).stop();
    let path = scene.house.siem_dir.join("soc/cursor.json");
    let stored = std::fs::read_to_string(&path).unwrap();
    let at = scene.cursor("soc");
    std::fs::write(&path, stored.replace(&format!("\"next\":{at}"), "\"next\":999")).unwrap();
    let deliveries = scene.start(&desk.destination());
    let status = until_status(&deliveries, "a pause", |status| status.state == State::Paused).await;
    assert!(status.last_error.unwrap().contains("was put back"));
    let written = scene.write(3, "x");
    deliveries.replay("soc", ReplayFrom::Seq(0)).await.unwrap();
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    assert_eq!(desk.taken(), written);
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cursor_stops_the_start() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    scene.start(&desk.destination()).stop();
    std::fs::write(scene.house.siem_dir.join("soc/cursor.json"), "{").unwrap();
    let error = Deliveries::start(&[desk.destination()], scene.house.clone()).unwrap_err();
    assert!(matches!(error, SiemError::Cursor(_)), "{error}");
}

/// A disk that fails under the cursor: the destination stops, says why, and a restart repeats instead of skipping.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_written_stops_its_destination() {
    let scene = Scene::new();
    let desk = Desk::open(&scene).await;
    let first = scene.write(3, "first");
    let deliveries = scene.start(&desk.destination());
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    let at = until("an idle cursor", || Some(scene.cursor("soc")).filter(|at| *at > first[2]));
    let at = at.await;
    // A directory in its place: the rename over it fails, whoever we are.
    let path = scene.house.siem_dir.join("soc/cursor.json");
    let kept = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    let second = scene.write(3, "second");
    let status = until_status(&deliveries, "the end", |s| s.state == State::Stopped).await;
    assert!(status.last_error.unwrap().contains("writing the SIEM state"));
    assert_eq!(desk.taken(), first, "nothing leaves before its range is durable");
    let resumed = deliveries.resume("soc").await;
    assert!(matches!(resumed, Err(SiemError::Stopped { .. })), "{resumed:?}");
    deliveries.stop();

    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, kept).unwrap();
    assert_eq!(scene.cursor("soc"), at);
    let deliveries = scene.start(&desk.destination());
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
    assert_eq!(desk.taken(), [first, second].concat());
}
