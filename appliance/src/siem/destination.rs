//! One receiver of the log, as the configuration resolved it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::delivery::{Bounds, Retry};
use super::format::Format;

/// Where and how records go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// 1 to 32 of `a-z 0-9 - _`; names its directory, its metrics and its records.
    pub name: String,
    pub kind: Kind,
    pub endpoint: Endpoint,
    pub format: Format,
    /// A filter of the query language; everything when empty.
    pub filter: String,
    pub start: Start,
    /// Signs webhooks: `whsec_…` or `whsk_…`, several separated by blanks while one replaces the other.
    pub secret: Option<Secret>,
    /// Authenticates us; what it is depends on the kind.
    pub token: Option<Secret>,
    /// Index of Splunk or Elasticsearch.
    pub index: Option<String>,
    /// Splunk: wait until the indexer has it.
    pub acknowledge: bool,
    pub tls: ClientTls,
    pub bounds: Bounds,
    pub retry: Retry,
    /// For one whole exchange.
    pub timeout: Duration,
}

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard Webhooks over HTTPS.
    Webhook,
    /// The audit webhook of MinIO.
    Minio,
    /// Splunk's HTTP Event Collector.
    Splunk,
    /// Elasticsearch's and OpenSearch's `_bulk`.
    Elastic,
    /// RFC 5424 over TLS.
    Syslog,
}

impl Kind {
    pub const ALL: [(&'static str, Self); 5] = [
        ("webhook", Self::Webhook),
        ("minio", Self::Minio),
        ("splunk", Self::Splunk),
        ("elastic", Self::Elastic),
        ("syslog", Self::Syslog),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// The format when none is named.
    #[must_use]
    pub const fn usual_format(self) -> Format {
        match self {
            Self::Minio => Format::Minio,
            Self::Elastic => Format::Ecs,
            Self::Webhook | Self::Splunk | Self::Syslog => Format::Native,
        }
    }

    /// Records per batch when nothing else is said. MinIO's receivers expect one; for the others a round trip should
    /// carry a few hundred kilobytes.
    #[must_use]
    pub const fn usual_records(self) -> usize {
        match self {
            Self::Minio => 1,
            Self::Webhook | Self::Syslog => 500,
            Self::Splunk | Self::Elastic => 1000,
        }
    }
}

/// What a confirmation of a destination means, from strong to weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// It can be found there.
    Indexed,
    /// The receiver said that it has it.
    Stored,
    /// The receiver said that it looks well.
    Accepted,
    /// It was handed to the network.
    Sent,
}

impl Guarantee {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Indexed => "indexed",
            Self::Stored => "stored",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
        }
    }
}

impl Destination {
    #[must_use]
    pub const fn guarantee(&self) -> Guarantee {
        match self.kind {
            Kind::Elastic => Guarantee::Indexed,
            Kind::Splunk if self.acknowledge => Guarantee::Indexed,
            Kind::Splunk => Guarantee::Accepted,
            Kind::Webhook | Kind::Minio => Guarantee::Stored,
            Kind::Syslog => Guarantee::Sent,
        }
    }
}

/// Where a receiver listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As written; it holds no credentials.
    pub url: String,
    pub host: String,
    pub port: u16,
    /// Plain is refused beyond loopback.
    pub is_tls: bool,
    /// Begins with `/`; without one at its end.
    pub path: String,
}

/// Where a new destination begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first record of the log.
    Beginning,
    /// With the records that come.
    Now,
}

/// Whom a connection trusts, and who we are on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The only authorities to trust; those of the system and of `CAs/` otherwise.
    pub ca: Option<PathBuf>,
    /// Certificate chain and private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
