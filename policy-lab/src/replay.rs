//! Recorded requests against proposed policies: who gains, who loses.
//!
//! A recorded decision names its policy set by digest; the log's blobs hold manifest and documents. So the decision is
//! made again from the same inputs by the same code ([`crate::evaluate()`]), and every recorded decision that does not
//! come out the same is reported: a review that cannot reproduce the past says nothing about the future.

mod audit_line;
mod bounds;
mod canonical;
mod complete;
mod coverage;
mod export;
mod generate;
mod group;
mod import;
mod in_force;
mod line;
mod log;
mod members;
mod objections;
mod outcome;
mod reader;
mod request_line;
mod review;
mod who_can;
mod world;

pub use self::audit_line::audit_line;
pub use self::complete::Complete;
pub use self::coverage::{Coverage, StatementUse};
pub use self::export::{
    Export, ExportError, ExportedGroup, ExportedGuardrail, ExportedUser, ExportedWorld, SCHEMA,
};
pub use self::generate::Generator;
pub use self::import::{Foreign, Imported, import};
pub use self::line::{Event, LineError};
pub use self::log::{Chunk, LogOptions, Replayed, Unreadable, simulate_log};
pub use self::outcome::{Class, Group, Mismatch, Outcome, SelfCheck, Totals, Unresolved};
#[cfg(any(test, fuzzing))]
pub(crate) use self::reader::Reader;
pub use self::request_line::request_line;
pub use self::who_can::{Access, CALLER_KEYS, Can, context as caller_context, reasons, who_can};
pub use self::world::{Change, World, WorldError};

use self::bounds::{Answer, Bounds};
use self::review::{Findings, Review};
use crate::{Decision, Effect, Reason, Request, Ruling};

/// A request from a log or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Event id of the log, or what the file calls it.
    pub id: String,
    /// Position in the log.
    pub seq: Option<u64>,
    pub request: Request,
    /// What was decided then.
    pub recorded: Option<RecordedDecision>,
    /// Which condition keys the record speaks of.
    pub complete: Complete,
}

/// A decision of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedDecision {
    pub allowed: bool,
    /// [`crate::Reason::as_str`].
    pub reason: Option<String>,
    /// Hex of [`crate::PolicySet::digest`].
    pub digest: Option<String>,
}

/// How an event is decided, as far as a review looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    allowed: bool,
    reason: Reason,
}

impl From<Ruling> for Verdict {
    fn from(ruling: Ruling) -> Self {
        Self { allowed: ruling.effect == Effect::Allow, reason: ruling.reason }
    }
}

/// How much detail an outcome keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Event ids kept per group, and mismatches and unresolved events kept in all.
    pub samples_max: usize,
    /// Parts of a key, between slashes, that make a group of their own.
    pub prefix_depth: usize,
}

impl Default for Detail {
    /// Three events are enough to look at; one directory level tells a team from another.
    fn default() -> Self {
        Self { samples_max: 3, prefix_depth: 1 }
    }
}

/// Decides every event in both worlds, with the default [`Detail`].
pub fn simulate(
    events: impl Iterator<Item = Recorded>,
    baseline: &World,
    draft: &World,
) -> Outcome {
    simulate_in_detail(events, baseline, draft, Detail::default())
}

/// Decides every event in both worlds.
pub fn simulate_in_detail(
    events: impl Iterator<Item = Recorded>,
    baseline: &World,
    draft: &World,
    detail: Detail,
) -> Outcome {
    let mut review = Review::new(baseline, draft);
    let mut findings = Findings::new(detail);
    for event in events {
        let sides = review.sides(&event);
        review.event(&event, &sides, &mut findings);
    }
    findings.finish()
}

/// Decides one event; where the record does not say enough, the keys that would decide.
///
/// # Errors
/// When the world does not know which policies are in force.
pub fn decide_one(
    world: &World,
    event: &Recorded,
) -> Result<Result<Decision, Vec<String>>, WorldError> {
    let policies = world.policies(event)?;
    Ok(match Bounds::default().decide(policies.set(), event) {
        Answer::Sure(decision) => Ok(decision),
        Answer::Unknown(keys) => Err(keys.to_vec()),
    })
}

#[cfg(test)]
mod tests;
