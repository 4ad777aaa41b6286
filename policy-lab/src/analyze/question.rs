//! The questions.

use std::sync::Arc;

use serde_json::json;

use super::Limit;
use super::encode::{Encoder, Layers, Sure, pattern};
use super::formula::Formula;
use super::prove::{Answer, Question};
use super::statement::{Statement, without};
use crate::{
    Attached, Decision, DocumentError, DocumentKind, Layer, Policy, PolicySet, PrincipalKind,
    Request, StatementRef, evaluate,
};

/// Which requests count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// Every request that can be written down.
    Any,
    /// Actions of the catalogue on the kind of resource they are checked on, with any context; but an anonymous caller
    /// has no name, ARN, account, group or signature.
    #[default]
    S3,
    /// As [`World::S3`], and the keys that the server always fills are there and of their type: address, time, transport,
    /// and of a caller who signed, name, ARN and account.
    Server,
}

/// The policies of one caller. Root is never asked about: no policy but a guardrail binds it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub policies: PolicySet,
    /// The bucket that `policies.bucket` belongs to; `None`: whichever a request touches.
    pub bucket: Option<String>,
}

impl Access {
    /// What the evaluator decides.
    #[must_use]
    pub fn decide(&self, request: &Request) -> Decision {
        let is_other =
            self.bucket.as_deref().is_some_and(|name| request.resource.bucket() != Some(name));
        if is_other {
            return evaluate(&PolicySet { bucket: None, ..self.policies.clone() }, request);
        }
        evaluate(&self.policies, request)
    }
}

/// The answer to a question of the form "there is no such request".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is none.
    Proved,
    /// Here is one, as the evaluator confirms.
    Refuted(Box<Counterexample>),
    /// Neither could be shown.
    Unknown(Limit),
}

/// A request that refutes, with what decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    pub request: Request,
    /// What the policies in question decide; when two are compared, those that allow it.
    pub decision: Decision,
    /// What those decide that do not allow it.
    pub other: Option<Decision>,
}

/// `new` allows nothing that `old` does not.
#[must_use]
pub fn no_more_permissive(new: &Access, old: &Access, world: World) -> Verdict {
    let read = Layers::read(new).and_then(|new| Ok((new, Layers::read(old)?)));
    let Ok((new_layers, old_layers)) = read else { return Verdict::Unknown(Limit::Unread) };
    let statements = new_layers.statements().chain(old_layers.statements()).collect();
    let question = Question {
        statements,
        world,
        asker: None,
        ask: &|encoder| encoder.allowed(&new_layers).and(encoder.allowed(&old_layers).not()),
        confirm: &|request| new.decide(request).is_allowed() && !old.decide(request).is_allowed(),
    };
    compared(&question, new, old)
}

/// The answer to "is there a request that `new` allows and `old` does not", guardrails and all.
pub(super) fn compared(question: &Question<'_>, new: &Access, old: &Access) -> Verdict {
    let verdict = guarded(question, new, Some(old));
    let (Verdict::Proved, Some(guardrails)) = (&verdict, &old.policies.guardrails) else {
        return verdict;
    };
    // What the same rules take away from both they take from either, unless they look at what the policies said.
    let are_same = new.policies.guardrails.as_ref().is_some_and(|new| new.are(guardrails));
    if are_same && !guardrails.see_policies() {
        return verdict;
    }
    // Whatever `new` allows may be what the guardrails of `old` deny.
    let allowed = |encoder: &mut Encoder<'_>| match Layers::read(new) {
        Ok(layers) => encoder.allowed(&layers),
        Err(_) => Formula::constant(false),
    };
    let statements = question.statements.clone();
    let found = past_guardrails(&Question { ask: &allowed, statements, ..*question });
    found.map_or(Verdict::Unknown(Limit::Guardrails), |request| refuted(request, new, Some(old)))
}

/// The verdict where guardrails only deny: what is proved without them is proved. A request that they deny refutes nothing,
/// another may.
pub(super) fn guarded(question: &Question<'_>, access: &Access, other: Option<&Access>) -> Verdict {
    match verdict(question, access, other) {
        Verdict::Unknown(Limit::Unconfirmed) if access.policies.guardrails.is_some() => {
            let found = past_guardrails(question);
            found.map_or(Verdict::Unknown(Limit::Guardrails), |it| refuted(it, access, other))
        }
        verdict => verdict,
    }
}

