//! Expectations about many requests at once: proved for every one of them, never sampled.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use policy_lab::analyze::{
    Access, Asker, Grant, Others, Outcome, Verdict, Within, always, by_bucket, no_more_than,
    not_public, request_line,
};
use policy_lab::pattern::fits;
use policy_lab::replay::{CALLER_KEYS, Change, Export, caller_context};
use policy_lab::{Attached, Context, Guardrails, PolicySet, Principal};

/// Whose policies are asked about.
pub(super) enum Subject {
    World(Arc<Export>),
    /// Everybody has the same.
    Everybody {
        identity: Vec<Attached>,
        buckets: Vec<(String, Attached)>,
        guardrails: Option<Arc<Guardrails>>,
    },
}

impl Subject {
    pub(super) fn of_policies(changes: Vec<Change>) -> anyhow::Result<Self> {
        let (mut identity, mut buckets, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Identity(policies) => identity.extend(policies),
                Change::Named(policy) => identity.push(policy),
                Change::Bucket { bucket, policy } => buckets.push((bucket, policy)),
                Change::Guardrail { name, text } => sources.push((name, text)),
                Change::Guardrails(all) => sources = all,
                Change::World(_) => bail!("a world is given as `world`"),
            }
        }
        let guardrails = match sources.is_empty() {
            true => None,
            false => Some(Arc::new(Guardrails::load(sources).map_err(|error| anyhow!("{error}"))?)),
        };
        Ok(Self::Everybody { identity, buckets, guardrails })
    }

    /// One for each bucket with a policy, one for the rest.
    fn accesses(&self, caller: &Principal) -> Vec<(Access, Within)> {
        match self {
            Self::World(export) => by_bucket(export, caller),
            Self::Everybody { identity, buckets, guardrails } => {
                let set = PolicySet {
                    identity: identity.clone(),
                    guardrails: guardrails.clone(),
                    ..PolicySet::default()
                };
                let named = buckets.iter().map(|(name, policy)| {
                    let policies = PolicySet { bucket: Some(policy.clone()), ..set.clone() };
                    let bucket = Some(name.clone());
                    (Access { policies, bucket }, Within::Bucket(name.clone()))
                });
                let names = buckets.iter().map(|(name, _)| name.clone()).collect();
                let rest = Access { policies: set.clone(), bucket: None };
                named.chain([(rest, Within::Outside(names))]).collect()
            }
        }
    }

    /// Buckets with a policy, with what an anonymous caller has there.
    fn buckets(&self) -> Vec<(String, Access)> {
        let anonymous = Principal::anonymous("000000000000");
        let named = |(access, within)| match within {
            Within::Bucket(name) => Some((name, access)),
            Within::Outside(_) => None,
        };
        self.accesses(&anonymous).into_iter().filter_map(named).collect()
    }
}

/// A pattern of resources, `bucket/prefix*`: many requests.
pub(super) fn is_pattern(resource: &str) -> bool {
    resource != "*" && resource.contains(['*', '?'])
}

/// `arn:aws:s3:::…` of a path.
fn arn(resource: &str) -> String {
    match resource.strip_prefix("arn:aws:s3:::") {
        _ if resource == "*" => resource.to_owned(),
        Some(_) => resource.to_owned(),
        None => format!("arn:aws:s3:::{resource}"),
    }
}

/// What is wrong with "every request of the pattern, with this context, is decided so"; `None` if it is proved.
pub(super) fn every(
    subject: &Subject,
    asker: &Asker,
    action: &str,
    resource: &str,
    outcome: Outcome,
) -> anyhow::Result<Option<String>> {
    let grant = Grant::new(&[action.to_owned()], &[arn(resource)], None)?;
    let parts = parts(subject.accesses(&asker.principal), resource);
    let ask = |outcome| {
        let grant = &grant;
        parts.iter().map(move |(access, within)| always(access, asker, grant, within, outcome))
    };
    if ask(Outcome::None).all(|verdict| verdict == Verdict::Proved) {
        return Ok(Some(format!("no request is {action} on {resource}")));
    }
    Ok(fault(ask(outcome)))
}

/// Nobody but the excepted may do any of this, whatever else the request says; one fault for each who may.
pub(super) fn nobody_else(
    export: &Arc<Export>,
    excepted: &dyn Fn(&str) -> bool,
    action: &str,
    resource: &str,
) -> anyhow::Result<Vec<String>> {
    let grant = Grant::new(&[action.to_owned()], &[arn(resource)], None)?;
    let account = match export.text().account.as_str() {
        "" => "000000000000",
        account => account,
    };
    let mut faults = Vec::new();
    for principal in export.principals().chain([Principal::anonymous(account)]) {
        if excepted(&principal.name) {
            continue;
        }
        let asker = unknown_request(principal);
        let parts = parts(by_bucket(export, &asker.principal), resource);
        let verdicts = parts
            .iter()
            .map(|(access, within)| always(access, &asker, &grant, within, Outcome::Denied));
        faults.extend(fault(verdicts).map(|fault| format!("{}: {fault}", asker.principal.name)));
    }
    Ok(faults)
}

/// A caller of whose request nothing is known but what follows from who calls.
fn unknown_request(principal: Principal) -> Asker {
    Asker {
        context: caller_context(&Context::new(), &principal),
        principal,
        others: Others::OpenBut(CALLER_KEYS.map(str::to_owned).to_vec()),
    }
}

/// No bucket whose name fits the pattern lets anonymous callers in; with what was asked.
pub(super) fn none_public(subject: &Subject, buckets: &str) -> Vec<(String, Option<String>)> {
    let meant = subject.buckets().into_iter().filter(|(name, _)| fits(buckets, name));
    meant
        .map(|(name, access)| {
            let verdict = not_public(&access, policy_lab::analyze::World::S3);
            (name, fault([verdict]))
        })
        .collect()
}

/// What this caller is allowed beyond a policy.
pub(super) fn beyond(subject: &Subject, caller: Principal, limit: &Access) -> Option<String> {
    let asker = unknown_request(caller);
    let accesses = subject.accesses(&asker.principal);
    fault(accesses.iter().map(|(access, within)| no_more_than(access, limit, &asker, within)))
}

/// Only the parts where the pattern's bucket can be.
fn parts(accesses: Vec<(Access, Within)>, resource: &str) -> Vec<(Access, Within)> {
    let path = resource.strip_prefix("arn:aws:s3:::").unwrap_or(resource);
    let bucket = path.split('/').next().filter(|name| !name.contains(['*', '?']));
    let can_be = |(_, within): &(Access, Within)| match (bucket, within) {
        (None, _) => true,
        (Some(bucket), Within::Bucket(name)) => bucket == name,
        (Some(bucket), Within::Outside(names)) => names.iter().all(|name| name != bucket),
    };
    accesses.into_iter().filter(can_be).collect()
}

/// What is wrong: a request, or that there is no sure answer.
fn fault(verdicts: impl IntoIterator<Item = Verdict>) -> Option<String> {
    let mut open = None;
    for verdict in verdicts {
        match verdict {
            Verdict::Proved => {}
            Verdict::Refuted(found) => {
                return Some(format!(
                    "{} is decided {}: {}",
                    request_line(&found.request),
                    found.decision.effect.as_str(),
                    policy_lab::replay::reasons(&found.decision)
                ));
            }
            Verdict::Unknown(limit) => open = Some(format!("not proved: {limit}")),
        }
    }
    open
}
