//! Recorded requests against proposed policies: who gains, who loses.
//!
//! A recorded decision names its policy set by digest; the log's blobs hold manifest and documents. So the decision is
//! made again from the same inputs by the same code ([`crate::evaluate()`]), and every recorded decision that does not
//! come out the same is reported: a review that cannot reproduce the past says nothing about the future.

mod audit_line;
mod bounds;
mod complete;
mod coverage;
mod export;
mod generate;
mod group;
mod import;
mod line;
mod outcome;
mod request_line;
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
pub use self::outcome::{Class, Group, Mismatch, Outcome, SelfCheck, Totals, Unresolved};
pub use self::request_line::request_line;
pub use self::who_can::{Access, Can, context as caller_context, reasons, who_can};
pub use self::world::{Change, World, WorldError};

use self::bounds::{Answer, Bounds};
use self::group::Groups;
use crate::{Decision, Request};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDecision {
    pub allowed: bool,
    /// [`crate::Reason::as_str`].
    pub reason: Option<String>,
    /// Hex of [`crate::PolicySet::digest`].
    pub digest: Option<String>,
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
    let mut review = Review {
        totals: Totals::default(),
        self_check: SelfCheck::default(),
        groups: Groups::new(detail),
        bounds: Bounds::default(),
        unresolved: Vec::new(),
        samples_max: detail.samples_max,
    };
    for event in events {
        review.event(&event, baseline, draft);
    }
    review.finish()
}

struct Review {
    totals: Totals,
    self_check: SelfCheck,
    groups: Groups,
    bounds: Bounds,
    unresolved: Vec<Unresolved>,
    samples_max: usize,
}

impl Review {
    fn event(&mut self, event: &Recorded, baseline: &World, draft: &World) {
        self.totals.events += 1;
        let sets = (baseline.policies(event), draft.policies(event));
        let before = sets.0.as_ref().map(|set| self.bounds.decide(set, event));
        self.reproduce(event, baseline, &before);
        match (before, &sets.1) {
            (Ok(before), Ok(after)) => {
                let after = self.bounds.decide(after, event);
                self.compare(event, &before, &after);
            }
            (Err(error), _) | (_, Err(error)) => self.unresolved(event, error),
        }
    }

    /// Decides as the server did; if that is the baseline, it is done already.
    fn reproduce(
        &mut self,
        event: &Recorded,
        baseline: &World,
        before: &Result<Answer, &WorldError>,
    ) {
        match before {
            Ok(Answer::Sure(decision)) if baseline.is_as_recorded() => {
                self.check(event, Ok(decision));
            }
            Ok(Answer::Unknown(_)) if baseline.is_as_recorded() => {}
            Err(error) if baseline.is_as_recorded() => self.check(event, Err(error)),
            _ if baseline.has_recorded_sets() && event.complete.is_everything() => {
                self.check(event, baseline.decide_as_recorded(event).as_ref());
            }
            _ => {}
        }
    }

    fn compare(&mut self, event: &Recorded, before: &Answer, after: &Answer) {
        self.totals.evaluated += 1;
        let class = match (before, after) {
            (Answer::Sure(before), Answer::Sure(after)) => {
                match (before.is_allowed(), after.is_allowed()) {
                    (true, false) => Class::NewlyDenied,
                    (false, true) => Class::NewlyAllowed,
                    _ if before.reason != after.reason => Class::ReasonChanged,
                    _ => return,
                }
            }
            _ => Class::Unknown,
        };
        *match class {
            Class::NewlyDenied => &mut self.totals.newly_denied,
            Class::NewlyAllowed => &mut self.totals.newly_allowed,
            Class::Unknown => &mut self.totals.unknown,
            Class::ReasonChanged => &mut self.totals.reason_changed,
        } += 1;
        self.groups.add(class, event, before, after);
    }

    /// Holds the replayed decision against the recorded one, where the log says enough.
    fn check(&mut self, event: &Recorded, replayed: Result<&Decision, &WorldError>) {
        let Some(recorded) = event.recorded.as_ref().filter(|recorded| recorded.digest.is_some())
        else {
            return;
        };
        self.self_check.compared += 1;
        let same = replayed.as_ref().is_ok_and(|decision| {
            decision.is_allowed() == recorded.allowed
                && recorded
                    .reason
                    .as_deref()
                    .is_none_or(|reason| reason == decision.reason.as_str())
        });
        if same {
            self.self_check.reproduced += 1;
        } else if self.self_check.mismatches.len() < self.samples_max.max(1) {
            self.self_check.mismatches.push(Mismatch::new(event, recorded, replayed));
        }
    }

    fn unresolved(&mut self, event: &Recorded, error: &WorldError) {
        self.totals.unresolved += 1;
        if self.unresolved.len() < self.samples_max.max(1) {
            self.unresolved.push(Unresolved { id: event.id.clone(), why: error.to_string() });
        }
    }

    fn finish(self) -> Outcome {
        let (groups, ungrouped) = self.groups.finish();
        Outcome {
            totals: self.totals,
            self_check: self.self_check,
            groups,
            ungrouped,
            unresolved: self.unresolved,
        }
    }
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
    Ok(match Bounds::default().decide(&policies, event) {
        Answer::Sure(decision) => Ok(decision),
        Answer::Unknown(keys) => Err(keys.to_vec()),
    })
}

#[cfg(test)]
mod tests;
