//! From JSON to compiled statements: which elements there are, and what each may hold.
#![deny(clippy::indexing_slicing)]

use std::collections::HashSet;
use std::sync::Arc;

use super::json::{self, Fault, Member, Node, Value};
use super::principals::{Entry, Principals};
use super::resources::Resources;
use super::span::{ClauseSpan, Span, Spans};
use super::statement::{Statement, Verb};
use super::{DocumentKind, STATEMENTS_MAX};
use crate::Profile;
use crate::action::{ActionSet, PatternError};
use crate::condition::{Clause, Operator, Reading};

/// What a document says.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) statements: Vec<Statement>,
    pub(super) resources: Vec<Box<str>>,
}

/// What holds for all statements of a document.
struct Reader {
    kind: DocumentKind,
    profile: Profile,
    /// Version 2012-10-17: `${…}` are variables.
    variables: bool,
    sids: HashSet<Arc<str>>,
    resources: Vec<Box<str>>,
}

/// Reads a whole document.
pub(super) fn document(text: &str, kind: DocumentKind, profile: Profile) -> Result<Parsed, Fault> {
    let bytes_max = kind.bytes_max();
    if text.len() > bytes_max {
        return Err(Fault::new(
            0,
            format!("the policy has {} bytes, at most {bytes_max} are possible", text.len()),
        )
        .hint("make several policies of it"));
    }
    let root = json::parse(text)?;
    let members = object(&root, "a policy")?;
    let mut reader =
        Reader { kind, profile, variables: false, sids: HashSet::new(), resources: Vec::new() };
    let mut statements = None;
    for member in members {
        match member.name.as_str() {
            "Version" => reader.variables = version(member)?,
            "Id" if kind == DocumentKind::Bucket => drop(string(&member.node, "Id")?),
            "Id" | "ID" => {
                return Err(Fault::new(member.at, "only a bucket policy has an `Id`")
                    .hint("remove it; the policy's name is given when it is attached"));
            }
            "Statement" => statements = Some(&member.node),
            other => return Err(unknown(member, other, &["Version", "Id", "Statement"])),
        }
    }
    let Some(statements) = statements else {
        return Err(Fault::new(root.at, "the policy has no `Statement`")
            .hint("write \"Statement\": [{\"Effect\": …, \"Action\": …, \"Resource\": …}]"));
    };
    let nodes = one_or_many(statements);
    if nodes.len() > STATEMENTS_MAX {
        return Err(Fault::new(
            statements.at,
            format!("{} statements, at most {STATEMENTS_MAX} are possible", nodes.len()),
        )
        .hint("make several policies of it"));
    }
    let statements = (0_u32..)
        .zip(nodes)
        .map(|(index, node)| reader.statement(node, index))
        .collect::<Result<_, _>>()?;
    Ok(Parsed { statements, resources: reader.resources })
}

/// Whether the version has variables.
fn version(member: &Member) -> Result<bool, Fault> {
    match string(&member.node, "Version")? {
        "2012-10-17" => Ok(true),
        "2008-10-17" => Ok(false),
        other => Err(Fault::new(member.node.at, format!("version `{other}` does not exist"))
            .hint("write \"2012-10-17\"")),
    }
}

/// The elements of a statement.
pub(crate) const ELEMENTS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// The elements of a statement, by name, before they are compiled.
#[derive(Default)]
struct Elements<'a> {
    sid: Option<&'a Member>,
    effect: Option<&'a Member>,
    principal: Option<&'a Member>,
    action: Option<&'a Member>,
    resource: Option<&'a Member>,
    condition: Option<&'a Member>,
}

impl<'a> Elements<'a> {
    fn gather(node: &'a Node) -> Result<Self, Fault> {
        let mut elements = Self::default();
        for member in object(node, "a statement")? {
            let place = match member.name.as_str() {
                "Sid" => &mut elements.sid,
                "Effect" => &mut elements.effect,
                "Principal" | "NotPrincipal" => &mut elements.principal,
                "Action" | "NotAction" => &mut elements.action,
                "Resource" | "NotResource" => &mut elements.resource,
                "Condition" => &mut elements.condition,
                other => return Err(unknown(member, other, &ELEMENTS)),
            };
            if let Some(before) = place.replace(member) {
                return Err(Fault::new(
                    member.at,
                    format!("a statement has `{}` or `{}`, not both", before.name, member.name),
                )
                .hint("remove one, or make two statements"));
            }
        }
        Ok(elements)
    }

    /// Where everything stands. Conditions come in the order in which [`Reader::conditions`] reads them.
    fn spans(&self, node: &Node) -> Spans {
        let element = |member: Option<&Member>| member.map(Span::of_member).unwrap_or_default();
        let mut clauses = Vec::new();
        if let Some(Node { value: Value::Object(operators), .. }) = self.condition.map(|m| &m.node)
        {
            for operator in operators {
                let Value::Object(keys) = &operator.node.value else { continue };
                clauses.extend(keys.iter().map(|key| ClauseSpan {
                    operator: Span::of_name(operator),
                    key: Span::of_member(key),
                }));
            }
        }
        Spans {
            statement: Span::new(node.at, node.at, node.end),
            principal: element(self.principal),
            action: element(self.action),
            resource: element(self.resource),
            clauses: clauses.into(),
        }
    }
}

