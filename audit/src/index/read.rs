//! Candidates from the index, newest first.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use tantivy::{
    DocId, DocSet, TERMINATED,
    query::{AllQuery, EnableScoring, Query, Scorer},
};

use crate::{query::Filter, stamp};

use super::{
    Days, IndexError,
    days::{Day, Part},
    schema,
    translate::translate,
};

/// What the index knows about the log at one moment.
pub(crate) struct Candidates<'a> {
    days: &'a Days,
    /// Days that have a partition before the newest one, oldest first.
    older: Vec<String>,
    newest: (String, Arc<Day>),
    /// Records `0..size` are indexed.
    pub(crate) size: u64,
}

/// Which records are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) seqs: Range<u64>,
    pub(crate) times: RangeInclusive<u64>,
}

/// Where a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    /// CRC-32C of the record.
    pub(crate) sum: u64,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(days: &'a Days, older: Vec<String>, newest: (String, Arc<Day>)) -> Self {
        let size = newest.1.position.size;
        Self { days, older, newest, size }
    }

    /// The days that can hold what is wanted, newest first; each is opened when its turn comes.
    pub(super) fn days(
        &self,
        wanted: &Wanted,
    ) -> impl Iterator<Item = Result<Arc<Day>, IndexError>> {
        // No record of a day's segments is older than the day.
        let until = stamp::string(*wanted.times.end());
        let wanted = move |day: &str| until.get(..10) >= Some(day);
        let (name, newest) = &self.newest;
        let newest = wanted(name).then(|| Ok(Arc::clone(newest)));
        let older = self.older.iter().rev().filter(move |day| wanted(day));
        newest.into_iter().chain(older.filter_map(|day| self.days.day(day).transpose()))
    }

    /// Whether the index narrows this filter down at all.
    pub(crate) fn helps(filter: &Filter) -> bool {
        translate(filter, &schema::builder().1).is_some()
    }

    /// Walks the candidates, newest first, until `take` says stop.
    pub(crate) fn newest_first<E: From<IndexError>>(
        &self,
        filter: &Filter,
        wanted: &Wanted,
        take: &mut dyn FnMut(Found) -> Result<bool, E>,
    ) -> Result<(), E> {
        // The fields are the same in every partition, because they are made in one order.
        let fields = schema::builder().1;
        let query = translate(filter, &fields).unwrap_or_else(|| Box::new(AllQuery));
        for day in self.days(wanted) {
            let day = day?;
            let mut runs = open_runs(&day, query.as_ref(), wanted)?;
            while let Some(run) = runs.pop() {
                let mut run = run;
                if run.seq.0 < wanted.seqs.start || run.time_us() < *wanted.times.start() {
                    // Every other run stands below this one.
                    return Ok(());
                }
                if !take(run.part.found(run.doc))? {
                    return Ok(());
                }
                if run.advance() {
                    runs.push(run);
                }
            }
        }
        Ok(())
    }
}

/// Matching documents of one segment of the index; a larger position is greater.
struct Run<'a> {
    seq: (u64, Reverse<usize>),
    doc: DocId,
    scorer: Box<dyn Scorer>,
    part: &'a Part,
}

impl Run<'_> {
    /// Moves to the next match; false at the end.
    fn advance(&mut self) -> bool {
        self.doc = self.scorer.advance();
        if self.doc == TERMINATED {
            return false;
        }
        self.seq.0 = self.part.seqs.get_val(self.doc);
        true
    }

    fn time_us(&self) -> u64 {
        self.part.times.get_val(self.doc)
    }
}

impl PartialEq for Run<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Run<'_> {}

impl PartialOrd for Run<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.seq.cmp(&other.seq)
    }
}

/// One run per segment, each at its newest match below `to`.
fn open_runs<'a>(
    day: &'a Day,
    query: &dyn Query,
    wanted: &Wanted,
) -> Result<BinaryHeap<Run<'a>>, IndexError> {
    let weight = query.weight(EnableScoring::disabled_from_searcher(&day.searcher))?;
    let mut runs = BinaryHeap::new();
    for (i, part) in day.parts.iter().enumerate() {
        let mut scorer = weight.scorer(&part.segment, 1.0)?;
        let low = part.wanted(wanted).start;
        let mut doc = scorer.doc();
        if doc < low {
            doc = scorer.seek(low);
        }
        if doc != TERMINATED {
            runs.push(Run { seq: (part.seqs.get_val(doc), Reverse(i)), doc, scorer, part });
        }
    }
    Ok(runs)
}
