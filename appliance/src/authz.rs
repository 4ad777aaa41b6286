//! Decides, records the decision, and only then hands out a [`Permit`].
//!
//! Storage and keys are reachable through a permit alone: the gate keeps its handles private, so a handler that
//! forgot its check has nothing to call. Each check of an operation is one decision record; all checks of a request
//! are appended as one run.
//!
//! A handler takes its permit by value:
//!
//! ```no_run
//! use appliance::authz::{Capability, Permit};
//! use appliance::s3::{ops::get_object::GetObject, request::Call, route::Operation};
//!
//! fn checked(permit: Permit<GetObject>, call: Call, _: Option<Capability>) {
//!     let _ = GetObject::run(permit, call);
//! }
//! ```
//!
//! A forged permit does not compile:
//!
//! ```compile_fail,E0451
//! use appliance::authz::Permit;
//! use appliance::s3::ops::get_object::GetObject;
//!
//! fn forge(capability: appliance::authz::Capability) -> Permit<GetObject> {
//!     Permit { capability, _operation: std::marker::PhantomData }
//! }
//! ```
//!
//! Nor does a handler without one:
//!
//! ```compile_fail,E0061
//! use appliance::s3::{ops::get_object::GetObject, request::Call, route::Operation};
//!
//! fn unchecked(call: Call) {
//!     let _ = GetObject::run(call);
//! }
//! ```

mod permit;
mod sets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use audit::{Auth, Class, Matched, Phase, Record, Resource as Touched, Verdict};
use policy_lab::context::Implied;
use policy_lab::{
    Action, Attached, Compiled, Context, Decision, Principal, Reason, Request, Resource, evaluate,
};
use storage::Store;
use tracing::Instrument;

pub use self::permit::{Capability, Permit};
use self::sets::Sets;
use crate::config::Rule;
use crate::guardrails::Rules;
use crate::iam::Iam;
use crate::kms::Keys;
use crate::recorder::{Recorder, Unfiled, Unrecorded};
use crate::scope::Scope;

/// One question to the policies: may the caller do `action` on `resource` in `context`?
#[derive(Clone, Debug)]
pub struct Check {
    pub action: Action,
    pub resource: Resource,
    pub context: Context,
    pub class: Class,
    /// What else the record should say about the request.
    pub params: BTreeMap<String, String>,
}