/// Requests tried at most, to find one that guardrails let through.
const STATEMENTS_TRIED: usize = 16;

/// A request for one of the allowing statements after the other, until one is confirmed.
fn past_guardrails(question: &Question<'_>) -> Option<Box<Request>> {
    let allowing = question.statements.iter().filter(|statement| statement.allows);
    allowing.take(STATEMENTS_TRIED).find_map(|statement| {
        let ask = |encoder: &mut Encoder<'_>| {
            (question.ask)(encoder).and(encoder.applies(statement, Sure::Yes))
        };
        let narrowed = Question { ask: &ask, statements: question.statements.clone(), ..*question };
        match narrowed.answer() {
            Answer::Found(request) => Some(request),
            Answer::None | Answer::Unknown(_) => None,
        }
    })
}

fn refuted(request: Box<Request>, access: &Access, other: Option<&Access>) -> Verdict {
    Verdict::Refuted(Box::new(Counterexample {
        decision: access.decide(&request),
        other: other.map(|other| other.decide(&request)),
        request: *request,
    }))
}

pub(super) fn verdict(question: &Question<'_>, access: &Access, other: Option<&Access>) -> Verdict {
    match question.answer() {
        Answer::None => Verdict::Proved,
        Answer::Unknown(limit) => Verdict::Unknown(limit),
        Answer::Found(request) => refuted(request, access, other),
    }
}

/// Requests that must not be granted: any of the actions on any of the resources, under all conditions.
#[derive(Clone, Debug)]
pub struct Grant(pub(super) Policy);

/// What is wrong with a [`Grant`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("the condition is not JSON: {0}")]
    Condition(String),
    #[error("{}", message(.0))]
    Policy(DocumentError),
}

fn message(error: &DocumentError) -> String {
    match &error.hint {
        Some(hint) => format!("{}\n  hint: {hint}", error.message),
        None => error.message.clone(),
    }
}

impl Grant {
    /// Patterns as a policy has them; `condition` is a `Condition` element. No actions or no resources: all.
    ///
    /// # Errors
    /// When a policy with these elements would be refused.
    pub fn new(
        actions: &[String],
        resources: &[String],
        condition: Option<&str>,
    ) -> Result<Self, GrantError> {
        let any = [String::from("*")];
        let or_any = |list| if <[String]>::is_empty(list) { &any[..] } else { list };
        let condition: serde_json::Value = match condition {
            Some(text) => {
                serde_json::from_str(text).map_err(|e| GrantError::Condition(e.to_string()))?
            }
            None => json!({}),
        };
        let document = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": or_any(actions), "Resource": or_any(resources), "Condition": condition,
        }});
        Policy::parse(&document.to_string(), DocumentKind::Identity)
            .map(Self)
            .map_err(GrantError::Policy)
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        let policy = Attached { name: Arc::from("asked"), policy: Arc::new(self.0.clone()) };
        // As an identity policy it would not speak of anonymous callers.
        let session = PolicySet { identity: vec![policy], ..PolicySet::default() };
        let principal = crate::Principal::user("000000000000", "asked");
        evaluate(&session, &Request { principal, ..request.clone() }).is_allowed()
    }
}

/// No request of the grant is allowed.
#[must_use]
pub fn not_granted(access: &Access, grant: &Grant, world: World) -> Verdict {
    let read = Layers::read(access).and_then(|layers| Ok((layers, pattern(&grant.0)?)));
    let Ok((layers, wanted)) = read else { return Verdict::Unknown(Limit::Unread) };
    let statements = layers.statements().chain([&wanted]).collect();
    let question = Question {
        statements,
        world,
        asker: None,
        ask: &|encoder| encoder.applies(&wanted, Sure::Yes).and(encoder.allowed(&layers)),
        confirm: &|request| grant.matches(request) && access.decide(request).is_allowed(),
    };
    guarded(&question, access, None)
}

/// No anonymous request is allowed.
#[must_use]
pub fn not_public(access: &Access, world: World) -> Verdict {
    let Ok(layers) = Layers::read(access) else { return Verdict::Unknown(Limit::Unread) };
    let question = Question {
        statements: layers.statements().collect(),
        world,
        asker: None,
        ask: &|encoder| encoder.anonymous().and(encoder.allowed(&layers)),
        confirm: &|request| {
            request.principal.kind == PrincipalKind::Anonymous
                && access.decide(request).is_allowed()
        },
    };
    guarded(&question, access, None)
}

