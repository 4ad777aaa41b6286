//! Whose path it is: a bucket's that the host names, or the appliance's; and what is refused before anybody looks.

use http::Method;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_names_a_bucket_speaks_of_its_objects() {
    let server = Server::start_with(|resolved| resolved.domains = vec!["s3.local".into()]).await;
    server.root().put_bucket("abc").await;
    let hosted = [("host".to_owned(), "abc.s3.local".to_owned())];
    let paths = [
        "/_/audit/v1/query",
        "/minio/admin/v3/info",
        "/minio/health/live",
        "/minio/v2/metrics/cluster",
    ];
    for path in paths {
        let root = server.root_user();
        let put = server.send(root, Method::PUT, path, "", &hosted, b"an object").await;
        assert_eq!(put.status, 200, "{path}: {}", put.text);
        let hosted = server.send(root, Method::GET, path, "", &hosted, b"").await;
        assert_eq!((hosted.status, &*hosted.text), (200, "an object"), "{path}");
        let by_path = format!("/abc{path}");
        let by_path = server.send(root, Method::GET, &by_path, "", &[], b"").await;
        assert_eq!((by_path.status, &*by_path.text), (200, "an object"), "{path}");
        let own = server.send(root, Method::GET, path, "", &[], b"").await;
        assert_ne!(own.text, "an object", "{path} is the appliance's");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_told_so_and_has_a_name() {
    let server = Server::start_with(|resolved| resolved.limits.concurrent_requests = 0).await;
    let refused = server.send(server.root_user(), Method::GET, "/b/k", "", &[], b"").await;
    assert_eq!(refused.status, 503);
    assert!(refused.text.contains("<Code>SlowDown</Code>"), "{}", refused.text);
    let id = refused.header("x-amz-request-id");
    assert!(!id.is_empty() && refused.text.contains(&format!("<RequestId>{id}</RequestId>")));
    // The audit records that there are come from the start.
    assert_eq!(server.search(&format!("request={id}")), [] as [serde_json::Value; 0]);
    server.stop().await;
}
