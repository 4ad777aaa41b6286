//! One compiled statement, and whether it speaks of a request.

use std::sync::Arc;

use super::principals::{Named, Principals};
use super::resources::{Resources, Touched};
use crate::Request;
use crate::action::ActionSet;
use crate::condition::{Clause, Truth};

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
}

/// A request, prepared for a walk over many statements.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) request: &'a Request,
    touched: Touched<'a>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(request: &'a Request) -> Self {
        Self { request, touched: Touched::new(&request.resource) }
    }
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

    /// How a bucket policy's statement names the caller.
    pub(crate) fn names(&self, subject: &Subject<'_>) -> Named {
        match &self.principals {
            Some(principals) => principals.name(&subject.request.principal),
            None => Named::No,
        }
    }

    /// The statement has `NotPrincipal`.
    pub(crate) fn excepts_principals(&self) -> bool {
        self.principals.as_ref().is_some_and(|principals| principals.inverted)
    }

    /// Whether the statement takes effect, its principals aside: an allowing one when sure, a denying one unless
    /// surely not.
    pub(crate) fn applies(&self, subject: &Subject<'_>) -> bool {
        let outcome = self.outcome(subject);
        match self.verb {
            Verb::Allow => outcome == Truth::Yes,
            Verb::Deny => outcome != Truth::No,
        }
    }

    fn outcome(&self, subject: &Subject<'_>) -> Truth {
        let Request { action, context, .. } = subject.request;
        if self.actions.contains(action) == self.actions_inverted {
            return Truth::No;
        }
        let mut outcome = match &self.resources {
            Some(resources) => resources.cover(&subject.touched, context),
            None => Truth::Yes,
        };
        for clause in &self.clauses {
            if outcome == Truth::No {
                return Truth::No;
            }
            outcome = match (outcome, clause.holds(context)) {
                (_, Truth::No) => Truth::No,
                (Truth::Yes, sure) => sure,
                _ => Truth::Unsure,
            };
        }
        outcome
    }
}
