//! What one request knows about itself: its id, its connection, who it is. Every record that the request causes is
//! made here, so that all of them share the request id and the caller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use audit::{
    Auth, Class, ErrorInfo, EventId, Kms, Net, Outcome, Pending, Phase, Record, Resource, Verdict,
};

use crate::config::Rule;
use crate::recorder::{Recorder, Unrecorded, fill_random};
use crate::server::Connection;
use crate::telemetry::Metrics;

/// Bytes of a User-Agent that reach a record.
const USER_AGENT_BYTES_MAX: usize = 256;

/// The caller as the log names it. Set once, when authentication has succeeded.
#[derive(Clone, Debug)]
pub struct Actor {
    pub principal: policy_lab::Principal,
    /// Absent for anonymous callers.
    pub access_key: Option<String>,
    /// `v4`, `presigned` or `none`.
    pub scheme: &'static str,
    /// SHA-256 over string-to-sign and signature: binds the request without storing the signature.
    pub signature_sha256: Option<String>,
}

/// The audit scope of one request.
///
/// Ownership: one request task owns it; its body stream may hold a second reference until the last byte left.
#[derive(Debug)]
pub struct Scope {
    pub request_id: String,
    pub connection: Arc<Connection>,
    pub user_agent: Option<String>,
    pub metrics: Arc<Metrics>,
    /// What the request held and no record may have, by name.
    masked: Vec<String>,
    started: Instant,
    actor: OnceLock<Actor>,
    recorder: Arc<Recorder>,
    /// Appends of this request that nobody has waited for yet, in order, with the time of each.
    pending: Mutex<Vec<(Instant, Pending)>>,
    /// Event of the first decision.
    decision: OnceLock<EventId>,
    /// Its sequence number, once it is durable.
    decided: OnceLock<u64>,
}

impl Scope {
    /// Opens the scope of a request that has just arrived.
    #[must_use]
    pub fn open(
        recorder: Arc<Recorder>,
        connection: Arc<Connection>,
        user_agent: Option<&str>,
    ) -> Self {
        let user_agent =
            user_agent.map(|text| text.chars().take(USER_AGENT_BYTES_MAX).collect::<String>());
        Self {
            request_id: format!("{:016X}{:08X}", recorder.now_us(), entropy_u32()),
            connection,
            user_agent,
            metrics: Arc::clone(recorder.metrics()),
            masked: Vec::new(),
            started: Instant::now(),
            actor: OnceLock::new(),
            recorder,
            pending: Mutex::new(Vec::new()),
            decision: OnceLock::new(),
            decided: OnceLock::new(),
        }
    }

    /// Names what is withheld from the records of this request.
    pub(crate) fn withhold(&mut self, masked: Vec<String>) {
        self.masked = masked;
    }

