//! Expectations: a world or policies, what is asked, what must come.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use policy_lab::analyze::{Asker, Others, Outcome};
use policy_lab::replay::{Complete, Coverage, Export, Recorded, World, caller_context, decide_one};
use policy_lab::yaml::{self, Node};
use policy_lab::{Action, Context, Principal, PrincipalKind, Request};

use super::fields::Fields;
use super::invariant::Invariant;
use super::proved::{self, Subject};
use super::{Case, Report};
use crate::cli::reading::Reading;
use crate::cli::{input, spec, who_can as arguments};

const MEMBERS: [&str; 5] = ["version", "world", "policies", "tests", "invariants"];

const OF_A_TEST: [&str; 8] =
    ["name", "principal", "action", "resource", "given", "unknown", "expect", "because"];

struct Suite {
    /// Beside the file of expectations.
    world: Option<String>,
    policies: Vec<String>,
}

struct Expectation<'a> {
    /// Where everything stands.
    fields: Fields<'a>,
    name: String,
    principal: String,
    action: String,
    resource: String,
    given: Context,
    /// What is not given is absent, unless this says that it is unknown.
    unknown: Vec<String>,
    expect: Expected,
    because: Option<String>,
}

impl<'a> Expectation<'a> {
    fn read(file: &'a str, node: &'a Node) -> anyhow::Result<Self> {
        let fields = Fields::of(file, "a test", node, &OF_A_TEST)?;
        let mut given = Context::new();
        for (key, values) in fields.values("given")? {
            given.set_many(&key, values);
        }
        let expect = fields.needed("expect", "deny")?;
        let expect = Expected::read(&expect).ok_or_else(|| {
            let hint = "there are allow, deny, explicit-deny, implicit-deny, unknown";
            fields.at("expect", &format!("nothing is decided as `{expect}`"), hint)
        })?;
        Ok(Self {
            name: fields.needed("name", "analysts do not delete")?,
            principal: fields.needed("principal", "user/ana")?,
            action: fields.needed("action", "s3:DeleteObject")?,
            resource: fields.needed("resource", "records/2026/*")?,
            given,
            unknown: fields.texts("unknown")?.unwrap_or_default(),
            expect,
            because: fields.text("because", "worm#NoDelete")?,
            fields,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Allow,
    Deny,
    ExplicitDeny,
    ImplicitDeny,
    Unknown,
}

impl Expected {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "allow" => Self::Allow,
            "deny" => Self::Deny,
            "explicit-deny" => Self::ExplicitDeny,
            "implicit-deny" => Self::ImplicitDeny,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

/// Runs a file; what it says is added to the report.
pub(super) fn run(path: &Path, reading: Reading, report: &mut Report) -> anyhow::Result<()> {
    let file = path.display().to_string();
    let document = yaml::read(&input::text(path)?).map_err(|error| {
        let place = format!("{file}:{}:{}", error.line, error.column);
        input::complaint(&place, &error.message, Some(error.hint))
    })?;
    let fields = Fields::of(&file, "a file of expectations", &document, &MEMBERS)?;
    if fields.get("version").is_none_or(|node| node.value != yaml::Value::Number(1)) {
        return Err(fields.at("version", "the version is not 1", "write `version: 1`"));
    }
    let suite = Suite {
        world: fields.text("world", "world.json")?,
        policies: fields.texts("policies")?.unwrap_or_default(),
    };
    let base = path.parent().unwrap_or(Path::new("."));
    let export = match &suite.world {
        Some(world) => {
            let export = input::export(&base.join(world)).map_err(fields.blame("world", ""))?;
            Some(reading.export(export)?)
        }
        None => None,
    };
    let source = if suite.world.is_some() { "world" } else { "policies" };
    let (world, mut coverage) =
        world(&suite, export.as_ref(), base, reading).map_err(fields.blame(source, ""))?;
    let subject =
        subject(&suite, export.as_ref(), base, reading).map_err(fields.blame(source, ""))?;
    for test in fields.list("tests")? {
        let expectation = Expectation::read(&file, test)?;
        let name = expectation.name.clone();
        let fault = if proved::is_pattern(&expectation.resource) {
            proved(&expectation, &subject, export.as_deref())?
        } else {
            let event = event(&expectation, export.as_deref())?;
            coverage.add(&event);
            fault(&expectation, &world, &event)?
        };
        report.cases.push(Case { file: file.clone(), name, fault });
    }
    for node in fields.list("invariants")? {
        Invariant::read(&file, node)?.check(&subject, base, report)?;
    }
    report.statements.extend(coverage.finish());
    Ok(())
}

fn world(
    suite: &Suite,
    export: Option<&Arc<Export>>,
    base: &Path,
    reading: Reading,
) -> anyhow::Result<(World, Coverage)> {
    match (export, suite.policies.is_empty()) {
        (Some(_), false) => bail!("there are both `world` and `policies`; leave one of them"),
        (None, true) => {
            bail!("there is neither `world` nor `policies`; write `policies: [readonly]`")
        }
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
    expectation: &Expectation<'_>,
    subject: &Subject,
    export: Option<&Export>,
) -> anyhow::Result<Option<String>> {
    let Expectation { fields, action, resource, unknown, .. } = expectation;
    let outcome = match expectation.expect {
        Expected::Allow => Outcome::Allowed,
        Expected::Deny => Outcome::Denied,
        Expected::ExplicitDeny => Outcome::ExplicitlyDenied,
        Expected::ImplicitDeny => Outcome::ImplicitlyDenied,
        Expected::Unknown => {
            let message = "nothing is unknown of a pattern: it is proved or refuted";
            return Err(fields.at("expect", message, "write `allow` or `deny`"));
        }
    };
    if expectation.because.is_some() {
        let message = "`because` is for one resource; of a pattern there may be many reasons";
        return Err(fields.at("because", message, "leave it out"));
    }
    let principal = caller(expectation, export)?;
    if principal.kind == PrincipalKind::Root {
        let message = "policies do not bind root";
        return Err(fields.at("principal", message, "ask about one resource"));
    }
    let asker = Asker {
        context: caller_context(&expectation.given, &principal),
        principal,
        others: Others::AbsentBut(unknown.clone()),
    };
    proved::every(subject, &asker, action, resource, outcome)
        .map_err(fields.blame("action", "write an action of this server, as `s3:GetObject`"))
}

fn event(expectation: &Expectation<'_>, export: Option<&Export>) -> anyhow::Result<Recorded> {
    let fields = &expectation.fields;
    let hint = "write an action of this server, as `s3:GetObject`";
    let action = Action::parse(&expectation.action)
        .map_err(|error| fields.at("action", &error.to_string(), hint))?;
    if action.info().is_none() {
        let message = format!("`{action}` is not an action of this server");
        return Err(fields.at("action", &message, hint));
    }
    let principal = caller(expectation, export)?;
    let unknown = &expectation.unknown;
    let resource = arguments::resource(&expectation.resource)
        .map_err(fields.blame("resource", "write `bucket`, `bucket/key`, or `*`"))?;
    Ok(Recorded {
        id: expectation.name.clone(),
        seq: None,
        request: Request {
            action,
            resource,
            context: caller_context(&expectation.given, &principal),
            principal,
        },
        recorded: None,
        complete: if unknown.is_empty() { Complete::everything() } else { Complete::but(unknown) },
    })
}

/// Who asks.
fn caller(expectation: &Expectation<'_>, export: Option<&Export>) -> anyhow::Result<Principal> {
    let hint = "write `user/NAME`, `anonymous` or `root`";
    principal(&expectation.principal, export).map_err(expectation.fields.blame("principal", hint))
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
        // An ARN or a role, which would be taken for a user of that name.
        (_, None) if name.contains([':', '/']) => bail!("`{text}` is not a user"),
        (_, None) => Ok(Principal::user(account, name)),
    }
}

/// What came instead of what was expected.
fn fault(
    expectation: &Expectation<'_>,
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
