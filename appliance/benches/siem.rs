//! How fast a backlog leaves: records per second from the log to a receiver on loopback, by destination kind.
//!
//! `cargo bench -p appliance --bench siem` writes 200,000 records (`SIEM_BENCH_RECORDS` says otherwise) and drains them
//! to a receiver that reads every body and answers 200, from the first record on, as after a day of silence. The worker's
//! own processor time is printed beside the wall time, which on a shared machine says more. The contract is the real one:
//! the range of each batch is synced to disk before its first byte leaves.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it fails")]

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use appliance::siem::{
    About, Bounds, ClientTls, Deliveries, Destination, Endpoint, Format, House, Kind, Retry,
    Secret, Start, State,
};
use appliance::telemetry::Metrics;
use audit::{
    Auth, Class, Clock, Ed25519Signer, EventId, LocalFiles, Log, Matched, Net, Options, Outcome,
    Phase, Principal, Record, Resource, SystemClock, Verdict,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

const ORIGIN: &str = "appliance.local/bench";
const RECORDS: u64 = 200_000;

fn main() {
    let count = std::env::var("SIEM_BENCH_RECORDS").ok().and_then(|text| text.parse().ok());
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let house = house(scratch.path());
    write(&house.log, count.unwrap_or(RECORDS));
    let receiver = Receiver::start();
    let secret = || Some(Secret::new("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="));
    for (name, kind, format, records, secret) in [
        ("webhook-500", Kind::Webhook, Format::Native, 500, None),
        ("webhook-500-signed", Kind::Webhook, Format::Native, 500, secret()),
        ("webhook-5000", Kind::Webhook, Format::Native, 5000, None),
        ("webhook-500-ocsf", Kind::Webhook, Format::Ocsf, 500, None),
        ("webhook-500-ecs", Kind::Webhook, Format::Ecs, 500, None),
        ("minio-1", Kind::Minio, Format::Minio, 1, None),
        ("splunk-1000", Kind::Splunk, Format::Native, 1000, None),
    ] {
        let destination = Destination {
            name: name.to_owned(),
            kind,
            endpoint: receiver.endpoint(),
            format,
            filter: String::new(),
            start: Start::Beginning,
            secret,
            token: (kind == Kind::Splunk).then(|| Secret::new("token")),
            index: None,
            acknowledge: false,
            tls: ClientTls::default(),
            bounds: Bounds { records, bytes: 4 << 20 },
            retry: Retry { min: Duration::from_secs(1), max: Duration::from_secs(300) },
            timeout: Duration::from_secs(20),
        };
        drain(&house, &destination, &receiver);
    }
}

fn house(dir: &Path) -> House {
    let audit_dir = dir.join("audit");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    let files = Arc::new(LocalFiles::new(&audit_dir));
    let (log, _) = Log::open(files, signer, Arc::clone(&clock), options).unwrap();
    House {
        log: Arc::new(log),
        clock,
        about: Arc::new(About {
            origin: ORIGIN.into(),
            account: "123456789012".into(),
            region: "us-east-1".into(),
            deployment: "00000000-0000-4000-8000-000000000000".into(),
            version: "0.1.0",
        }),
        audit_dir,
        siem_dir: dir.join("siem"),
        certs_dir: dir.join("certs"),
        metrics: Arc::new(Metrics::new()),
    }
}

fn write(log: &Log, count: u64) {
    let mut next = 0;
    while next < count {
        let batch: Vec<Record> = (next..count.min(next + 4000)).map(record).collect();
        next += batch.len() as u64;
        log.append_all(&batch).unwrap().wait().unwrap();
    }
}

/// A read as the server records it.
fn record(i: u64) -> Record {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&i.to_be_bytes());
    let event = EventId::new(SystemClock.now_us() / 1000, random);
    let mut record = Record::new(Class::Data, "s3:GetObject", event);
    record.phase = Phase::Single;
    record.request = Some(format!("{i:016X}"));
    record.sig_sha256 =
        Some("0f343b0931126a20f133d67c2b018a3b0f343b0931126a20f133d67c2b018a3b".into());
    record.principal = Some(Arc::new(Principal {
        kind: "IAMUser".into(),
        arn: Some(format!("arn:aws:iam::123456789012:user/u{}", i % 2000)),
        account: Some("123456789012".into()),
        access_key: Some("AKIAIOSFODNN7EXAMPLE".into()),
        sig: "v4".into(),
        ..Principal::default()
    }));
    record.auth = Some(Auth {
        decision: Verdict::Allow,
        reason: "identity-allow".into(),
        by: vec![Matched { id: "readonly".into(), sid: Some("AllowRead".into()), ver: None }],
        digest: String::new(),
        ctx: [("s3:prefix".to_owned(), vec!["10.1.2.3".to_owned()])].into(),
        implied: true,
        us: 41,
    });
    record.net = Some(Arc::new(Net {
        src: format!("10.1.{}.{}", i % 64, i % 251),
        tls: Some("1.3/TLS_AES_128_GCM_SHA256".into()),
        ua: Some("aws-cli/2.17.1".into()),
        ..Net::default()
    }));
    record.resources = vec![Resource {
        bucket: Some(format!("bucket-{}", i % 500)),
        key: Some(format!("year=2026/month=01/part-{i:08}.parquet")),
        version: Some("null".into()),
        ..Resource::default()
    }];
    record.outcome = Some(Outcome { code: 200, bytes_out: 40960, us: 3120, ..Outcome::default() });
    record
}

