//! The policies in force for a principal on a bucket, prepared once and kept until something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use policy_lab::{Attached, Compiled, Guardrails, PolicySet, Principal};

use crate::guardrails::Rules;
use crate::iam::Iam;
use crate::recorder::{Recorder, Unfiled};

/// Prepared sets kept at most; the map is emptied when it is full (a set is cheap to make again).
const PREPARED_MAX: usize = 4096;

/// A policy set with what each decision needs of it besides evaluation.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) policies: Compiled,
    /// The same with what is on trial, if anything in it is.
    pub(super) shadow: Option<Compiled>,
    /// Hex of the set's digest. Its manifest and documents are blobs of the log.
    pub(super) digest: String,
    /// A document asks for tags of the stored object.
    pub(super) reads_object_tags: bool,
}

/// The sets by principal and bucket.
///
/// Ownership: `state` belongs to this type alone; it is held for map operations, never over an await.
#[derive(Debug)]
pub(super) struct Sets {
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    prepared: HashMap<(String, String), Arc<Prepared>>,
    buckets: HashMap<String, Attached>,
    rules: Rules,
    /// Grows with each change, so that a set made from older facts is not kept.
    epoch: u64,
}

impl Sets {
    pub(super) fn new(recorder: Arc<Recorder>, rules: Rules) -> Self {
        Self { recorder, state: Mutex::new(State { rules, ..State::default() }) }
    }

    /// The guardrails in force.
    pub(super) fn guardrails(&self) -> Option<Arc<Guardrails>> {
        self.lock().rules.guardrails.clone()
    }

    /// Replaces guardrails and shadow policies.
    pub(super) fn set_rules(&self, rules: Rules) {
        let mut state = self.lock();
        state.rules = rules;
        state.prepared.clear();
        state.epoch += 1;
    }

    pub(super) fn set_bucket_policy(&self, bucket: &str, policy: Option<Attached>) {
        let mut state = self.lock();
        state.prepared.clear();
        state.epoch += 1;
        match policy {
            Some(policy) => state.buckets.insert(bucket.to_owned(), policy),
            None => state.buckets.remove(bucket),
        };
    }

    pub(super) fn bucket_policies(&self) -> BTreeMap<String, Attached> {
        self.lock().buckets.iter().map(|(name, policy)| (name.clone(), policy.clone())).collect()
    }

    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.prepared.clear();
        state.epoch += 1;
    }

    /// The set for a principal on a bucket; made, and its documents put into the log's blobs, on first use.
    pub(super) async fn of(
        &self,
        identities: &Iam,
        principal: &Principal,
        bucket: Option<&str>,
    ) -> Result<Arc<Prepared>, Unfiled> {
        let name = (principal.arn.clone(), bucket.unwrap_or_default().to_owned());
        let (epoch, bucket_policy, rules) = {
            let state = self.lock();
            if let Some(prepared) = state.prepared.get(&name) {
                return Ok(Arc::clone(prepared));
            }
            let policy = bucket.and_then(|bucket| state.buckets.get(bucket).cloned());
            (state.epoch, policy, state.rules.clone())
        };
        // ORDER: the epoch before the identities. A change in between makes the epochs differ, and the set is used once
        // and not kept; the other way round a revoked right could be kept under the new epoch.
        let identities = identities.snapshot();
        let policies = PolicySet {
            identity: identities.identity_policies(principal),
            bucket: bucket_policy,
            boundary: None,
            session: identities.session_policy(principal),
            guardrails: rules.guardrails,
        };
        let shadow = rules.shadow.and_then(|shadow| shadow.apply(&policies, bucket));
        let prepared = Arc::new(self.prepare(policies, shadow).await?);
        let mut state = self.lock();
        if state.epoch == epoch {
            if state.prepared.len() >= PREPARED_MAX {
                state.prepared.clear();
            }
            state.prepared.insert(name, Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    async fn prepare(
        &self,
        policies: PolicySet,
        shadow: Option<PolicySet>,
    ) -> Result<Prepared, Unfiled> {
        let reads_object_tags = std::iter::once(&policies).chain(&shadow).any(reads_object_tags);
        // ORDER: the documents before the manifest that names them, the manifest before any record with its digest.
        let documents = policies.documents().map(|(_, source)| source.to_owned());
        let blobs = documents.chain(std::iter::once(policies.manifest())).collect();
        self.recorder.put_blobs(blobs).await?;
        let digest = hex::encode(policies.digest());
        let (policies, shadow) = (Compiled::new(policies), shadow.map(Compiled::new));
        Ok(Prepared { policies, shadow, digest, reads_object_tags })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reads_object_tags(policies: &PolicySet) -> bool {
    policies
        .documents()
        .any(|(_, source)| source.to_ascii_lowercase().contains("existingobjecttag/"))
}
