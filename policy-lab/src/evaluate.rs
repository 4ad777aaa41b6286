//! The one place that knows which policy wins.
//!
//! Guardrails may only deny, and deny everyone. Root is otherwise allowed everything. An explicit deny anywhere denies.
//! Then an identity policy or the bucket policy must allow, and so must the boundary and the session policy where there
//! are any, whatever the bucket policy says. Bucket policies hold for everyone, as on AWS; an anonymous caller has
//! nothing else, and only `"Principal": "*"` means it.
//!
//! Source: IAM user guide, "Policy evaluation logic". Where AWS lets a direct grant in a bucket policy pass a boundary
//! or session policy, we do not: the safer reading.

use crate::decision::{Decision, Denial, Effect, Layer, Reason, StatementRef};
use crate::document::{Named, Statement, Subject, Verb};
use crate::{Attached, PolicySet, PrincipalKind, Request};

/// Decides a request. Pure, bounded by the size of the policies, and never panics; any doubt is a deny.
#[must_use]
pub fn evaluate(set: &PolicySet, request: &Request) -> Decision {
    let policies = decide(set, request);
    let Some(guardrails) = &set.guardrails else { return policies };
    match guardrails.denials(request, &policies) {
        Ok(denials) if denials.is_empty() => policies,
        Ok(denials) => denied_by_guardrails(policies, Reason::Guardrail, denials),
        Err(error) => {
            let denial = Denial { id: Reason::EngineError.as_str().to_owned(), msg: error };
            denied_by_guardrails(policies, Reason::EngineError, vec![denial])
        }
    }
}

/// What allowed is of no interest any more; what denied is.
fn denied_by_guardrails(policies: Decision, reason: Reason, denials: Vec<Denial>) -> Decision {
    let by = if policies.effect == Effect::ExplicitDeny { policies.by } else { Vec::new() };
    Decision { effect: Effect::ExplicitDeny, reason, by, denials }
}

/// The decision of the policies, guardrails aside.
fn decide(set: &PolicySet, request: &Request) -> Decision {
    let is_root = request.principal.kind == PrincipalKind::Root;
    if is_root && set.session.is_none() && set.boundary.is_none() {
        return decision(Effect::Allow, Reason::AdminBypass, Vec::new());
    }
    let subject = Subject::new(request);
    let found = search(set, &subject);
    if !found.denying.is_empty() {
        return decision(Effect::ExplicitDeny, Reason::ExplicitDeny, found.denying);
    }
    let is_anonymous = request.principal.kind == PrincipalKind::Anonymous;
    let core = match (found.identity, found.bucket) {
        _ if is_root => (Reason::AdminBypass, None),
        (Some(statement), _) if !is_anonymous => (Reason::IdentityAllow, Some(statement)),
        (_, Some(statement)) => (Reason::ResourceAllow, Some(statement)),
        _ => return decision(Effect::ImplicitDeny, Reason::ImplicitDeny, Vec::new()),
    };
    if !found.boundary {
        return decision(Effect::ImplicitDeny, Reason::Boundary, Vec::new());
    }
    if !found.session {
        return decision(Effect::ImplicitDeny, Reason::SessionLimit, Vec::new());
    }
    let (reason, statement) = core;
    decision(Effect::Allow, reason, statement.into_iter().collect())
}

fn decision(effect: Effect, reason: Reason, by: Vec<StatementRef>) -> Decision {
    Decision { effect, reason, by, denials: Vec::new() }
}

/// What each layer says.
struct Found {
    /// Of all layers.
    denying: Vec<StatementRef>,
    identity: Option<StatementRef>,
    bucket: Option<StatementRef>,
    /// Allows, or is not there.
    boundary: bool,
    session: bool,
}

fn search(set: &PolicySet, subject: &Subject<'_>) -> Found {
    let mut denying = Vec::new();
    let everyone = |_: &Statement| true;
    let identity = set
        .identity
        .iter()
        .map(|policy| walk(Layer::Identity, policy, subject, &everyone, &mut denying))
        // `fold`, not `find`: the walk over later policies still collects their denies.
        .fold(None, |first, allowing| first.or(allowing));
    let bounded = set.boundary.is_some();
    let speaks_of_caller = |statement: &Statement| match statement.verb() {
        Verb::Allow => statement.names(subject) > Named::Account,
        // AWS denies a caller with a boundary by any `NotPrincipal`.
        Verb::Deny => {
            statement.names(subject) != Named::No || bounded && statement.excepts_principals()
        }
    };
    let bucket = set
        .bucket
        .as_ref()
        .and_then(|policy| walk(Layer::Bucket, policy, subject, &speaks_of_caller, &mut denying));
    let mut permits = |layer, policy: &Option<Attached>| match policy {
        Some(policy) => walk(layer, policy, subject, &everyone, &mut denying).is_some(),
        None => true,
    };
    let boundary = permits(Layer::Boundary, &set.boundary);
    let session = permits(Layer::Session, &set.session);
    Found { denying, identity, bucket, boundary, session }
}

/// The first statement of a policy that allows; every one that denies is collected.
fn walk(
    layer: Layer,
    attached: &Attached,
    subject: &Subject<'_>,
    speaks_of_caller: &dyn Fn(&Statement) -> bool,
    denying: &mut Vec<StatementRef>,
) -> Option<StatementRef> {
    let mut allowing = None;
    for statement in &attached.policy.statements {
        let verb = statement.verb();
        if verb == Verb::Allow && allowing.is_some() {
            continue;
        }
        if !statement.applies(subject) || !speaks_of_caller(statement) {
            continue;
        }
        let reference = StatementRef {
            layer,
            policy: attached.name.clone(),
            sid: statement.sid(),
            index: statement.index(),
        };
        match verb {
            Verb::Allow => allowing = Some(reference),
            Verb::Deny => denying.push(reference),
        }
    }
    allowing
}
