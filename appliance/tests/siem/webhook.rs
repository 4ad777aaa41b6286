//! The generic webhook: nothing lost, nothing overtaken, ids equal on redelivery, whatever the receiver does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use appliance::siem::{Bounds, Destination, Kind, Secret, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::receiver::{Authority, Received, Receiver, Reply};
use super::scene::{ORIGIN, Scene, destination, until, until_status};

/// What the receiver has, and how it behaves.
#[derive(Default)]
struct Desk {
    /// Positions in the order of their first receipt, with their exact records.
    first: Vec<u64>,
    records: BTreeMap<u64, String>,
    /// Body of every batch id.
    batches: BTreeMap<String, Vec<u8>>,
    repeated: usize,
    /// Positions that a 2xx was answered for, also if the answer got lost.
    confirmed: BTreeSet<u64>,
    random: u64,
    refusals: usize,
}

impl Desk {
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn receive(&mut self, received: &Received) -> Reply {
        let id = received.header("webhook-id").to_owned();
        verify(received);
        let known = self.batches.insert(id.clone(), received.body.to_vec());
        if let Some(known) = known {
            assert_eq!(known, received.body, "batch {id} has changed on redelivery");
            self.repeated += 1;
        }
        match self.random() % 10 {
            0 => return Reply::new(500),
            1 => return Reply::new(429).header("retry-after", "0"),
            2 => return Reply::new(503).body("busy\n"),
            3 => return Reply::new(302).header("location", "https://127.0.0.1:1/elsewhere"),
            _ => {}
        }
        let whole = received.json();
        assert_eq!(
            (&whole["type"], &whole["data"]["origin"]),
            (&"audit.records".into(), &ORIGIN.into())
        );
        let records = whole["data"]["records"].as_array().unwrap();
        if records.iter().any(is_poison) {
            self.refusals += 1;
            return Reply::new(if self.random().is_multiple_of(2) { 400 } else { 413 })
                .body("bad record");
        }
        for record in records {
            let seq = record["seq"].as_u64().unwrap();
            let text = record.to_string();
            if let Some(known) = self.records.insert(seq, text.clone()) {
                assert_eq!(known, text, "record {seq} has changed on redelivery");
            } else {
                self.first.push(seq);
            }
            self.confirmed.insert(seq);
        }
        match self.random() % 6 {
            // Taken, and the sender does not learn it in time.
            0 => Reply::new(200).after(Duration::from_millis(400)),
            _ => Reply::new(204),
        }
    }
}

