//! Expectations: a world or policies, what is asked, what must come.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use policy_lab::analyze::{Asker, Others, Outcome};
use policy_lab::replay::{Complete, Coverage, Export, Recorded, World, caller_context, decide_one};
use policy_lab::yaml::{self, LINE};
use policy_lab::{Action, Context, Principal, PrincipalKind, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::invariant::Invariant;
use super::proved::{self, Subject};
use super::{Case, Report};
use crate::cli::reading::Reading;
use crate::cli::{input, spec, who_can as arguments};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    version: u32,
    /// Beside the file of expectations.
    world: Option<String>,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    tests: Vec<Value>,
    #[serde(default)]
    invariants: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    name: String,
    principal: String,
    action: String,
    resource: String,
    #[serde(default)]
    given: BTreeMap<String, Values>,
    /// What is not given is absent, unless this says that it is unknown.
    #[serde(default)]
    unknown: Vec<String>,
    expect: Expected,
    because: Option<String>,
}

impl Expectation {
    /// What is given.
    fn context(&self) -> Context {
        let mut given = Context::new();
        for (key, values) in &self.given {
            given.set_many(
                key,
                match values {
                    Values::One(value) => vec![value.clone()],
                    Values::Truth(value) => vec![value.to_string()],
                    Values::Number(value) => vec![value.to_string()],
                    Values::Many(values) => values.clone(),
                },
            );
        }
        given
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Truth(bool),
    Number(i64),
    Many(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Allow,
    Deny,
    ExplicitDeny,
    ImplicitDeny,
    Unknown,
}

/// Runs a file; what it says is added to the report.
pub(super) fn run(path: &Path, reading: Reading, report: &mut Report) -> anyhow::Result<()> {
    let file = path.display().to_string();
    let suite = yaml::json(&input::text(path)?).map_err(|error| anyhow!("{file}:{error}"))?;
    let suite: Suite = typed(serde_json::from_str(&suite).context("reading JSON again")?, &file)?;
    if suite.version != 1 {
        bail!("{file}: version {} is not known, write 1", suite.version);
    }
    let base = path.parent().unwrap_or(Path::new("."));
    let export = match &suite.world {
        Some(world) => Some(reading.export(input::export(&base.join(world))?)?),
        None => None,
    };
    let (world, mut coverage) =
        world(&suite, export.as_ref(), base, reading).with_context(|| file.clone())?;
    let subject = subject(&suite, export.as_ref(), base, reading).with_context(|| file.clone())?;
    for test in suite.tests {
        let expectation: Expectation = typed(test, &file)?;
        let name = expectation.name.clone();
        if proved::is_pattern(&expectation.resource) {
            let fault = proved(&expectation, &subject, export.as_deref())
                .with_context(|| format!("{file}: test `{name}`"))?;
            report.cases.push(Case { file: file.clone(), name, fault });
            continue;
        }
        let event = event(&expectation, export.as_deref())
            .with_context(|| format!("{file}: test `{name}`"))?;
        coverage.add(&event);
        let fault = fault(&expectation, &world, &event)?;
        report.cases.push(Case { file: file.clone(), name, fault });
    }
    for invariant in suite.invariants {
        let invariant: Invariant = typed(invariant, &file)?;
        invariant.check(&subject, base, &file, report)?;
    }
    report.statements.extend(coverage.finish());
    Ok(())
}

/// A value as what it must be; the complaint names the line where it begins.
fn typed<T: DeserializeOwned>(mut value: Value, file: &str) -> anyhow::Result<T> {
    let members = value.as_object_mut();
    let line = members.and_then(|members| members.remove(LINE)).unwrap_or(Value::from(1));
    for inner in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Value::Object(members) = inner {
            members.remove(LINE);
        }
    }
    serde_json::from_value(value).map_err(|error| anyhow!("{file}:{line}: {error}"))
}

fn world(
    suite: &Suite,
    export: Option<&Arc<Export>>,
    base: &Path,
    reading: Reading,
) -> anyhow::Result<(World, Coverage)> {
    match (export, suite.policies.is_empty()) {
        (Some(_), false) => bail!("there are both `world` and `policies`"),
        (None, true) => bail!("there is neither `world` nor `policies`"),
        (Some(export), true) => {
            Ok((World::exported(Arc::clone(export)), Coverage::of_world(export)))
        }
        (None, false) => {
            let specs: Vec<_> = suite.policies.iter().map(|spec| beside(base, spec)).collect();
            let coverage = Coverage::of_policies(&reading.policies(spec::policies(&specs)?)?);
            let changes = reading.changes(spec::changes(&specs)?)?;
            Ok((changes.into_iter().fold(World::empty(), World::with), coverage))
        }
    }
}

fn subject(
    suite: &Suite,
    export: Option<&Arc<Export>>,
    base: &Path,
    reading: Reading,
) -> anyhow::Result<Subject> {
    if let Some(export) = export {
        return Ok(Subject::World(Arc::clone(export)));
    }
    let specs: Vec<_> = suite.policies.iter().map(|spec| beside(base, spec)).collect();
    Subject::of_policies(reading.changes(spec::changes(&specs)?)?)
}

/// A file of a specification is beside the file that names it.
fn beside(base: &Path, spec: &str) -> String {
    let (head, path) = match spec.split_once('=') {
        Some((name, path)) => (format!("{name}="), path),
        None => (String::new(), spec),
    };
    let joined = base.join(path);
    if joined.exists() { format!("{head}{}", joined.display()) } else { spec.to_owned() }
}

/// What is wrong with an expectation about a pattern of resources.
fn proved(
    expectation: &Expectation,
    subject: &Subject,
    export: Option<&Export>,
) -> anyhow::Result<Option<String>> {
    let Expectation { action, resource, unknown, .. } = expectation;
    let outcome = match expectation.expect {
        Expected::Allow => Outcome::Allowed,
        Expected::Deny => Outcome::Denied,
        Expected::ExplicitDeny => Outcome::ExplicitlyDenied,
        Expected::ImplicitDeny => Outcome::ImplicitlyDenied,
        Expected::Unknown => bail!("nothing is unknown of a pattern: it is proved or refuted"),
    };
    if expectation.because.is_some() {
        bail!("`because` is for one resource; of a pattern there may be many reasons");
    }
    let principal = principal(&expectation.principal, export)?;
    if principal.kind == PrincipalKind::Root {
        bail!("policies do not bind root; ask about one resource");
    }
    let asker = Asker {
        context: caller_context(&expectation.context(), &principal),
        principal,
        others: Others::AbsentBut(unknown.clone()),
    };
    proved::every(subject, &asker, action, resource, outcome)
}

fn event(expectation: &Expectation, export: Option<&Export>) -> anyhow::Result<Recorded> {
    let action = Action::parse(&expectation.action).map_err(|error| anyhow!("{error}"))?;
    if action.info().is_none() {
        bail!("`{action}` is not an action of this server");
    }
    let principal = principal(&expectation.principal, export)?;
    let given = expectation.context();
    let unknown = &expectation.unknown;
    Ok(Recorded {
        id: expectation.name.clone(),
        seq: None,
        request: Request {
            action,
            resource: arguments::resource(&expectation.resource)?,
            context: caller_context(&given, &principal),
            principal,
        },
        recorded: None,
        complete: if unknown.is_empty() { Complete::everything() } else { Complete::but(unknown) },
    })
}

/// `user/NAME`, a plain name, `anonymous` or `root`.
fn principal(text: &str, export: Option<&Export>) -> anyhow::Result<Principal> {
    let account = "000000000000";
    let name = text.strip_prefix("user/").unwrap_or(text);
    match (text, export) {
        ("anonymous", _) => Ok(Principal::anonymous(account)),
        ("root", _) => Ok(Principal {
            kind: PrincipalKind::Root,
            arn: format!("arn:aws:iam::{account}:root"),
            ..Principal::user(account, "root")
        }),
        (_, Some(export)) => export
            .principals()
            .find(|principal| principal.name == name)
            .ok_or_else(|| anyhow!("the world has no enabled user `{name}`")),
        (_, None) => Ok(Principal::user(account, name)),
    }
}

/// What came instead of what was expected.
fn fault(
    expectation: &Expectation,
    world: &World,
    event: &Recorded,
) -> anyhow::Result<Option<String>> {
    let answer = decide_one(world, event).map_err(|error| anyhow!("{error}"))?;
    let (effect, by) = match &answer {
        Ok(decision) => (decision.effect.as_str(), policy_lab::replay::reasons(decision)),
        Err(keys) => ("unknown", keys.join(" ")),
    };
    let fits = match expectation.expect {
        Expected::Allow => effect == "allow",
        Expected::Deny => effect.ends_with("deny"),
        Expected::ExplicitDeny => effect == "explicit-deny",
        Expected::ImplicitDeny => effect == "implicit-deny",
        Expected::Unknown => effect == "unknown",
    };
    if !fits {
        return Ok(Some(
            format!("expected {:?}, came {effect} ({by})", expectation.expect).to_lowercase(),
        ));
    }
    let named = |because: &&String| !by.split(", ").any(|name| name.ends_with(because.as_str()));
    Ok(expectation
        .because
        .as_ref()
        .filter(named)
        .map(|because| format!("{effect} as expected, but because of {by}, not {because}")))
}
