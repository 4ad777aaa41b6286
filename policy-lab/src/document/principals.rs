//! `Principal` and `NotPrincipal`: who a bucket policy speaks of.

use crate::{Principal, PrincipalKind};

/// How a caller is named. A later class is a more direct one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    No,
    /// By account: delegates to the account's own policies, does not grant by itself.
    Account,
    /// By the role of the session.
    Role,
    Directly,
    Everyone,
}

/// One entry of a principal block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Everyone,
    Account(Box<str>),
    Role {
        account: Box<str>,
        name: Box<str>,
    },
    /// A user or session ARN.
    Arn(Box<str>),
    /// A service, federated provider or canonical id: nobody who can call us.
    Foreign,
}

impl Entry {
    /// Reads an entry under `AWS`. The error is the complaint.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if text.contains(['*', '?']) {
            return Err(format!("principal `{text}` has a wildcard: only `*` alone is possible"));
        }
        if is_account(text) {
            return Ok(Self::Account(text.into()));
        }
        let Some(arn) = crate::arn::Arn::parse(text) else {
            return Err(format!("principal `{text}` is neither `*`, an account nor an ARN"));
        };
        match (arn.service, arn.resource.split_once('/')) {
            ("iam", None) if arn.resource == "root" && is_account(arn.account) => {
                Ok(Self::Account(arn.account.into()))
            }
            ("iam", Some(("role", path))) => Ok(Self::Role {
                account: arn.account.into(),
                name: path.rsplit('/').next().unwrap_or(path).into(),
            }),
            ("iam", Some(("user", _))) | ("sts", Some(("assumed-role" | "federated-user", _))) => {
                Ok(Self::Arn(text.into()))
            }
            _ => Err(format!("`{text}` is not the ARN of an account, user, role or session")),
        }
    }

    fn names(&self, principal: &Principal) -> Named {
        if let Self::Everyone = self {
            return Named::Everyone;
        }
        if principal.kind == PrincipalKind::Anonymous {
            return Named::No;
        }
        match self {
            Self::Account(account) if **account == *principal.account => Named::Account,
            Self::Role { account, name } if is_session_of(&principal.arn, account, name) => {
                Named::Role
            }
            Self::Arn(arn) if **arn == *principal.arn || is_parent(arn, principal) => {
                Named::Directly
            }
            _ => Named::No,
        }
    }
}

/// The principal element of a statement.
#[derive(Clone, Debug)]
pub(super) struct Principals {
    pub(super) entries: Vec<Entry>,
    /// `NotPrincipal`.
    pub(super) inverted: bool,
}

impl Principals {
    /// How the statement speaks of the caller.
    pub(super) fn name(&self, principal: &Principal) -> Named {
        let listed = |entry: &Entry| entry.names(principal);
        if !self.inverted {
            return self.entries.iter().map(listed).max().unwrap_or(Named::No);
        }
        if self.exempts(principal) { Named::No } else { Named::Everyone }
    }

    /// A session is exempt only if account, role and session are all listed; anyone else if listed directly.
    fn exempts(&self, principal: &Principal) -> bool {
        let lists = |class: Named| self.entries.iter().any(|entry| entry.names(principal) == class);
        let is_role_session = principal.arn.contains(":assumed-role/");
        lists(Named::Everyone)
            || lists(Named::Directly)
                && (!is_role_session || lists(Named::Role) && lists(Named::Account))
    }
}

/// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
fn is_session_of(arn: &str, account: &str, role: &str) -> bool {
    crate::arn::Arn::parse(arn).is_some_and(|arn| {
        arn.service == "sts"
            && arn.account == account
            && arn
                .resource
                .strip_prefix("assumed-role/")
                .and_then(|rest| rest.split_once('/'))
                .is_some_and(|(name, _)| name == role)
    })
}

/// A service account or session acts as its parent, so what names the parent names it.
fn is_parent(arn: &str, principal: &Principal) -> bool {
    let derived = matches!(principal.kind, PrincipalKind::ServiceAccount | PrincipalKind::Session);
    let named = |parent: &str| {
        let rest = arn.strip_prefix("arn:aws:iam::")?.strip_prefix(principal.account.as_str())?;
        Some(rest.strip_prefix(":user/")? == parent)
    };
    principal
        .parent
        .as_deref()
        .filter(|_| derived)
        .is_some_and(|parent| arn == parent || named(parent).unwrap_or(false))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