fn drain(house: &House, destination: &Destination, receiver: &Receiver) {
    receiver.bytes.store(0, Ordering::Relaxed);
    receiver.requests.store(0, Ordering::Relaxed);
    // One record a request cannot finish in reasonable time; its rate shows soon.
    let end = match destination.bounds.records {
        1 => house.log.durable_size().min(20_000),
        _ => house.log.durable_size(),
    };
    let started = Instant::now();
    let deliveries = Deliveries::start(std::slice::from_ref(destination), house.clone()).unwrap();
    let status = loop {
        let status = deliveries.status().remove(0);
        if status.next >= end || status.state == State::Stopped {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let wall = started.elapsed().as_secs_f64();
    let cpu_us = thread_cpu_us(&format!("siem-{}", destination.name));
    deliveries.stop();
    assert_eq!((status.failed_attempts, status.last_error), (0, None));
    println!(
        "{}: {:.0} records/s, {:.0} MB/s in {} requests; worker {:.2} us of processor per record",
        destination.name,
        status.next as f64 / wall,
        receiver.bytes.load(Ordering::Relaxed) as f64 / wall / 1e6,
        receiver.requests.load(Ordering::Relaxed),
        cpu_us / status.next as f64,
    );
}

/// Processor time of a thread of this process by its name, of which the kernel keeps 15 bytes.
fn thread_cpu_us(name: &str) -> f64 {
    let wanted: String = name.chars().take(15).collect();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| -> Option<f64> {
        let task = task.ok()?.path();
        let comm = std::fs::read_to_string(task.join("comm")).ok()?;
        // The first number is nanoseconds on a processor.
        let ran = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let ran: f64 = ran.split(' ').next()?.parse().ok()?;
        (comm.trim_end() == wanted).then_some(ran / 1000.0)
    };
    tasks.filter_map(of).sum()
}

/// An HTTP server on a thread of its own that reads everything and agrees.
struct Receiver {
    port: u16,
    bytes: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bytes, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&bytes), Arc::clone(&requests));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let (bytes, requests) = counts.clone();
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (bytes, requests) = (Arc::clone(&bytes), Arc::clone(&requests));
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                            requests.fetch_add(1, Ordering::Relaxed);
                            let answer = Bytes::from_static(b"{\"text\":\"Success\",\"code\":0}");
                            Ok::<_, Infallible>(Response::new(Full::new(answer)))
                        }
                    });
                    tokio::spawn(async move {
                        let served = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(socket), service);
                        drop(served.await);
                    });
                }
            });
        });
        Self { port, bytes, requests }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: format!("http://127.0.0.1:{}/in", self.port),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            is_tls: false,
            path: "/in".to_owned(),
        }
    }
}