impl Span {
    fn of_member(member: &Member) -> Self {
        Self::new(member.at, member.node.at, member.node.end)
    }

    /// The name alone, in its quotes.
    fn of_name(member: &Member) -> Self {
        Self::new(member.at, member.at, member.node.at)
    }
}

impl Reader {
    fn statement(&mut self, node: &Node, index: u32) -> Result<Statement, Fault> {
        let elements = Elements::gather(node)?;
        let missing = |name: &str, value: &str| {
            Fault::new(node.at, format!("the statement has no `{name}`"))
                .hint(format!("write \"{name}\": \"{value}\""))
        };
        let verb = effect(elements.effect.ok_or_else(|| missing("Effect", "Deny"))?)?;
        let action = elements.action.ok_or_else(|| missing("Action", "s3:GetObject"))?;
        let principals = self.principals(elements.principal, verb)?;
        let spans = elements.spans(node);
        let resources = match elements.resource {
            Some(member) => Some(self.resources(member)?),
            None if self.kind != DocumentKind::Bucket
                && all_of(action, &["admin", "kms", "sts"]) =>
            {
                None
            }
            None => return Err(missing("Resource", "arn:aws:s3:::BUCKET/*")),
        };
        Ok(Statement {
            sid: elements.sid.map(|member| self.sid(member)).transpose()?.flatten(),
            index,
            verb,
            principals,
            actions: self.actions(action, verb)?,
            actions_inverted: action.name == "NotAction",
            // Admin and token calls touch no resource: MinIO ignores what its policies write there, and so do we.
            resources: resources.filter(|_| !all_of(action, &["admin", "sts"])),
            clauses: match elements.condition {
                Some(member) => self.conditions(member)?.into(),
                None => Box::default(),
            },
            spans: Box::new(spans),
        })
    }

    fn sid(&mut self, member: &Member) -> Result<Option<Arc<str>>, Fault> {
        let text = string(&member.node, "Sid")?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > 128 || text.chars().any(char::is_control) {
            return Err(Fault::new(member.node.at, "a `Sid` has at most 128 printable bytes")
                .hint("make it a short name"));
        }
        let sid: Arc<str> = Arc::from(text);
        if !self.sids.insert(Arc::clone(&sid)) {
            return Err(Fault::new(member.node.at, format!("`Sid` `{text}` is there twice"))
                .hint("give each statement a name of its own, or none"));
        }
        Ok(Some(sid))
    }

    fn principals(&self, member: Option<&Member>, verb: Verb) -> Result<Option<Principals>, Fault> {
        let Some(member) = member else { return Ok(None) };
        if self.kind != DocumentKind::Bucket {
            return Err(Fault::new(
                member.at,
                format!("only a bucket policy has `{}`", member.name),
            )
            .hint("remove it; the policy speaks of whom it is attached to"));
        }
        let inverted = member.name == "NotPrincipal";
        if inverted && verb == Verb::Allow {
            return Err(Fault::new(member.at, "`NotPrincipal` with `Allow` lets everyone else in")
                .hint("name the callers with `Principal`"));
        }
        let entries = match &member.node.value {
            Value::Object(kinds) => {
                let mut entries = Vec::new();
                for kind in kinds {
                    principals_of_kind(kind, &mut entries)?;
                }
                entries
            }
            Value::String(text) if text == "*" => vec![Entry::Everyone],
            _ => {
                return Err(Fault::new(member.node.at, "a principal is `\"*\"` or an object")
                    .hint("write {\"AWS\": \"arn:aws:iam::ACCOUNT:user/NAME\"}"));
            }
        };
        Ok(Some(Principals { entries, inverted }))
    }

    fn resources(&mut self, member: &Member) -> Result<Resources, Fault> {
        let covers_bucket = self.profile.keys_cover_bucket && self.kind != DocumentKind::Bucket;
        let mut resources = Resources::new(member.name == "NotResource", covers_bucket);
        for node in filled(member)? {
            let text = string(node, &member.name)?;
            resources.push(text, self.kind, self.reading()).map_err(|(message, hint)| Fault {
                at: node.at,
                message,
                hint,
            })?;
            self.resources.push(text.into());
        }
        Ok(resources)
    }

    fn reading(&self) -> Reading {
        Reading { variables: self.variables, profile: self.profile }
    }

