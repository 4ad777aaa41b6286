//! The numbers of one server, in the Prometheus text format and, where they mean the same, under MinIO's names.
//!
//! The registry belongs to the server and not to the process: two servers in one test count apart.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use audit::Copies;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: a policy decision takes well under a microsecond, a bad one must still be visible.
const DECISION_SECONDS: [f64; 9] =
    [0.000_000_25, 0.000_000_5, 0.000_001, 0.000_002_5, 0.000_01, 0.000_05, 0.000_25, 0.001, 0.01];
/// Upper bounds in seconds: an append is one fsync, from fast flash to a struggling disk.
const APPEND_SECONDS: [f64; 9] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0];
/// Upper bounds in seconds of a whole request.
const REQUEST_SECONDS: [f64; 9] = [0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// Label sets are bounded by code: `api` is an operation's name, `code` an HTTP status, `operation` a KMS verb.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    api: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KmsLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CopyLabels {
    state: &'static str,
}

/// Names of destinations come from the configuration, which has few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

/// The metrics of one server.
///
/// Ownership: the app holds it in an `Arc`; every counter is atomic, so any task may count.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ApiLabels, Counter>,
    responses: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    in_flight: Gauge,
    rejected_auth: Counter,
    /// Gauges only in type: MinIO's name has no `_total`, and the library gives every counter one.
    bytes_in: Gauge<u64, AtomicU64>,
    bytes_out: Gauge<u64, AtomicU64>,
    decision_seconds: Histogram,
    append_seconds: Histogram,
    audit_size: Gauge<u64, AtomicU64>,
    audit_index: Gauge,
    audit_tiles: Gauge,
    audit_copies: Family<CopyLabels, Gauge>,
    audit_refusing: Gauge,
    audit_refused: Counter,
    kms_requests: Family<KmsLabels, Counter>,
    drives_online: Gauge,
    drives_total: Gauge,
    connections: Gauge,
    guardrails_bad: Gauge,
    guardrails_reloads: Family<ReloadLabels, Counter>,
    siem: SiemFamilies,
}

