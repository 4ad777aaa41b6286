//! The log itself over HTTP: who may fetch what of it, and what is recorded of that.

use appliance::auditor::{Operation, PREFIX};
use appliance::config::AuditOpen;
use http::Method;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_fetches_the_log_itself() {
    let server = Server::start().await;
    let auditor = server.add_user("auditor-1").await;
    server.attach("auditor", &auditor).await;
    let place = Operation::Tile.place(&server.origin());
    let fetch = async |path: &str| {
        server.send(&auditor, Method::GET, &format!("{place}{path}"), "", &[], b"").await
    };
    let checkpoint = fetch("checkpoint").await;
    assert_eq!(checkpoint.status, 200, "{}", checkpoint.text);
    assert!(checkpoint.text.starts_with(&format!("{}\n", server.origin())), "{}", checkpoint.text);
    assert_eq!(checkpoint.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(checkpoint.header("cache-control"), "no-store");
    let size: u64 = checkpoint.text.lines().nth(1).unwrap().parse().unwrap();
    for path in [format!("tile/0/000.p/{}", size.min(255)), "tile/entries/000.p/1".to_owned()] {
        let tile = fetch(&path).await;
        assert_eq!(tile.status, 200, "{path}: {}", tile.text);
        assert_eq!(tile.header("content-type"), "application/octet-stream");
        assert_eq!(tile.header("cache-control"), "private, max-age=31536000, immutable");
    }
    for path in ["tile/0/001", "tile/0/000.p/0", "tile/0/0", "tile/8/000", "", "x", "tile/1/000"] {
        assert_eq!(fetch(path).await.status, 404, "{path}");
    }
    // A proof that needs nothing but the key, and one that no head can give.
    let proof = format!("{PREFIX}proof/0");
    let proof = server.send(&auditor, Method::GET, &proof, "", &[], b"").await;
    assert!(proof.text.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{}", proof.text);
    for (seq, status) in [("99999999", 404), ("x", 400), ("-1", 400)] {
        let path = format!("{PREFIX}proof/{seq}");
        assert_eq!(server.send(&auditor, Method::GET, &path, "", &[], b"").await.status, status);
    }
    let taken = server.search("class=query phase=outcome params.place exists result.code=200");
    assert_eq!(taken.len(), 3, "{taken:?}");
    // Without credentials there is nothing, until the operator says otherwise.
    let (status, _) = server.fetch(&format!("{place}checkpoint")).await;
    assert_eq!(status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_opened_needs_no_credentials() {
    for open in [AuditOpen::Hashes, AuditOpen::Records] {
        let server = Server::start_with(|resolved| resolved.audit_open = open).await;
        let place = Operation::Tile.place(&server.origin());
        let before = server.search("").len();
        for path in ["checkpoint", "tile/0/000.p/1"] {
            let (status, headers) = server.fetch(&format!("{place}{path}")).await;
            assert_eq!(status, 200, "{path}");
            if path != "checkpoint" {
                assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
            }
        }
        assert_eq!(server.search("").len(), before, "watching the log must not make it grow");
        let (status, _) = server.fetch(&format!("{place}tile/entries/000.p/1")).await;
        let taken = server.search("class=query params.place=\"tile/entries/000.p/1\"");
        match open {
            AuditOpen::Records => {
                assert_eq!((status, taken.len()), (200, 1), "{taken:?}");
                assert_eq!(taken[0]["result"]["code"], 200);
            }
            _ => assert_eq!(status, 403),
        }
        // Only the log itself is open, and only to be read.
        let (status, _) = server.fetch(&format!("{PREFIX}proof/0")).await;
        assert_eq!(status, 403);
        // Whoever shows a key is decided by it.
        let nobody = server.add_user("nobody").await;
        let path = format!("{place}checkpoint");
        assert_eq!(server.send(&nobody, Method::GET, &path, "", &[], b"").await.status, 403);
        server.stop().await;
    }
}
