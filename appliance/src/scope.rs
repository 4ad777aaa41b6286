//! What one request knows about itself: its id, its connection, who it is. Every record that the request causes is
//! made here, so that all of them share the request id and the caller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use audit::{
    Auth, Class, ErrorInfo, EventId, Kms, Net, Outcome, Pending, Phase, Record, Resource, Verdict,
};

use crate::config::Rule;
use crate::recorder::{Recorder, Unrecorded};
use crate::server::Connection;
use crate::telemetry::Metrics;

/// Bytes of a User-Agent that reach a record.
const USER_AGENT_BYTES_MAX: usize = 256;

/// The largest answer that is promised. A client breaks off a large one often enough that its outcome is worth a record,
/// and a sum over answers would count what was promised and what was sent.
const PROMISED_BYTES_MAX: u64 = 128 << 10;

/// The caller as the log names it. Set once, when authentication has succeeded.
#[derive(Clone, Debug)]
pub struct Actor {
    pub principal: policy_lab::Principal,
    /// Absent for anonymous callers.
    pub access_key: Option<String>,
    /// `v4`, `presigned` or `none`.
    pub scheme: &'static str,
    /// SHA-256 over string-to-sign and signature: binds the request without storing the signature.
    pub signature_sha256: Option<Arc<str>>,
}

