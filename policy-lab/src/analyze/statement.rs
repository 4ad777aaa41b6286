//! Statements for the analysis, read again from the text of a policy that was accepted.
//!
//! The compiled form answers one question fast; the analysis needs the patterns themselves. Both read the same text,
//! and tests hold them to the same answers.

use serde_json::Value;

use super::key::Key;
use super::template::{Filling, Insertion, Manner, Template};
use crate::action::{ActionInfo, CATALOGUE};
use crate::condition::{Family, Operator};
use crate::{DocumentKind, Policy, Profile};

/// What the analysis could not read. Never seen for a policy that parses; then the answer is "unknown".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread;

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    pub(super) allows: bool,
    /// How it is read.
    pub(super) profile: Profile,
    /// `Principal` or `NotPrincipal`, as written.
    pub(super) principals: Option<(String, Value)>,
    /// Patterns in lower case.
    pub(super) actions: Vec<Template>,
    pub(super) actions_inverted: bool,
    /// `None`: whatever the resource is.
    pub(super) resources: Option<Resources>,
    pub(super) clauses: Vec<Clause>,
}

impl Statement {
    /// Every pattern that may have variables.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let entries = self.resources.iter().flat_map(|resources| &resources.entries);
        let paths = entries.filter_map(|entry| match entry {
            Entry::Path(template) => Some(template),
            _ => None,
        });
        paths.chain(self.clauses.iter().flat_map(|clause| &clause.templates))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Resources {
    pub(super) entries: Vec<Entry>,
    pub(super) inverted: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// Everything, also what has no bucket.
    All,
    /// Over `bucket` or `bucket/key`.
    Path(Template),
    KmsKey,
    Foreign,
}

/// One key under one operator.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) key: Key,
    /// Operator and key, as written.
    pub(super) name: String,
    pub(super) operator: Operator,
    pub(super) profile: Profile,
    pub(super) values: Vec<String>,
    /// The values, where they are texts that may have variables.
    pub(super) templates: Vec<Template>,
}

/// All statements of a policy, in order.
pub(super) fn statements(policy: &Policy) -> Result<Vec<Statement>, Unread> {
    let document = policy.json().ok_or(Unread)?;
    let variables = document.get("Version").and_then(Value::as_str) == Some("2012-10-17");
    let nodes = document.get("Statement").ok_or(Unread)?;
    let reading = Reading {
        variables,
        profile: policy.profile(),
        is_of_bucket: policy.kind() == DocumentKind::Bucket,
    };
    list(nodes).map(|node| statement(node, reading)).collect()
}

/// How the texts of a policy are read.
#[derive(Clone, Copy)]
struct Reading {
    variables: bool,
    profile: Profile,
    is_of_bucket: bool,
}

impl Reading {
    fn text(self, text: &str, manner: Manner) -> Result<Template, Unread> {
        if self.profile.variables_are_raw && self.variables {
            return Ok(Template::parse_raw(text, manner, Insertion::Raw));
        }
        Template::parse(text, manner, self.variables).ok_or(Unread)
    }

    fn path(self, text: &str) -> Result<Template, Unread> {
        if !self.profile.keys_cover_bucket || self.is_of_bucket {
            return self.text(text, Manner::Like);
        }
        if self.variables {
            return Ok(Template::parse_raw(text, Manner::Like, Insertion::RawOverBucket));
        }
        let plain = Template::parse(text, Manner::Like, false).ok_or(Unread)?;
        Ok(plain.over_bucket())
    }

    /// Patterns of names in lower case that match what these do. Where letter case counts, a pattern that it makes
    /// different is written out: outside of the catalogue it then matches less, see [`super::Limit::Names`].
    fn actions(self, names: &[&str], is_granted: bool) -> Result<Vec<Template>, Unread> {
        let like = |text: &str| Template::parse(text, Manner::Like, false).ok_or(Unread);
        let mut patterns = Vec::new();
        for name in names {
            let folded = like(&name.to_ascii_lowercase())?;
            if !self.profile.action_case_counts {
                patterns.push(folded);
                continue;
            }
            let exact = like(name)?.automaton(|_| Filling::Missing);
            let loose = folded.automaton(|_| Filling::Missing);
            let (meant, more): (Vec<&ActionInfo>, Vec<&ActionInfo>) = CATALOGUE
                .iter()
                .filter(|info| loose.fits(&info.name.to_ascii_lowercase()))
                .partition(|info| exact.fits(info.name));
            match more.is_empty() {
                true => patterns.push(folded),
                false => {
                    for info in meant {
                        patterns.push(like(&info.name.to_ascii_lowercase())?);
                    }
                }
            }
        }
        let version = |pattern: &Template| {
            pattern.automaton(|_| Filling::Missing).fits("s3:getobjectversion")
        };
        if is_granted && self.profile.version_grants_plain && patterns.iter().any(version) {
            patterns.push(like("s3:getobject")?);
        }
        Ok(patterns)
    }
}

