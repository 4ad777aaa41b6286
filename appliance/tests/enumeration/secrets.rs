//! Secrets in every place of a request, and a look into every file that the server has written.
//!
//! They come in requests that succeed, that are refused, and that are nonsense. None of them may be in any file of the data
//! directory afterwards; one text that is meant to be recorded must be, or the search would prove nothing.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use md5::{Digest as _, Md5};

use super::server::Server;

/// What the log is meant to have: it shows that a search of the files finds what is there.
const WANTED: &str = "finds-this-agent/1.0";

/// Texts that are in no file; each with the place that it was sent in.
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// A new secret of high entropy for a place.
    fn make(&mut self, place: &'static str) -> String {
        let number = self.0.len();
        let digest = hex::encode(Md5::digest(format!("{place} {number}")));
        let secret = format!("hush{digest}");
        self.0.push((place, secret.clone().into_bytes()));
        secret
    }

    fn add(&mut self, place: &'static str, bytes: impl Into<Vec<u8>>) {
        self.0.push((place, bytes.into()));
    }

    /// Headers of a customer's key; all three of its forms are secret.
    fn customer_key(&mut self, prefix: &str) -> Vec<(String, String)> {
        let key: [u8; 32] = std::array::from_fn(|i| (i * 7 + self.0.len() * 31 + 1) as u8);
        let encoded = STANDARD.encode(key);
        self.add("customer's key", key);
        self.add("customer's key in base64", encoded.clone());
        let name = |rest: &str| format!("x-amz-{prefix}server-side-encryption-customer-{rest}");
        vec![
            (name("algorithm"), "AES256".into()),
            (name("key"), encoded),
            (name("key-md5"), STANDARD.encode(Md5::digest(key))),
        ]
    }
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_request_is_in_any_file() {
    let mut secrets = Secrets(Vec::new());
    let password = secrets.make("password of root");
    let given = password.clone();
    let server = Server::start_with(move |resolved| {
        resolved.root = Some(appliance::config::RootCredentials {
            access_key: "operator".into(),
            secret_key: zeroize::Zeroizing::new(given),
        });
    })
    .await;
    let root = server.root_user().clone();
    server.root().put_bucket("vault").await;

    // Headers and queries of requests that are carried out.
    let key = secrets.customer_key("");
    let url = format!("https://s3.example.com/b?X-Amz-Signature={}", secrets.make("referring URL"));
    let agent = format!("{WANTED} https://a.example.com/?t={}", secrets.make("URL of an agent"));
    let mut headers = key.clone();
    headers.extend([
        header("cookie", format!("session={}", secrets.make("cookie"))),
        header("proxy-authorization", format!("Basic {}", secrets.make("proxy"))),
        header("x-api-key", secrets.make("header that nobody knows")),
        header("referer", url),
        header("user-agent", agent),
    ]);
    let query = format!("x-id=PutObject&password={}", secrets.make("parameter that nobody knows"));
    let put = server.send(&root, Method::PUT, "/vault/key", &query, &headers, b"body").await;
    assert_eq!(put.status, 200, "{}", put.text);
    let got = server.send(&root, Method::GET, "/vault/key", "", &key, b"").await;
    assert_eq!((got.status, got.text.as_str()), (200, "body"));
    let mut copy = secrets.customer_key("");
    copy.extend(
        key.iter().map(|(name, value)| {
            header(&name.replace("x-amz-", "x-amz-copy-source-"), value.clone())
        }),
    );
    copy.push(header("x-amz-copy-source", "/vault/key"));
    let copied = server.send(&root, Method::PUT, "/vault/copy", "", &copy, b"").await;
    assert_eq!(copied.status, 200, "{}", copied.text);
    // A key that is not the one, and one that is none.
    let wrong = secrets.customer_key("");
    let refused = server.send(&root, Method::GET, "/vault/key", "", &wrong, b"").await;
    assert!(refused.status >= 400, "{}", refused.text);
    let mut none = wrong.clone();
    none[1].1 = secrets.make("customer's key that is none");
    let refused = server.send(&root, Method::PUT, "/vault/none", "", &none, b"x").await;
    assert!(refused.status >= 400, "{}", refused.text);

    // Signatures and tokens: right, wrong, and of schemes that are not ours.
    let signature = hex::encode([7_u8; 32]);
    secrets.add("signature", signature.clone());
    let token = secrets.make("session token");
    let credential = "operator%2F20260101%2Fus-east-1%2Fs3%2Faws4_request";
    let presigned = format!(
        "/vault/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}\
         &X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host\
         &X-Amz-Security-Token={token}&X-Amz-Signature={signature}"
    );
    let older = secrets.make("signature of the older scheme");
    let older = format!("/vault/key?AWSAccessKeyId=operator&Expires=1&Signature={older}");
    let bearer = secrets.make("bearer token");
    let header_token = secrets.make("session token in a header");
    let basic = STANDARD.encode(format!("operator:{}", secrets.make("basic password")));
    secrets.add("basic credentials", basic.clone());
    let v4 = format!(
        "AWS4-HMAC-SHA256 Credential=operator/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature={signature}"
    );
    for (target, headers) in [
        (presigned.as_str(), vec![]),
        (older.as_str(), vec![]),
        ("/vault/key", vec![("authorization", format!("Bearer {bearer}"))]),
        ("/vault/key", vec![("authorization", format!("Basic {basic}"))]),
        ("/vault/key", vec![("authorization", v4.clone()), ("x-amz-security-token", header_token)]),
        ("/minio/admin/v3/list-users", vec![("authorization", v4.clone())]),
        ("/_/audit/v1/query", vec![("authorization", v4)]),
    ] {
        let status = server.ask(Method::GET, target, &headers, "").await;
        assert!((400..500).contains(&status), "{target}: {status}");
    }

    // Bodies: of the admin API, of XML and JSON that is broken where a secret stands.
    let text = |place, secrets: &mut Secrets, shape: &str| -> &'static [u8] {
        let body = shape.replace("SECRET", &secrets.make(place));
        Box::leak(body.into_bytes().into_boxed_slice())
    };
    let json = text("admin body", &mut secrets, r#"{"secretKey":"SECRET","status":"enabled"}"#);
    for (path, query) in [
        ("/minio/admin/v3/add-user", "accessKey=mallory"),
        ("/minio/admin/v3/add-canned-policy", "name=p"),
        ("/minio/admin/v3/idp/builtin/policy/attach", ""),
    ] {
        let answer = server.send(&root, Method::PUT, path, query, &[], json).await;
        let answer = match answer.status {
            405 => server.send(&root, Method::POST, path, query, &[], json).await,
            _ => answer,
        };
        assert!(answer.status >= 400, "{path}: {}", answer.text);
    }
    for (shape, path, query, method) in [
        ("<Delete><Object><Key>k</Key><SECRET", "/vault", "delete=", Method::POST),
        ("<Tagging><SECRET>", "/vault/key", "tagging=", Method::PUT),
        ("{\"Version\":\"SECRET\"", "/vault", "policy=", Method::PUT),
        ("<CompleteMultipartUpload>SECRET", "/vault/key", "uploadId=x", Method::POST),
        ("{\"q\":1,\"x\":\"SECRET\"", "/_/audit/v1/query", "", Method::POST),
        ("{\"events\":\"SECRET\"", "/_/audit/v1/bundle", "", Method::POST),
    ] {
        let body = text("broken body", &mut secrets, shape);
        let answer = server.send(&root, method, path, query, &[], body).await;
        assert!(answer.status >= 400, "{shape}: {}", answer.text);
    }
    let added = secrets.make("secret of a user");
    server.add_user_with("dora", &added).await;

    let records = server.search("request exists");
    let masked = |name: &str| {
        records.iter().any(|record| {
            let named = record["masked"].as_array().into_iter().flatten();
            named.into_iter().any(|found| found == name)
        })
    };
    for name in [
        "headers.cookie",
        "headers.proxy-authorization",
        "headers.referer",
        "headers.user-agent",
        "headers.x-amz-copy-source-server-side-encryption-customer-key",
        "headers.x-amz-security-token",
        "headers.x-amz-server-side-encryption-customer-key",
        "query.Signature",
        "query.X-Amz-Security-Token",
        "query.X-Amz-Signature",
    ] {
        assert!(masked(name), "no record says that {name} was withheld");
    }
    let directory = server.close().await;
    let files = files(directory.path());
    let mut found = false;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        found |= memchr::memmem::find(&bytes, WANTED.as_bytes()).is_some();
        for (place, secret) in &secrets.0 {
            let at = memchr::memmem::find(&bytes, secret);
            let before = at
                .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(300)..at]).into_owned());
            assert_eq!(before, None, "{place}: in {}", path.display());
        }
    }
    assert!(found, "what is recorded was not found in {} files", files.len());
    assert!(secrets.0.len() > 25, "{}", secrets.0.len());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

impl Server {
    /// A request as it is, with whatever credentials are in it; its status.
    async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, String)],
        body: &'static str,
    ) -> u16 {
        let mut request = Request::builder().method(method).uri(self.uri(target));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        self.exchange(request).await
    }
}
