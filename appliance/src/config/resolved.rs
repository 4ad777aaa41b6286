//! The configuration that the rest of the program sees: complete, checked, and without a trace of where it came from.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{AuditRules, Declared};
use crate::kms::Imported;
use crate::siem::Destination;
use crate::{archive, cloudtrail};

/// A disk that is alive syncs in less, also a bad one in a bad hour; a client has not given up yet.
const AUDIT_WAIT: Duration = Duration::from_secs(5);

/// Everything that `serve` needs to know. Paths are as the operator wrote them, not made absolute.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub data_dir: PathBuf,
    /// One entry per drive, ellipses expanded, in the order written. 1 to 16.
    pub drives: Vec<PathBuf>,
    /// Port 0 lets the operating system choose.
    pub address: SocketAddr,
    pub certs_dir: PathBuf,
    /// The region that signatures name, beside the empty one and `us-east-1`.
    pub region: String,
    /// Given by the operator; wins over the generated ones and is never written down.
    pub root: Option<RootCredentials>,
    /// Rego files that may only deny.
    pub guardrails_dir: PathBuf,
    /// Lower-case; below each of them a host name names a bucket.
    pub domains: Vec<String>,
    /// A key that the operator brings along; the default one from then on.
    pub kms_secret_key: Option<Arc<Imported>>,
    pub transport: Transport,
    pub audit_rules: AuditRules,
    /// How long a request waits for its records to be durable.
    pub audit_wait: Duration,
    pub audit_open: AuditOpen,
    /// How long records stay before they may be pruned; for ever without it. At least a day.
    pub audit_retention: Option<Duration>,
    /// Where copies of finished segments go.
    pub archive: Option<archive::Settings>,
    /// Where files in AWS CloudTrail's form go.
    pub cloudtrail: Option<cloudtrail::Settings>,
    /// More copies of the audit log, beside [`Self::audit_dir`]. At most 2.
    pub audit_mirrors: Vec<PathBuf>,
    /// Base address of an OTLP/HTTP receiver; no spans are exported without one.
    pub otlp_endpoint: Option<String>,
    pub log_format: LogFormat,
    pub metrics: MetricsAccess,
    /// Receivers of the audit log.
    pub siem: Vec<Destination>,
    pub limits: Limits,
    /// What of all this was written down, for the log.
    pub declared: Declared,
}

impl Resolved {
    /// Every default, in a data directory of its own, on a loopback port that the system chooses.
    #[must_use]
    pub fn in_directory(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            drives: (1..=4).map(|number| data_dir.join(format!("drive{number}"))).collect(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            certs_dir: data_dir.join("config/certs"),
            region: "us-east-1".into(),
            root: None,
            guardrails_dir: data_dir.join("config/guardrails"),
            domains: Vec::new(),
            kms_secret_key: None,
            transport: Transport::Tls,
            audit_rules: AuditRules::default(),
            audit_wait: AUDIT_WAIT,
            audit_open: AuditOpen::Nothing,
            audit_retention: None,
            archive: None,
            cloudtrail: None,
            audit_mirrors: Vec::new(),
            otlp_endpoint: None,
            log_format: LogFormat::Text,
            metrics: MetricsAccess::Off,
            siem: Vec::new(),
            limits: Limits::default(),
            declared: Declared::default(),
            data_dir,
        }
    }

    /// Certificates, keys and guardrails: never on a data drive.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.data_dir.join("config")
    }

    /// The audit log.
    #[must_use]
    pub fn audit_dir(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// What the archive remembers.
    #[must_use]
    pub fn archive_dir(&self) -> PathBuf {
        self.data_dir.join("archive")
    }

    /// Where the audit log is read: where it has several copies, a link to one that is in use.
    #[must_use]
    pub fn audit_readable(&self) -> PathBuf {
        match self.audit_mirrors.is_empty() {
            true => self.audit_dir(),
            false => self.config_dir().join("audit-copy"),
        }
    }

    /// What the CloudTrail export remembers.
    #[must_use]
    pub fn cloudtrail_dir(&self) -> PathBuf {
        self.data_dir.join("cloudtrail")
    }

    /// What delivery remembers: one directory per destination.
    #[must_use]
    pub fn siem_dir(&self) -> PathBuf {
        self.data_dir.join("siem")
    }
}

/// The access key and secret of the root user.
#[derive(Clone)]
pub struct RootCredentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
}

impl fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCredentials")
            .field("access_key", &self.access_key)
            .field("secret_key", &"…")
            .finish()
    }
}

/// How bytes travel between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tls,
    /// Plain HTTP; the configuration refuses it beyond loopback.
    PlainLoopback,
}

impl Transport {
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Tls => "https",
            Self::PlainLoopback => "http",
        }
    }
}

/// What of the log anybody may fetch, signed request or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOpen {
    Nothing,
    /// Checkpoints and hashes: enough to watch that the log only grows, and nothing of what is in it.
    Hashes,
    /// The records as well.
    Records,
}

/// Who may read `/minio/v2/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    Public,
    Off,
}

/// The form of log lines on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What one process accepts before it says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Requests worked on at once; more are answered `SlowDown`.
    pub concurrent_requests: usize,
    /// From accept to a finished TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request head to its end.
    pub header_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// From the stop signal until open requests are cut.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// Why these numbers: 4096 connections hold about 1 GiB of buffers at worst; an honest client finishes a handshake
    /// and a head within seconds even over a bad link; systemd waits 90 s before it kills, so a drain fits three times.
    fn default() -> Self {
        Self {
            connections: 4096,
            concurrent_requests: 1024,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(15),
            body_idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
