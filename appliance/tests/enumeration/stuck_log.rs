//! A log whose disk does not answer: no change of any kind has an effect, no byte of an object leaves, the server says
//! that it is not ready and stays alive, and when the disk is back everything goes on.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use appliance::config::{AuditRules, MetricsAccess, Rule};
use audit::durable::File;
use audit::{CopyEvent, Files, LocalFiles};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest as _, Md5};

use crate::server::{Answer, Server};

const BODY: &[u8] = b"what nobody may see before the log knows";
const WAIT: Duration = Duration::from_millis(200);
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// Whether the disk answers.
#[derive(Debug, Default)]
struct Valve {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Valve {
    fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
    }
}

/// Files that make nothing durable while the valve is shut.
#[derive(Debug)]
struct Stuck {
    files: LocalFiles,
    valve: Arc<Valve>,
}

#[derive(Debug)]
struct StuckFile {
    file: Box<dyn File>,
    valve: Arc<Valve>,
}

impl Stuck {
    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(StuckFile { file, valve: Arc::clone(&self.valve) })
    }
}

impl Files for Stuck {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.files.lock()
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.valve.pass();
        Ok(self.file(self.files.create(path)?))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.files.open(path)?))
    }
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files.read(path)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.valve.pass();
        self.files.replace(path, bytes)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.valve.pass();
        self.files.remove(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.files.list(path)
    }
    fn take_events(&self) -> Vec<CopyEvent> {
        self.files.take_events()
    }
}

impl File for StuckFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.valve.pass();
        self.file.sync()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}

type Headers = Vec<(String, String)>;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn customer_key() -> Headers {
    let key = [7_u8; 32];
    headers(&[
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", &STANDARD.encode(key)),
        ("x-amz-server-side-encryption-customer-key-md5", &STANDARD.encode(Md5::digest(key))),
    ])
}

/// A call and the name of what it is.
struct Case {
    name: &'static str,
    method: Method,
    path: &'static str,
    query: String,
    headers: Headers,
    body: &'static [u8],
}

fn case(name: &'static str, method: Method, path: &'static str) -> Case {
    Case { name, method, path, query: String::new(), headers: Vec::new(), body: b"" }
}

/// One change of every kind that waits in its own way.
fn changes(upload: &str, parts: &'static [u8]) -> Vec<Case> {
    let put = |name, headers| Case { headers, body: BODY, ..case(name, Method::PUT, "/stuck/new") };
    vec![
        put("PUT, SSE-S3", headers(&[])),
        put("PUT, SSE-KMS", headers(&[("x-amz-server-side-encryption", "aws:kms")])),
        put("PUT, SSE-C", customer_key()),
        put("copy", headers(&[("x-amz-copy-source", "/stuck/kept")])),
        Case { body: BODY, ..case("overwrite", Method::PUT, "/stuck/kept") },
        case("DELETE", Method::DELETE, "/stuck/kept"),
        Case {
            query: "delete=".into(),
            body: b"<Delete><Object><Key>kept</Key></Object></Delete>",
            ..case("DeleteObjects", Method::POST, "/stuck")
        },
        Case { query: "uploads=".into(), ..case("new upload", Method::POST, "/stuck/large") },
        Case {
            query: format!("uploadId={upload}&partNumber=2"),
            body: BODY,
            ..case("part", Method::PUT, "/stuck/large")
        },
        Case {
            query: format!("uploadId={upload}"),
            body: parts,
            ..case("complete", Method::POST, "/stuck/large")
        },
        Case {
            query: format!("uploadId={upload}"),
            ..case("abort", Method::DELETE, "/stuck/large")
        },
        case("create bucket", Method::PUT, "/another"),
        Case {
            query: "tagging=".into(),
            body: b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>",
            ..case("tags", Method::PUT, "/stuck/kept")
        },
        Case {
            query: "policy=".into(),
            body: br#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::stuck/*"}]}"#,
            ..case("bucket policy", Method::PUT, "/stuck")
        },
        Case {
            query: "accessKey=somebody&status=disabled".into(),
            ..case("disable a user", Method::PUT, "/minio/admin/v3/set-user-status")
        },
        Case {
            query: "accessKey=somebody".into(),
            ..case("remove a user", Method::DELETE, "/minio/admin/v3/remove-user")
        },
    ]
}

async fn ask(server: &Server, case: &Case) -> Answer {
    let root = server.root_user().clone();
    let (method, headers) = (case.method.clone(), &case.headers);
    server.send(&root, method, case.path, &case.query, headers, case.body).await
}

async fn get(server: &Server, path: &'static str, query: &str) -> Answer {
    ask(server, &Case { query: query.into(), ..case("", Method::GET, path) }).await
}

