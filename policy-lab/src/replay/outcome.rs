//! What a replay found.

use serde::Serialize;

use super::{Recorded, RecordedDecision, Verdict, WorldError};

/// The result of a replay; [`crate::report`] turns it into text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub totals: Totals,
    pub self_check: SelfCheck,
    /// Sorted: denied before allowed, large before small, then by name.
    pub groups: Vec<Group>,
    /// Changed events beyond the bound on groups; they are in the totals.
    pub ungrouped: u64,
    /// Samples of events whose policies could not be found.
    pub unresolved: Vec<Unresolved>,
}

impl Outcome {
    /// Events of a class.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        match class {
            Class::NewlyDenied => self.totals.newly_denied,
            Class::NewlyAllowed => self.totals.newly_allowed,
            Class::Unknown => self.totals.unknown,
            Class::ReasonChanged => self.totals.reason_changed,
        }
    }
}

/// Numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub events: u64,
    /// Decided in both worlds.
    pub evaluated: u64,
    pub newly_denied: u64,
    pub newly_allowed: u64,
    /// Not known in one of the worlds, because the record lacks a key that a policy asks for.
    pub unknown: u64,
    pub reason_changed: u64,
    /// Not decided, because a policy set was not to be found.
    pub unresolved: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.evaluated += other.evaluated;
        self.newly_denied += other.newly_denied;
        self.newly_allowed += other.newly_allowed;
        self.unknown += other.unknown;
        self.reason_changed += other.reason_changed;
        self.unresolved += other.unresolved;
    }
}

/// Whether recorded decisions come out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SelfCheck {
    /// Events that carry a decision and the digest of its policy set.
    pub compared: u64,
    pub reproduced: u64,
    /// Samples of what did not come out the same.
    pub mismatches: Vec<Mismatch>,
}

impl SelfCheck {
    /// Everything that could be compared came out the same.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.compared == self.reproduced
    }
}

/// A recorded decision that did not come out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    pub id: String,
    pub seq: Option<u64>,
    pub recorded: String,
    pub replayed: String,
}

impl Mismatch {
    pub(super) fn new(
        event: &Recorded,
        recorded: &RecordedDecision,
        replayed: Result<&Verdict, &WorldError>,
    ) -> Self {
        let word = |allowed| if allowed { "allow" } else { "deny" };
        Self {
            id: event.id.clone(),
            seq: event.seq,
            recorded: match &recorded.reason {
                Some(reason) => format!("{} ({reason})", word(recorded.allowed)),
                None => word(recorded.allowed).to_owned(),
            },
            replayed: match replayed {
                Ok(verdict) => format!("{} ({})", word(verdict.allowed), verdict.reason.as_str()),
                Err(error) => error.to_string(),
            },
        }
    }
}

/// An event that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unresolved {
    pub id: String,
    pub why: String,
}

/// How an event's decision changes. The order is the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    NewlyDenied,
    NewlyAllowed,
    Unknown,
    ReasonChanged,
}

impl Class {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly-denied",
            Self::NewlyAllowed => "newly-allowed",
            Self::Unknown => "unknown",
            Self::ReasonChanged => "reason-changed",
        }
    }
}

/// Events that change in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub class: Class,
    pub principal: String,
    pub action: String,
    /// `bucket/` and the first parts of the key.
    pub prefix: String,
    /// Reason before and after.
    pub before: String,
    pub after: String,
    /// Keys that the record lacks and that would decide.
    pub keys: Vec<String>,
    pub count: u64,
    /// Event ids.
    pub samples: Vec<String>,
}
