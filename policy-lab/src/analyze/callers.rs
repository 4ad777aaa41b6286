//! Callers worth asking about: one of each kind that the principals of bucket policies tell apart.
//!
//! A principal is an account, a user, a role or a session; a service account or session also answers for its parent.
//! So for every account that is named, and one that is not, there is each combination of own name, role and parent,
//! named or not. Which of them a statement speaks of, the evaluator says itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use serde_json::{Value, json};

use super::Limit;
use super::statement::Statement;
use crate::arn::Arn;
use crate::{
    Action, Attached, Context, DocumentKind, Policy, PolicySet, Principal, PrincipalKind, Request,
    Resource, evaluate,
};

/// Beyond that many callers a policy names too many principals to combine them.
const CALLERS_MAX: usize = 4_000;

/// The account of anonymous callers, and of those that nobody names where it is not named itself.
const ACCOUNT: &str = "000000000000";
/// The name of callers that nobody names, likewise.
const NOBODY: &str = "someone";

#[derive(Debug)]
pub(super) struct Callers {
    callers: Vec<Principal>,
}

/// What principals of policies name.
#[derive(Default)]
struct Named {
    accounts: BTreeSet<String>,
    /// Account and path-less name.
    users: BTreeSet<(String, String)>,
    roles: BTreeSet<(String, String)>,
    /// Account, role and session.
    sessions: BTreeSet<(String, String, String)>,
    /// ARNs of another form, with their account.
    others: BTreeSet<(String, String)>,
}

impl Callers {
    pub(super) fn of<'a>(statements: impl Iterator<Item = &'a Statement>) -> Result<Self, Limit> {
        let mut named = Named::default();
        for statement in statements {
            if let Some((_, value)) = &statement.principals {
                named.gather(value);
            }
        }
        let mut callers = vec![Principal::anonymous(ACCOUNT)];
        let mut accounts = (0..=named.accounts.len()).map(|number| format!("{number:012}"));
        let stranger = accounts.find(|account| !named.accounts.contains(account));
        for account in named.accounts.iter().cloned().chain(stranger) {
            named.of_account(&account, &mut callers);
            if callers.len() > CALLERS_MAX {
                return Err(Limit::Principals);
            }
        }
        Ok(Self { callers })
    }

    /// One caller, and nobody else.
    pub(super) fn only(caller: &Principal) -> Self {
        Self { callers: vec![caller.clone()] }
    }

    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Principal> {
        self.callers.get(at)
    }

    pub(super) fn anonymous(&self) -> FixedBitSet {
        self.filter(|caller| caller.kind == PrincipalKind::Anonymous)
    }

    /// Those whom a statement of a bucket policy lets in, or keeps out.
    pub(super) fn named(&self, statement: &Statement) -> FixedBitSet {
        let Some((element, value)) = &statement.principals else {
            return FixedBitSet::with_capacity(self.len());
        };
        let effect = if statement.allows { "Allow" } else { "Deny" };
        let text = json!({
            "Version": "2012-10-17",
            "Statement": { "Effect": effect, element: value, "Action": "s3:GetObject", "Resource": "*" },
        });
        let Ok(policy) = Policy::parse(&text.to_string(), DocumentKind::Bucket) else {
            return FixedBitSet::with_capacity(self.len());
        };
        let bucket = Some(Attached { name: Arc::from("named"), policy: Arc::new(policy) });
        let set = PolicySet { bucket, ..PolicySet::default() };
        let takes_effect = |caller: &Principal| {
            let Ok(action) = Action::parse("s3:GetObject") else { return false };
            let request = Request {
                action,
                resource: Resource::Object { bucket: "b".to_owned(), key: "k".to_owned() },
                principal: caller.clone(),
                context: Context::new(),
            };
            !evaluate(&set, &request).by.is_empty()
        };
        self.filter(takes_effect)
    }

    fn filter(&self, keep: impl Fn(&Principal) -> bool) -> FixedBitSet {
        let mut set = FixedBitSet::with_capacity(self.len());
        for (at, caller) in self.callers.iter().enumerate() {
            set.set(at, keep(caller));
        }
        set
    }
}

