//! Every operation of the table has checks, an audit event and a deny case: a user without policies asks for each one,
//! is refused, and the refusal is in the log under the operation's action.
//!
//! An operation that is added without an action mapping, or that answers before it decides, fails here.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "enumeration/addresses.rs"]
mod addresses;
#[path = "enumeration/auditor.rs"]
mod auditor;
#[path = "enumeration/log.rs"]
mod log;
#[path = "enumeration/log_keys.rs"]
mod log_keys;
#[path = "enumeration/reads.rs"]
mod reads;
#[path = "enumeration/secrets.rs"]
mod secrets;
#[path = "enumeration/server.rs"]
mod server;
#[path = "enumeration/stuck_log.rs"]
mod stuck_log;

use appliance::s3::route::{Kind, Row, Table};
use http::Method;
use policy_lab::action::CATALOGUE;
use server::{Answer, Server, User};

/// Operations whose refusal is an entry of a 200 answer, key by key.
const REFUSED_PER_ITEM: &[&str] = &["DeleteObjects"];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_decided_recorded_and_deniable() {
    let server = Server::start().await;
    let nobody = server.add_user("nobody").await;
    server.root().put_bucket("enumerated").await;
    for row in Table::default().rows() {
        assert!(
            CATALOGUE.iter().any(|known| known.name == row.action),
            "{}: `{}` is not in the action catalogue",
            row.name,
            row.action
        );
        let answer = ask(&server, &nobody, row).await;
        if REFUSED_PER_ITEM.contains(&row.name) {
            assert_eq!(answer.status, 200, "{}: {}", row.name, answer.text);
            assert!(answer.text.contains("<Code>AccessDenied</Code>"), "{}", answer.text);
        } else {
            assert_eq!(answer.status, 403, "{}: {}", row.name, answer.text);
        }
        let request = answer.header("x-amz-request-id");
        let records = server.search(&format!("request={request} and phase=decision"));
        assert!(
            records.iter().any(|record| {
                record["auth"]["decision"] == "deny"
                    && record["principal"]["name"] == "nobody"
                    && decides(row, record["action"].as_str().unwrap_or_default())
            }),
            "{}: no denial of `{}` among {records:?}",
            row.name,
            row.action
        );
    }
    server.stop().await;
}

/// A copy is decided on its source first; every other operation on its own action.
fn decides(row: &Row, action: &str) -> bool {
    action == row.action || (row.header.is_some() && action == "s3:GetObject")
}

async fn ask(server: &Server, user: &User, row: &Row) -> Answer {
    let path = match row.kind {
        Kind::Service => "/",
        Kind::Bucket => "/enumerated",
        Kind::Object => "/enumerated/key",
    };
    let mut query: Vec<String> = row
        .query
        .iter()
        .map(|name| match *name {
            "list-type" => "list-type=2".to_owned(),
            "uploadId" => "uploadId=none".to_owned(),
            other => format!("{other}="),
        })
        .collect();
    if row.name.starts_with("UploadPart") {
        query.push("partNumber=1".to_owned());
    }
    let mut headers = Vec::new();
    if let Some(header) = row.header {
        headers.push((header.to_owned(), "enumerated/source".to_owned()));
    }
    let body: &[u8] = match row.name {
        "DeleteObjects" => b"<Delete><Object><Key>key</Key></Object></Delete>",
        "PutObjectTagging" => {
            b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
        }
        _ => b"",
    };
    let method: Method = row.method.clone();
    server.send(user, method, path, &query.join("&"), &headers, body).await
}
