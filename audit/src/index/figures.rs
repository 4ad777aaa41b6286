//! Figures from columns: groups of matching documents, counted without reading a record.
//!
//! A column holds exactly the values of its member, unless the document is marked as odd; so what is found here is what
//! reading the records would find. Odd documents are handed back to be read. A filter is exact too: where the index's
//! query alone does not settle it, it is tried on the columns ([`sieve`]).
#![deny(clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId,
    query::{EnableScoring, Query, Scorer, Weight},
};

use crate::{
    query::{
        Filter,
        stage::{Agg, Key},
    },
    search::{Figure, SearchError},
};

use groups::Groups;
use sieve::Sieve;

use super::{
    Candidates, Found, IndexError, Wanted,
    days::{Day, Part},
    schema::{self, Fields, ODD},
    translate::translate,
};

mod column;
mod groups;
mod sieve;
mod tally;

/// Threads of one query.
const THREADS: usize = 2;
/// A unit of work is at most this part of all of it, so that no thread has long to wait for the last one.
const UNITS_MIN: u64 = 2 * THREADS as u64;
/// Documents that are not worth another unit.
const PART_DOCS_MIN: u64 = 100_000;
/// Documents that are looked at together; a column of them stays in the processor's first cache.
const BLOCK_DOCS: usize = 16 * COLLECT_BLOCK_BUFFER_LEN;
/// The deadline is looked at once in so many blocks.
const DEADLINE_BLOCKS: usize = 64;

/// What is asked for: figures over the documents of each group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'q> {
    pub(crate) filter: &'q Filter,
    pub(crate) by: &'q [Key],
    pub(crate) aggs: &'q [Agg],
}

impl Asked<'_> {
    /// Whether everything that is asked for has a column.
    pub(crate) fn has_columns(&self) -> bool {
        let fields = schema::builder().1;
        let named = self.by.iter().map(Key::field).chain(self.aggs.iter().filter_map(Agg::field));
        named.into_iter().all(|field| fields.column(field).is_some())
            && Sieve::suffices(self.filter, &fields)
    }
}

/// The values of a group, one for each key.
pub(crate) type Group = Vec<Option<String>>;

/// What some of the documents contribute.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Matching documents.
    pub(crate) matches: u64,
    pub(crate) groups: Vec<(Group, Vec<Figure>)>,
    /// Documents whose records have to be read, whether they match or not.
    pub(crate) odd: Vec<Found>,
}

impl Candidates<'_> {
    /// Gives the figures of all matching documents to `take`, in parts: a group may be in many of them. `go_on` is
    /// asked now and then.
    ///
    /// # Errors
    /// [`IndexError`], also those of `take` and `go_on`.
    pub(crate) fn figures(
        &self,
        asked: Asked<'_>,
        wanted: &Wanted,
        go_on: &(dyn Fn() -> Result<(), SearchError> + Sync),
        take: &mut dyn FnMut(Figures) -> Result<(), SearchError>,
    ) -> Result<(), IndexError> {
        let fields = schema::builder().1;
        let query = translate(asked.filter, &fields);
        let (mut days, mut count) = (Vec::new(), 0);
        for day in self.days(wanted) {
            let day = day?;
            count += day.parts.iter().map(|part| part.wanted(wanted).len() as u64).sum::<u64>();
            days.push(day);
            go_on()?;
        }
        // What is counted in one unit need not be put together by its texts, so that no more are made than keep the
        // threads busy.
        let docs_max = (count / UNITS_MIN).max(PART_DOCS_MIN);
        let docs_max = u32::try_from(docs_max).unwrap_or(u32::MAX);
        let mut units = Vec::new();
        for day in days {
            units.extend(units_of(&day, query.as_deref(), wanted, docs_max)?);
            go_on()?;
        }
        // The largest first, so that the threads end together.
        units.sort_by_key(|unit| unit.docs.len());
        let work =
            Work { asked, fields, go_on, units: Mutex::new(units), over: AtomicBool::new(false) };
        thread::scope(|scope| {
            let (sender, parts) = mpsc::sync_channel(THREADS);
            for n in 1..=THREADS {
                let (sender, work) = (sender.clone(), &work);
                thread::Builder::new()
                    .name(format!("audit-figures-{n}"))
                    .spawn_scoped(scope, move || work.run(&sender))
                    .map_err(|source| IndexError::Io { path: "thread".to_owned(), source })?;
            }
            drop(sender);
            let taken = parts.iter().try_for_each(|part| Ok(take(part?)?));
            // The threads end at once where the answer is not wanted any more; nobody hears them.
            work.over.store(true, Ordering::Relaxed);
            drop(parts);
            taken
        })
    }
}

