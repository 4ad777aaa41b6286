//! Invariants: what holds of a whole world, whatever is asked.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use policy_lab::analyze::Access;
use policy_lab::replay::{Can, Export, who_can};
use policy_lab::{Action, Attached, Context, DocumentKind, PolicySet, Principal, canned};
use serde::Deserialize;

use super::proved::{self, Subject};
use super::{Case, Report};
use crate::cli::{input, who_can as arguments};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Invariant {
    #[serde(alias = "no-one-except")]
    nobody_except: Option<Vec<String>>,
    may: Option<Vec<String>>,
    on: Option<String>,
    not_public: Option<String>,
    no_more_permissive_than: Option<String>,
    /// Names of users; everybody if it is not there.
    #[serde(rename = "for")]
    of: Option<Vec<String>>,
}

impl Invariant {
    /// Adds one case for each thing that is asked.
    pub(super) fn check(
        self,
        subject: &Subject,
        base: &Path,
        file: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut case = |name: String, fault: Option<String>| {
            report.cases.push(Case { file: file.to_owned(), name, fault });
        };
        match self {
            Self {
                nobody_except: Some(excepted),
                may: Some(may),
                on: Some(on),
                not_public: None,
                no_more_permissive_than: None,
                of: None,
            } => {
                let Subject::World(export) = subject else {
                    bail!("{file}: who may what needs a `world`")
                };
                for action in may {
                    let fault = others(export, &excepted, &action, &on)
                        .map_err(|error| anyhow!("{file}: {error:#}"))?;
                    case(format!("nobody else may {action} on {on}"), fault);
                }
            }
            Self {
                nobody_except: None,
                may: None,
                on: None,
                not_public: Some(buckets),
                no_more_permissive_than: None,
                of: None,
            } => {
                let found = proved::none_public(subject, &buckets);
                if found.is_empty() {
                    let fault = "no such bucket has a policy, so none is public".to_owned();
                    // A name that is misspelt must not pass; a pattern may well find nothing.
                    let fault = (!buckets.contains(['*', '?'])).then_some(fault);
                    case(format!("{buckets} is not public"), fault);
                }
                for (name, fault) in found {
                    case(format!("{name} is not public"), fault);
                }
            }
            Self {
                nobody_except: None,
                may: None,
                on: None,
                not_public: None,
                no_more_permissive_than: Some(limit),
                of,
            } => {
                let access = policy(&limit, base)?;
                for caller in callers(subject, of)? {
                    let name = format!("{} is allowed no more than {limit}", caller.name);
                    case(name, proved::beyond(subject, caller, &access));
                }
            }
            _ => bail!(
                "{file}: an invariant is `nobody-except`, `may` and `on`, or `not-public`, or \
                 `no-more-permissive-than` with or without `for`"
            ),
        }
        Ok(())
    }
}

/// Who else may. One action on one resource is asked of the evaluator, patterns are proved.
fn others(
    export: &Arc<Export>,
    excepted: &[String],
    action: &str,
    resource: &str,
) -> anyhow::Result<Option<String>> {
    let is_excepted =
        |name: &str| excepted.iter().any(|who| who.strip_prefix("user/").unwrap_or(who) == name);
    if proved::is_pattern(resource) || action.contains(['*', '?']) {
        let faults = proved::nobody_else(export, &is_excepted, action, resource)?;
        return Ok((!faults.is_empty()).then(|| format!("may too: {}", faults.join("; "))));
    }
    let parsed = Action::parse(action).map_err(|error| anyhow!("{error}"))?;
    let resource = arguments::resource(resource)?;
    let others: Vec<_> = who_can(export, &parsed, &resource, &Context::new())
        .into_iter()
        .filter(|access| access.answer != Can::No && access.because != "admin-bypass")
        .filter(|access| !is_excepted(&access.principal))
        .map(|access| match access.answer {
            Can::Depends(keys) => {
                format!("{} (depending on {})", access.principal, keys.join(" "))
            }
            _ => format!("{} ({})", access.principal, access.because),
        })
        .collect();
    Ok((!others.is_empty()).then(|| format!("may too: {}", others.join(", "))))
}

/// A canned policy, or a file beside the one that names it.
fn policy(name: &str, base: &Path) -> anyhow::Result<Access> {
    let attached = match canned::attached(name) {
        Some(attached) => attached,
        None => {
            let path = base.join(name);
            let policy = input::policy(&path, DocumentKind::Identity)?;
            Attached { name: Arc::from(name), policy: Arc::new(policy) }
        }
    };
    let policies = PolicySet { identity: vec![attached], ..PolicySet::default() };
    Ok(Access { policies, bucket: None })
}

fn callers(subject: &Subject, names: Option<Vec<String>>) -> anyhow::Result<Vec<Principal>> {
    let Subject::World(export) = subject else {
        let names = names.unwrap_or_else(|| vec!["anybody".to_owned()]);
        let plain = |name: &String| name.strip_prefix("user/").unwrap_or(name).to_owned();
        return Ok(names.iter().map(|n| Principal::user("000000000000", &plain(n))).collect());
    };
    let Some(names) = names else { return Ok(export.principals().collect()) };
    let find = |name: &String| {
        let plain = name.strip_prefix("user/").unwrap_or(name);
        export
            .principals()
            .find(|principal| principal.name == plain)
            .ok_or_else(|| anyhow!("the world has no enabled user `{plain}`"))
    };
    names.iter().map(find).collect()
}
