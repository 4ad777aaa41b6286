//! The auditor's calls: deniable and recorded like every other access, and enough for an auditor who has no other right.

use std::time::{Duration, Instant};

use appliance::auditor::{Operation, PREFIX};
use http::Method;
use http_body_util::BodyExt;
use policy_lab::action::CATALOGUE;
use serde_json::json;

use crate::server::{Answer, Server, User};

/// How long a record may take to come to a reader who follows.
const COMES_WITHIN: Duration = Duration::from_secs(60);

async fn ask(server: &Server, user: &User, operation: Operation, id: &str) -> Answer {
    let path = format!("{}{id}", operation.place(&server.origin()));
    let body: &[u8] = match operation {
        Operation::Search => br#"{"q":"principal.name=nobody denied | fields seq, action"}"#,
        Operation::Bundle => br#"{"q":"principal.name=nobody"}"#,
        _ => b"",
    };
    server.send(user, operation.method(), &path, "", &[], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_decided_recorded_and_deniable() {
    let server = Server::start().await;
    let nobody = server.add_user("nobody").await;
    for operation in Operation::ALL {
        assert!(CATALOGUE.iter().any(|known| known.name == operation.action()), "{operation:?}");
        let id = match operation {
            Operation::Tile => "checkpoint",
            Operation::Entries => "000.p/1",
            Operation::Proof => "1",
            Operation::Event | Operation::Request => "01J0",
            Operation::Search | Operation::Bundle | Operation::Tail => "",
        };
        let answer = ask(&server, &nobody, operation, id).await;
        assert_eq!(answer.status, 403, "{operation:?}: {}", answer.text);
        let request = answer.header("x-amz-request-id");
        let denial = format!(
            "request={request} class=query phase=decision denied action={}",
            operation.action()
        );
        assert_eq!(server.search(&denial).len(), 1, "{operation:?}");
        let outcome = format!("request={request} class=query phase=outcome result.code=403");
        assert_eq!(server.search(&outcome).len(), 1, "{operation:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_the_log_and_nothing_else() {
    let server = Server::start().await;
    let auditor = server.add_user("auditor-1").await;
    server.attach("auditor", &auditor).await;
    let nobody = server.add_user("nobody").await;
    server.root().put_bucket("records").await;

    // Nothing else.
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/records"),
        (Method::PUT, "/records/key"),
        (Method::GET, "/minio/admin/v3/list-users"),
    ] {
        let answer = server.send(&auditor, method, path, "", &[], b"").await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }

    // A query, its answer and what it is complete for; and the query is itself in the log.
    let refused = server.send(&nobody, Method::GET, "/records", "", &[], b"").await;
    let found = ask(&server, &auditor, Operation::Search, "").await;
    assert_eq!(found.status, 200, "{}", found.text);
    let lines: Vec<serde_json::Value> =
        found.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", found.text);
    assert_eq!(lines[0]["action"], "s3:ListBucket");
    assert_eq!(lines[1]["coverage"]["matches"], 1);
    let itself = server.search("class=query phase=outcome query.text has nobody");
    assert_eq!(itself.len(), 1, "{itself:?}");
    assert_eq!(itself[0]["principal"]["name"], "auditor-1");

    // The same, signed by the log's key over what a head covers.
    let body = br#"{"q":"class=audit","signed":true}"#;
    let signed =
        server.send(&auditor, Method::POST, &format!("{PREFIX}query"), "", &[], body).await;
    let last: serde_json::Value =
        serde_json::from_str(signed.text.lines().last().unwrap()).unwrap();
    let note = last["note"].as_str().unwrap();
    assert!(note.starts_with("audit-query/v1\n") && note.contains("\n\n\u{2014} "), "{note}");

    // Everything of one request, and one of its events.
    let request = refused.header("x-amz-request-id");
    let whole = ask(&server, &auditor, Operation::Request, &request).await;
    let first: serde_json::Value =
        serde_json::from_str(whole.text.lines().next().unwrap()).unwrap();
    let event = first["event"].as_str().unwrap();
    let one = ask(&server, &auditor, Operation::Event, event).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&one.text).unwrap(), first);
    assert_eq!(ask(&server, &auditor, Operation::Event, "01J0").await.status, 404);

    // A bundle of it, named twice, once a head covers it; and of an event that is not there.
    let bundle = async |events: [&str; 2]| {
        let body: &str = json!({ "events": events }).to_string().leak();
        let path = format!("{PREFIX}bundle");
        server.send(&auditor, Method::POST, &path, "", &[], body.as_bytes()).await
    };
    let deadline = Instant::now() + COMES_WITHIN;
    loop {
        let answer = bundle([event, event]).await;
        if answer.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "{}", answer.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let unknown = bundle([event, "01J0"]).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);

    // What is wrong with a question is said.
    let path = format!("{PREFIX}query");
    for (body, says) in [
        (&br#"{"q":"desicion=deny"}"#[..], "did you mean `decision`?"),
        (br#"{"q":"","order":"x"}"#, "unknown field"),
        (br#"{"q":"replay policy=v3"}"#, "there is no policy `v3`"),
    ] {
        let answer = server.send(&auditor, Method::POST, &path, "", &[], body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(says), "{}", answer.text);
    }
    let unknown = server.send(&auditor, Method::GET, "/_/audit/v1/all", "", &[], b"").await;
    assert_eq!(unknown.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_policies_is_answered_from_those_in_force() {
    let server = Server::start().await;
    let auditor = server.add_user("auditor-1").await;
    server.attach("auditor", &auditor).await;
    let writer = server.add_user("writer").await;
    server.attach("readwrite", &writer).await;
    server.root().put_bucket("records").await;
    let path = "/records/key";
    assert_eq!(server.send(&writer, Method::PUT, path, "", &[], b"x").await.status, 200);
    let ask = async |q: &str| {
        let body: &str = json!({ "q": q }).to_string().leak();
        let path = format!("{PREFIX}query");
        let answer = server.send(&auditor, Method::POST, &path, "", &[], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let lines = answer.text.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut lines: Vec<serde_json::Value> = lines.collect();
        assert!(lines.pop().unwrap()["coverage"].is_object());
        lines
    };

    // Of the statements that somebody has, one let the writer in and one lets this question in.
    let unused = ask("policies() minus (time>-90d | distinct auth.by)").await;
    let names: Vec<_> = unused.iter().map(|row| row["auth.by.id"].as_str().unwrap()).collect();
    assert!(!names.contains(&"identity:readwrite#0"), "{names:?}");
    assert!(!names.contains(&"identity:auditor#0"), "{names:?}");
    let idle = server.add_user("idle").await;
    server.attach("readonly", &idle).await;
    let unused = ask("policies() minus (time>-90d | distinct auth.by)").await;
    let readonly = |row: &&serde_json::Value| row["auth.by.id"] == "identity:readonly#0";
    assert_eq!(unused.iter().filter(readonly).count(), 1, "{unused:?}");

    // Under `readonly` the writer would not have written; read decisions come out as they were.
    let changed = "replay policy=readonly as readwrite over time>-7d \
                   | where decision!=replay.decision | fields action, replay.reason";
    let rows = ask(changed).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["action"], "s3:PutObject");
    assert_eq!(rows[0]["replay.reason"], "implicit-deny");
    let same = "replay policy=readwrite as readwrite | where decision!=replay.decision";
    assert!(ask(same).await.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_follows_gets_records_as_they_come() {
    let server = Server::start().await;
    let auditor = server.add_user("auditor-1").await;
    server.attach("auditor", &auditor).await;
    let path = format!("{PREFIX}tail");
    let query = "after=0&q=action%3Ds3%3ACreateBucket";
    let response = server.open(&auditor, Method::GET, &path, query, &[], b"").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    server.root().put_bucket("watched").await;
    let mut body = response.into_body();
    let mut seen = String::new();
    let comes = async {
        while !seen.contains("\"bucket\":\"watched\"") {
            let frame = body.frame().await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(COMES_WITHIN, comes).await.unwrap();
    let event = seen.split("\n\n").find(|event| event.contains("watched")).unwrap();
    assert!(
        event.starts_with("id: ") && event.contains("\nevent: record\ndata: {\"action\""),
        "{event}"
    );
    // A table cannot follow.
    let refused = server.send(&auditor, Method::GET, &path, "q=%7C+count", &[], b"").await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    drop(body);
    server.stop().await;
}