    fn actions(&self, member: &Member, verb: Verb) -> Result<ActionSet, Fault> {
        let nodes = filled(member)?;
        let refused = |at: usize| {
            move |error: PatternError| Fault { at, message: error.message, hint: error.hint }
        };
        for node in nodes {
            let text = string(node, &member.name)?;
            ActionSet::compile_as(std::iter::once(text), self.profile).map_err(refused(node.at))?;
        }
        let texts = nodes.iter().filter_map(text_of);
        let mut actions = ActionSet::compile_as(texts, self.profile).map_err(refused(member.at))?;
        if self.profile.version_grants_plain && verb == Verb::Allow && member.name == "Action" {
            actions.add_plain();
        }
        Ok(actions)
    }

    fn conditions(&self, member: &Member) -> Result<Vec<Clause>, Fault> {
        let mut clauses = Vec::new();
        for operator in object(&member.node, "`Condition`")? {
            let parsed = Operator::parse(&operator.name);
            let parsed =
                parsed.and_then(|parsed| parsed.exists_in(self.profile)).map_err(|message| {
                    let fault = Fault::new(operator.at, message);
                    fault.hint(match Operator::spelling(&operator.name) {
                        Some(known) if !operator.name.contains(known) => {
                            format!("did you mean `{known}`?")
                        }
                        _ => Operator::REMEDY.to_owned(),
                    })
                })?;
            for key in object(&operator.node, "a condition operator")? {
                clauses.push(self.clause(parsed, key)?);
            }
        }
        Ok(clauses)
    }

    fn clause(&self, operator: Operator, key: &Member) -> Result<Clause, Fault> {
        let has_name = key
            .name
            .split_once(':')
            .is_some_and(|(space, name)| !space.is_empty() && !name.is_empty());
        if !has_name {
            return Err(Fault::new(key.at, format!("`{}` is not a condition key", key.name))
                .hint("keys have a namespace, as in `aws:SourceIp`"));
        }
        let nodes = filled(key)?;
        let values = nodes.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
        Clause::compile(operator, &key.name, &values, self.reading()).map_err(
            |(position, message)| {
                let at = nodes.get(position).map_or(key.at, |node| node.at);
                Fault::new(at, message).hint(operator.remedy())
            },
        )
    }
}

fn principals_of_kind(kind: &Member, entries: &mut Vec<Entry>) -> Result<(), Fault> {
    for node in filled(kind)? {
        let text = string(node, &kind.name)?;
        entries.push(match kind.name.as_str() {
            "AWS" => Entry::parse(text).map_err(|message| {
                Fault::new(node.at, message).hint(
                    "write `*`, an account of twelve digits or arn:aws:iam::ACCOUNT:user/NAME",
                )
            })?,
            "CanonicalUser" | "Federated" | "Service" => Entry::Foreign,
            other => {
                return Err(unknown(
                    kind,
                    other,
                    &["AWS", "CanonicalUser", "Federated", "Service"],
                ));
            }
        });
    }
    Ok(())
}

fn effect(member: &Member) -> Result<Verb, Fault> {
    match string(&member.node, "Effect")? {
        "Allow" => Ok(Verb::Allow),
        "Deny" => Ok(Verb::Deny),
        other => Err(Fault::new(member.node.at, format!("effect `{other}` does not exist"))
            .hint("write \"Allow\" or \"Deny\"")),
    }
}

/// Every action is of one of these services.
fn all_of(member: &Member, services: &[&str]) -> bool {
    member.name == "Action"
        && one_or_many(&member.node).iter().filter_map(text_of).all(|action| {
            action.split_once(':').is_some_and(|(service, _)| {
                services.iter().any(|s| s.eq_ignore_ascii_case(service))
            })
        })
}

fn object<'a>(node: &'a Node, what: &str) -> Result<&'a [Member], Fault> {
    match &node.value {
        Value::Object(members) => Ok(members),
        _ => {
            Err(Fault::new(node.at, format!("{what} is not a JSON object"))
                .hint("write {\"NAME\": …}"))
        }
    }
}

fn string<'a>(node: &'a Node, what: &str) -> Result<&'a str, Fault> {
    text_of(node).ok_or_else(|| {
        Fault::new(node.at, format!("a value of `{what}` is not a string"))
            .hint("write it in double quotes")
    })
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A list with one value may stand without brackets.
fn one_or_many(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(nodes) => nodes,
        _ => std::slice::from_ref(node),
    }
}

/// A list with at least one value.
fn filled(member: &Member) -> Result<&[Node], Fault> {
    match one_or_many(&member.node) {
        [] => Err(Fault::new(member.node.at, format!("`{}` is empty", member.name))
            .hint("name at least one, or remove what it stands in")),
        nodes => Ok(nodes),
    }
}

/// A condition value; numbers and booleans count as their text.
fn scalar(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::String(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(Fault::new(node.at, "a condition value is a string, number or boolean")
                .hint("write one of these, or a list of them"))
        }
    }
}

fn unknown(member: &Member, name: &str, known: &[&str]) -> Fault {
    let fault = Fault::new(member.at, format!("`{name}` is not an element here"));
    match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => fault.hint(format!("write `{known}`")),
        None => fault.hint(format!("possible are {}", known.join(", "))),
    }
}
