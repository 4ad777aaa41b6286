//! What happened: one record of the log, as plain data.
//!
//! The schema is version 1 of `FORMAT.md`, "Record", and [`SCHEMA`]. Every string may hold anything; [`crate::encode`] bounds it,
//! and notes each cut in the member `trunc`. Two members are not here because only the log knows them: `seq`
//! and `time`, stamped when the record is sequenced, and `node`, which belongs to the log.

use std::{collections::BTreeMap, sync::Arc};

pub use event::{EventId, EventIdError};

mod event;

/// The written form as JSON Schema (draft 2020-12), for whoever reads records.
pub const SCHEMA: &str = include_str!("record/schema.json");

/// One decision, effect or fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which part of the house speaks.
    pub class: Class,
    /// The IAM action that was decided, such as `s3:GetObject`, or `audit:…` for the log's own records.
    pub action: String,
    /// Whether this is the whole story, its decision or its outcome.
    pub phase: Phase,
    /// Unique, time-prefixed name of this record.
    pub event: EventId,
    /// Request id that the client saw.
    pub request: Option<String>,
    /// Who asked.
    pub principal: Option<Arc<Principal>>,
    /// SHA-256 of string-to-sign and signature, in hex: binds the request without keeping the signature. A member of
    /// `principal`, and left out without one.
    pub sig_sha256: Option<Arc<str>>,
    /// What was decided and by which statements.
    pub auth: Option<Auth>,
    /// What the request held and no record may have, by name.
    pub masked: Vec<String>,
    /// From where.
    pub net: Option<Arc<Net>>,
    /// Key use.
    pub kms: Option<Kms>,
    /// What was asked for; more than 100 are counted and hashed.
    pub resources: Vec<Resource>,
    /// How it ended; the JSON member is `result`.
    pub outcome: Option<Outcome>,
    /// How the object is encrypted.
    pub sse: Option<Sse>,
    /// What went wrong.
    pub err: Option<ErrorInfo>,
    /// W3C trace context.
    pub trace: Option<Trace>,
    /// Request parameters from an allow-list; never secrets. At most 4 KiB encoded.
    pub params: BTreeMap<String, String>,
    /// On an outcome, the `seq` of its decision; the JSON member is `ref`.
    pub reference: Option<u64>,
}

impl Record {
    /// A record with phase [`Phase::Single`] and nothing else filled in.
    pub fn new(class: Class, action: impl Into<String>, event: EventId) -> Self {
        Self {
            class,
            action: action.into(),
            phase: Phase::Single,
            event,
            request: None,
            principal: None,
            sig_sha256: None,
            auth: None,
            masked: Vec::new(),
            net: None,
            kms: None,
            resources: Vec::new(),
            outcome: None,
            sse: None,
            err: None,
            trace: None,
            params: BTreeMap::new(),
            reference: None,
        }
    }
}

/// Which part of the house a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Object calls.
    Data,
    /// Bucket and configuration calls.
    Mgmt,
    /// Key operations, the internal ones too.
    Kms,
    /// Failed authentication; a success is part of the action's own record.
    Authn,
    /// Users, policies, keys, drives.
    Admin,
    /// Searches of this log.
    Query,
    /// The log about itself.
    Audit,
    /// SIEM delivery.
    Delivery,
}

impl Class {
    /// The word used on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Mgmt => "mgmt",
            Self::Kms => "kms",
            Self::Authn => "authn",
            Self::Admin => "admin",
            Self::Query => "query",
            Self::Audit => "audit",
            Self::Delivery => "delivery",
        }
    }
}

/// Whether a record tells everything or one half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Decision and outcome in one record.
    Single,
    /// Written before the effect.
    Decision,
    /// Written after the effect; `reference` names the decision.
    Outcome,
}

impl Phase {
    /// The word used on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Decision => "decision",
            Self::Outcome => "outcome",
        }
    }
}