/// The text of a policy with one statement left out.
pub(super) fn without(policy: &Policy, index: usize) -> Option<String> {
    let mut document = policy.json()?;
    let nodes = document.get_mut("Statement")?;
    match nodes {
        Value::Array(nodes) if index < nodes.len() => drop(nodes.remove(index)),
        Value::Object(_) if index == 0 => *nodes = Value::Array(Vec::new()),
        _ => return None,
    }
    Some(document.to_string())
}

fn statement(node: &Value, reading: Reading) -> Result<Statement, Unread> {
    let element = |yes: &str, no: &str| {
        let found = node.get(yes).map(|value| (value, false));
        found.or_else(|| node.get(no).map(|value| (value, true)))
    };
    let (actions, actions_inverted) = element("Action", "NotAction").ok_or(Unread)?;
    let written = texts(actions)?;
    let names: Vec<String> = written.iter().map(|name| name.to_ascii_lowercase()).collect();
    let allows = node.get("Effect").and_then(Value::as_str) == Some("Allow");
    let all_of = |services: &[&str]| {
        let service = |name: &String| name.split_once(':').map(|(service, _)| service.to_owned());
        let is_one = |name| service(name).is_some_and(|service| services.contains(&&*service));
        !actions_inverted && names.iter().all(is_one)
    };
    // What admin and token statements write as a resource is not looked at.
    let resources = match element("Resource", "NotResource") {
        Some((nodes, inverted)) if !all_of(&["admin", "sts"]) => {
            let entries = texts(nodes)?.into_iter().map(|text| entry(text, reading));
            Some(Resources { entries: entries.collect::<Result<_, _>>()?, inverted })
        }
        _ => None,
    };
    let principals = ["Principal", "NotPrincipal"]
        .into_iter()
        .find_map(|name| node.get(name).map(|value| (name.to_owned(), value.clone())));
    Ok(Statement {
        sid: node
            .get("Sid")
            .and_then(Value::as_str)
            .filter(|sid| !sid.is_empty())
            .map(str::to_owned),
        allows,
        profile: reading.profile,
        principals,
        actions: reading.actions(&written, allows && !actions_inverted)?,
        actions_inverted,
        resources,
        clauses: clauses(node.get("Condition"), reading)?,
    })
}

fn entry(text: &str, reading: Reading) -> Result<Entry, Unread> {
    if text == "*" {
        return Ok(Entry::All);
    }
    let arn = crate::arn::Arn::parse(text).ok_or(Unread)?;
    let covers = |pattern: &str, ours: &str| {
        let pattern = Template::parse(pattern, Manner::Like, false);
        pattern.is_some_and(|p| p.automaton(|_| Filling::Missing).fits(ours))
    };
    if arn.service == "kms" {
        return Ok(Entry::KmsKey);
    }
    let is_ours = arn.service == "s3"
        && covers(arn.partition, "aws")
        && covers(arn.region, "")
        && covers(arn.account, "");
    if !is_ours {
        return Ok(Entry::Foreign);
    }
    if arn.resource == "*" {
        return Ok(Entry::All);
    }
    reading.path(arn.resource).map(Entry::Path)
}

fn clauses(condition: Option<&Value>, reading: Reading) -> Result<Vec<Clause>, Unread> {
    let operators = condition.and_then(Value::as_object).into_iter().flatten();
    let mut clauses = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::parse(name).and_then(|it| it.exists_in(reading.profile));
        let operator = operator.map_err(|_| Unread)?;
        for (key, values) in keys.as_object().ok_or(Unread)? {
            clauses.push(clause((name, operator), key, values, reading)?);
        }
    }
    Ok(clauses)
}

fn clause(
    (name, operator): (&str, Operator),
    key: &str,
    values: &Value,
    reading: Reading,
) -> Result<Clause, Unread> {
    let values: Vec<String> = list(values)
        .map(|value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(value) => Ok(value.to_string()),
            _ => Err(Unread),
        })
        .collect::<Result<_, _>>()?;
    let manner = match operator.family {
        Family::StringEquals => Some(Manner::Equals),
        Family::StringEqualsIgnoreCase => Some(Manner::EqualsIgnoreCase),
        Family::StringLike => Some(Manner::Like),
        Family::Arn => Some(Manner::Arn),
        Family::Numeric(_) | Family::Date(_) | Family::Bool => None,
        Family::Binary | Family::Ip | Family::Null => None,
    };
    let templates = match manner {
        Some(manner) => {
            values.iter().map(|text| reading.text(text, manner)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    Ok(Clause {
        key: Key::new(key),
        name: format!("{name} {key}"),
        operator,
        profile: reading.profile,
        values,
        templates,
    })
}

/// A list with one value may stand without brackets.
fn list(node: &Value) -> impl Iterator<Item = &Value> {
    match node {
        Value::Array(nodes) => nodes.iter(),
        one => std::slice::from_ref(one).iter(),
    }
}

fn texts(node: &Value) -> Result<Vec<&str>, Unread> {
    list(node).map(|value| value.as_str().ok_or(Unread)).collect()
}
