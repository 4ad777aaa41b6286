//! What to do next for one destination, given what happened so far: no socket, no file, no clock.
//!
//! The worker asks [`Delivery::step`] and reports back what came of it. One batch is under way at a time, because two
//! HTTP requests may overtake each other and the promise is order.
//!
//! # Invariants
//! - `next` moves only past records that the destination confirmed, that were set aside durably, or that the filter
//!   does not want. It moves back only by [`Delivery::replay`].
//! - The range of a batch is in the cursor file before its first byte leaves, so that after a crash the same records go
//!   out again under the same batch id. A destination that takes single records needs no such note: its batches have
//!   only one possible range.
//! - Nothing is tried a limited number of times: a record is delivered, or set aside by name, or the destination waits.

mod backoff;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use backoff::Backoff;
pub use backoff::Retry;

use super::cursor::Position;

/// Records that may be refused one after the other before the destination counts as misconfigured: a receiver that
/// dislikes everything must not empty the log into a file.
pub(super) const REFUSED_IN_A_ROW_MAX: usize = 10;
/// How long progress may stay only in memory where that costs no more than repeated records or a repeated look.
const PERSIST_AFTER: Duration = Duration::from_secs(1);

/// One record, ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub seq: u64,
    /// The record's event id; equal however often it is sent.
    pub event: String,
    pub time_us: u64,
    /// The record's exact bytes.
    pub leaf: Bytes,
    /// The record in the destination's format.
    pub body: Bytes,
}

/// How much one batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub records: usize,
    /// Formatted bytes; a single larger record is sent alone.
    pub bytes: usize,
}

/// What the destination said to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has all of them, at the guarantee of its kind.
    Confirmed,
    /// One verdict per record, in order.
    Each(Vec<Verdict>),
    /// It cannot take this content; somewhere in it is a record that it never takes.
    Refused(String),
    /// It cannot take anything now.
    Later {
        /// Not before this much time passed.
        wait: Option<Duration>,
        why: String,
    },
    /// It will not take anything until somebody acts.
    Halt(String),
}

/// What the destination said to one record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored,
    Refused(String),
    Later(String),
}

/// A record that the destination will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub item: Item,
    pub answer: String,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take in more of the log; if there is no more, wait for it.
    Read,
    /// Make this durable, then call [`Delivery::persisted`].
    Persist(Position),
    /// Send these and call [`Delivery::answered`].
    Send(Vec<Item>),
    /// Keep these and note them in the log, durably, then call [`Delivery::set_aside`].
    SetAside(Vec<Rejected>),
    /// Nothing before this time, in milliseconds of the clock that is passed in.
    RestUntil(u64),
    /// Nothing until [`Delivery::resume`] or [`Delivery::replay`].
    Paused,
}

/// The state of one destination.
///
/// Ownership: the destination's worker alone has it.
#[derive(Debug)]
pub(super) struct Delivery {
    bounds: Bounds,
    backoff: Backoff,
    /// What the cursor file says.
    durable: Position,
    /// When it was written, by the clock that is passed in.
    persisted_ms: u64,
    /// The first record that is not done with.
    next: u64,
    /// End of what was read; `waiting` holds what the filter wants of `next..read_to`.
    read_to: u64,
    /// End of what could be read.
    log_size: u64,
    waiting: VecDeque<Item>,
    /// End of the batch that is under way or would be next.
    planned: Option<u64>,
    /// Ends of the ranges that bisecting still has to go through, the nearest last.
    halves: Vec<u64>,
    rejected: Option<Setting>,
    refused_in_a_row: usize,
    rest_until_ms: Option<u64>,
    paused: Option<String>,
    confirmed: u64,
}

/// Records to set aside, and what is done with once they are.
#[derive(Debug)]
struct Setting {
    rejected: Vec<Rejected>,
    next: u64,
    halt: Option<String>,
}

impl Delivery {
    /// Continues where the cursor file stands. `seed` spreads the retries of many destinations.
    #[must_use]
    pub(super) fn new(position: Position, bounds: Bounds, retry: Retry, seed: u64) -> Self {
        Self {
            bounds,
            backoff: Backoff::new(retry, seed),
            durable: position,
            persisted_ms: 0,
            next: position.next,
            read_to: position.next,
            log_size: position.next,
            waiting: VecDeque::new(),
            planned: position.until.filter(|until| *until > position.next),
            halves: Vec::new(),
            rejected: None,
            refused_in_a_row: 0,
            rest_until_ms: None,
            paused: None,
            confirmed: 0,
        }
    }

