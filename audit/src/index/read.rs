//! Candidates from the index, newest first.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::Arc,
};

use tantivy::{
    DocId, DocSet, ReloadPolicy, SegmentReader, TERMINATED,
    columnar::ColumnValues,
    query::{AllQuery, EnableScoring, Query, Scorer},
};

use crate::{query::Filter, stamp};

use super::{
    IndexError, partition,
    schema::{self, OFFSET, SEQ, TIME_US},
    translate::translate,
};

/// What the index knows about the log in a directory.
pub(crate) struct Candidates {
    dir: PathBuf,
    /// Days that have a partition before the newest one, oldest first.
    days: Vec<String>,
    newest: (String, tantivy::Index),
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
}

impl Candidates {
    /// Opens the index; `None` if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>, IndexError> {
        let mut days = partition::days(dir)?;
        while let Some(day) = days.pop() {
            // The newest day that was committed goes furthest: the days before it were complete when it was begun.
            if let Some((index, position)) = partition::open(dir, &day)? {
                let (dir, newest) = (dir.to_owned(), (day, index));
                return Ok(Some(Self { dir, days, newest, size: position.size }));
            }
        }
        Ok(None)
    }

    /// The partitions that can hold what is wanted, newest first; each is opened when its turn comes.
    pub(super) fn partitions(
        &self,
        wanted: &Wanted,
    ) -> impl Iterator<Item = Result<tantivy::Index, IndexError>> {
        // No record of a day's segments is older than the day.
        let until = stamp::string(*wanted.times.end());
        let wanted = move |day: &str| until.get(..10) >= Some(day);
        let (newest, index) = &self.newest;
        let newest = wanted(newest).then(|| Ok(index.clone()));
        let older = self.days.iter().rev().filter(move |day| wanted(day)).filter_map(|day| {
            partition::open(&self.dir, day).map(|opened| opened.map(|(index, _)| index)).transpose()
        });
        newest.into_iter().chain(older)
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
        for index in self.partitions(wanted) {
            let mut runs = open_runs(&index?, query.as_ref(), wanted)?;
            while let Some(run) = runs.pop() {
                let mut run = run;
                if run.seq.0 < wanted.seqs.start || run.time_us() < *wanted.times.start() {
                    // Every other run stands below this one.
                    return Ok(());
                }
                if !take(Found { seq: run.seq.0, offset: run.offsets.get_val(run.doc) })? {
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
struct Run {
    seq: (u64, Reverse<usize>),
    doc: DocId,
    scorer: Box<dyn Scorer>,
    seqs: Arc<dyn ColumnValues<u64>>,
    offsets: Arc<dyn ColumnValues<u64>>,
    times: Arc<dyn ColumnValues<u64>>,
}

impl Run {
    /// Moves to the next match; false at the end.
    fn advance(&mut self) -> bool {
        self.doc = self.scorer.advance();
        if self.doc == TERMINATED {
            return false;
        }
        self.seq.0 = self.seqs.get_val(self.doc);
        true
    }

    fn time_us(&self) -> u64 {
        self.times.get_val(self.doc)
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.seq.cmp(&other.seq)
    }
}

/// One run per segment, each at its newest match below `to`.
fn open_runs(
    index: &tantivy::Index,
    query: &dyn Query,
    wanted: &Wanted,
) -> Result<BinaryHeap<Run>, IndexError> {
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let searcher = reader.searcher();
    let weight = query.weight(EnableScoring::disabled_from_searcher(&searcher))?;
    let mut runs = BinaryHeap::new();
    for (i, segment) in searcher.segment_readers().iter().enumerate() {
        let scorer = weight.scorer(segment, 1.0)?;
        if let Some(run) = open_run(i, segment, scorer, wanted)? {
            runs.push(run);
        }
    }
    Ok(runs)
}

fn open_run(
    i: usize,
    segment: &SegmentReader,
    mut scorer: Box<dyn Scorer>,
    wanted: &Wanted,
) -> Result<Option<Run>, IndexError> {
    let columns = segment.fast_fields();
    let seqs = columns.column_first_or_default::<u64>(SEQ)?;
    let times = columns.column_first_or_default::<u64>(TIME_US)?;
    let low = wanted_docs(segment, seqs.as_ref(), times.as_ref(), wanted).start;
    let mut doc = scorer.doc();
    if doc < low {
        doc = scorer.seek(low);
    }
    if doc == TERMINATED {
        return Ok(None);
    }
    let seq = (seqs.get_val(doc), Reverse(i));
    let offsets = columns.column_first_or_default::<u64>(OFFSET)?;
    Ok(Some(Run { seq, doc, scorer, seqs, offsets, times }))
}

/// Positions and times descend, so the documents that are wanted lie together, and both ends are found by halving.
pub(super) fn wanted_docs(
    segment: &SegmentReader,
    seqs: &dyn ColumnValues<u64>,
    times: &dyn ColumnValues<u64>,
    wanted: &Wanted,
) -> Range<DocId> {
    let begins = first(segment.max_doc(), |doc| {
        seqs.get_val(doc) >= wanted.seqs.end || times.get_val(doc) > *wanted.times.end()
    });
    let ends = first(segment.max_doc(), |doc| {
        seqs.get_val(doc) >= wanted.seqs.start && times.get_val(doc) >= *wanted.times.start()
    });
    begins..ends
}

/// The first document that is not `before`.
fn first(docs: DocId, before: impl Fn(DocId) -> bool) -> DocId {
    let (mut low, mut high) = (0, docs);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
