//! Why a decision is what it is: every statement, element by element, the nearest miss, and the smallest change of the
//! request that turns the answer round.
//!
//! The trace asks every element of every statement, without a shortcut, and the decision is concluded from what the
//! trace found by the same rules ([`mod@crate::evaluate`]); tests hold it equal to the fast one.

mod flip;
mod json;
mod nearest;
mod text;
mod trace;

use std::sync::Arc;

pub use self::flip::{Change, Flip};
pub use self::json::json;
pub use self::text::{Detail, text};
use crate::decision::StatementPlace;
use crate::document::Verb;
use crate::{Decision, PolicySet, Request, StatementRef, evaluate};

/// A decision with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub request: Request,
    pub decision: Decision,
    /// Every statement of the set, layer by layer, in the order in which they are read.
    pub statements: Vec<StatementTrace>,
    /// Position in `statements` of the allowing statement that fails in the fewest elements; none when the request is
    /// allowed, or denied by a statement that says so.
    pub nearest: Option<usize>,
    /// The smallest change of condition keys that turns the answer round; none if none of up to two keys does.
    pub flip: Option<Flip>,
}

/// One statement held against the request.
#[derive(Clone, Debug)]
pub struct StatementTrace {
    pub at: StatementRef,
    pub place: StatementPlace,
    /// `Effect` is `Allow`.
    pub allows: bool,
    pub in_effect: bool,
    /// In the document, from one; the column in characters.
    pub line: usize,
    pub column: usize,
    pub elements: Vec<ElementTrace>,
}

/// How much a statement has to do with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relevance {
    /// It takes effect.
    Decisive,
    /// It speaks of the action and the resource; something else fails.
    NearMiss,
    Irrelevant,
}

impl StatementTrace {
    /// The elements that keep the statement from taking effect.
    pub fn failing(&self) -> impl Iterator<Item = &ElementTrace> {
        self.elements.iter().filter(|element| !element.suffices)
    }

    #[must_use]
    pub fn relevance(&self) -> Relevance {
        let is_about = |element: &ElementTrace| {
            element.suffices || !matches!(element.element, Element::Action | Element::Resource)
        };
        match self.in_effect {
            true => Relevance::Decisive,
            false if self.elements.iter().all(is_about) => Relevance::NearMiss,
            false => Relevance::Irrelevant,
        }
    }
}

/// One element of a statement held against the request.
#[derive(Clone, Debug)]
pub struct ElementTrace {
    pub element: Element,
    /// The element lets the statement take effect.
    pub suffices: bool,
    /// Why it does not hold, or holds without being sure.
    pub miss: Option<Miss>,
    /// The element's value as the document writes it.
    pub wanted: String,
    /// What the request has, one copy for all statements; `None` for a condition key that is absent.
    pub found: Option<Arc<str>>,
    pub line: usize,
    pub column: usize,
}

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    Principal,
    Action,
    Resource,
    Condition { operator: String, key: String },
}

/// Why an element does not hold. Exhaustive: a new one must be explained wherever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Miss {
    PrincipalNotNamed,
    /// An account delegates to its own policies and grants nothing by itself.
    PrincipalAccountOnly,
    ActionNotListed,
    ResourceBucketDiffers,
    ResourceKeyDiffers,
    /// A variable has no value, so that nobody knows what is meant.
    VariableUnresolved,
    KeyAbsent,
    KeyPresent,
    ValueNotListed,
    /// A negated operator, and the value is listed.
    ValueListed,
    /// A key with several values, without a set operator.
    SeveralValues,
    /// `ForAnyValue…IfExists` on an absent key: AWS's text and its behaviour differ.
    NoSureAnswer,
}

impl Miss {
    /// The word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrincipalNotNamed => "principal-not-named",
            Self::PrincipalAccountOnly => "principal-account-only",
            Self::ActionNotListed => "action-not-listed",
            Self::ResourceBucketDiffers => "resource-bucket-differs",
            Self::ResourceKeyDiffers => "resource-key-differs",
            Self::VariableUnresolved => "variable-unresolved",
            Self::KeyAbsent => "key-absent",
            Self::KeyPresent => "key-present",
            Self::ValueNotListed => "value-not-listed",
            Self::ValueListed => "value-listed",
            Self::SeveralValues => "several-values",
            Self::NoSureAnswer => "no-sure-answer",
        }
    }
}

/// Explains the decision on a request. Guardrails are asked again for each change that is tried, at most a few hundred
/// times.
#[must_use]
pub fn explain(set: &PolicySet, request: &Request) -> Explanation {
    let statements = trace::statements(set, request);
    let in_effect = statements.iter().filter(|statement| statement.in_effect).map(|statement| {
        (statement.place, if statement.allows { Verb::Allow } else { Verb::Deny })
    });
    let decision = evaluate::evaluate_traced(set, request, in_effect);
    let nearest = nearest::miss(&decision, &statements);
    let mut request = request.clone();
    let flip = flip::find(set, &mut request, &decision);
    Explanation { request, decision, statements, nearest, flip }
}

#[cfg(test)]
mod tests;
