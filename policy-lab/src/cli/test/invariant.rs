//! Invariants: what holds of a whole world, whatever is asked.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use policy_lab::analyze::Access;
use policy_lab::replay::{Can, Export, who_can};
use policy_lab::yaml::Node;
use policy_lab::{Action, Attached, Context, DocumentKind, PolicySet, Principal, canned};

use super::fields::Fields;
use super::proved::{self, Subject};
use super::{Case, Report};
use crate::cli::{input, who_can as arguments};

const MEMBERS: [&str; 7] =
    ["nobody-except", "no-one-except", "may", "on", "not-public", "no-more-permissive-than", "for"];

const FORMS: &str = "an invariant is `nobody-except`, `may` and `on`, or `not-public`, or `no-more-permissive-than` with or \
                     without `for`";

/// What is asked.
enum Question {
    /// Nobody but these may do these on that.
    NobodyExcept {
        excepted: Vec<String>,
        may: Vec<String>,
        on: String,
    },
    NotPublic(String),
    /// `of`: names of users; everybody if it is not there.
    NoMoreThan {
        limit: String,
        of: Option<Vec<String>>,
    },
}

pub(super) struct Invariant<'a> {
    file: &'a str,
    /// Where everything stands.
    fields: Fields<'a>,
    question: Question,
}

impl<'a> Invariant<'a> {
    pub(super) fn read(file: &'a str, node: &'a Node) -> anyhow::Result<Self> {
        let fields = Fields::of(file, "an invariant", node, &MEMBERS)?;
        let excepted = match fields.texts("nobody-except")? {
            Some(excepted) => Some(excepted),
            None => fields.texts("no-one-except")?,
        };
        let (may, on) = (fields.texts("may")?, fields.text("on", "records/*")?);
        let public = fields.text("not-public", "\"*\"")?;
        let limit = fields.text("no-more-permissive-than", "readwrite")?;
        let of = fields.texts("for")?;
        let question = match (excepted, may, on, public, limit, of) {
            (Some(excepted), Some(may), Some(on), None, None, None) => {
                Question::NobodyExcept { excepted, may, on }
            }
            (None, None, None, Some(buckets), None, None) => Question::NotPublic(buckets),
            (None, None, None, None, Some(limit), of) => Question::NoMoreThan { limit, of },
            _ => return Err(fields.whole("it is not clear what shall hold", FORMS)),
        };
        Ok(Self { file, fields, question })
    }

    /// Adds one case for each thing that is asked.
    pub(super) fn check(
        self,
        subject: &Subject,
        base: &Path,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let Self { file, fields, question } = self;
        let mut case = |name: String, fault: Option<String>| {
            report.cases.push(Case { file: file.to_owned(), name, fault });
        };
        match question {
            Question::NobodyExcept { excepted, may, on } => {
                let Subject::World(export) = subject else {
                    let hint = "give the file a `world` in place of `policies`";
                    return Err(fields.whole("who may what needs a world", hint));
                };
                for action in may {
                    let hint = "write actions of this server, and `bucket` or `bucket/key`";
                    let fault = others(export, &excepted, &action, &on)
                        .map_err(fields.blame("may", hint))?;
                    case(format!("nobody else may {action} on {on}"), fault);
                }
            }
            Question::NotPublic(buckets) => {
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
            Question::NoMoreThan { limit, of } => {
                let name = "no-more-permissive-than";
                let access = policy(&limit, base).map_err(fields.blame(name, ""))?;
                let hint = "name users as the world has them";
                for caller in callers(subject, of).map_err(fields.blame("for", hint))? {
                    let name = format!("{} is allowed no more than {limit}", caller.name);
                    case(name, proved::beyond(subject, caller, &access));
                }
            }
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
