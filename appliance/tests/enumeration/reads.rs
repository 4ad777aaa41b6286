//! A read that ends as its decision promises is one record; every other one has an outcome, too.

use http::Method;
use serde_json::Value;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_told_once_and_whole() {
    const LARGE: &[u8] = &[b'x'; 200 << 10];
    let server = Server::start().await;
    let root = server.root_user();
    server.root().put_bucket("read").await;
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (key, body) in [("small", &LARGE[..4096]), ("large", LARGE), ("empty", b"")] {
        let (path, length) =
            (format!("/read/{key}"), header("content-length", &body.len().to_string()));
        assert_eq!(server.send(root, Method::PUT, &path, "", &length, body).await.status, 200);
    }
    // The request; the phases that its records have; status and bytes as the newest of them tells them.
    let cases = [
        (Method::GET, "small", vec![], &["single"][..], 200, 4096),
        (Method::GET, "small", header("range", "bytes=1-10"), &["single"], 206, 10),
        (Method::HEAD, "small", vec![], &["single"], 200, 0),
        (Method::GET, "empty", vec![], &["single"], 200, 0),
        (Method::GET, "large", vec![], &["outcome", "decision"], 200, LARGE.len()),
        (Method::GET, "small", header("if-match", "x"), &["outcome", "decision"], 412, 0),
        (Method::GET, "small", header("range", "bytes=9999-"), &["outcome", "decision"], 416, 0),
        // Whether the caller may list is decided, too.
        (Method::GET, "none", vec![], &["outcome", "decision", "decision"], 404, 0),
    ];
    for (method, key, headers, phases, code, bytes) in cases {
        let name = format!("{method} {key} {headers:?}");
        let path = format!("/read/{key}");
        let answer = server.send(root, method, &path, "", &headers, b"").await;
        assert_eq!(answer.status, code, "{name}");
        // What is recorded after the answer is durable with what is recorded before the next one.
        assert_eq!(server.send(root, Method::HEAD, "/read", "", &[], b"").await.status, 200);
        let request = answer.header("x-amz-request-id");
        let records = server.search(&format!("request={request}"));
        let told: Vec<&str> =
            records.iter().map(|record| record["phase"].as_str().unwrap()).collect();
        assert_eq!(told, phases, "{name}");
        let (result, decision) = (&records[0]["result"], &records[records.len() - 1]);
        assert_eq!(
            (&result["code"], &result["bytes_out"]),
            (&code.into(), &bytes.into()),
            "{name}"
        );
        assert_eq!(result["aborted"], Value::Null, "{name}");
        assert_eq!(decision["auth"]["decision"], "allow", "{name}");
        assert_eq!(decision["resources"][0]["key"], key, "{name}");
        // Who read, by which statements, and which key it took: one record says it.
        let key_used = if bytes > 0 || key == "empty" { "Decrypt".into() } else { Value::Null };
        assert_eq!(decision["kms"]["op"], key_used, "{name}: {decision}");
    }
    server.stop().await;
}
