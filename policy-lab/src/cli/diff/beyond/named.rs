//! Policies that are told apart by their names, of which nobody says who has them.
//!
//! A named policy is one of several that somebody may have, and a bucket's policy holds beside any of them. Of one request
//! all that matters of the others is whether they allow it. So each is compared twice: beside nothing, which shows what it
//! allows, and beside a policy that allows everything, which shows what it denies; together that is exact.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use policy_lab::analyze::{Access, Difference, Verdict as Proof, World, differences};
use policy_lab::replay::Change;
use policy_lab::{Attached, DocumentKind, Guardrails, Policy, PolicySet};

use super::keep;

/// What one side says.
#[derive(Default)]
struct Side {
    everybody: Option<Vec<Attached>>,
    named: BTreeMap<String, Attached>,
    buckets: BTreeMap<String, Attached>,
    sources: Vec<(String, String)>,
}

type Found = (Vec<(String, Difference)>, Vec<String>);

/// `None`: one side holds a world.
pub(super) fn compare(old: &[Change], new: &[Change]) -> anyhow::Result<Option<Found>> {
    let (Some(old), Some(new)) = (Side::of(old), Side::of(new)) else { return Ok(None) };
    let mut left = Vec::new();
    if old.everybody.is_some() != new.everybody.is_some() {
        left.push("what everybody has".to_owned());
    }
    if old.sources.is_empty() != new.sources.is_empty() {
        left.push("a guardrail".to_owned());
    }
    let guardrails = |side: &Side| -> anyhow::Result<Option<Arc<Guardrails>>> {
        if side.sources.is_empty() {
            return Ok(None);
        }
        let loaded = Guardrails::load(side.sources.clone()).map_err(|error| anyhow!("{error}"))?;
        Ok(Some(Arc::new(loaded)))
    };
    let (old_guardrails, new_guardrails) = (guardrails(&old)?, guardrails(&new)?);
    let whole = Policy::parse(
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
        DocumentKind::Identity,
    );
    let whole = Attached {
        name: Arc::from("any other policy"),
        policy: Arc::new(whole.map_err(|e| anyhow!("{e}"))?),
    };
    let either = |old: &Access, new: &Access| {
        let mut all = Difference { gained: Proof::Proved, lost: Proof::Proved };
        for others in [None, Some(whole.clone())] {
            let beside = |access: &Access, guardrails: &Option<Arc<Guardrails>>| {
                let mut access = access.clone();
                access.policies.identity.extend(others.clone());
                access.policies.guardrails.clone_from(guardrails);
                access
            };
            let (old, new) = (beside(old, &old_guardrails), beside(new, &new_guardrails));
            let Difference { gained, lost } = differences(&old, &new, World::S3);
            keep(&mut all.gained, || gained);
            keep(&mut all.lost, || lost);
        }
        all
    };
    let mut found = Vec::new();
    if let (Some(old), Some(new)) = (&old.everybody, &new.everybody) {
        let access = |policies: &Vec<Attached>| Access {
            policies: PolicySet { identity: policies.clone(), ..PolicySet::default() },
            bucket: None,
        };
        found.push(("to everybody".to_owned(), either(&access(old), &access(new))));
    }
    for (name, old, new) in pairs(&old.named, &new.named, "policy", &mut left) {
        let access = |policy: &Attached| Access {
            policies: PolicySet { identity: vec![policy.clone()], ..PolicySet::default() },
            bucket: None,
        };
        found.push((format!("by policy {name}"), either(&access(old), &access(new))));
    }
    for (name, old, new) in pairs(&old.buckets, &new.buckets, "the policy of bucket", &mut left) {
        let access = |policy: &Attached| Access {
            policies: PolicySet { bucket: Some(policy.clone()), ..PolicySet::default() },
            bucket: Some(name.clone()),
        };
        found.push((format!("in bucket {name}"), either(&access(old), &access(new))));
    }
    Ok(Some((found, left)))
}

/// What both sides have under one name; what only one has is noted.
fn pairs<'a>(
    old: &'a BTreeMap<String, Attached>,
    new: &'a BTreeMap<String, Attached>,
    what: &str,
    left: &mut Vec<String>,
) -> Vec<(&'a String, &'a Attached, &'a Attached)> {
    let only_new = new.keys().filter(|name| !old.contains_key(*name));
    let only_old = old.keys().filter(|name| !new.contains_key(*name));
    left.extend(only_old.chain(only_new).map(|name| format!("{what} `{name}`")));
    old.iter().filter_map(|(name, policy)| Some((name, policy, new.get(name)?))).collect()
}

impl Side {
    /// `None`: it holds a world.
    fn of(changes: &[Change]) -> Option<Self> {
        let mut side = Self::default();
        for change in changes {
            match change {
                Change::Identity(policies) => side.everybody = Some(policies.clone()),
                Change::Named(policy) => {
                    side.named.insert(policy.name.to_string(), policy.clone());
                }
                Change::Bucket { bucket, policy } => {
                    side.buckets.insert(bucket.clone(), policy.clone());
                }
                Change::Guardrail { name, text } => side.sources.push((name.clone(), text.clone())),
                Change::Guardrails(all) => side.sources.clone_from(all),
                Change::World(_) => return None,
            }
        }
        Some(side)
    }
}
