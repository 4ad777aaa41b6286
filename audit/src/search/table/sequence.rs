//! `sequence`: steps that happened in order, within a time, to the same values.
#![deny(clippy::indexing_slicing)]

use std::collections::{HashMap, VecDeque};

use crate::{
    query::stage::{Key, Step},
    segment::check,
    stamp,
};

use super::{
    Cell, Collect, Deadline, Held, Row, SearchError, TABLE_ROWS_MAX, combinations, parts_of,
    values_of,
};

/// What a match costs besides its texts.
const EVENT_BYTES: usize = 96;

pub(super) struct Sequence<'q> {
    by: &'q [Key],
    within_us: u64,
    steps: &'q [Step],
    /// Matches, newest first, with the values that they belong to.
    events: Vec<(Vec<Option<String>>, Event)>,
    held: Held,
}

#[derive(Clone, Copy)]
struct Event {
    at_us: u64,
    seq: u64,
    /// Bit n: step n matches.
    steps: u128,
}

impl<'q> Sequence<'q> {
    pub(super) fn new(by: &'q [Key], within_us: u64, steps: &'q [Step]) -> Self {
        Self { by, within_us, steps, events: Vec::new(), held: Held::default() }
    }

    /// The events of one run, if the steps happened in order: each step takes the earliest matches after the step
    /// before, so a run is found whenever there is one.
    fn run(&self, events: &VecDeque<Event>) -> Option<(Event, Event)> {
        let (mut step, mut left) = (0, self.steps.first()?.at_least);
        let mut first = None;
        for event in events {
            if event.steps & (1 << step) == 0 {
                continue;
            }
            first = first.or(Some(*event));
            left -= 1;
            if left == 0 {
                step += 1;
                match self.steps.get(step) {
                    Some(next) => left = next.at_least,
                    None => return Some((first?, *event)),
                }
            }
        }
        None
    }
}

impl Collect for Sequence<'_> {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let Some(at_us) = check::time(&row.leaf) else { return Ok(()) };
        let matching = self.steps.iter().enumerate().filter(|(_, s)| s.filter.matches(&row.leaf));
        let steps = matching.fold(0, |bits, (n, _)| bits | 1 << n);
        let fields: Vec<&str> = self.by.iter().map(Key::field).collect();
        let parts = parts_of(self.by, &values_of(&row.leaf, &fields));
        for values in combinations(self.by, parts)? {
            let texts: usize = values.iter().flatten().map(String::len).sum();
            self.held.add(texts + EVENT_BYTES)?;
            self.events.push((values, Event { at_us, seq: row.seq, steps }));
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, deadline: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        let last = 1 << (self.steps.len() - 1);
        let mut open: HashMap<Vec<Option<String>>, VecDeque<Event>> = HashMap::new();
        let mut runs = Vec::new();
        for (values, event) in std::mem::take(&mut self.events).into_iter().rev() {
            let events = open.entry(values.clone()).or_default();
            events.push_back(event);
            while events.front().is_some_and(|old| event.at_us - old.at_us > self.within_us) {
                events.pop_front();
            }
            if event.steps & last == 0 {
                continue;
            }
            deadline.check()?;
            if let Some((first, end)) = self.run(events) {
                // What took part in a run takes part in no other.
                events.clear();
                runs.push((values, first, end));
                if runs.len() > TABLE_ROWS_MAX {
                    return Err(SearchError::too_many_rows());
                }
            }
        }
        runs.sort_by(|(a, _, x), (b, _, y)| y.seq.cmp(&x.seq).then_with(|| a.cmp(b)));
        let row = |(values, first, end): (Vec<Option<String>>, Event, Event)| {
            let time = |event: Event| Cell::Text(stamp::string(event.at_us));
            let seq = |event: Event| Cell::Integer(i128::from(event.seq));
            let ends = [time(first), time(end), seq(first), seq(end)];
            values.into_iter().map(Cell::from).chain(ends).collect()
        };
        Ok(runs.into_iter().map(row).collect())
    }
}
