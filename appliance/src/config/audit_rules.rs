//! How far a request may run ahead of its records: one rule per class of events.
//!
//! Changes, key use, failed logins, administration and questions to the log have one rule, and it is strict: their keys
//! are there so that the table is whole, and so that another wish is answered with the reason.

use audit::Class;

/// How far a request may be ahead of the record of its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing is read and nothing is changed before the record is durable.
    Strict,
    /// Reading goes on beside the write of the record; no byte leaves before it is durable.
    Response,
    /// Bytes may leave before the record is durable. What waits for the disk is bounded, and nothing is dropped.
    Async,
}

impl Rule {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Response => "response",
            Self::Async => "async",
        }
    }
}

/// The rules of reads. Every change is strict, whatever its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRules {
    /// Of objects.
    pub data: Rule,
    /// Of buckets: listings, configuration.
    pub mgmt: Rule,
}

impl Default for AuditRules {
    /// An object's bytes are worth a sync that runs beside the drives; a listing is not read often enough to be.
    fn default() -> Self {
        Self { data: Rule::Response, mgmt: Rule::Strict }
    }
}

impl AuditRules {
    /// What a read of this class must wait for.
    #[must_use]
    pub const fn of_read(&self, class: Class) -> Rule {
        match class {
            Class::Data => self.data,
            Class::Mgmt => self.mgmt,
            Class::Kms
            | Class::Authn
            | Class::Admin
            | Class::Query
            | Class::Audit
            | Class::Delivery => Rule::Strict,
        }
    }

    /// Key, chosen rule and default of everything that is not as it comes.
    #[must_use]
    pub fn departures(&self) -> Vec<(&'static str, Rule, Rule)> {
        let usual = Self::default();
        let all = [("audit.data", self.data, usual.data), ("audit.mgmt", self.mgmt, usual.mgmt)];
        all.into_iter().filter(|(_, rule, usual)| rule != usual).collect()
    }
}

/// The rule of a class with a choice.
pub(super) fn rule_of(text: &str) -> Result<Rule, String> {
    let rules = [Rule::Strict, Rule::Response, Rule::Async];
    super::resolve::choice(text, &rules.map(|rule| (rule.as_str(), rule)))
}

/// The rule of a class without one.
pub(super) fn strict_of(text: &str, why: &str) -> Result<(), String> {
    match text {
        "strict" => Ok(()),
        _ => Err(format!("`{text}` is refused, there is only strict: {why}")),
    }
}