fn is_poison(record: &Value) -> bool {
    record["resources"][0]["key"].as_str().unwrap().starts_with("poison")
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn verify(received: &Received) {
    let secret = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    let (id, time) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(&received.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(received.header("webhook-signature"), expected);
    assert_eq!(received.header("content-type"), "application/json");
}

/// A day of faults, once per seed: the receiver goes down and comes back, the sender too.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_the_receiver_does() {
    for seed in [77, 4242] {
        a_day_of_faults(seed).await;
    }
}

async fn a_day_of_faults(seed: u64) {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let desk = Arc::new(Mutex::new(Desk { random: seed | 1, ..Desk::default() }));
    let of_receiver = Arc::clone(&desk);
    let answer = move |received: Received| of_receiver.lock().unwrap().receive(&received);
    let mut receiver = Receiver::start(&authority, None, answer).await;
    let soc = Destination {
        secret: Some(Secret::new(SECRET)),
        timeout: Duration::from_millis(200),
        ..destination(Kind::Webhook, &receiver.url(), Some(authority.ca()))
    };
    let (mut written, mut poison) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let deliveries = scene.start(&soc);
        written.extend(scene.write(40, &format!("good-{round}")));
        poison.extend(scene.write(1, "poison"));
        written.extend(scene.write(20, "more"));
        let goal = desk.lock().unwrap().first.len() + 25;
        until("some progress", || (desk.lock().unwrap().first.len() >= goal).then_some(())).await;
        if round % 2 == 0 {
            receiver.down().await;
            written.extend(scene.write(30, "while it is down"));
            until_status(&deliveries, "noticing", |status| status.state == State::Retrying).await;
            receiver.up().await;
        }
        deliveries.stop();
        let cursor = scene.cursor("soc");
        let aside: BTreeSet<u64> = scene.set_aside("soc").into_iter().collect();
        let desk = desk.lock().unwrap();
        for seq in written.iter().chain(&poison).filter(|seq| **seq < cursor) {
            let done = desk.confirmed.contains(seq) || aside.contains(seq);
            assert!(done, "seed {seed}: record {seq} is below the cursor {cursor} and nowhere");
        }
    }
    let deliveries = scene.start(&soc);
    let end = scene.house.log.durable_size();
    until_status(&deliveries, "the end", |status| status.next >= end).await;
    deliveries.stop();

    let desk = desk.lock().unwrap();
    let mut sorted = desk.first.clone();
    sorted.sort_unstable();
    assert_eq!(desk.first, sorted, "seed {seed}: records overtook each other");
    assert_eq!(sorted, written, "seed {seed}");
    let aside: BTreeSet<u64> = scene.set_aside("soc").into_iter().collect();
    assert_eq!(aside.into_iter().collect::<Vec<_>>(), poison, "seed {seed}");
    let rejects = scene.search("class=delivery and action=delivery:reject");
    for seq in &poison {
        let name = seq.to_string();
        let named = |record: &Value| {
            record["params"]
                .as_array()
                .unwrap()
                .iter()
                .any(|pair| pair["k"] == "seq" && pair["v"] == name)
        };
        assert!(rejects.iter().any(named), "seed {seed}: no record names {seq}: {rejects:?}");
    }
    assert!(desk.repeated > 0 && desk.refusals > 0, "seed {seed}: no fault happened");
    // What arrived is the log's record, to the byte.
    for (seq, text) in &desk.records {
        let leaf = audit::read_record(&scene.house.audit_dir, *seq).unwrap().unwrap();
        let of_log: Value = serde_json::from_slice(&leaf).unwrap();
        assert_eq!(*text, of_log.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_batch_carries_the_exact_bytes() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let of_receiver = Arc::clone(&bodies);
    let receiver = Receiver::start(&authority, None, move |received| {
        of_receiver.lock().unwrap().push(received.body);
        Reply::new(200)
    })
    .await;
    let seqs = scene.write(1, "a \"quoted\" / ключ");
    let soc = destination(Kind::Webhook, &receiver.url(), Some(authority.ca()));
    let deliveries = scene.start(&soc);
    let body = until("a request", || bodies.lock().unwrap().first().cloned()).await;
    let leaf = audit::read_record(&scene.house.audit_dir, seqs[0]).unwrap().unwrap();
    assert!(body.windows(leaf.len()).any(|window| window == leaf), "{body:?}");
    deliveries.stop();
}

/// One thread, one batch at a time, one fsync per batch: still far more than a server decides.
#[tokio::test(flavor = "multi_thread")]
async fn batches_fill_while_one_is_under_way() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let of_receiver = Arc::clone(&sizes);
    let receiver = Receiver::start(&authority, None, move |received| {
        let count = received.json()["data"]["count"].as_u64().unwrap();
        of_receiver.lock().unwrap().push(count);
        Reply::new(200)
    })
    .await;
    for _ in 0..4 {
        scene.write(1000, "many");
    }
    let soc = Destination {
        bounds: Bounds { records: 500, bytes: 1 << 20 },
        ..destination(Kind::Webhook, &receiver.url(), Some(authority.ca()))
    };
    let deliveries = scene.start(&soc);
    until_status(&deliveries, "the end", |status| status.delivered == 4000).await;
    assert_eq!(*sizes.lock().unwrap(), [500; 8]);
    deliveries.stop();
}
