//! The key of the log is changed on the running server, and the auditor's copy of the first one goes on verifying.

use appliance::auditor::{Operation, PREFIX};
use audit::note::Vkey;
use audit::proof::ProofFile;
use audit::{Keyring, State, VerifyOptions, verify};
use http::Method;
use serde_json::Value;

use crate::server::{Answer, Server};

async fn call(server: &Server, method: Method, name: &str, query: &str) -> Answer {
    let root = server.root_user().clone();
    let path = format!("/minio/admin/v3/{name}");
    server.send(&root, method, &path, query, &[], b"").await
}

async fn keys(server: &Server) -> Vec<Value> {
    let answer = call(server, Method::GET, "audit-key-list", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

/// What verify says of the log, with the key that the deployment was made with.
fn verified(server: &Server, vkey: &str) -> audit::Report {
    let dir = server.directory().join("audit");
    let options = VerifyOptions {
        vkey: vkey.to_owned(),
        last_seen: None,
        strict: true,
        progress: &|_, _| {},
    };
    verify(&dir, &options).unwrap()
}

fn given_to_auditors(server: &Server) -> String {
    std::fs::read_to_string(server.directory().join("config/audit.vkey")).unwrap()
}

async fn fetched(server: &Server, path: &str) -> (u16, Vec<u8>) {
    let root = server.root_user().clone();
    let path = format!("{}{path}", Operation::Tile.place(&server.origin()));
    let answer = server.send(&root, Method::GET, &path, "", &[], b"").await;
    (answer.status, answer.text.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_and_revoked_on_the_running_server() {
    let server = Server::start().await;
    let first = given_to_auditors(&server);
    server.root().put_bucket("before").await;
    let nobody = server.add_user("nobody").await;
    let path = "/minio/admin/v3/audit-key-rotate";
    let refused = server.send(&nobody, Method::POST, path, "", &[], b"").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(keys(&server).await.len(), 1);

    let answer = call(&server, Method::POST, "audit-key-rotate", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.root().put_bucket("between").await;
    let now = keys(&server).await;
    assert_eq!(now.len(), 2, "{now:?}");
    assert_eq!(now[0]["vkey"], first.trim());
    // The key in force cannot be revoked, an earlier one can.
    let (old, new) = (now[0]["id"].as_str().unwrap(), now[1]["id"].as_str().unwrap());
    for (id, good, status) in [(new, "1", 400), ("x", "1", 400), (old, "-1", 400), (old, "2", 200)]
    {
        let query = format!("key={id}&good={good}");
        let answer = call(&server, Method::POST, "audit-key-revoke", &query).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    assert_eq!(keys(&server).await[0]["good"], 2);
    for action in ["audit:key-rotate", "audit:key-revoke"] {
        assert_eq!(server.search(&format!("action={action}")).len(), 1, "{action}");
    }
    let told = server.search("action=admin:AuditKeyControl and phase=outcome and result.code=200");
    assert_eq!(told.len(), 2, "{told:?}");
    follows_from(&server, &first, 2).await;
    a_proof_and_an_answer_are_signed_by_the_new_key(&server, &now[1]).await;

    let server = server.restart().await;
    assert_eq!(given_to_auditors(&server), first);
    server.root().put_bucket("after").await;
    let listed = keys(&server).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    let answer = call(&server, Method::POST, "audit-key-rotate", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let server = server.restart().await;
    let third = keys(&server).await[2]["vkey"].as_str().unwrap().to_owned();
    follows_from(&server, &first, 3).await;
    let report = verified(&server, &first);
    assert_eq!(report.state, State::TailUnproven, "{report}");
    // That key alone is not what the log began with.
    assert_eq!(verified(&server, &third).state, State::UnknownKey);
    server.stop().await;
}

/// Whoever has the first key gets to the one that signed the head that the server gives out.
async fn follows_from(server: &Server, first: &str, changes: usize) {
    let mut keys = Keyring::from(Vkey::parse(first).unwrap());
    for n in 1..=changes {
        let (status, note) = fetched(server, &format!("key/{n:04}.note")).await;
        assert_eq!(status, 200, "change {n}");
        keys.follow(&note).unwrap();
    }
    let (status, _) = fetched(server, &format!("key/{:04}.note", changes + 1)).await;
    assert_eq!(status, 404);
    let (_, head) = fetched(server, "checkpoint").await;
    keys.head(&head).unwrap();
    audit::checkpoint::open(&head, keys.current()).unwrap();
}

async fn a_proof_and_an_answer_are_signed_by_the_new_key(server: &Server, key: &Value) {
    let root = server.root_user().clone();
    let key = Vkey::parse(key["vkey"].as_str().unwrap()).unwrap();
    let proof = server.send(&root, Method::GET, &format!("{PREFIX}proof/1"), "", &[], b"").await;
    ProofFile::parse(&proof.text).unwrap().verify(None, &key).unwrap();
    let question = br#"{"q":"action=s3:CreateBucket","signed":true}"#;
    let path = format!("{PREFIX}query");
    let answer = server.send(&root, Method::POST, &path, "", &[], question).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let last: Value = serde_json::from_str(answer.text.lines().last().unwrap()).unwrap();
    let note = last["note"].as_str().unwrap();
    let claim = audit::note::open(note.as_bytes(), &key).unwrap();
    assert!(claim.starts_with("audit-query/v1\n"), "{claim}");
}
