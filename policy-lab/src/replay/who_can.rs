//! Everybody of a world, and whether they may do one thing.

use std::rc::Rc;

use super::bounds::{Answer, Bounds};
use super::{Complete, Export, Recorded};
use crate::{Action, Context, Decision, Principal, PrincipalKind, Request, Resource};

/// Keys that follow from who calls, so that their absence is known.
pub const CALLER_KEYS: [&str; 7] = [
    "aws:groups",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:userid",
    "aws:username",
    "s3:resourceaccount",
];

/// The answer for one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub principal: String,
    pub answer: Can,
    /// What decided, as `identity team#0`.
    pub because: String,
}

/// Whether a caller may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Can {
    Yes,
    No,
    /// It depends on these condition keys.
    Depends(Vec<String>),
}

/// Asks for every enabled user, for a caller without credentials, and for root. Condition keys that `given` does not
/// hold and that do not follow from the caller are unknown.
#[must_use]
pub fn who_can(
    export: &Export,
    action: &Action,
    resource: &Resource,
    given: &Context,
) -> Vec<Access> {
    let account = match export.text().account.as_str() {
        "" => "000000000000",
        account => account,
    };
    let root = Principal {
        kind: PrincipalKind::Root,
        name: "root".to_owned(),
        arn: format!("arn:aws:iam::{account}:root"),
        ..Principal::user(account, "root")
    };
    let everybody = export.principals().chain([Principal::anonymous(account), root]);
    everybody.map(|principal| ask(export, action, resource, given, principal)).collect()
}

fn ask(
    export: &Export,
    action: &Action,
    resource: &Resource,
    given: &Context,
    principal: Principal,
) -> Access {
    let policies = Rc::new(export.policies(&principal, resource.bucket()));
    let name = principal.name.clone();
    let request = Request {
        action: action.clone(),
        resource: resource.clone(),
        context: context(given, &principal),
        principal,
    };
    let event = Recorded {
        id: String::new(),
        seq: None,
        request,
        recorded: None,
        complete: Complete::only(CALLER_KEYS.map(str::to_owned)),
    };
    let (answer, because) = match Bounds::default().decide(&policies, &event) {
        Answer::Sure(decision) => {
            let can = if decision.is_allowed() { Can::Yes } else { Can::No };
            (can, reasons(&decision))
        }
        Answer::Unknown(keys) => (Can::Depends(keys.to_vec()), String::new()),
    };
    Access { principal: name, answer, because }
}

/// What the server fills in for a caller, beside what was given.
#[must_use]
pub fn context(given: &Context, principal: &Principal) -> Context {
    let mut context = given.clone();
    let mut fill = |key: &str, value: &str| {
        if context.get(key).is_none() {
            context.set(key, value);
        }
    };
    fill("s3:ResourceAccount", &principal.account);
    let kind = match principal.kind {
        PrincipalKind::Root => "Account",
        PrincipalKind::User | PrincipalKind::ServiceAccount => "User",
        PrincipalKind::Session => "AssumedRole",
        PrincipalKind::Anonymous => "Anonymous",
    };
    fill("aws:PrincipalType", kind);
    if principal.kind == PrincipalKind::Anonymous {
        return context;
    }
    fill("aws:username", &principal.name);
    fill("aws:userid", &principal.name);
    fill("aws:PrincipalArn", &principal.arn);
    fill("aws:PrincipalAccount", &principal.account);
    if !principal.groups.is_empty() && context.get("aws:groups").is_none() {
        context.set_many("aws:groups", principal.groups.clone());
    }
    context
}

/// The deciding statements of a decision, or its reason.
#[must_use]
pub fn reasons(decision: &Decision) -> String {
    let statements = decision.by.iter().map(|statement| {
        let name = match &statement.sid {
            Some(sid) => sid.to_string(),
            None => statement.index.to_string(),
        };
        format!("{} {}#{name}", statement.layer.as_str(), statement.policy)
    });
    let guardrails = decision.denials.iter().map(|denial| format!("guardrail {}", denial.id));
    let all: Vec<_> = statements.chain(guardrails).collect();
    if all.is_empty() { decision.reason.as_str().to_owned() } else { all.join(", ") }
}