/// Whether an operation changes anything, and with it what waits for the decision to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The class of the check has a rule for it: the handler waits, or the first byte that leaves, or nothing.
    Read,
    /// The handler waits.
    Write,
    /// A change of encrypted bytes: its first key operation waits.
    ///
    /// INVARIANT: storage asks the key service before it changes anything (see `storage::KeyService`), and
    /// `kms::Audited` makes the key's use durable before it passes the call on, and with it the decision.
    KeyedWrite,
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The policies do not allow it. `event` is the deciding record.
    #[error("access denied by decision `{event}`")]
    Denied { event: String, reason: Reason },
    /// Nothing was asked, so nothing is allowed.
    #[error("an operation without a check")]
    Unasked,
    /// The decision could not be recorded, so there is none.
    #[error("the decision could not be recorded")]
    Unrecorded(#[from] Unrecorded),
    /// The policies in force could not be put beside the log, so a decision by them could not be replayed.
    #[error("the policies in force could not be filed")]
    Unfiled(#[from] Unfiled),
}

/// Where every access is decided. One per server.
pub struct Gate {
    store: Store,
    keys: Arc<dyn Keys>,
    iam: Arc<Iam>,
    sets: Sets,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// Takes the only handles to storage and keys that requests can reach.
    #[must_use]
    pub fn new(
        store: Store,
        keys: Arc<dyn Keys>,
        iam: Arc<Iam>,
        rules: Rules,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self { store, keys, iam, sets: Sets::new(recorder, rules) }
    }

    /// Replaces the guardrails and what is on trial in what later decisions see.
    pub fn set_rules(&self, rules: Rules) {
        self.sets.set_rules(rules);
    }

    /// Replaces the policy of a bucket in what later decisions see; `None` removes it.
    pub fn set_bucket_policy(&self, bucket: &str, policy: Option<Attached>) {
        self.sets.set_bucket_policy(bucket, policy);
    }

    /// The bucket policies in force, by bucket.
    #[must_use]
    pub fn bucket_policies(&self) -> BTreeMap<String, Attached> {
        self.sets.bucket_policies()
    }

    /// The guardrails in force.
    #[must_use]
    pub fn guardrails(&self) -> Option<Arc<policy_lab::Guardrails>> {
        self.sets.guardrails()
    }

    /// Forgets the sets made for principals; called when users, groups or policies changed.
    pub fn forget_identities(&self) {
        self.sets.forget();
    }

    /// Allows operation `O` if every check is allowed.
    ///
    /// # Errors
    /// [`Refusal::Denied`] names the first denied check; [`Refusal::Unrecorded`] when the log did not take it.
    pub async fn decide<O>(
        &self,
        scope: &Arc<Scope>,
        effect: Effect,
        checks: Vec<Check>,
    ) -> Result<Permit<O>, Refusal> {
        if checks.is_empty() {
            return Err(Refusal::Unasked);
        }
        let strict = checks.iter().any(|check| scope.rule_of_read(check.class) == Rule::Strict);
        let span = tracing::info_span!("authorize", checks = checks.len());
        let (records, verdicts) = self.weigh(scope, &checks).instrument(span).await?;
        scope.hold(records);
        let is_refused = verdicts.iter().any(Option::is_some);
        let waits = match effect {
            Effect::Read => strict,
            Effect::Write => true,
            Effect::KeyedWrite => false,
        };
        if waits || is_refused {
            scope.settle().await?;
        }
        match verdicts.into_iter().flatten().next() {
            Some(refusal) => Err(refusal),
            None => Ok(self.permit(scope)),
        }
    }

    /// Decides each check on its own: the keys of a multi-object delete.
    ///
    /// # Errors
    /// [`Refusal::Unrecorded`] when the log did not take the decisions; then nothing may be done.
    pub async fn decide_each<O>(
        &self,
        scope: &Arc<Scope>,
        checks: Vec<Check>,
    ) -> Result<Vec<Result<Permit<O>, Refusal>>, Refusal> {
        let span = tracing::info_span!("authorize", checks = checks.len());
        let (records, verdicts) = self.weigh(scope, &checks).instrument(span).await?;
        scope.append(records).await?;
        scope.settle().await?;
        Ok(verdicts
            .into_iter()
            .map(|refusal| refusal.map_or_else(|| Ok(self.permit(scope)), Err))
            .collect())
    }

    fn permit<O>(&self, scope: &Arc<Scope>) -> Permit<O> {
        Permit::granted(self.store.clone(), Arc::clone(&self.keys), Arc::clone(scope))
    }

    /// Evaluates every check: what the log must have of it, and the refusal of each, or none.
    async fn weigh(
        &self,
        scope: &Arc<Scope>,
        checks: &[Check],
    ) -> Result<(Vec<Record>, Vec<Option<Refusal>>), Refusal> {
        let anonymous = crate::iam::anonymous();
        let principal = scope.actor().map_or(&anonymous, |actor| &actor.principal);
        let mut records = Vec::with_capacity(checks.len());
        let mut refusals = Vec::with_capacity(checks.len());
        for check in checks {
            let (record, refusal, trial) = self.decide_one(scope, principal, check).await?;
            records.push(record);
            records.extend(trial);
            refusals.push(refusal);
        }
        Ok((records, refusals))
    }

    async fn decide_one(
        &self,
        scope: &Scope,
        principal: &Principal,
        check: &Check,
    ) -> Result<(Record, Option<Refusal>, Option<Record>), Refusal> {
        let started = Instant::now();
        let set = self.sets.of(&self.iam, principal, bucket_of(&check.resource)).await?;
        let mut request = Request {
            action: check.action.clone(),
            resource: check.resource.clone(),
            principal: principal.clone(),
            context: check.context.clone(),
        };
        if set.reads_object_tags {
            self.add_object_tags(&mut request).await;
        }
        let evaluated = Instant::now();
        let decision = evaluate(&set.policies, &request);
        scope.metrics.decision(evaluated.elapsed().as_secs_f64());
        let mut record = scope.record(check.class, check.action.as_str());
        record.phase = Phase::Decision;
        record.resources = vec![touched(&check.resource)];
        record.params.clone_from(&check.params);
        let trial =
            set.shadow.as_ref().and_then(|shadow| tried(scope, shadow, &request, &decision));
        let trial = trial.map(|trial| of_decision(trial, &record));
        let named = named(&record, &request.context);
        record.auth = Some(auth_of(&decision, &set.digest, named, started));
        let refusal = (!decision.is_allowed())
            .then(|| Refusal::Denied { event: record.event.to_string(), reason: decision.reason });
        Ok((record, refusal, trial))
    }

    /// Fills `s3:ExistingObjectTag/*` for a policy that asks for it. An unreadable object has no tags.
    async fn add_object_tags(&self, request: &mut Request) {
        let Resource::Object { bucket, key } = &request.resource else { return };
        let (Ok(bucket), Ok(key)) =
            (storage::BucketName::parse(bucket), storage::ObjectKey::parse(key))
        else {
            return;
        };
        if let Ok(info) = self.store.head(&bucket, &key).await {
            for (name, value) in &info.tags {
                request.context.set(&format!("s3:ExistingObjectTag/{name}"), value.clone());
            }
        }
    }
}

/// What policies on trial would have answered, if it is something else: a record that names what would decide. Nothing
/// else comes of it.
fn tried(
    scope: &Scope,
    shadow: &Compiled,
    request: &Request,
    decision: &Decision,
) -> Option<Record> {
    let proposed = evaluate(shadow, request);
    if proposed.is_allowed() == decision.is_allowed() {
        return None;
    }
    let verb = if proposed.is_allowed() { "Allow" } else { "Deny" };
    let mut trial = scope.record(Class::Admin, &format!("policy:Shadow{verb}"));
    trial.resources = vec![touched(&request.resource)];
    trial.params.insert("action".into(), request.action.to_string());
    // Without a digest: this is no decision that could be replayed.
    trial.auth = Some(auth_of(&proposed, "", Named::default(), Instant::now()));
    Some(trial)
}

/// Names the decision that a trial stands beside.
fn of_decision(mut trial: Record, decision: &Record) -> Record {
    trial.params.insert("decision".into(), decision.event.to_string());
    trial
}

fn bucket_of(resource: &Resource) -> Option<&str> {
    match resource {
        Resource::Bucket(bucket) | Resource::Object { bucket, .. } => Some(bucket),
        _ => None,
    }
}

/// The resource of a check as the log names it.
#[must_use]
pub fn touched(resource: &Resource) -> Touched {
    let (bucket, key) = match resource {
        Resource::Bucket(bucket) => (Some(bucket.clone()), None),
        Resource::Object { bucket, key } => (Some(bucket.clone()), Some(key.clone())),
        _ => (None, None),
    };
    Touched { bucket, key, arn: Some(resource.arn()), ..Touched::default() }
}

/// The condition keys that a record names, and whether its other members imply more.
#[derive(Debug, Default)]
struct Named {
    ctx: BTreeMap<String, Vec<String>>,
    implied: bool,
}

/// What a decision record has to name of the keys of its request.
fn named(record: &Record, context: &Context) -> Named {
    let rest = implied_by(record).rest(context);
    let implied = rest.is_some();
    let keys = rest.unwrap_or_else(|| context.iter().collect());
    let owned = |(key, values): (&str, &[String])| (key.to_owned(), values.to_vec());
    Named { ctx: keys.into_iter().map(owned).collect(), implied }
}

fn implied_by(record: &Record) -> Implied<'_> {
    let (principal, net) = (record.principal.as_deref(), record.net.as_deref());
    let of_principal = |member: fn(&audit::Principal) -> &Option<String>| {
        principal.and_then(|principal| member(principal).as_deref())
    };
    Implied {
        event_s: Some(record.event.unix_ms() / 1000),
        account: of_principal(|principal| &principal.account),
        arn: of_principal(|principal| &principal.arn),
        name: of_principal(|principal| &principal.name),
        parent: of_principal(|principal| &principal.parent),
        kind: principal.map(|principal| principal.kind.as_str()),
        sig: principal.map(|principal| principal.sig.as_str()),
        src: net.map(|net| net.src.as_str()),
        tls: net.and_then(|net| net.tls.as_deref()),
        ua: net.and_then(audit::Net::whole_ua),
    }
}

fn auth_of(decision: &Decision, digest: &str, named: Named, started: Instant) -> Auth {
    let decided = match decision.reason {
        Reason::EngineError => Verdict::Error,
        _ if decision.is_allowed() => Verdict::Allow,
        _ => Verdict::Deny,
    };
    let mut by: Vec<Matched> = decision
        .by
        .iter()
        .map(|statement| Matched {
            id: statement.id(),
            sid: statement.sid.as_deref().map(Into::into),
            ver: None,
        })
        .collect();
    by.extend(decision.denials.iter().map(|denial| Matched {
        id: format!("guardrail:{}", denial.id),
        sid: None,
        ver: None,
    }));
    Auth {
        decision: decided,
        reason: decision.reason.as_str().into(),
        by,
        digest: digest.into(),
        ctx: named.ctx,
        implied: named.implied,
        us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