/// By destination.
#[derive(Debug, Default)]
struct SiemFamilies {
    lag_records: Family<DestinationLabels, Gauge<u64, AtomicU64>>,
    lag_seconds: Family<DestinationLabels, Gauge<u64, AtomicU64>>,
    paused: Family<DestinationLabels, Gauge>,
    delivered: Family<DestinationLabels, Counter>,
    rejected: Family<DestinationLabels, Counter>,
    failed: Family<DestinationLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            responses: Family::default(),
            request_seconds: Histogram::new(REQUEST_SECONDS),
            in_flight: Gauge::default(),
            rejected_auth: Counter::default(),
            bytes_in: Gauge::default(),
            bytes_out: Gauge::default(),
            decision_seconds: Histogram::new(DECISION_SECONDS),
            append_seconds: Histogram::new(APPEND_SECONDS),
            audit_size: Gauge::default(),
            audit_index: Gauge::default(),
            audit_tiles: Gauge::default(),
            audit_copies: Family::default(),
            audit_refusing: Gauge::default(),
            audit_refused: Counter::default(),
            kms_requests: Family::default(),
            drives_online: Gauge::default(),
            drives_total: Gauge::default(),
            connections: Gauge::default(),
            siem: SiemFamilies::default(),
            guardrails_bad: Gauge::default(),
            guardrails_reloads: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// Registers every field. The library appends `_total` to counters.
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("minio_s3_requests", "Requests by operation", self.requests.clone());
        r.register(
            "appliance_responses",
            "Responses by operation and status",
            self.responses.clone(),
        );
        r.register("appliance_request_seconds", "Whole requests", self.request_seconds.clone());
        r.register(
            "minio_s3_requests_inflight_total",
            "Requests now in work",
            self.in_flight.clone(),
        );
        r.register(
            "minio_s3_requests_rejected_auth",
            "Requests whose caller could not be authenticated",
            self.rejected_auth.clone(),
        );
        r.register("minio_s3_traffic_received_bytes", "Request body bytes", self.bytes_in.clone());
        r.register("minio_s3_traffic_sent_bytes", "Response body bytes", self.bytes_out.clone());
        r.register("appliance_decision_seconds", "Policy decisions", self.decision_seconds.clone());
        r.register(
            "appliance_audit_append_seconds",
            "From append to durable in the audit log",
            self.append_seconds.clone(),
        );
        r.register(
            "appliance_audit_records",
            "Durable records in the audit log",
            self.audit_size.clone(),
        );
        r.register(
            "appliance_audit_index_up",
            "1 while new records are indexed, 0 while an error keeps them from it",
            self.audit_index.clone(),
        );
        r.register(
            "appliance_audit_tiles_up",
            "1 while tiles of new records are made, 0 while an error keeps them from it",
            self.audit_tiles.clone(),
        );
        r.register(
            "appliance_audit_copies",
            "Copies of the audit log by state: whole, damaged where they were read, lost",
            self.audit_copies.clone(),
        );
        r.register(
            "appliance_audit_refusing",
            "1 while the audit log takes no records, and with it the server no requests",
            self.audit_refusing.clone(),
        );
        r.register(
            "appliance_audit_refused",
            "Waits for the audit log that ended without a durable record",
            self.audit_refused.clone(),
        );
        r.register(
            "appliance_kms_requests",
            "Key operations by verb and result",
            self.kms_requests.clone(),
        );
        r.register("minio_cluster_drive_online_total", "Drives in use", self.drives_online.clone());
        r.register("minio_cluster_drive_total", "Drives configured", self.drives_total.clone());
        r.register("appliance_connections", "Open connections", self.connections.clone());
        self.siem.register(r);
        r.register(
            "appliance_guardrails_bad",
            "1 while the guardrails on disk do not load and older ones are in force",
            self.guardrails_bad.clone(),
        );
        r.register(
            "appliance_guardrails_reloads",
            "Changes of the guardrails by result",
            self.guardrails_reloads.clone(),
        );
    }

    /// The numbers of one receiver of the log.
    #[must_use]
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        let labels = DestinationLabels { destination: name.to_owned() };
        DestinationMetrics {
            lag_records: self.siem.lag_records.get_or_create(&labels).clone(),
            lag_seconds: self.siem.lag_seconds.get_or_create(&labels).clone(),
            paused: self.siem.paused.get_or_create(&labels).clone(),
            delivered: self.siem.delivered.get_or_create(&labels).clone(),
            rejected: self.siem.rejected.get_or_create(&labels).clone(),
            failed: self.siem.failed.get_or_create(&labels).clone(),
        }
    }

    /// Counts a request as in work until the guard is dropped.
    #[must_use]
    pub fn request_started(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight { metrics: Arc::clone(self) }
    }

    /// Counts a finished request. `api` is an operation's name from the table, never text of the client.
    pub fn request_finished(&self, api: &'static str, code: u16, seconds: f64) {
        self.requests.get_or_create(&ApiLabels { api }).inc();
        self.responses.get_or_create(&RequestLabels { api, code }).inc();
        self.request_seconds.observe(seconds);
    }

    pub fn rejected_auth(&self) {
        self.rejected_auth.inc();
    }

    pub fn received_bytes(&self, bytes: u64) {
        self.bytes_in.inc_by(bytes);
    }

    pub fn sent_bytes(&self, bytes: u64) {
        self.bytes_out.inc_by(bytes);
    }

    pub fn decision(&self, seconds: f64) {
        self.decision_seconds.observe(seconds);
    }

    pub fn audit_append(&self, seconds: f64) {
        self.append_seconds.observe(seconds);
    }

    /// Durable records in the log.
    pub fn audit_size(&self, records: u64) {
        self.audit_size.set(records);
    }

    /// Whether what is made of the log is up to date, or on the way there.
    pub fn audit_derived(&self, indexing: bool, tiles: bool) {
        self.audit_index.set(indexing.into());
        self.audit_tiles.set(tiles.into());
    }

    /// How the log's copies are.
    pub fn audit_copies(&self, copies: Copies) {
        let Copies { whole, damaged, lost } = copies;
        for (state, count) in [("whole", whole), ("damaged", damaged), ("lost", lost)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.audit_copies.get_or_create(&CopyLabels { state }).set(count);
        }
    }

    /// Whether the log takes no records now.
    pub fn audit_refusing(&self, refusing: bool) {
        self.audit_refusing.set(refusing.into());
    }

    pub fn audit_refused(&self) {
        self.audit_refused.inc();
    }

    pub fn kms_request(&self, operation: &'static str, succeeded: bool) {
        let result = if succeeded { "success" } else { "error" };
        self.kms_requests.get_or_create(&KmsLabels { operation, result }).inc();
    }

    pub fn drives(&self, online: usize, total: usize) {
        self.drives_online.set(i64::try_from(online).unwrap_or(i64::MAX));
        self.drives_total.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    pub fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// A change of the guardrails was put in force, or was refused.
    pub fn guardrails_loaded(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "error" };
        self.guardrails_reloads.get_or_create(&ReloadLabels { result }).inc();
        self.guardrails_bad.set(i64::from(!succeeded));
    }

    /// The Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing to a `String` cannot fail; a collector of our own could, and then the page is cut, not wrong.
        if let Err(error) = text::encode_registry(&mut page, &self.registry) {
            tracing::error!(%error, "the metrics page is incomplete");
        }
        page
    }
}

