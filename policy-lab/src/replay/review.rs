//! Two worlds beside one another, event by event.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::bounds::{Answer, Bounds};
use super::group::Groups;
use super::in_force::InForce;
use super::objections::Objections;
use super::outcome::Mismatch;
use super::{
    Class, Detail, Outcome, Recorded, SelfCheck, Totals, Unresolved, Verdict, World, WorldError,
};
use crate::Request;
use crate::evaluate::{named, rule_guarded};

/// What a walk over events found.
pub(super) struct Findings {
    totals: Totals,
    self_check: SelfCheck,
    groups: Groups,
    unresolved: Vec<Unresolved>,
    samples_max: usize,
}

impl Findings {
    pub(super) fn new(detail: Detail) -> Self {
        Self::with(detail, Groups::new(detail))
    }

    /// Those of one piece of a log, to be joined with others.
    pub(super) fn of_piece(detail: Detail) -> Self {
        Self::with(detail, Groups::of_piece(detail))
    }

    fn with(detail: Detail, groups: Groups) -> Self {
        Self {
            totals: Totals::default(),
            self_check: SelfCheck::default(),
            groups,
            unresolved: Vec::new(),
            samples_max: detail.samples_max,
        }
    }

    /// Adds what was found later in the log.
    pub(super) fn join(&mut self, later: Self) {
        self.totals.add(&later.totals);
        self.self_check.compared += later.self_check.compared;
        self.self_check.reproduced += later.self_check.reproduced;
        self.groups.join(later.groups);
        let samples_max = self.samples_max.max(1);
        let mismatches = &mut self.self_check.mismatches;
        mismatches.extend(later.self_check.mismatches);
        mismatches.truncate(samples_max);
        self.unresolved.extend(later.unresolved);
        self.unresolved.truncate(samples_max);
    }

    pub(super) fn finish(self) -> Outcome {
        let (groups, ungrouped) = self.groups.finish();
        Outcome {
            totals: self.totals,
            self_check: self.self_check,
            groups,
            ungrouped,
            unresolved: self.unresolved,
        }
    }

    fn compare(&mut self, event: &Recorded, before: &Answer<Verdict>, after: &Answer<Verdict>) {
        self.totals.evaluated += 1;
        let class = match (before, after) {
            (Answer::Sure(before), Answer::Sure(after)) => match (before.allowed, after.allowed) {
                (true, false) => Class::NewlyDenied,
                (false, true) => Class::NewlyAllowed,
                _ if before.reason != after.reason => Class::ReasonChanged,
                _ => return,
            },
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
    fn check(&mut self, event: &Recorded, replayed: Result<&Verdict, &WorldError>) {
        let Some(recorded) = event.recorded.as_ref().filter(|recorded| recorded.digest.is_some())
        else {
            return;
        };
        self.self_check.compared += 1;
        let same = replayed.is_ok_and(|verdict| {
            let reason = verdict.reason.as_str();
            verdict.allowed == recorded.allowed
                && recorded.reason.as_deref().is_none_or(|recorded| recorded == reason)
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
}

type Resolved = Result<Rc<InForce>, WorldError>;

/// The policies that an event is decided by.
pub(super) struct Sides {
    before: Resolved,
    after: Resolved,
    /// What was in force, where that is not what comes before.
    recorded: Option<Resolved>,
}

impl Sides {
    pub(super) fn of(event: &Recorded, baseline: &World, draft: &World) -> Self {
        let is_checked_apart = !baseline.is_as_recorded()
            && baseline.has_recorded_sets()
            && event.complete.is_everything();
        Self {
            before: baseline.policies(event),
            after: draft.policies(event),
            recorded: is_checked_apart.then(|| baseline.as_recorded(event)),
        }
    }

    /// All policy sets that will be asked.
    pub(super) fn sets(&self) -> impl Iterator<Item = &InForce> {
        let sides = [Some(&self.before), Some(&self.after), self.recorded.as_ref()];
        sides.into_iter().flatten().filter_map(|side| side.as_deref().ok())
    }
}

/// Decides events in both worlds.
///
/// Ownership: the caches belong to this value, which one thread has.
pub(super) struct Review<'a> {
    baseline: &'a World,
    draft: &'a World,
    bounds: Bounds,
    objections: Objections,
    /// By digest, of events whose caller and bucket make no difference.
    sides: HashMap<Box<str>, Rc<Sides>, RandomState>,
}

/// Sides kept at most; all are forgotten when there are more.
const SIDES_MAX: usize = 16_384;

impl<'a> Review<'a> {
    pub(super) fn new(baseline: &'a World, draft: &'a World) -> Self {
        Self {
            baseline,
            draft,
            bounds: Bounds::default(),
            objections: Objections::default(),
            sides: HashMap::default(),
        }
    }

    /// The policies of an event in both worlds.
    pub(super) fn sides(&mut self, event: &Recorded) -> Rc<Sides> {
        let digest = event.recorded.as_ref().and_then(|recorded| recorded.digest.as_deref());
        let is_by_digest = |world: &World| world.is_by_digest(&event.request.resource);
        let digest = digest.filter(|_| {
            event.complete.is_everything()
                && is_by_digest(self.baseline)
                && is_by_digest(self.draft)
        });
        if let Some(sides) = digest.and_then(|digest| self.sides.get(digest)) {
            return Rc::clone(sides);
        }
        let sides = Rc::new(Sides::of(event, self.baseline, self.draft));
        if let Some(digest) = digest {
            if self.sides.len() >= SIDES_MAX {
                self.sides.clear();
            }
            self.sides.insert(digest.into(), Rc::clone(&sides));
        }
        sides
    }

    /// Decides an event, whose context has all keys that `sides` ask for.
    pub(super) fn event(&mut self, event: &Recorded, sides: &Sides, findings: &mut Findings) {
        findings.totals.events += 1;
        let before = sides.before.as_ref().map(|set| self.answer(set, event));
        self.reproduce(event, sides, &before, findings);
        match (before, &sides.after) {
            (Ok(before), Ok(after)) => {
                let after = self.answer(after, event);
                findings.compare(event, &before, &after);
            }
            (Err(error), _) | (_, Err(error)) => findings.unresolved(event, error),
        }
    }

    /// Decides as the server did; if that is the baseline, it is done already.
    fn reproduce(
        &mut self,
        event: &Recorded,
        sides: &Sides,
        before: &Result<Answer<Verdict>, &WorldError>,
        findings: &mut Findings,
    ) {
        match (before, &sides.recorded) {
            (_, Some(Ok(set))) => {
                let verdict = self.verdict(set, &event.request);
                findings.check(event, Ok(&verdict));
            }
            (_, Some(Err(error))) => findings.check(event, Err(error)),
            (_, None) if !self.baseline.is_as_recorded() => {}
            (Ok(Answer::Sure(verdict)), None) => findings.check(event, Ok(verdict)),
            (Ok(Answer::Unknown(_)), None) => {}
            (Err(error), None) => findings.check(event, Err(error)),
        }
    }

    fn answer(&mut self, set: &InForce, event: &Recorded) -> Answer<Verdict> {
        if event.complete.is_everything() {
            return Answer::Sure(self.verdict(set, &event.request));
        }
        self.bounds
            .decide(set.set(), event)
            .map(|decision| Verdict { allowed: decision.is_allowed(), reason: decision.reason })
    }

    fn verdict(&mut self, set: &InForce, request: &Request) -> Verdict {
        let objections = &mut self.objections;
        Verdict::from(rule_guarded(set.policies(), request, |guardrails, ruling| {
            objections.to(guardrails, request, &named(set.set(), request, ruling))
        }))
    }
}