/// Opens the valve when a test ends early: a log that is dropped waits for its disk.
struct Release(Arc<Valve>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn on(valve: &Arc<Valve>) -> impl FnOnce(&Path) -> Arc<dyn Files> {
    let valve = Arc::clone(valve);
    |dir| Arc::new(Stuck { files: LocalFiles::new(dir), valve })
}

/// Everything that a change of [`changes`] would change, as clients see it.
async fn state(server: &Server) -> Vec<String> {
    let mut told = Vec::new();
    for (path, query) in [
        ("/", ""),
        ("/stuck", ""),
        ("/stuck", "uploads="),
        ("/stuck", "policy="),
        ("/stuck/kept", ""),
        ("/stuck/kept", "tagging="),
        ("/stuck/new", ""),
    ] {
        let answer = get(server, path, query).await;
        let text = answer.text.split("<RequestId>").next().unwrap_or_default().to_owned();
        told.push(format!("{path}?{query} {} {text}", answer.status));
    }
    let user = server.users().credential("somebody");
    told.push(format!("{:?}", user.map(|user| user.enabled)));
    told
}

async fn until_ready(server: &Server) {
    let deadline = Instant::now() + COMES_WITHIN;
    while get(server, "/minio/health/ready", "").await.status != 200 {
        assert!(Instant::now() < deadline, "the server did not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_and_nothing_leaves_until_the_log_is_back() {
    let valve = Arc::new(Valve::default());
    let server = Server::start_on(on(&valve), |resolved| {
        resolved.audit_wait = WAIT;
        resolved.metrics = MetricsAccess::Public;
    })
    .await;
    let _release = Release(Arc::clone(&valve));
    server.root().put_bucket("stuck").await;
    let somebody = server.add_user("somebody").await;
    let kept = Case { body: BODY, ..case("PUT", Method::PUT, "/stuck/kept") };
    assert_eq!(ask(&server, &kept).await.status, 200);
    let answer =
        ask(&server, &Case { query: "uploads=".into(), ..case("", Method::POST, "/stuck/large") })
            .await;
    let upload = between(&answer.text, "<UploadId>", "</UploadId>");
    let part = Case {
        query: format!("uploadId={upload}&partNumber=1"),
        body: BODY,
        ..case("part", Method::PUT, "/stuck/large")
    };
    let etag = ask(&server, &part).await.header("etag");
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let before = state(&server).await;

    valve.shut();
    let mut refused = Vec::new();
    for case in changes(&upload, Box::leak(parts.into_boxed_str()).as_bytes()) {
        let answer = ask(&server, &case).await;
        assert_eq!(answer.status, 503, "{}: {}", case.name, answer.text);
        assert!(answer.text.contains("SlowDown"), "{}: {}", case.name, answer.text);
        let request = answer.header("x-amz-request-id");
        assert!(!request.is_empty(), "{}", case.name);
        refused.push((case.name, request));
    }
    for (name, method, path) in [
        ("GET", Method::GET, "/stuck/kept"),
        ("HEAD", Method::HEAD, "/stuck/kept"),
        ("list", Method::GET, "/stuck"),
        ("list buckets", Method::GET, "/"),
    ] {
        let answer = ask(&server, &case(name, method, path)).await;
        assert_eq!(answer.status, 503, "{name}: {}", answer.text);
        assert!(!answer.text.contains("what nobody may see"), "{name}");
        assert!(!answer.text.contains("<Contents>"), "{name}");
        refused.push((name, answer.header("x-amz-request-id")));
    }
    // A wrong signature is refused as late as a right one: nobody learns anything.
    let stranger = crate::server::User { secret_key: "wrong".into(), ..somebody };
    let answer = server.send(&stranger, Method::GET, "/stuck/kept", "", &[], b"").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(get(&server, "/minio/health/live", "").await.status, 200);
    assert_eq!(get(&server, "/minio/health/ready", "").await.status, 503);
    let page = get(&server, "/minio/v2/metrics/cluster", "").await.text;
    assert!(page.contains("\nappliance_audit_refusing 1\n"), "{page}");

    valve.open();
    until_ready(&server).await;
    assert_eq!(state(&server).await, before);
    let page = get(&server, "/minio/v2/metrics/cluster", "").await.text;
    assert!(page.contains("\nappliance_audit_refusing 0\n"), "{page}");
    // What was asked and refused is known, and that it was refused.
    for (name, request) in refused {
        let records = server.search(&format!("request={request} and phase=outcome"));
        assert_eq!(records.len(), 1, "{name} {request}");
        assert_eq!(records[0]["result"]["code"], 503, "{name}");
        assert_eq!(records[0]["err"]["code"], "SlowDown", "{name}");
    }
    let put = Case { body: BODY, ..case("PUT", Method::PUT, "/stuck/new") };
    assert_eq!(ask(&server, &put).await.status, 200);
    server.stop().await;
}

/// What the operator gave up is given up, and no more; and the log says that it was.
#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_reads_go_on_and_changes_do_not() {
    let valve = Arc::new(Valve::default());
    let server = Server::start_on(on(&valve), |resolved| {
        resolved.audit_wait = WAIT;
        resolved.audit_rules = AuditRules { data: Rule::Async, ..AuditRules::default() };
    })
    .await;
    let _release = Release(Arc::clone(&valve));
    server.root().put_bucket("stuck").await;
    let put = |body| Case { body, ..case("PUT", Method::PUT, "/stuck/kept") };
    assert_eq!(ask(&server, &put(BODY)).await.status, 200);
    let told = server.search("action=audit:rule");
    assert_eq!(told.len(), 1);
    let params = told[0]["params"].to_string();
    assert!(params.contains("audit.data") && params.contains("async"), "{params}");

    valve.shut();
    assert_eq!(ask(&server, &case("HEAD", Method::HEAD, "/stuck/kept")).await.status, 200);
    // Opening the object's key is no read.
    assert_eq!(ask(&server, &case("GET", Method::GET, "/stuck/kept")).await.status, 503);
    assert_eq!(ask(&server, &case("list buckets", Method::GET, "/")).await.status, 503);
    assert_eq!(ask(&server, &put(b"changed")).await.status, 503);

    valve.open();
    until_ready(&server).await;
    assert_eq!(get(&server, "/stuck/kept", "").await.text.as_bytes(), BODY);
    server.stop().await;
}

fn between(text: &str, from: &str, to: &str) -> String {
    let rest = text.split(from).nth(1).unwrap_or_default();
    rest.split(to).next().unwrap_or_default().to_owned()
}
