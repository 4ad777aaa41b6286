//! Splunk's event collector with indexer acknowledgement: what is accepted is not yet what is indexed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use appliance::siem::{Bounds, Destination, Kind, Secret, State};
use serde_json::{Value, json};

use super::receiver::{Authority, Received, Receiver, Reply};
use super::scene::{Scene, destination, until, until_status};

#[derive(Default)]
struct Collector {
    /// Positions of each request, by its ackId, and how often it was asked after.
    accepted: BTreeMap<u64, (Vec<u64>, usize)>,
    indexed: Vec<u64>,
    channels: Vec<String>,
    gives_acks: bool,
    /// These requests are lost before the indexer.
    lost: Vec<u64>,
}

impl Collector {
    fn receive(&mut self, received: &Received) -> Reply {
        assert_eq!(received.header("authorization"), "Splunk 1234-token");
        self.channels.push(received.header("x-splunk-request-channel").to_owned());
        if received.target == "/services/collector/event" {
            return self.accept(received);
        }
        let channel = self.channels.last().unwrap();
        assert_eq!(received.target, format!("/services/collector/ack?channel={channel}"));
        let mut acks = serde_json::Map::new();
        for id in received.json()["acks"].as_array().unwrap() {
            let id = id.as_u64().unwrap();
            let (seqs, asked) = self.accepted.get_mut(&id).unwrap();
            *asked += 1;
            // The indexer takes its time: the third question is the first with a yes.
            let done = *asked == 3 && !self.lost.contains(&id);
            if done {
                self.indexed.extend(seqs.iter());
            }
            acks.insert(id.to_string(), json!(done));
        }
        Reply::new(200).body(json!({ "acks": acks }).to_string())
    }

    fn accept(&mut self, received: &Received) -> Reply {
        let events = serde_json::Deserializer::from_slice(&received.body).into_iter::<Value>();
        let seqs: Vec<u64> = events
            .map(|event| {
                let event = event.unwrap();
                assert_eq!(event["index"], "audit");
                assert_eq!(event["source"], super::scene::ORIGIN);
                assert_eq!(event["fields"]["event_id"], event["event"]["event"]);
                assert!(event["time"].as_f64().unwrap() > 1.7e9);
                event["fields"]["seq"].as_str().unwrap().parse().unwrap()
            })
            .collect();
        let id = self.accepted.len() as u64;
        self.accepted.insert(id, (seqs, 0));
        let mut answer = json!({ "text": "Success", "code": 0 });
        if self.gives_acks {
            answer["ackId"] = json!(id);
        }
        Reply::new(200).body(answer.to_string())
    }
}

struct Desk {
    collector: Arc<Mutex<Collector>>,
    receiver: Receiver,
    splunk: Destination,
}

impl Desk {
    async fn open(scene: &Scene, collector: Collector) -> Self {
        let authority = Authority::new(&scene.path().join("tls"));
        let collector = Arc::new(Mutex::new(collector));
        let of_receiver = Arc::clone(&collector);
        let answer = move |received: Received| of_receiver.lock().unwrap().receive(&received);
        let receiver = Receiver::start(&authority, None, answer).await;
        let url = receiver.url().replace("/hook", "");
        let splunk = Destination {
            token: Some(Secret::new("1234-token")),
            index: Some("audit".into()),
            acknowledge: true,
            bounds: Bounds { records: 10, bytes: 1 << 20 },
            timeout: Duration::from_secs(3),
            ..destination(Kind::Splunk, &url, Some(authority.ca()))
        };
        Self { collector, receiver, splunk }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_waits_for_the_indexer() {
    let scene = Scene::new();
    // The second request never reaches the indexer, as when it dies.
    let collector = Collector { gives_acks: true, lost: vec![1], ..Collector::default() };
    let desk = Desk::open(&scene, collector).await;
    let written = scene.write(30, "x");
    let deliveries = scene.start(&desk.splunk);
    until("the second request", || {
        (desk.collector.lock().unwrap().accepted.len() > 1).then_some(())
    })
    .await;
    assert!(deliveries.status()[0].next <= written[10], "accepted counted as indexed");
    until_status(&deliveries, "the end", |status| status.delivered == 30).await;
    deliveries.stop();
    let collector = desk.collector.lock().unwrap();
    assert_eq!(collector.indexed, written);
    let sent: Vec<_> = collector.accepted.values().map(|(seqs, _)| seqs.clone()).collect();
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[1], sent[2], "the lost request came again as it was");
    let first = &collector.channels[0];
    assert!(first.len() == 36 && collector.channels.iter().all(|channel| channel == first));
    drop(desk.receiver);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_acknowledgements_is_said_and_not_believed() {
    let scene = Scene::new();
    let desk = Desk::open(&scene, Collector::default()).await;
    scene.write(3, "x");
    let deliveries = scene.start(&desk.splunk);
    let status = until_status(&deliveries, "a pause", |s| s.state == State::Paused).await;
    assert!(status.last_error.unwrap().contains("acknowledge = false"));
    assert_eq!((status.delivered, status.guarantee), (0, "indexed"));
    deliveries.stop();
    let accepting = Destination { acknowledge: false, ..desk.splunk };
    let deliveries = scene.start(&accepting);
    let status = until_status(&deliveries, "delivery", |s| s.delivered == 3).await;
    assert_eq!(status.guarantee, "accepted");
    deliveries.stop();
}
