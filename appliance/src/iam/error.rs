//! Why a change of identities did not happen.

use policy_lab::document::DocumentError;

/// One failed change. Nothing was changed, except for [`IamError::Store`], where a restart decides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IamError {
    #[error("no user `{0}`")]
    NoSuchUser(String),
    #[error("no group `{0}`")]
    NoSuchGroup(String),
    #[error("no policy `{0}`")]
    NoSuchPolicy(String),
    #[error("policy `{policy}` is attached to `{entity}`")]
    PolicyInUse { policy: String, entity: String },
    #[error("group `{group}` still has {members} members")]
    GroupNotEmpty { group: String, members: usize },
    #[error("`{0}` is the root access key")]
    IsRoot(String),
    #[error("invalid name `{name}`: {rule}")]
    InvalidName { name: String, rule: &'static str },
    #[error("invalid secret: {rule}")]
    InvalidSecret { rule: &'static str },
    #[error("the policy document is malformed")]
    Malformed(#[source] DocumentError),
    #[error("{what}: at most {limit}")]
    TooMany { what: &'static str, limit: usize },
    #[error("identity row `{row}` is damaged: {what}")]
    Damaged { row: String, what: String },
    #[error("storing identities")]
    Store(#[from] storage::Error),
}

/// The distinctions that callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IamErrorKind {
    NoSuchUser,
    NoSuchGroup,
    NoSuchPolicy,
    PolicyInUse,
    GroupNotEmpty,
    IsRoot,
    InvalidName,
    InvalidSecret,
    Malformed,
    TooMany,
    Internal,
}

impl IamError {
    #[must_use]
    pub fn kind(&self) -> IamErrorKind {
        match self {
            Self::NoSuchUser(_) => IamErrorKind::NoSuchUser,
            Self::NoSuchGroup(_) => IamErrorKind::NoSuchGroup,
            Self::NoSuchPolicy(_) => IamErrorKind::NoSuchPolicy,
            Self::PolicyInUse { .. } => IamErrorKind::PolicyInUse,
            Self::GroupNotEmpty { .. } => IamErrorKind::GroupNotEmpty,
            Self::IsRoot(_) => IamErrorKind::IsRoot,
            Self::InvalidName { .. } => IamErrorKind::InvalidName,
            Self::InvalidSecret { .. } => IamErrorKind::InvalidSecret,
            Self::Malformed(_) => IamErrorKind::Malformed,
            Self::TooMany { .. } => IamErrorKind::TooMany,
            Self::Damaged { .. } | Self::Store(_) => IamErrorKind::Internal,
        }
    }
}
