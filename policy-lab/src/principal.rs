//! Who asks.

/// What kind of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    Root,
    User,
    ServiceAccount,
    Session,
    Anonymous,
}

impl PrincipalKind {
    /// The word of the guardrails' input document (`principal.type`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::ServiceAccount => "service_account",
            Self::Session => "sts",
            Self::Anonymous => "anonymous",
        }
    }
}

/// The authenticated caller of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    pub kind: PrincipalKind,
    pub name: String,
    /// `arn:aws:iam::<account>:user/<name>`, `arn:aws:iam::<account>:root`, or an STS session ARN.
    pub arn: String,
    pub account: String,
    pub groups: Vec<String>,
    /// The user behind a service account or session, as name or ARN.
    pub parent: Option<String>,
}

impl Principal {
    /// An ordinary user without groups.
    #[must_use]
    pub fn user(account: &str, name: &str) -> Self {
        Self {
            kind: PrincipalKind::User,
            name: name.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            account: account.to_owned(),
            groups: Vec::new(),
            parent: None,
        }
    }

    /// The caller who showed no credentials.
    #[must_use]
    pub fn anonymous(account: &str) -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            name: "anonymous".to_owned(),
            arn: "*".to_owned(),
            account: account.to_owned(),
            groups: Vec::new(),
            parent: None,
        }
    }
}
