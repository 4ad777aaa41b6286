//! The answer to a request, with what decided it.

use std::sync::Arc;

/// The three answers. Only [`Effect::Allow`] lets a request through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    Allow,
    ExplicitDeny,
    ImplicitDeny,
}

impl Effect {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::ExplicitDeny => "explicit-deny",
            Self::ImplicitDeny => "implicit-deny",
        }
    }
}

/// Why. Exhaustive on purpose: a new reason must be handled by everyone who maps reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A statement denies.
    ExplicitDeny,
    /// Nothing allows.
    ImplicitDeny,
    /// A policy of the user or of a group allows.
    IdentityAllow,
    /// The bucket policy allows.
    ResourceAllow,
    /// Something allows, but the session policy does not.
    SessionLimit,
    /// Something allows, but the permissions boundary does not.
    Boundary,
    /// A Rego guardrail denies.
    Guardrail,
    /// The guardrails could not be evaluated; unsure means no.
    EngineError,
    /// The caller is root.
    AdminBypass,
}

impl Reason {
    /// The word in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExplicitDeny => "explicit-deny",
            Self::ImplicitDeny => "implicit-deny",
            Self::IdentityAllow => "identity-allow",
            Self::ResourceAllow => "resource-allow",
            Self::SessionLimit => "session-limit",
            Self::Boundary => "boundary",
            Self::Guardrail => "guardrail",
            Self::EngineError => "engine-error",
            Self::AdminBypass => "admin-bypass",
        }
    }
}

/// Where a policy is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    Identity,
    Bucket,
    Boundary,
    Session,
}

impl Layer {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Bucket => "bucket",
            Self::Boundary => "boundary",
            Self::Session => "session",
        }
    }
}

/// Where a statement stands in a policy set; ordered as the statements are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementPlace {
    pub layer: Layer,
    /// Position of the policy in its layer, from zero.
    pub policy: u32,
    /// Position in the document, from zero.
    pub index: u32,
}

/// The answer without names, small enough to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub effect: Effect,
    pub reason: Reason,
    /// The first statement that denies, or that allows.
    pub by: Option<StatementPlace>,
}

/// A statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRef {
    pub layer: Layer,
    /// Name under which the policy is attached.
    pub policy: Arc<str>,
    pub sid: Option<Arc<str>>,
    /// Position in the document, from zero.
    pub index: u32,
}

impl StatementRef {
    /// The statement's name in the log: `identity:readonly#0`.
    #[must_use]
    pub fn id(&self) -> String {
        statement_id(self.layer, &self.policy, self.index)
    }
}

/// As [`StatementRef::id`].
pub(crate) fn statement_id(layer: Layer, policy: &str, index: u32) -> String {
    format!("{}:{policy}#{index}", layer.as_str())
}

/// A member of the guardrails' `deny` set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Stable identifier; goes into the log.
    pub id: String,
    pub msg: String,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub effect: Effect,
    pub reason: Reason,
    /// Every statement that denies, or the first that allows.
    pub by: Vec<StatementRef>,
    /// What the guardrails said, also when statements deny; for an engine error, the error.
    pub denials: Vec<Denial>,
}

impl Decision {
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow
    }
}