    /// What to do at `now_ms`.
    pub(super) fn step(&mut self, now_ms: u64) -> Step {
        if self.paused.is_some() {
            return Step::Paused;
        }
        if let Some(setting) = &self.rejected {
            return Step::SetAside(setting.rejected.clone());
        }
        if let Some(until_ms) = self.rest_until_ms {
            if now_ms < until_ms {
                return Step::RestUntil(until_ms);
            }
            self.rest_until_ms = None;
        }
        self.skip_unwanted();
        if self.planned.is_none() && self.wants_more() {
            return Step::Read;
        }
        let Some(until) = self.planned.or_else(|| self.plan()) else { return self.idle(now_ms) };
        if self.read_to < until {
            return Step::Read;
        }
        self.planned = Some(until);
        let position = Position { next: self.next, until: Some(until) };
        if self.durable != position && !self.may_lag(now_ms) {
            return Step::Persist(position);
        }
        let items: Vec<Item> = self.batch(until).cloned().collect();
        if items.is_empty() {
            // The filter has changed since this range was noted.
            self.done_with(until);
            return self.step(now_ms);
        }
        Step::Send(items)
    }

    /// Takes in a record that was read; `None` is one that the filter does not want. In order, without gaps.
    pub(super) fn read(&mut self, seq: u64, item: Option<Item>) {
        debug_assert_eq!(seq, self.read_to, "the log is read in order");
        self.read_to = seq + 1;
        self.waiting.extend(item);
    }

    /// Tells how long the log is.
    pub(super) fn log_has(&mut self, size: u64) {
        self.log_size = size;
    }

    /// A position is in the cursor file.
    pub(super) fn persisted(&mut self, position: Position, now_ms: u64) {
        self.durable = position;
        self.persisted_ms = now_ms;
    }

    /// What came of [`Step::Send`].
    pub(super) fn answered(&mut self, answer: Answer, now_ms: u64) {
        let Some(until) = self.planned else { return };
        match answer {
            Answer::Confirmed => {
                self.confirmed += self.batch(until).count() as u64;
                self.succeeded();
                self.done_with(until);
            }
            Answer::Each(verdicts) => self.answered_each(until, verdicts, now_ms),
            Answer::Refused(answer) => self.refused(until, answer),
            Answer::Later { wait, .. } => self.rest(wait, now_ms),
            Answer::Halt(why) => self.paused = Some(why),
        }
    }

    /// The records of [`Step::SetAside`] are kept and noted.
    pub(super) fn set_aside(&mut self) {
        if let Some(Setting { next, halt, .. }) = self.rejected.take() {
            self.done_with(next);
            self.paused = halt;
        }
    }

    /// Goes on at `next` with everything forgotten that was under way.
    pub(super) fn replay(&mut self, next: u64) {
        (self.next, self.read_to) = (next, next);
        self.waiting.clear();
        self.planned = None;
        self.halves.clear();
        self.rejected = None;
        self.resume();
    }

    /// Tries again at once, also after a pause.
    pub(super) fn resume(&mut self) {
        self.paused = None;
        self.rest_until_ms = None;
        self.refused_in_a_row = 0;
        self.backoff.reset();
    }

    /// Stops until somebody acts.
    pub(super) fn pause(&mut self, why: impl Into<String>) {
        self.paused = Some(why.into());
    }

    /// The first record that is not done with.
    #[must_use]
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// End of what was taken in.
    #[must_use]
    pub(super) const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// What should be in the cursor file when nothing is under way.
    #[must_use]
    pub(super) const fn position(&self) -> Position {
        Position { next: self.next, until: self.planned }
    }

    #[must_use]
    pub(super) const fn paused(&self) -> Option<&String> {
        self.paused.as_ref()
    }

    /// Failures since something went through.
    #[must_use]
    pub(super) const fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Records confirmed since the start.
    #[must_use]
    pub(super) const fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Time of the oldest record that waits, if it is known.
    #[must_use]
    pub(super) fn oldest_us(&self) -> Option<u64> {
        self.waiting.front().map(|item| item.time_us)
    }

    /// With nothing wanted in hand, everything that was read is done with.
    fn skip_unwanted(&mut self) {
        if self.waiting.is_empty() && self.planned.is_none_or(|until| until <= self.read_to) {
            self.done_with(self.read_to);
        }
    }

