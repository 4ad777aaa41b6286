//! What a change means for every request there can be, whether or not one was recorded.

mod named;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::anyhow;
use policy_lab::analyze::{
    Access, Asker, Difference, Others, Verdict as Proof, Within, World, differences, no_more_than,
    request_line,
};
use policy_lab::replay::{CALLER_KEYS, Change, Class, Export, caller_context};
use policy_lab::{Attached, Context, Guardrails, PolicySet, Principal, Profile};

/// Findings of both directions, each with what it is about; and what could not be compared.
pub(super) struct Beyond {
    found: Vec<(String, Difference)>,
    left: Vec<String>,
}

impl Beyond {
    /// `None`: a world stands among other changes, so that nobody can say what is compared.
    pub(super) fn of(
        old: &[Change],
        new: &[Change],
        profile: Profile,
    ) -> anyhow::Result<Option<Self>> {
        let all = |found| Ok(Some(Self { found, left: Vec::new() }));
        match (old, new) {
            ([Change::World(old)], [Change::World(new)]) => return all(between(old, new)),
            ([Change::World(old)], new) => return all(between(old, &old.changed(new, profile)?)),
            (old, [Change::World(new)]) => return all(between(&new.changed(old, profile)?, new)),
            _ => {}
        }
        if let Some((old, new)) = access(old)?.zip(access(new)?) {
            return all(vec![(String::new(), differences(&old, &new, World::S3))]);
        }
        named::compare(old, new).map(|found| found.map(|(found, left)| Self { found, left }))
    }

    /// Whether there is a request of such a change.
    pub(super) fn has(&self, class: Class) -> bool {
        let is_found = |proof: &Proof| matches!(proof, Proof::Refuted(_));
        let is_open = |proof: &Proof| matches!(proof, Proof::Unknown(_));
        let found = self.found.iter().any(|(_, Difference { gained, lost })| match class {
            Class::NewlyAllowed => is_found(gained),
            Class::NewlyDenied => is_found(lost),
            Class::Unknown => is_open(gained) || is_open(lost),
            _ => false,
        });
        found || class == Class::Unknown && !self.left.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (what, gains) in [("newly allowed", true), ("newly denied", false)] {
            let proofs = self
                .found
                .iter()
                .map(|(who, Difference { gained, lost })| (who, if gains { gained } else { lost }));
            let mut is_none = true;
            for (who, proof) in proofs {
                let to = if who.is_empty() { String::new() } else { format!(" {who}") };
                // Writing to a string does not fail.
                let _ = match proof {
                    Proof::Proved => continue,
                    Proof::Unknown(limit) => {
                        writeln!(text, "of all requests, {what}{to}: unknown, {limit}")
                    }
                    Proof::Refuted(found) => {
                        let line = request_line(&found.request);
                        writeln!(text, "of all requests, {what}{to}: for example\n{line}")
                    }
                };
                is_none = false;
            }
            if is_none && !self.found.is_empty() {
                let _ = writeln!(text, "of all requests, {what}: none");
            }
        }
        for left in &self.left {
            let _ = writeln!(text, "not compared: {left} is given on one side only");
        }
        text
    }
}

/// The policies of everybody, if the changes say them whole.
fn access(changes: &[Change]) -> anyhow::Result<Option<Access>> {
    let mut access = Access::default();
    let mut sources = Vec::new();
    for change in changes {
        match change {
            Change::Identity(policies) => access.policies.identity.clone_from(policies),
            Change::Bucket { bucket, policy } if access.bucket.is_none() => {
                access.bucket = Some(bucket.clone());
                access.policies.bucket = Some(policy.clone());
            }
            Change::Guardrail { name, text } => sources.push((name.clone(), text.clone())),
            Change::Guardrails(all) => sources.clone_from(all),
            _ => return Ok(None),
        }
    }
    if !sources.is_empty() {
        let loaded = Guardrails::load(sources).map_err(|error| anyhow!("{error}"))?;
        access.policies.guardrails = Some(Arc::new(loaded));
    }
    Ok(Some(access))
}

/// Every caller of either world.
fn between(old: &Export, new: &Export) -> Vec<(String, Difference)> {
    let mut callers = BTreeMap::new();
    for principal in old.principals().chain(new.principals()) {
        callers.insert(principal.name.clone(), principal);
    }
    let anonymous = Principal::anonymous("000000000000");
    let callers = callers.into_values().chain([anonymous]);
    callers.map(|caller| (format!("to {}", caller.name), of_caller(old, new, caller))).collect()
}

/// A user who is not in one of the worlds, or disabled there, has nothing in it.
fn of_caller(old: &Export, new: &Export, caller: Principal) -> Difference {
    let caller = Principal { groups: Vec::new(), ..caller };
    let same_guardrails = old.text().guardrails == new.text().guardrails;
    let mut buckets: Vec<&String> =
        old.text().buckets.keys().chain(new.text().buckets.keys()).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let rest = Within::Outside(buckets.iter().map(|name| (*name).clone()).collect());
    let named = buckets.into_iter().map(|name| Within::Bucket(name.clone()));
    let known = CALLER_KEYS.into_iter().filter(|key| *key != "aws:groups");
    let asker = Asker {
        context: caller_context(&Context::new(), &caller),
        principal: caller,
        others: Others::OpenBut(known.map(str::to_owned).collect()),
    };
    let mut all = Difference { gained: Proof::Proved, lost: Proof::Proved };
    for within in named.chain([rest]) {
        let of = |export: &Export| {
            let bucket = match &within {
                Within::Bucket(name) => Some(name.as_str()),
                Within::Outside(_) => None,
            };
            let is_there = export.principals().any(|there| there.name == asker.principal.name);
            let mut policies = export.policies(&asker.principal, bucket);
            if !is_there {
                policies.identity.clear();
            }
            Access { policies, bucket: bucket.map(str::to_owned) }
        };
        let (old, new) = (of(old), of(new));
        if same_guardrails && digests(&old.policies) == digests(&new.policies) {
            continue;
        }
        keep(&mut all.gained, || no_more_than(&new, &old, &asker, &within));
        keep(&mut all.lost, || no_more_than(&old, &new, &asker, &within));
    }
    all
}

/// A request that was found stays; a doubt stays until one is found.
fn keep(kept: &mut Proof, ask: impl FnOnce() -> Proof) {
    if matches!(kept, Proof::Refuted(_)) {
        return;
    }
    match ask() {
        Proof::Proved => {}
        proof => *kept = proof,
    }
}

fn digests(set: &PolicySet) -> Vec<[u8; 32]> {
    let of = |attached: &Attached| attached.policy.digest();
    set.identity.iter().chain(&set.bucket).map(of).collect()
}
