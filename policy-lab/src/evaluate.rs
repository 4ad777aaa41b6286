//! The one place that knows which policy wins.
//!
//! Guardrails may only deny, and deny everyone. Root is otherwise allowed everything. An explicit deny anywhere denies.
//! Then an identity policy or the bucket policy must allow, and so must the boundary and the session policy where there
//! are any, whatever the bucket policy says. Bucket policies hold for everyone, as on AWS; an anonymous caller has
//! nothing else, and only `"Principal": "*"` means it.
//!
//! How the statements that apply are found is not known here: a [`PolicySet`] walks over all of them, a
//! [`crate::Compiled`] set asks its index, and both answer the same.
//!
//! Source: IAM user guide, "Policy evaluation logic". Where AWS lets a direct grant in a bucket policy pass a boundary
//! or session policy, we do not: the safer reading.

use std::sync::Arc;

use crate::decision::{Decision, Denial, Effect, Layer, Reason, Ruling, StatementPlace};
use crate::document::{Named, Statement, Verb};
use crate::policy_set::{Covers, Entry};
use crate::{Guardrails, Policies, PolicySet, PrincipalKind, Request};

/// Decides a request. Pure, bounded by the size of the policies, and never panics; any doubt is a deny.
#[must_use]
pub fn evaluate<'a>(policies: impl Into<Policies<'a>>, request: &Request) -> Decision {
    let policies = policies.into();
    guarded(policies.set, request, named(policies.set, request, rule(policies, request)))
}

/// What the guardrails leave of a decision.
fn guarded(set: &PolicySet, request: &Request, decision: Decision) -> Decision {
    let Some(guardrails) = &set.guardrails else { return decision };
    match guardrails.denials(request, &decision) {
        Ok(denials) if denials.is_empty() => decision,
        Ok(denials) => denied_by_guardrails(decision, Reason::Guardrail, denials),
        Err(error) => {
            let denial = Denial { id: Reason::EngineError.as_str().to_owned(), msg: error };
            denied_by_guardrails(decision, Reason::EngineError, vec![denial])
        }
    }
}

/// The decision of the policies, guardrails aside. Allocates nothing.
#[must_use]
pub fn rule<'a>(policies: impl Into<Policies<'a>>, request: &Request) -> Ruling {
    let policies = policies.into();
    if is_above_policies(policies.set, request) {
        return ABOVE_POLICIES;
    }
    conclude(request, search(policies, request))
}

/// The ruling with what the guardrails say of it, which `ask` finds out: the reason for which they deny, if they do.
pub(crate) fn rule_guarded<'a>(
    policies: impl Into<Policies<'a>>,
    request: &Request,
    ask: impl FnOnce(&Arc<Guardrails>, Ruling) -> Option<Reason>,
) -> Ruling {
    let policies = policies.into();
    let ruling = rule(policies, request);
    match policies.set.guardrails.as_ref().and_then(|guardrails| ask(guardrails, ruling)) {
        None => ruling,
        Some(reason) => {
            let by = ruling.by.filter(|_| ruling.effect == Effect::ExplicitDeny);
            Ruling { effect: Effect::ExplicitDeny, reason, by }
        }
    }
}

/// The decision when these statements are known to take effect: what the explanation ends with.
pub(crate) fn evaluate_traced(
    set: &PolicySet,
    request: &Request,
    in_effect: impl Iterator<Item = (StatementPlace, Verb)>,
) -> Decision {
    let ruling = if is_above_policies(set, request) {
        ABOVE_POLICIES
    } else {
        let mut found = Found::nothing(set);
        for (place, verb) in in_effect {
            if found.is_open(place, verb) {
                found.add(place, verb);
            }
        }
        conclude(request, found)
    };
    guarded(set, request, named(set, request, ruling))
}

/// A ruling with the names of the statements.
pub(crate) fn named(set: &PolicySet, request: &Request, ruling: Ruling) -> Decision {
    let Ruling { effect, reason, by } = ruling;
    let by = match effect {
        Effect::ExplicitDeny => denying(set, request).filter_map(|at| set.reference(at)).collect(),
        Effect::Allow | Effect::ImplicitDeny => {
            by.and_then(|place| set.reference(place)).into_iter().collect()
        }
    };
    Decision { effect, reason, by, denials: Vec::new() }
}

/// What allowed is of no interest any more; what denied is.
fn denied_by_guardrails(policies: Decision, reason: Reason, denials: Vec<Denial>) -> Decision {
    let by = if policies.effect == Effect::ExplicitDeny { policies.by } else { Vec::new() };
    Decision { effect: Effect::ExplicitDeny, reason, by, denials }
}

const ABOVE_POLICIES: Ruling =
    Ruling { effect: Effect::Allow, reason: Reason::AdminBypass, by: None };

/// Root, unless something was passed to limit it.
fn is_above_policies(set: &PolicySet, request: &Request) -> bool {
    request.principal.kind == PrincipalKind::Root && set.session.is_none() && set.boundary.is_none()
}