/// A decision with enough context to replay it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What was decided.
    pub decision: Verdict,
    /// Why, as one of the reason words of `FORMAT.md`.
    pub reason: String,
    /// Matched statements, the deciding one first; at most 8 are kept.
    pub by: Vec<Matched>,
    /// Digest of the policy set in force: 64 lower-case hex digits, also the name of its blob.
    pub digest: String,
    /// Condition keys of the request and their values; at most 32 keys are kept.
    pub ctx: BTreeMap<String, Vec<String>>,
    /// Other members imply the keys that [`Auth::ctx`] does not name, as `FORMAT.md` says; if not, it names all.
    pub implied: bool,
    /// Evaluation time in microseconds.
    pub us: u64,
}

/// The answer of a policy evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Evaluation failed, which denies.
    Error,
}

impl Verdict {
    /// The word used on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }
}

/// One policy statement that took part in a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Policy name or id.
    pub id: String,
    /// Statement id.
    pub sid: Option<String>,
    /// Policy version.
    pub ver: Option<String>,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// `Root`, `IAMUser`, `AssumedRole`, `Federated`, `Service` or `Anonymous`; the JSON member is `type`.
    pub kind: String,
    /// Full name.
    pub arn: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// Stable id.
    pub id: Option<String>,
    /// Short name.
    pub name: Option<String>,
    /// Access key id; never the secret.
    pub access_key: Option<String>,
    /// Session name.
    pub session: Option<String>,
    /// Identity provider of a federated principal.
    pub issuer: Option<String>,
    /// Source identity that survives role changes.
    pub source_identity: Option<String>,
    /// Whether a second factor was used, where known.
    pub mfa: Option<bool>,
    /// Groups whose policies were considered; at most 32 are kept.
    pub groups: Vec<String>,
    /// Owner of a service account.
    pub parent: Option<String>,
    /// `v4`, `v4a`, `v2`, `presigned`, `post`, `mtls`, `oidc` or `none`.
    pub sig: String,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// Peer address in canonical text.
    pub src: String,
    /// `X-Forwarded-For`, as claimed; at most 4 are kept.
    pub fwd: Vec<String>,
    /// Which of our endpoints was called.
    pub endpoint: Option<String>,
    /// Peer port.
    pub port: Option<u16>,
    /// TLS server name.
    pub sni: Option<String>,
    /// `1.3/TLS_AES_128_GCM_SHA256` and the like; absent on plain HTTP.
    pub tls: Option<String>,
    /// SHA-256 of the client certificate, in hex.
    pub peer_cert: Option<String>,
    /// User agent.
    pub ua: Option<String>,
}

impl Net {
    /// The user agent, unless a record cuts it.
    #[must_use]
    pub fn whole_ua(&self) -> Option<&str> {
        self.ua.as_deref().filter(|agent| crate::encode::keeps_agent(agent))
    }
}

/// One key operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kms {
    /// `Decrypt`, `GenerateDataKey`, ….
    pub op: String,
    /// Key name.
    pub key: String,
    /// Key version.
    pub ver: Option<u64>,
    /// Encryption context; at most 32 pairs are kept.
    pub ec: BTreeMap<String, String>,
    /// Request that needed the key; left out in its decision.
    pub parent: Option<String>,
}

/// One thing that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Bucket.
    pub bucket: Option<String>,
    /// Object key.
    pub key: Option<String>,
    /// Object version.
    pub version: Option<String>,
    /// Full name of things that are not objects.
    pub arn: Option<String>,
    /// Entity tag.
    pub etag: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// HTTP status.
    pub code: u16,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes sent.
    pub bytes_out: u64,
    /// Whole duration in microseconds.
    pub us: u64,
    /// Time to first byte in microseconds.
    pub ttfb_us: Option<u64>,
    /// Whether the peer went away before the end.
    pub aborted: bool,
}

/// How an object is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sse {
    /// `AES256`, `aws:kms` or `customer`; the JSON member is `type`.
    pub kind: String,
    /// KMS key name.
    pub key: Option<String>,
    /// Whether a bucket key was used.
    pub bucket_key: bool,
}

/// An error as the client saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorInfo {
    /// S3 or admin error code.
    pub code: String,
    /// Its message.
    pub msg: String,
}

/// W3C trace context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

#[cfg(test)]
mod tests;