    /// Microseconds since the epoch, from the server's clock.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.recorder.now_us()
    }

    /// What a read of this class waits for.
    #[must_use]
    pub fn rule_of_read(&self, class: Class) -> Rule {
        self.recorder.rules().of_read(class)
    }

    /// The log that this request is recorded in.
    #[must_use]
    pub(crate) const fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Microseconds since the request arrived.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Names the caller. Later calls are ignored: a request has one caller.
    pub fn identify(&self, actor: Actor) {
        let _ = self.actor.set(actor);
    }

    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.get()
    }

    /// Event id of the first decision of this request; empty before there is one.
    #[must_use]
    pub fn decision(&self) -> String {
        self.decision.get().map(ToString::to_string).unwrap_or_default()
    }

    /// Sequence number of the first decision of this request, once durable.
    #[must_use]
    pub fn decided(&self) -> Option<u64> {
        self.decided.get().copied()
    }

    /// A record of this request with caller, network and request id filled in.
    #[must_use]
    pub fn record(&self, class: Class, action: &str) -> Record {
        let mut record = self.recorder.record(class, action);
        record.request = Some(self.request_id.clone());
        record.masked.clone_from(&self.masked);
        record.net = Some(self.net());
        record.principal = self.actor.get().map(principal_of);
        record
    }

    /// Appends records as one contiguous run. They are durable when [`Self::settle`] has returned.
    ///
    /// # Errors
    /// The log is full, closed or poisoned; the caller must not go on.
    pub async fn append(&self, records: &[Record]) -> Result<(), Unrecorded> {
        let pending = (Instant::now(), self.recorder.append(records).await?);
        // The first append of a request is its decision.
        if let Some(record) = records.first() {
            let _ = self.decision.set(record.event);
        }
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
        Ok(())
    }

    /// Waits until everything that this request appended is durable.
    ///
    /// # Errors
    /// The log has not made it durable; nothing of this request may be answered as done.
    pub async fn settle(&self) -> Result<(), Unrecorded> {
        let waiting =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        for (appended, pending) in waiting {
            let committed = self.recorder.durable(pending).await?;
            self.metrics.audit_append(appended.elapsed().as_secs_f64());
            let _ = self.decided.set(committed.first);
        }
        Ok(())
    }

    /// The record of a key operation, before it is carried out.
    #[must_use]
    pub fn kms_record(&self, operation: &str, kms: Kms) -> Record {
        let mut record = self.record(Class::Kms, &format!("kms:{operation}"));
        record.phase = Phase::Single;
        let named = |name: &str| kms.ec.get(name).cloned();
        record.resources = vec![Resource {
            bucket: named("bucket"),
            key: named("key"),
            version: named("version"),
            ..Resource::default()
        }];
        record.kms = Some(kms);
        record
    }

    /// The record of a request that could not be authenticated.
    #[must_use]
    pub fn refused_record(
        &self,
        reason: &str,
        code: &str,
        claimed_access_key: Option<&str>,
        method: &str,
        path: &str,
    ) -> Record {
        let mut record = self.record(Class::Authn, "s3:unresolved");
        record.phase = Phase::Single;
        record.principal = Some(audit::Principal {
            kind: "Anonymous".into(),
            access_key: claimed_access_key.map(Into::into),
            sig: "none".into(),
            ..audit::Principal::default()
        });
        record.auth = Some(Auth {
            decision: Verdict::Deny,
            reason: reason.into(),
            by: Vec::new(),
            digest: String::new(),
            ctx: BTreeMap::new(),
            us: self.elapsed_us(),
        });
        record.err = Some(ErrorInfo { code: code.into(), msg: String::new() });
        record.params.insert("method".into(), method.into());
        record.params.insert("path".into(), path.into());
        record
    }

    /// The record that closes the request.
    #[must_use]
    pub fn outcome_record(
        &self,
        class: Class,
        action: &str,
        resources: Vec<Resource>,
        outcome: Outcome,
        error: Option<ErrorInfo>,
    ) -> Record {
        let mut record = self.record(class, action);
        record.phase = Phase::Outcome;
        record.reference = self.decided();
        record.resources = resources;
        record.outcome = Some(outcome);
        record.err = error;
        record
    }

    fn net(&self) -> Net {
        let tls = self.connection.tls.as_ref();
        Net {
            src: self.connection.peer.ip().to_canonical().to_string(),
            port: Some(self.connection.local.port()),
            sni: tls.and_then(|tls| tls.sni.clone()),
            tls: tls.map(|tls| format!("{}/{}", tls.version, tls.cipher)),
            ua: self.user_agent.clone(),
            ..Net::default()
        }
    }
}

fn principal_of(actor: &Actor) -> audit::Principal {
    use policy_lab::PrincipalKind;
    let principal = &actor.principal;
    let kind = match principal.kind {
        PrincipalKind::Root => "Root",
        PrincipalKind::User => "IAMUser",
        PrincipalKind::ServiceAccount => "Service",
        PrincipalKind::Session => "AssumedRole",
        PrincipalKind::Anonymous => "Anonymous",
    };
    audit::Principal {
        kind: kind.into(),
        arn: some(&principal.arn),
        account: some(&principal.account),
        name: some(&principal.name),
        access_key: actor.access_key.clone(),
        groups: principal.groups.clone(),
        parent: principal.parent.clone(),
        sig: actor.scheme.into(),
        sig_sha256: actor.signature_sha256.clone(),
        ..audit::Principal::default()
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn entropy_u32() -> u32 {
    let mut bytes = [0_u8; 4];
    fill_random(&mut bytes);
    u32::from_le_bytes(bytes)
}
