//! A policy as it stands there, right or wrong: what the families look at.

use super::{Notes, rule};
use crate::DocumentKind;
use crate::document::json::{Member, Node, Value};

/// Statements that are looked at; the parser refuses more.
const STATEMENTS_MAX: usize = crate::document::STATEMENTS_MAX;

pub(super) struct Draft<'a> {
    pub(super) kind: DocumentKind,
    pub(super) root: &'a Node,
    /// Version 2012-10-17.
    pub(super) variables: bool,
    pub(super) members: &'a [Member],
    pub(super) statements: Vec<Statement<'a>>,
}

/// A statement by its elements.
pub(super) struct Statement<'a> {
    pub(super) node: &'a Node,
    pub(super) members: &'a [Member],
    /// `None` if the effect is missing or wrong.
    pub(super) allows: Option<bool>,
    pub(super) principal: Option<&'a Member>,
    pub(super) action: Option<&'a Member>,
    pub(super) resource: Option<&'a Member>,
    pub(super) conditions: Vec<Clause<'a>>,
}

/// One condition key under one operator.
pub(super) struct Clause<'a> {
    pub(super) operator: &'a Member,
    pub(super) key: &'a Member,
}

impl<'a> Draft<'a> {
    pub(super) fn read(root: &'a Node, kind: DocumentKind, notes: &mut Notes<'_>) -> Self {
        let Value::Object(members) = &root.value else {
            notes.add(&rule::DATA_TYPE_MISMATCH, root.at, "a policy is a JSON object", None);
            return Self { kind, root, variables: false, members: &[], statements: Vec::new() };
        };
        let named = |name: &str| members.iter().find(|member| member.name == name);
        let variables = named("Version").and_then(|member| text_of(&member.node));
        let mut statements = Vec::new();
        let nodes = named("Statement").map_or(&[][..], |member| one_or_many(&member.node));
        for node in nodes.iter().take(STATEMENTS_MAX) {
            match &node.value {
                Value::Object(members) => statements.push(Statement::read(node, members)),
                _ => notes.add(
                    &rule::DATA_TYPE_MISMATCH,
                    node.at,
                    "a statement is a JSON object",
                    None,
                ),
            }
        }
        Self { kind, root, variables: variables == Some("2012-10-17"), members, statements }
    }
}

impl<'a> Statement<'a> {
    fn read(node: &'a Node, members: &'a [Member]) -> Self {
        let first = |names: [&str; 2]| members.iter().find(|m| names.contains(&m.name.as_str()));
        let effect = first(["Effect", "Effect"]).and_then(|member| text_of(&member.node));
        let mut conditions = Vec::new();
        if let Some(Value::Object(operators)) =
            first(["Condition", "Condition"]).map(|member| &member.node.value)
        {
            for operator in operators {
                if let Value::Object(keys) = &operator.node.value {
                    conditions.extend(keys.iter().map(|key| Clause { operator, key }));
                }
            }
        }
        Self {
            node,
            members,
            allows: match effect {
                Some("Allow") => Some(true),
                Some("Deny") => Some(false),
                _ => None,
            },
            principal: first(["Principal", "NotPrincipal"]),
            action: first(["Action", "NotAction"]),
            resource: first(["Resource", "NotResource"]),
            conditions,
        }
    }

    pub(super) fn is_allow(&self) -> bool {
        self.allows == Some(true)
    }

    /// Entries of `Action`; none for `NotAction`.
    pub(super) fn actions(&self) -> Vec<(usize, &'a str)> {
        self.action.filter(|member| member.name == "Action").map_or(Vec::new(), texts)
    }

    /// Entries of `Resource`; none for `NotResource`.
    pub(super) fn resources(&self) -> Vec<(usize, &'a str)> {
        self.resource.filter(|member| member.name == "Resource").map_or(Vec::new(), texts)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }
}

/// The strings among the values of an element, with their places.
pub(super) fn texts(member: &Member) -> Vec<(usize, &str)> {
    let nodes = one_or_many(&member.node).iter();
    nodes.filter_map(|node| Some((node.at, text_of(node)?))).collect()
}

/// The values of a condition key as the text they count as.
pub(super) fn scalars(member: &Member) -> Vec<(usize, String)> {
    let scalar = |node: &Node| match &node.value {
        Value::String(text) | Value::Number(text) => Some((node.at, text.clone())),
        Value::Bool(value) => Some((node.at, value.to_string())),
        _ => None,
    };
    one_or_many(&member.node).iter().filter_map(scalar).collect()
}

pub(super) fn one_or_many(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(nodes) => nodes,
        _ => std::slice::from_ref(node),
    }
}

pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
