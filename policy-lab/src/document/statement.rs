//! One compiled statement, and whether it speaks of a request.

use std::sync::Arc;

use super::principals::{Named, Principals};
use super::resources::{Reach, Resources};
use super::span::Spans;
use crate::Request;
use crate::action::ActionSet;
use crate::condition::{Clause, Truth};
use crate::context::Wanted;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Allow,
    Deny,
}

/// A statement in the form that is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(super) sid: Option<Arc<str>>,
    pub(super) index: u32,
    pub(super) verb: Verb,
    pub(super) principals: Option<Principals>,
    pub(super) actions: ActionSet,
    /// `NotAction`.
    pub(super) actions_inverted: bool,
    /// `None`: the actions have no resource.
    pub(super) resources: Option<Resources>,
    pub(super) clauses: Box<[Clause]>,
    pub(super) spans: Box<Spans>,
}

impl Statement {
    pub(crate) fn verb(&self) -> Verb {
        self.verb
    }

    pub(crate) fn sid(&self) -> Option<Arc<str>> {
        self.sid.clone()
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The rows of the catalogue that it speaks of, one bit each.
    pub(crate) fn action_bits(&self) -> impl Iterator<Item = u64> {
        let flip = if self.actions_inverted { u64::MAX } else { 0 };
        self.actions.bits().iter().map(move |word| word ^ flip)
    }

    /// Where it may apply.
    pub(crate) fn reaches(&self) -> Vec<Reach<'_>> {
        match &self.resources {
            Some(resources) => resources.reaches(),
            None => vec![Reach::EVERYWHERE],
        }
    }

    /// How a bucket policy's statement names the caller.
    pub(crate) fn names(&self, request: &Request) -> Named {
        match &self.principals {
            Some(principals) => principals.name(&request.principal),
            None => Named::No,
        }
    }

    /// The statement has `NotPrincipal`.
    pub(crate) fn excepts_principals(&self) -> bool {
        self.principals.as_ref().is_some_and(|principals| principals.inverted)
    }

    /// Gathers the condition keys that it looks at.
    pub(crate) fn wants(&self, wanted: &mut Wanted) {
        self.clauses.iter().for_each(|clause| clause.wants(wanted));
        if let Some(resources) = &self.resources {
            resources.wants(wanted);
        }
    }

    /// Whether the statement takes effect, its principals aside.
    pub(crate) fn applies(&self, request: &Request) -> bool {
        self.covers_action(request)
            && self.suffices(self.covers_resource(request))
            && self.conditions_hold(request)
    }

    /// Whether the statement takes effect as far as conditions go.
    pub(crate) fn conditions_hold(&self, request: &Request) -> bool {
        self.clauses.iter().all(|clause| self.suffices(clause.holds(&request.context)))
    }

    /// Whether an element with this outcome lets the statement take effect: an allowing statement needs to be sure, a
    /// denying one is only stopped when it surely does not mean the request.
    pub(crate) fn suffices(&self, outcome: Truth) -> bool {
        match self.verb {
            Verb::Allow => outcome == Truth::Yes,
            Verb::Deny => outcome != Truth::No,
        }
    }

    /// Where everything stands.
    pub(crate) fn spans(&self) -> &Spans {
        &self.spans
    }

    pub(crate) fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// The statement speaks of the action.
    pub(crate) fn covers_action(&self, request: &Request) -> bool {
        self.actions.contains(&request.action) != self.actions_inverted
    }

    /// Every variable in the resource element has a value.
    pub(crate) fn resource_resolves(&self, request: &Request) -> bool {
        self.resources.as_ref().is_none_or(|resources| resources.resolve(&request.context))
    }

    /// The statement speaks of the resource. A statement on calls that touch none has nothing to say.
    pub(crate) fn covers_resource(&self, request: &Request) -> Truth {
        match &self.resources {
            Some(resources) => resources.cover(&request.resource, &request.context),
            None => Truth::Yes,
        }
    }
}