/// What the layers say: the first statement of each that applies.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Of any layer.
    denying: Option<StatementPlace>,
    identity: Option<StatementPlace>,
    bucket: Option<StatementPlace>,
    /// Allows, or is not there.
    boundary: bool,
    session: bool,
}

impl Found {
    /// Nothing yet; what is not attached does not limit.
    fn nothing(set: &PolicySet) -> Self {
        Self { boundary: set.boundary.is_none(), session: set.session.is_none(), ..Self::default() }
    }

    /// Whether a statement at this place could still change what was found.
    fn is_open(&self, place: StatementPlace, verb: Verb) -> bool {
        let before = |found: Option<StatementPlace>| found.is_none_or(|found| place < found);
        match (verb, place.layer) {
            (Verb::Deny, _) => before(self.denying),
            (Verb::Allow, Layer::Identity) => before(self.identity),
            (Verb::Allow, Layer::Bucket) => before(self.bucket),
            (Verb::Allow, Layer::Boundary) => !self.boundary,
            (Verb::Allow, Layer::Session) => !self.session,
        }
    }

    /// Takes up a statement that applies.
    fn add(&mut self, place: StatementPlace, verb: Verb) {
        match (verb, place.layer) {
            (Verb::Deny, _) => self.denying = Some(place),
            (Verb::Allow, Layer::Identity) => self.identity = Some(place),
            (Verb::Allow, Layer::Bucket) => self.bucket = Some(place),
            (Verb::Allow, Layer::Boundary) => self.boundary = true,
            (Verb::Allow, Layer::Session) => self.session = true,
        }
    }
}

/// Which layer wins.
fn conclude(request: &Request, found: Found) -> Ruling {
    let kind = request.principal.kind;
    let implicit = |reason| Ruling { effect: Effect::ImplicitDeny, reason, by: None };
    if found.denying.is_some() {
        let (effect, reason) = (Effect::ExplicitDeny, Reason::ExplicitDeny);
        return Ruling { effect, reason, by: found.denying };
    }
    let (reason, by) = match (found.identity, found.bucket) {
        _ if kind == PrincipalKind::Root => (Reason::AdminBypass, None),
        (Some(place), _) if kind != PrincipalKind::Anonymous => {
            (Reason::IdentityAllow, Some(place))
        }
        (_, Some(place)) => (Reason::ResourceAllow, Some(place)),
        _ => return implicit(Reason::ImplicitDeny),
    };
    if !found.boundary {
        return implicit(Reason::Boundary);
    }
    if !found.session {
        return implicit(Reason::SessionLimit);
    }
    Ruling { effect: Effect::Allow, reason, by }
}

/// Whether a statement of this layer takes effect on the request.
fn takes_effect(set: &PolicySet, layer: Layer, statement: &Statement, request: &Request) -> bool {
    statement.applies(request) && means_caller(set, layer, statement, request)
}

/// Whether a statement of this layer means the caller.
fn means_caller(set: &PolicySet, layer: Layer, statement: &Statement, request: &Request) -> bool {
    layer != Layer::Bucket || speaks_of_caller(set, statement, request)
}

/// Whether a statement of a bucket policy means the caller.
pub(crate) fn speaks_of_caller(set: &PolicySet, statement: &Statement, request: &Request) -> bool {
    let is_for_anonymous =
        set.bucket.as_ref().is_some_and(|bucket| bucket.policy.profile().bucket_is_for_anonymous);
    if is_for_anonymous && request.principal.kind != PrincipalKind::Anonymous {
        return false;
    }
    match statement.verb() {
        // An account delegates to its own policies; it does not grant by itself.
        Verb::Allow => statement.names(request) > Named::Account,
        // AWS denies a caller with a boundary by any `NotPrincipal`.
        Verb::Deny => {
            statement.names(request) != Named::No
                || set.boundary.is_some() && statement.excepts_principals()
        }
    }
}

/// Asks the statements that can concern the request: those of the index, or all.
fn search(policies: Policies<'_>, request: &Request) -> Found {
    let set = policies.set;
    let mut found = Found::nothing(set);
    match policies.index(request) {
        Some((index, row)) => index.visit(row, &request.resource, |entry, covers| {
            let Entry { place, verb, statement, .. } = entry;
            let takes_effect = || match covers {
                Covers::Surely if entry.is_plain => true,
                Covers::Surely => {
                    statement.conditions_hold(request)
                        && means_caller(set, place.layer, statement, request)
                }
                Covers::Perhaps => takes_effect(set, place.layer, statement, request),
            };
            if found.is_open(*place, *verb) && takes_effect() {
                found.add(*place, *verb);
            }
        }),
        None => {
            for (place, statement) in set.statements() {
                let verb = statement.verb();
                if found.is_open(place, verb) && takes_effect(set, place.layer, statement, request)
                {
                    found.add(place, verb);
                }
            }
        }
    }
    found
}

/// Every statement that denies.
fn denying(set: &PolicySet, request: &Request) -> impl Iterator<Item = StatementPlace> {
    set.statements()
        .filter(|(_, statement)| statement.verb() == Verb::Deny)
        .filter(|(place, statement)| takes_effect(set, place.layer, statement, request))
        .map(|(place, _)| place)
}
