//! Which statements traffic used, one by one.
//!
//! Each statement is asked alone, as a policy of its own, so that a statement counts as used also where another one
//! decided.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::bounds::{Answer, Bounds, statements};
use super::{Export, Recorded};
use crate::{Attached, DocumentKind, Effect, Policy, PolicySet, PrincipalKind};

/// How often one statement applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementUse {
    /// `team`, or `bucket:ledger`.
    pub policy: String,
    /// Position in the document, from zero.
    pub index: usize,
    pub sid: Option<String>,
    pub effect: String,
    pub hits: u64,
    /// Requests of which the record does not say whether it applied.
    pub unknown: u64,
    /// The last request it applied to.
    pub last: Option<String>,
}

struct Alone {
    used: StatementUse,
    set: Rc<PolicySet>,
    /// Only requests on this bucket.
    bucket: Option<String>,
    name: Arc<str>,
}

/// Counts uses as requests go by.
pub struct Coverage {
    all: Vec<Alone>,
    bounds: Bounds,
    export: Option<Arc<Export>>,
    /// Names of identity policies by caller.
    held: BTreeMap<String, Vec<Arc<str>>>,
}

impl Coverage {
    /// Every statement of these policies against every request.
    #[must_use]
    pub fn of_policies(policies: &[Attached]) -> Self {
        let all = policies.iter().flat_map(alone).collect();
        Self { all, bounds: Bounds::default(), export: None, held: BTreeMap::new() }
    }

    /// Every policy of a world against the requests of those who have it.
    #[must_use]
    pub fn of_world(export: &Arc<Export>) -> Self {
        let all = export.attached().flat_map(alone).collect();
        let export = Some(Arc::clone(export));
        Self { all, bounds: Bounds::default(), export, held: BTreeMap::new() }
    }

    /// Counts one request. Root's are not counted: no policy decides about root.
    pub fn add(&mut self, event: &Recorded) {
        let principal = &event.request.principal;
        if principal.kind == PrincipalKind::Root {
            return;
        }
        let held = self.export.as_ref().map(|export| {
            self.held
                .entry(principal.arn.clone())
                .or_insert_with(|| {
                    let set = export.policies(principal, None);
                    set.identity.into_iter().map(|attached| attached.name).collect()
                })
                .clone()
        });
        let bucket = event.request.resource.bucket();
        for alone in &mut self.all {
            let concerned = match &alone.bucket {
                Some(of) => bucket == Some(of),
                None => held.as_ref().is_none_or(|held| held.contains(&alone.name)),
            };
            if !concerned {
                continue;
            }
            match self.bounds.decide(&alone.set, event) {
                Answer::Sure(decision) if decision.effect != Effect::ImplicitDeny => {
                    alone.used.hits += 1;
                    alone.used.last = Some(event.id.clone());
                }
                Answer::Sure(_) => {}
                Answer::Unknown(_) => alone.used.unknown += 1,
            }
        }
    }

    /// All statements, in the order of the policies.
    #[must_use]
    pub fn finish(self) -> Vec<StatementUse> {
        self.all.into_iter().map(|alone| alone.used).collect()
    }
}

impl std::fmt::Debug for Coverage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Coverage")
            .field("statements", &self.all.len())
            .finish_non_exhaustive()
    }
}

fn alone(attached: &Attached) -> Vec<Alone> {
    let kind = attached.policy.kind();
    let is_bucket = kind == DocumentKind::Bucket;
    let (document, all) = statements(attached.policy.source());
    let mut found = Vec::new();
    for (index, statement) in all.into_iter().enumerate() {
        let text = |name: &str| statement[name].as_str().map(str::to_owned);
        let used = StatementUse {
            policy: if is_bucket {
                format!("bucket:{}", attached.name)
            } else {
                attached.name.to_string()
            },
            index,
            sid: text("Sid").filter(|sid| !sid.is_empty()),
            effect: text("Effect").unwrap_or_default(),
            hits: 0,
            unknown: 0,
            last: None,
        };
        let mut document = document.clone();
        // An Allow of a bucket policy that names an account only delegates; alone, it applies to nobody.
        document.insert("Statement".to_owned(), Value::Array(vec![statement]));
        let Ok(policy) = Policy::parse(&Value::Object(document).to_string(), kind) else {
            continue;
        };
        let policy = Attached { name: attached.name.clone(), policy: Arc::new(policy) };
        let set = match is_bucket {
            true => PolicySet { bucket: Some(policy), ..PolicySet::default() },
            false => PolicySet { identity: vec![policy], ..PolicySet::default() },
        };
        let bucket = is_bucket.then(|| attached.name.to_string());
        found.push(Alone { used, set: Rc::new(set), bucket, name: attached.name.clone() });
    }
    found
}
