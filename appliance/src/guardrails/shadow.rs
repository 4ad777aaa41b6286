//! Policies on trial: asked about live requests, never obeyed.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use policy_lab::{Attached, DocumentKind, Guardrails, Policy, PolicySet};

use super::{Files, Source};

/// Proposed policies, compiled.
#[derive(Debug)]
pub struct Shadow {
    /// In place of those attached under their names.
    policies: HashMap<String, Attached>,
    buckets: HashMap<String, Attached>,
    /// Those in force and those on trial; `None` when no guardrail is on trial.
    guardrails: Option<Arc<Guardrails>>,
}

impl Shadow {
    /// `None` when nothing is on trial.
    pub(super) fn compile(files: &Files) -> anyhow::Result<Option<Self>> {
        let guardrails = match files.shadow_guardrails.is_empty() {
            true => None,
            false => {
                let on_trial = files
                    .shadow_guardrails
                    .iter()
                    .map(|(name, text)| (format!("shadow/{name}"), text.clone()));
                let all = files.enforced.iter().cloned().chain(on_trial).collect();
                Some(Arc::new(Guardrails::load(all).context("loading the shadow guardrails")?))
            }
        };
        let policies = attached(&files.shadow_policies, DocumentKind::Identity)?;
        let buckets = attached(&files.shadow_buckets, DocumentKind::Bucket)?;
        let is_empty = guardrails.is_none() && policies.is_empty() && buckets.is_empty();
        Ok((!is_empty).then_some(Self { policies, buckets, guardrails }))
    }

    /// The set as it would be; `None` if nothing in it is on trial.
    #[must_use]
    pub fn apply(&self, set: &PolicySet, bucket: Option<&str>) -> Option<PolicySet> {
        let mut proposed = set.clone();
        let mut changes = false;
        let places = proposed.identity.iter_mut().chain(&mut proposed.boundary);
        for place in places {
            if let Some(policy) = self.policies.get(&*place.name) {
                *place = policy.clone();
                changes = true;
            }
        }
        if let Some(policy) = bucket.and_then(|bucket| self.buckets.get(bucket)) {
            proposed.bucket = Some(policy.clone());
            changes = true;
        }
        if let Some(guardrails) = &self.guardrails {
            proposed.guardrails = Some(Arc::clone(guardrails));
            changes = true;
        }
        changes.then_some(proposed)
    }
}

/// Policies by the stem of their file.
fn attached(sources: &[Source], kind: DocumentKind) -> anyhow::Result<HashMap<String, Attached>> {
    sources
        .iter()
        .map(|(file, text)| {
            let name = file.strip_suffix(".json").unwrap_or(file);
            let policy = Policy::parse(text, kind)
                .with_context(|| format!("loading the shadow policy `{file}`"))?;
            let attached = Attached { name: Arc::from(name), policy: Arc::new(policy) };
            Ok((name.to_owned(), attached))
        })
        .collect()
}