impl Candidates<'_> {
    /// What the columns say of the record at `seq`: members and their values. `None` where nothing is made of them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(super) fn columns_of(
        &self,
        seq: u64,
    ) -> Result<Option<BTreeMap<&'static str, Vec<String>>>, IndexError> {
        let wanted = Wanted { seqs: seq..seq + 1, times: 0..=u64::MAX };
        for day in self.days(&wanted) {
            for unit in units_of(&*day?, None, &wanted, u32::MAX)? {
                if !unit.odd()?.is_empty() {
                    return Ok(None);
                }
                if let Some(doc) = unit.docs.clone().next() {
                    return column::all_of(&unit.part.segment, doc).map(Some);
                }
            }
        }
        Ok(None)
    }
}

/// What the threads share.
struct Work<'a> {
    asked: Asked<'a>,
    fields: Fields,
    go_on: &'a (dyn Fn() -> Result<(), SearchError> + Sync),
    units: Mutex<Vec<Unit>>,
    over: AtomicBool,
}

impl Work<'_> {
    fn run(&self, parts: &mpsc::SyncSender<Result<Figures, IndexError>>) {
        while !self.over.load(Ordering::Relaxed) {
            let next = self.units.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(unit) = next else { return };
            let part = unit.run(self);
            let failed = part.is_err();
            if parts.send(part).is_err() || failed {
                return;
            }
        }
    }
}

/// Some documents of one segment of the index.
struct Unit {
    part: Part,
    /// What finds candidates; all are, where there is nothing to go by.
    weight: Option<Box<dyn Weight>>,
    docs: Range<DocId>,
}

/// The segments of a day, in equal parts of at most `docs_max` documents.
fn units_of(
    day: &Day,
    query: Option<&dyn Query>,
    wanted: &Wanted,
    docs_max: u32,
) -> Result<Vec<Unit>, IndexError> {
    let mut units = Vec::new();
    for part in &day.parts {
        let docs = part.wanted(wanted);
        let count = docs.len() as u32;
        let step = count.div_ceil(count.div_ceil(docs_max).max(1)).max(1);
        for from in docs.clone().step_by(step as usize) {
            let scoring = EnableScoring::disabled_from_searcher(&day.searcher);
            units.push(Unit {
                part: part.clone(),
                weight: query.map(|query| query.weight(scoring)).transpose()?,
                docs: from..docs.end.min(from + step),
            });
        }
    }
    Ok(units)
}

impl Unit {
    fn run(&self, work: &Work<'_>) -> Result<Figures, IndexError> {
        let odd = self.odd()?;
        let mut sieve = Sieve::new(work.asked.filter, &work.fields, &self.part.segment)?;
        let mut groups = Groups::new(&work.asked, &work.fields, &self.part.segment)?;
        let mut candidates = self.candidates()?;
        let mut docs = Vec::with_capacity(BLOCK_DOCS);
        let (mut matches, mut blocks) = (0, 0_usize);
        while candidates.next(&mut docs) {
            blocks += 1;
            if blocks.is_multiple_of(DEADLINE_BLOCKS) {
                (work.go_on)()?;
                if work.over.load(Ordering::Relaxed) {
                    break;
                }
            }
            if !odd.is_empty() {
                docs.retain(|doc| odd.binary_search(doc).is_err());
            }
            sieve.retain(&mut docs);
            matches += docs.len() as u64;
            groups.add(&docs)?;
        }
        let odd = odd.iter().map(|doc| self.part.found(*doc)).collect();
        Ok(Figures { matches, groups: groups.finish()?, odd })
    }

    /// Documents whose columns are not to be believed, in order.
    fn odd(&self) -> Result<Vec<DocId>, IndexError> {
        let mut docs = Vec::new();
        if let Some(odd) = self.part.segment.fast_fields().column_opt::<u64>(ODD)? {
            odd.get_docids_for_value_range(1..=u64::MAX, self.docs.clone(), &mut docs);
        }
        Ok(docs)
    }

    fn candidates(&self) -> Result<Candidate, IndexError> {
        let Some(weight) = &self.weight else { return Ok(Candidate::Every(self.docs.clone())) };
        let mut scorer = weight.scorer(&self.part.segment, 1.0)?;
        if scorer.doc() < self.docs.start {
            scorer.seek(self.docs.start);
        }
        Ok(Candidate::Found { scorer, end: self.docs.end })
    }
}

/// What is looked at.
enum Candidate {
    Every(Range<DocId>),
    Found { scorer: Box<dyn Scorer>, end: DocId },
}

impl Candidate {
    /// Puts the next block into `docs`; false at the end.
    fn next(&mut self, docs: &mut Vec<DocId>) -> bool {
        docs.clear();
        match self {
            Self::Every(rest) => docs.extend(rest.take(BLOCK_DOCS)),
            Self::Found { scorer, end } => {
                let mut some = [0; COLLECT_BLOCK_BUFFER_LEN];
                while docs.len() < BLOCK_DOCS && scorer.doc() < *end {
                    let count = scorer.fill_buffer(&mut some);
                    docs.extend(some.iter().take(count).filter(|doc| **doc < *end));
                }
            }
        }
        !docs.is_empty()
    }
}
