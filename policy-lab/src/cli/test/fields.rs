//! The members of a mapping in a file of expectations, each read as what it must be. A complaint names file, line, column
//! and what to write.

use anyhow::anyhow;
use policy_lab::yaml::{Node, Value};

use crate::cli::input;

/// One mapping of a file.
pub(super) struct Fields<'a> {
    file: &'a str,
    /// In complaints: a test, an invariant.
    what: &'static str,
    node: &'a Node,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// When it is no mapping, or has a member that is not among these.
    pub(super) fn of(
        file: &'a str,
        what: &'static str,
        node: &'a Node,
        names: &[&str],
    ) -> anyhow::Result<Self> {
        let fields = Self { file, what, node };
        let Value::Mapping(members) = &node.value else {
            let message = format!("{what} is not a mapping");
            return Err(fields.whole(&message, &format!("its members are {}", names.join(", "))));
        };
        match members.iter().find(|member| !names.contains(&member.name.as_str())) {
            None => Ok(fields),
            Some(member) => {
                let message = format!("`{}` is not a member of {what}", member.name);
                let hint = format!("there are {}", names.join(", "));
                Err(complaint(file, member.line, member.column, &message, &hint))
            }
        }
    }

    /// A member that is there and is not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let Value::Mapping(members) = &self.node.value else { return None };
        let member = members.iter().find(|member| member.name == name)?;
        (member.node.value != Value::Null).then_some(&member.node)
    }

    /// Text that must be there.
    pub(super) fn needed(&self, name: &str, example: &str) -> anyhow::Result<String> {
        let (what, hint) = (self.what, format!("write `{name}: {example}`"));
        let missing = || self.whole(&format!("{what} has no `{name}`"), &hint);
        self.text(name, example)?.ok_or_else(missing)
    }

    pub(super) fn text(&self, name: &str, example: &str) -> anyhow::Result<Option<String>> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let wrong = || {
            self.at(name, &format!("`{name}` is not a text"), &format!("write `{name}: {example}`"))
        };
        text(node).map(Some).ok_or_else(wrong)
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> anyhow::Result<Option<Vec<String>>> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let texts = match &node.value {
            Value::List(nodes) => nodes.iter().map(text).collect(),
            _ => None,
        };
        let hint = format!("write `{name}: [one, another]`");
        let wrong = || self.at(name, &format!("`{name}` is not a list of texts"), &hint);
        texts.map(Some).ok_or_else(wrong)
    }

    /// The values of a list, of any kind.
    pub(super) fn list(&self, name: &str) -> anyhow::Result<&'a [Node]> {
        match self.get(name).map(|node| &node.value) {
            None => Ok(&[]),
            Some(Value::List(nodes)) => Ok(nodes),
            Some(_) => {
                Err(self.at(name, &format!("`{name}` is not a list"), "begin each with `- `"))
            }
        }
    }

    /// Names with one value or several.
    pub(super) fn values(&self, name: &str) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let hint = "write `given: {aws:SourceIp: 10.0.0.1, aws:TagKeys: [a, b]}`";
        let Some(node) = self.get(name) else { return Ok(Vec::new()) };
        let Value::Mapping(members) = &node.value else {
            return Err(self.at(name, &format!("`{name}` is not a mapping"), hint));
        };
        let mut pairs = Vec::new();
        for member in members {
            let values = match &member.node.value {
                Value::List(nodes) => nodes.iter().map(scalar).collect(),
                _ => scalar(&member.node).map(|value| vec![value]),
            };
            let Some(values) = values else {
                let message = format!("`{}` is neither a value nor a list of them", member.name);
                let Node { line, column, .. } = member.node;
                return Err(complaint(self.file, line, column, &message, hint));
            };
            pairs.push((member.name.clone(), values));
        }
        Ok(pairs)
    }

    /// A complaint about a member's value, or about the whole where the member is not there.
    pub(super) fn at(&self, name: &str, message: &str, hint: &str) -> anyhow::Error {
        let Node { line, column, .. } = self.get(name).unwrap_or(self.node);
        complaint(self.file, *line, *column, message, hint)
    }

    /// What another part complains of, at a member.
    pub(super) fn blame(&self, name: &str, hint: &str) -> impl Fn(anyhow::Error) -> anyhow::Error {
        move |error| self.at(name, &format!("{error:#}"), hint)
    }

    pub(super) fn whole(&self, message: &str, hint: &str) -> anyhow::Error {
        complaint(self.file, self.node.line, self.node.column, message, hint)
    }
}

fn complaint(file: &str, line: usize, column: usize, message: &str, hint: &str) -> anyhow::Error {
    match hint {
        "" => anyhow!("{file}:{line}:{column}: {message}"),
        hint => input::complaint(&format!("{file}:{line}:{column}"), message, Some(hint)),
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// One value of a condition key.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Mapping(_) => None,
    }
}