/// The audit scope of one request.
///
/// A decision may be held here for as long as nothing was changed, nothing has left the server and no key was used: which
/// key that will be and, of a read, how it will end is known a little later, and one record can tell it all. It goes to
/// the log with the next append, and never later than with the answer.
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
    /// The same as records have it, and the connection; all records of the request share them.
    principal: OnceLock<Arc<audit::Principal>>,
    net: OnceLock<Arc<Net>>,
    recorder: Arc<Recorder>,
    /// Decisions that the log does not have yet, and what stands beside them.
    held: Mutex<Vec<Record>>,
    /// Status and bytes that the decision in the log promises.
    promised: OnceLock<(u16, u64)>,
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
        let distinct = u32::from_le_bytes(recorder.entropy().take());
        Self {
            request_id: format!("{:016X}{distinct:08X}", recorder.now_us()),
            connection,
            user_agent,
            metrics: Arc::clone(recorder.metrics()),
            masked: Vec::new(),
            started: Instant::now(),
            actor: OnceLock::new(),
            principal: OnceLock::new(),
            net: OnceLock::new(),
            recorder,
            held: Mutex::new(Vec::new()),
            promised: OnceLock::new(),
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
        record.net = Some(Arc::clone(self.net.get_or_init(|| Arc::new(self.net()))));
        if let Some(actor) = self.actor.get() {
            let principal = self.principal.get_or_init(|| Arc::new(principal_of(actor)));
            record.principal = Some(Arc::clone(principal));
            record.sig_sha256.clone_from(&actor.signature_sha256);
        }
        record
    }

    /// Takes the decisions of the request, which go to the log with the next append. The first is a decision; what stands
    /// beside it follows.
    ///
    /// ORDER: until then no key is used, nothing is changed and nothing leaves. A key operation waits for
    /// [`Self::use_key`], and an answer for [`Self::settle`] or, where reads do not wait, for [`Self::hand_over`].
    pub(crate) fn hold(&self, records: Vec<Record>) {
        // The first record of a request is its decision.
        if let Some(record) = records.first() {
            let _ = self.decision.set(record.event);
        }
        lock(&self.held).extend(records);
    }

    /// Says in the decision that is held how the request will end. If it does not end so, its outcome is to follow.
    ///
    /// Nothing is promised, and an outcome follows in any case, if the log has the decision already, if there are
    /// several, or if the answer is large.
    pub(crate) fn promise(&self, operation: &str, code: u16, bytes_out: u64) {
        if bytes_out > PROMISED_BYTES_MAX {
            return;
        }
        let mut held = lock(&self.held);
        let Some(decision) = only_decision(&mut held) else { return };
        if decision.phase == Phase::Decision {
            decision.phase = Phase::Single;
            decision.params.insert("operation".into(), operation.into());
            let us = self.elapsed_us();
            decision.outcome = Some(Outcome { code, bytes_out, us, ..Outcome::default() });
            let _ = self.promised.set((code, bytes_out));
        }
    }

    /// Records a key operation before it is carried out, and waits until that and all before it is durable.
    ///
    /// The decision that led to it tells it where that is held and the only one; else it has a record of its own.
    ///
    /// # Errors
    /// As [`Self::settle`]; the key must not be used.
    pub(crate) async fn use_key(&self, kms: Kms) -> Result<(), Unrecorded> {
        if let Some(kms) = self.told_by_decision(kms) {
            self.append(vec![self.kms_record(kms)]).await?;
        }
        self.settle().await
    }

    /// Gives the key operation back if no decision can tell it.
    fn told_by_decision(&self, kms: Kms) -> Option<Kms> {
        match only_decision(&mut lock(&self.held)) {
            Some(decision) => {
                decision.kms = Some(kms);
                None
            }
            None => Some(kms),
        }
    }

    /// Whether the decision in the log has told this outcome already.
    pub(crate) fn promised(&self, outcome: &Outcome) -> bool {
        let kept = Some(&(outcome.code, outcome.bytes_out)) == self.promised.get();
        kept && outcome.bytes_in == 0 && !outcome.aborted
    }

    /// Appends records, behind those that are held, as one contiguous run. They are durable when [`Self::settle`] has
    /// returned.
    ///
    /// # Errors
    /// The log is full, closed or poisoned; the caller must not go on.
    pub async fn append(&self, records: Vec<Record>) -> Result<(), Unrecorded> {
        let mut run = std::mem::take(&mut *lock(&self.held));
        run.extend(records);
        let Some(first) = run.first() else { return Ok(()) };
        let event = first.event;
        let pending = (Instant::now(), self.recorder.append(&run).await?);
        let _ = self.decision.set(event);
        lock(&self.pending).push(pending);
        Ok(())
    }

    /// Gives the log what is held, and waits for nothing but room.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) async fn hand_over(&self) -> Result<(), Unrecorded> {
        self.append(Vec::new()).await
    }

    /// Waits until everything that this request decided and appended is durable.
    ///
    /// # Errors
    /// The log has not made it durable; nothing of this request may be answered as done.
    pub async fn settle(&self) -> Result<(), Unrecorded> {
        self.hand_over().await?;
        let waiting = std::mem::take(&mut *lock(&self.pending));
        for (appended, pending) in waiting {
            let committed = self.recorder.durable(pending).await?;
            self.metrics.audit_append(appended.elapsed().as_secs_f64());
            let _ = self.decided.set(committed.first);
        }
        Ok(())
    }

    /// A record of a key operation. Who it is for and where they are; the rest stands in the decision with the same
    /// request id.
    #[must_use]
    pub fn kms_record(&self, kms: Kms) -> Record {
        let mut record = self.record(Class::Kms, &format!("kms:{}", kms.op));
        record.phase = Phase::Single;
        record.masked.clear();
        record.sig_sha256 = None;
        record.net = record.net.map(|net| Arc::new(Net { src: net.src.clone(), ..Net::default() }));
        let named = |name: &str| kms.ec.get(name).cloned();
        record.resources = vec![Resource {
            bucket: named("bucket"),
            key: named("key"),
            version: named("version"),
            ..Resource::default()
        }];
        record.kms = Some(Kms { parent: Some(self.request_id.clone()), ..kms });
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
        record.principal = Some(Arc::new(audit::Principal {
            kind: "Anonymous".into(),
            access_key: claimed_access_key.map(Into::into),
            sig: "none".into(),
            ..audit::Principal::default()
        }));
        record.auth = Some(Auth {
            decision: Verdict::Deny,
            reason: reason.into(),
            by: Vec::new(),
            digest: String::new(),
            ctx: BTreeMap::new(),
            implied: false,
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
        if record.reference.is_some() {
            // The decision says it.
            record.masked.clear();
            record.sig_sha256 = None;
        }
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

/// A request that ended in the middle leaves its decision behind all the same.
impl Drop for Scope {
    fn drop(&mut self) {
        for record in std::mem::take(&mut *lock(&self.held)) {
            self.recorder.append_last(record);
        }
    }
}

/// The decision that is held, where there is no other.
fn only_decision(held: &mut [Record]) -> Option<&mut Record> {
    let (first, rest) = held.split_first_mut()?;
    rest.iter().all(|record| record.phase != Phase::Decision).then_some(first)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        ..audit::Principal::default()
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