    /// A larger batch is worth a look at the log, while there is more of it.
    fn wants_more(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|item| item.body.len()).sum();
        let full = self.waiting.len() >= self.bounds.records || bytes >= self.bounds.bytes;
        self.halves.is_empty() && !full && self.read_to < self.log_size
    }

    /// The end of the largest batch that the bounds and the bisection allow.
    fn plan(&self) -> Option<u64> {
        let end = self.halves.last().copied().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let fits = |(index, item): &(usize, &Item)| {
            bytes += item.body.len();
            *index == 0
                || (*index < self.bounds.records && bytes <= self.bounds.bytes && item.seq < end)
        };
        let items = self.waiting.iter().enumerate().take_while(fits);
        items.last().map(|(_, item)| item.seq + 1)
    }

    fn idle(&self, now_ms: u64) -> Step {
        let position = Position { next: self.next, until: None };
        let is_urgent = self.durable.until.is_some();
        let is_due = now_ms.saturating_sub(self.persisted_ms) >= millis(PERSIST_AFTER);
        if self.durable != position && (is_urgent || is_due) {
            return Step::Persist(position);
        }
        Step::Read
    }

    /// Single records have one possible range each, so the note of it may be late.
    fn may_lag(&self, now_ms: u64) -> bool {
        let is_fresh = now_ms.saturating_sub(self.persisted_ms) < millis(PERSIST_AFTER);
        self.bounds.records == 1 && is_fresh && self.durable.next <= self.next
    }

    fn batch(&self, until: u64) -> impl Iterator<Item = &Item> {
        self.waiting.iter().take_while(move |item| item.seq < until)
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        self.refused_in_a_row = 0;
    }

    fn done_with(&mut self, next: u64) {
        while self.waiting.front().is_some_and(|item| item.seq < next) {
            self.waiting.pop_front();
        }
        self.next = self.next.max(next);
        self.halves.retain(|end| *end > next);
        self.planned = self.planned.filter(|until| *until > next);
    }

    fn rest(&mut self, wait: Option<Duration>, now_ms: u64) {
        self.rest_until_ms = Some(now_ms.saturating_add(millis(self.backoff.failed(wait))));
    }

    /// One record is the culprit; of several, each half is asked on its own.
    fn refused(&mut self, until: u64, answer: String) {
        let items: Vec<Item> = self.batch(until).cloned().collect();
        match items.as_slice() {
            [item] => {
                let rejected = Rejected { item: item.clone(), answer };
                self.reject(vec![rejected], until);
            }
            items => {
                let Some(middle) = items.get(items.len() / 2) else { return };
                self.halves.push(until);
                self.planned = Some(middle.seq);
            }
        }
    }

    fn reject(&mut self, rejected: Vec<Rejected>, next: u64) {
        self.refused_in_a_row += rejected.len();
        if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
            let answer = rejected.last().map_or("", |rejected| &rejected.answer);
            self.paused = Some(too_many(answer));
        } else {
            self.rejected = Some(Setting { rejected, next, halt: None });
        }
    }

    /// Everything before the first record that must come again is done with.
    fn answered_each(&mut self, until: u64, verdicts: Vec<Verdict>, now_ms: u64) {
        let items: Vec<Item> = self.batch(until).cloned().collect();
        if items.len() != verdicts.len() {
            self.rest(None, now_ms);
            return;
        }
        let (mut next, mut rejected, mut stored, mut halt) = (until, Vec::new(), 0, None);
        for (item, verdict) in items.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Stored => {
                    stored += 1;
                    self.refused_in_a_row = 0;
                }
                Verdict::Refused(answer) if self.refused_in_a_row + 1 >= REFUSED_IN_A_ROW_MAX => {
                    (next, halt) = (item.seq, Some(too_many(&answer)));
                    break;
                }
                Verdict::Refused(answer) => {
                    self.refused_in_a_row += 1;
                    rejected.push(Rejected { item, answer });
                }
                Verdict::Later(_) => {
                    next = item.seq;
                    break;
                }
            }
        }
        self.confirmed += stored;
        if stored > 0 {
            self.backoff.reset();
        }
        if next < until && halt.is_none() {
            self.rest(None, now_ms);
        }
        if rejected.is_empty() {
            self.done_with(next);
            self.paused = halt;
        } else {
            self.rejected = Some(Setting { rejected, next, halt });
        }
    }
}

fn too_many(answer: &str) -> String {
    format!("{REFUSED_IN_A_ROW_MAX} records in a row were refused; the last answer was: {answer}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