impl SiemFamilies {
    fn register(&self, r: &mut Registry) {
        let lag_records = self.lag_records.clone();
        r.register("appliance_siem_lag_records", "Records not yet done with", lag_records);
        let lag_seconds = self.lag_seconds.clone();
        r.register("appliance_siem_lag_seconds", "Age of the oldest of them", lag_seconds);
        r.register("appliance_siem_paused", "1 until somebody acts", self.paused.clone());
        r.register("appliance_siem_delivered", "Records confirmed", self.delivered.clone());
        r.register("appliance_siem_rejected", "Records set aside", self.rejected.clone());
        let failed = self.failed.clone();
        r.register("appliance_siem_failed_attempts", "Attempts that did not go through", failed);
    }
}

/// What one receiver of the log counts.
#[derive(Clone, Debug)]
pub struct DestinationMetrics {
    lag_records: Gauge<u64, AtomicU64>,
    lag_seconds: Gauge<u64, AtomicU64>,
    paused: Gauge,
    delivered: Counter,
    rejected: Counter,
    failed: Counter,
}

impl DestinationMetrics {
    /// Where it stands; `delivered` counts from the start of the server.
    pub fn stands(&self, lag_records: u64, lag_seconds: u64, paused: bool, delivered: u64) {
        self.lag_records.set(lag_records);
        self.lag_seconds.set(lag_seconds);
        self.paused.set(i64::from(paused));
        self.delivered.inc_by(delivered.saturating_sub(self.delivered.get()));
    }

    pub fn rejected(&self, records: u64) {
        self.rejected.inc_by(records);
    }

    pub fn failed(&self) {
        self.failed.inc();
    }
}

/// One request in work.
#[derive(Debug)]
pub struct InFlight {
    metrics: Arc<Metrics>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_what_was_counted() {
        let metrics = Arc::new(Metrics::new());
        let guard = metrics.request_started();
        metrics.request_finished("PutObject", 200, 0.002);
        metrics.received_bytes(4096);
        metrics.kms_request("GenerateDataKey", true);
        metrics.drives(3, 4);
        let page = metrics.encode();
        for line in [
            "minio_s3_requests_total{api=\"PutObject\"} 1",
            "minio_s3_requests_inflight_total 1",
            "appliance_responses_total{api=\"PutObject\",code=\"200\"} 1",
            "minio_s3_traffic_received_bytes 4096",
            "appliance_kms_requests_total{operation=\"GenerateDataKey\",result=\"success\"} 1",
            "minio_cluster_drive_online_total 3",
            "minio_cluster_drive_total 4",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
        drop(guard);
        assert!(metrics.encode().contains("minio_s3_requests_inflight_total 0"));
    }

    #[test]
    fn two_servers_count_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.rejected_auth();
        assert!(one.encode().contains("rejected_auth_total 1"));
        assert!(other.encode().contains("rejected_auth_total 0"));
    }
}
