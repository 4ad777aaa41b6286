//! Elasticsearch's `_bulk`: verdicts per document, documents under fixed ids.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use appliance::siem::{Bounds, Destination, Kind, Secret};
use serde_json::{Value, json};

use super::receiver::{Authority, Received, Receiver, Reply};
use super::scene::{Scene, destination, until_status};

#[derive(Default)]
struct Index {
    documents: BTreeMap<String, Value>,
    conflicts: usize,
    busy: usize,
    requests: usize,
}

impl Index {
    /// Each document has its own fate: stored, there already, full queue, or a mapping that does not fit.
    fn receive(&mut self, received: &Received) -> Reply {
        assert_eq!(received.target, "/es/_bulk");
        assert_eq!(received.header("content-type"), "application/x-ndjson");
        assert_eq!(received.header("authorization"), "ApiKey a2V5");
        self.requests += 1;
        if self.requests.is_multiple_of(5) {
            return Reply::new(429);
        }
        let text = std::str::from_utf8(&received.body).unwrap();
        assert!(text.ends_with('\n'));
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let items: Vec<Value> = lines
            .chunks(2)
            .map(|pair| {
                let [action, document] = pair else { panic!("half a document") };
                let id = action["create"]["_id"].as_str().unwrap().to_owned();
                assert_eq!(action["create"]["_index"], "audit-log");
                json!({ "create": self.create(id, document.clone()) })
            })
            .collect();
        Reply::new(200).body(json!({ "took": 1, "errors": true, "items": items }).to_string())
    }

    fn create(&mut self, id: String, document: Value) -> Value {
        let seq = document["event"]["sequence"].as_u64().unwrap();
        if seq % 11 == 5 {
            let error = json!({ "type": "document_parsing_exception" });
            return json!({ "_id": id, "status": 400, "error": error });
        }
        if seq % 7 == 3 && self.busy < 8 {
            self.busy += 1;
            return json!({ "_id": id, "status": 429 });
        }
        if let Some(known) = self.documents.get(&id) {
            assert_eq!(*known, document, "{id} has changed");
            self.conflicts += 1;
            return json!({ "_id": id, "status": 409 });
        }
        self.documents.insert(id.clone(), document);
        json!({ "_id": id, "status": 201 })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_there_once_or_set_aside() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let index = Arc::new(Mutex::new(Index::default()));
    let of_receiver = Arc::clone(&index);
    let answer = move |received: Received| of_receiver.lock().unwrap().receive(&received);
    let receiver = Receiver::start(&authority, None, answer).await;
    let written = scene.write(100, "x");
    let elastic = Destination {
        token: Some(Secret::new("a2V5")),
        index: Some("audit-log".into()),
        bounds: Bounds { records: 20, bytes: 1 << 20 },
        ..destination(Kind::Elastic, &receiver.url().replace("/hook", "/es"), Some(authority.ca()))
    };
    let deliveries = scene.start(&elastic);
    let end = *written.last().unwrap();
    let status = until_status(&deliveries, "the end", |status| status.next > end).await;
    deliveries.stop();
    let (poison, good): (Vec<u64>, Vec<u64>) = written.iter().partition(|seq| **seq % 11 == 5);
    assert_eq!(scene.set_aside("soc"), poison);
    assert_eq!(status.rejected, poison.len() as u64);
    let index = index.lock().unwrap();
    let mut stored: Vec<u64> =
        index.documents.values().map(|d| d["event"]["sequence"].as_u64().unwrap()).collect();
    stored.sort_unstable();
    assert_eq!(stored, good);
    assert!(index.conflicts > 0 && index.busy > 0, "no fault happened");
    for (id, document) in &index.documents {
        assert_eq!(*id, format!("{}-{}", &id[..16], document["event"]["sequence"]));
        assert!(document["@timestamp"].is_string() && document["event"]["outcome"] == "success");
    }
}