impl Named {
    fn gather(&mut self, value: &Value) {
        match value {
            Value::Object(kinds) => kinds.values().for_each(|value| self.gather(value)),
            Value::Array(values) => values.iter().for_each(|value| self.gather(value)),
            Value::String(text) => self.add(text),
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        let Some(arn) = Arn::parse(text) else {
            if text.len() == ACCOUNT.len() {
                self.accounts.insert(text.to_owned());
            }
            return;
        };
        let account = arn.account.to_owned();
        self.accounts.insert(account.clone());
        match (arn.service, arn.resource.split_once('/')) {
            ("iam", Some(("user", name))) if arn.partition == "aws" => {
                self.users.insert((account, name.to_owned()));
            }
            ("iam", Some(("role", path))) => {
                let role = path.rsplit('/').next().unwrap_or(path).to_owned();
                self.roles.insert((account, role));
            }
            ("sts", Some(("assumed-role", rest))) if arn.partition == "aws" => {
                let (role, session) = rest.split_once('/').unwrap_or((rest, ""));
                self.sessions.insert((account.clone(), role.to_owned(), session.to_owned()));
                self.roles.insert((account, role.to_owned()));
            }
            _ => drop(self.others.insert((account, text.to_owned()))),
        }
    }

    fn of_account(&self, account: &str, callers: &mut Vec<Principal>) {
        let within = |there: &String| there == account;
        let named_users =
            self.users.iter().filter(|(there, _)| within(there)).map(|(_, name)| name.as_str());
        let nobody = stranger(NOBODY, |name| self.users.iter().any(|(_, there)| there == name));
        let nobody = nobody.as_str();
        let service = format!("{nobody}-service");
        let service = stranger(&service, |name| self.users.iter().any(|(_, there)| there == name));
        let users: Vec<&str> = std::iter::once(nobody).chain(named_users).collect();
        let others =
            || self.others.iter().filter(|(there, _)| within(there)).map(|(_, arn)| arn.clone());
        let user_arn = |name: &str| Principal::user(account, name).arn;
        callers.extend(users.iter().map(|name| Principal::user(account, name)));
        callers.extend(others().map(|arn| Principal { arn, ..Principal::user(account, nobody) }));
        let sessions = self.session_arns(account);
        for parent in &users {
            let own = users.iter().filter(|own| own != &parent || **own == nobody);
            let services = own.map(|own| {
                let name = if *own == nobody { &service } else { *own };
                (PrincipalKind::ServiceAccount, user_arn(name))
            });
            let session = sessions.iter().cloned().chain(others()).chain([user_arn(parent)]);
            let derived = services.chain(session.map(|arn| (PrincipalKind::Session, arn)));
            callers.extend(derived.map(|(kind, arn)| Principal {
                kind,
                arn,
                parent: Some((*parent).to_owned()),
                ..Principal::user(account, parent)
            }));
        }
        callers.extend(sessions.into_iter().map(|arn| Principal {
            kind: PrincipalKind::Session,
            arn,
            ..Principal::user(account, nobody)
        }));
    }

    /// Every role, named or not, with every session, named or not.
    fn session_arns(&self, account: &str) -> Vec<String> {
        let roles =
            self.roles.iter().filter(|(there, _)| there == account).map(|(_, role)| role.as_str());
        let mut arns = Vec::new();
        let other_role = stranger("some-role", |name| self.roles.iter().any(|(_, r)| r == name));
        let other = stranger("some-session", |name| self.sessions.iter().any(|(.., s)| s == name));
        for role in roles.chain([other_role.as_str()]) {
            let named = self.sessions.iter().filter(|(there, r, _)| there == account && r == role);
            for session in named.map(|(.., session)| session.as_str()).chain([other.as_str()]) {
                arns.push(format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"));
            }
        }
        arns
    }
}

/// A name that nobody has.
fn stranger(name: &str, is_named: impl Fn(&str) -> bool) -> String {
    let mut stranger = name.to_owned();
    while is_named(&stranger) {
        stranger.push_str("-else");
    }
    stranger
}
