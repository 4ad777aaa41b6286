//! A log, and deliveries from it, without the rest of the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use appliance::siem::{
    About, Bounds, ClientTls, Deliveries, Destination, Endpoint, Format, House, Kind, Retry, Start,
    Status,
};
use appliance::telemetry::Metrics;
use audit::{
    Class, Clock, Ed25519Signer, EventId, LocalFiles, Log, Options, Outcome, Phase, Principal,
    Record, Resource, SystemClock,
};
use serde_json::Value;

pub(crate) const ORIGIN: &str = "appliance.local/siem-test";
/// Everything here takes milliseconds; two busy cores take their time.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let audit_dir = directory.path().join("audit");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
        let options =
            Options { origin: ORIGIN.into(), segment_bytes_max: 64 << 10, ..Options::default() };
        let files = Arc::new(LocalFiles::new(&audit_dir));
        let (log, _) = Log::open(files, signer, Arc::clone(&clock), options).unwrap();
        let house = House {
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
            siem_dir: directory.path().join("siem"),
            certs_dir: directory.path().join("certs"),
            metrics: Arc::new(Metrics::new()),
        };
        Self { house, directory }
    }

    pub(crate) fn start(&self, destination: &Destination) -> Deliveries {
        Deliveries::start(std::slice::from_ref(destination), self.house.clone()).unwrap()
    }

    /// Appends outcome records of reads; `note` becomes a part of each key.
    pub(crate) fn write(&self, count: usize, note: &str) -> Vec<u64> {
        let records: Vec<Record> = (0..count).map(|number| outcome(number, note)).collect();
        let committed = self.house.log.append_all(&records).unwrap().wait().unwrap();
        (committed.first..committed.end).collect()
    }

    /// Records of the log that match, oldest first.
    pub(crate) fn search(&self, query: &str) -> Vec<Value> {
        let query = audit::Query::parse(query, u64::MAX).unwrap();
        let records = audit::records(&self.house.audit_dir).map(Result::unwrap);
        let matching = records.filter(|(_, leaf)| query.matches(leaf));
        matching.map(|(_, leaf)| serde_json::from_slice(&leaf).unwrap()).collect()
    }

    /// `next` of a destination's cursor file.
    pub(crate) fn cursor(&self, name: &str) -> u64 {
        let path = self.house.siem_dir.join(name).join("cursor.json");
        let stored: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        stored["next"].as_u64().unwrap()
    }

    /// Positions in a destination's dead-letter file.
    pub(crate) fn set_aside(&self, name: &str) -> Vec<u64> {
        let path = self.house.siem_dir.join(name).join("rejected.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["seq"].as_u64().unwrap()).collect()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A destination with short waits that takes object records.
pub(crate) fn destination(kind: Kind, url: &str, ca: Option<PathBuf>) -> Destination {
    let uri: http::Uri = url.parse().unwrap();
    Destination {
        name: "soc".into(),
        kind,
        endpoint: Endpoint {
            url: url.into(),
            host: uri.host().unwrap().into(),
            port: uri.port_u16().unwrap(),
            is_tls: matches!(uri.scheme_str(), Some("https" | "tls")),
            path: uri.path().trim_end_matches('/').into(),
        },
        format: kind.usual_format(),
        filter: "class=data".into(),
        start: Start::Beginning,
        secret: None,
        token: None,
        index: None,
        acknowledge: false,
        tls: ClientTls { ca, identity: None },
        bounds: Bounds { records: 7, bytes: 1 << 20 },
        retry: Retry { min: Duration::from_millis(4), max: Duration::from_millis(40) },
        timeout: Duration::from_secs(20),
    }
}

/// The format of a destination, changed.
pub(crate) fn formatted(destination: Destination, format: Format) -> Destination {
    Destination { format, ..destination }
}

fn outcome(number: usize, note: &str) -> Record {
    let now = SystemClock.now_us();
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    let mut record = Record::new(Class::Data, "s3:GetObject", EventId::new(now / 1000, random));
    record.phase = Phase::Outcome;
    record.principal = Some(Arc::new(Principal {
        kind: "IAMUser".into(),
        name: Some("alice".into()),
        access_key: Some("alice".into()),
        sig: "v4".into(),
        ..Principal::default()
    }));
    record.resources = vec![Resource {
        bucket: Some("ledger".into()),
        key: Some(format!("{note}/{number:04}")),
        ..Resource::default()
    }];
    record.outcome = Some(Outcome { code: 200, us: 1500, ..Outcome::default() });
    record.params.insert("operation".into(), "GetObject".into());
    record
}

/// Waits until something is so; what is not so in time fails the test.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < WITHIN, "{what} did not happen in {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the one destination stands as wanted.
pub(crate) async fn until_status(
    deliveries: &Deliveries,
    what: &str,
    is_so: impl Fn(&Status) -> bool,
) -> Status {
    let started = Instant::now();
    loop {
        let status = deliveries.status().into_iter().next().unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(started.elapsed() < WITHIN, "{what} did not happen: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
