//! The audit webhook of MinIO, as its receivers expect it.

use std::sync::{Arc, Mutex};

use appliance::siem::{Bounds, Destination, Kind, Secret};

use super::receiver::{Authority, Receiver, Reply};
use super::scene::{Scene, destination, until_status};

#[tokio::test(flavor = "multi_thread")]
async fn entries_come_one_by_one_or_line_by_line_with_the_token_as_it_was_given() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let received = Arc::new(Mutex::new(Vec::new()));
    let of_receiver = Arc::clone(&received);
    let receiver = Receiver::start(&authority, None, move |request| {
        of_receiver.lock().unwrap().push(request);
        Reply::new(200)
    })
    .await;
    let seqs = scene.write(3, "report");
    let single = Destination {
        token: Some(Secret::new("Bearer word")),
        bounds: Bounds { records: 1, bytes: 1 << 20 },
        ..destination(Kind::Minio, &receiver.url(), Some(authority.ca()))
    };
    let deliveries = scene.start(&single);
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
    let requests = std::mem::take(&mut *received.lock().unwrap());
    assert_eq!(requests.len(), 3);
    for (request, seq) in requests.iter().zip(&seqs) {
        assert_eq!(request.header("authorization"), "Bearer word");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("x-minio-webhook-payload-count"), "1");
        assert_eq!(request.header("x-minio-deployment-id").len(), 36);
        let entry = request.json();
        assert_eq!(entry["version"], "1");
        assert_eq!(entry["api"]["name"], "GetObject");
        assert_eq!(entry["api"]["statusCode"], 200);
        assert_eq!(entry["api"]["timeToResponseInNS"], "1500000");
        assert_eq!(entry["tags"]["seq"], *seq);
    }

    let several = Destination {
        name: "several".into(),
        bounds: Bounds { records: 100, bytes: 1 << 20 },
        ..single
    };
    let deliveries = scene.start(&several);
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
    let requests = received.lock().unwrap();
    let [request] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(request.header("content-type"), "");
    assert_eq!(request.header("x-minio-webhook-payload-count"), "3");
    let text = String::from_utf8(request.body.to_vec()).unwrap();
    assert!(text.ends_with('\n'));
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(entries.map(|entry| entry["tags"]["seq"].as_u64().unwrap()).eq(seqs));
}