/// What a statement contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Some request would be decided otherwise without it.
    Needed(Box<Counterexample>),
    /// It applies to requests, but every one of them would be decided the same without it.
    Redundant,
    /// No request can meet it.
    Dead,
    Unknown(Limit),
}

/// One statement, and what it contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFinding {
    pub statement: StatementRef,
    pub role: Role,
}

/// What each statement of an identity or bucket policy contributes, the others being there.
///
/// Two statements that say the same are both redundant: each can go, not both.
#[must_use]
pub fn statements(access: &Access, world: World) -> Vec<StatementFinding> {
    let set = &access.policies;
    let attached = set.identity.iter().map(|policy| (Layer::Identity, policy));
    let attached = attached.chain(set.bucket.iter().map(|policy| (Layer::Bucket, policy)));
    let attached = attached.chain(set.boundary.iter().map(|policy| (Layer::Boundary, policy)));
    let attached = attached.chain(set.session.iter().map(|policy| (Layer::Session, policy)));
    let mut findings = Vec::new();
    for (layer, policy) in attached {
        let Ok(read) = super::statement::statements(&policy.policy) else { continue };
        for (index, statement) in read.iter().enumerate() {
            findings.push(StatementFinding {
                statement: StatementRef {
                    layer,
                    policy: policy.name.clone(),
                    sid: statement.sid.as_deref().map(Arc::from),
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                },
                role: role(access, (layer, policy), index, statement, world),
            });
        }
    }
    findings
}

fn role(
    access: &Access,
    (layer, policy): (Layer, &Attached),
    index: usize,
    statement: &Statement,
    world: World,
) -> Role {
    let Some(less) = lessened(access, (layer, policy), index) else {
        return Role::Unknown(Limit::Unread);
    };
    // Without an allow less is allowed, without a deny more.
    let (more, less) = if statement.allows { (access, &less) } else { (&less, access) };
    match no_more_permissive(more, less, world) {
        Verdict::Refuted(found) => Role::Needed(found),
        Verdict::Unknown(limit) => Role::Unknown(limit),
        Verdict::Proved => match applies(layer, statement, world) {
            Answer::None => Role::Dead,
            Answer::Found(_) | Answer::Unknown(_) => Role::Redundant,
        },
    }
}

/// The same policies without one statement.
fn lessened(access: &Access, (layer, policy): (Layer, &Attached), index: usize) -> Option<Access> {
    let text = without(&policy.policy, index)?;
    let less = Policy::parse_as(&text, policy.policy.kind(), policy.policy.profile()).ok()?;
    let less = Attached { name: policy.name.clone(), policy: Arc::new(less) };
    let mut changed = access.clone();
    let set = &mut changed.policies;
    match layer {
        Layer::Identity => {
            let place =
                set.identity.iter_mut().find(|there| Arc::ptr_eq(&there.policy, &policy.policy))?;
            *place = less;
        }
        Layer::Bucket => set.bucket = Some(less),
        Layer::Boundary => set.boundary = Some(less),
        Layer::Session => set.session = Some(less),
    }
    Some(changed)
}

/// Whether the statement can take effect at all. Only a "no" counts, so nothing needs to be confirmed.
fn applies(layer: Layer, statement: &Statement, world: World) -> Answer {
    let sure = if statement.allows { Sure::Yes } else { Sure::NotNo };
    let ask = |encoder: &mut Encoder<'_>| {
        let speaks = match layer {
            Layer::Bucket => encoder.speaks(statement),
            _ => Formula::constant(true),
        };
        encoder.applies(statement, sure).and(speaks)
    };
    Question { statements: vec![statement], world, asker: None, ask: &ask, confirm: &|_| true }
        .answer()
}

/// What a change gives and takes, whether or not any recorded request was touched by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Proved: nothing is allowed after the change that was not before.
    pub gained: Verdict,
    /// Proved: nothing that was allowed before is not after the change.
    pub lost: Verdict,
}

impl Difference {
    /// The change decides nothing otherwise.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.gained == Verdict::Proved && self.lost == Verdict::Proved
    }
}

/// Compares two sets of policies in both directions.
#[must_use]
pub fn differences(before: &Access, after: &Access, world: World) -> Difference {
    Difference {
        gained: no_more_permissive(after, before, world),
        lost: no_more_permissive(before, after, world),
    }
}
