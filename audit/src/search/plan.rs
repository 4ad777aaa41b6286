//! From a query to an answer: which way, how far, in which order.

use std::{cmp::Ordering, collections::BTreeSet};

use crate::{
    index::{Asked, Days},
    leaf,
    query::{
        Filter, Order, Pred, Query, Sort, Tabular, Test,
        stage::{self, Expand, Make},
    },
};

use super::{
    Answer, Coverage, Deadline, Method, Policies, Row, SORTED_ROWS_MAX, SearchError, SearchOptions,
    Searcher, Source, indexed,
    scan::{self, Segments},
    table::{self, Collect, Groups, STATEMENT, Unused},
};

/// Requests or sessions that `expand` follows.
const RELATED_MAX: usize = 1000;

pub(super) fn answer(
    searcher: &Searcher,
    query: &Query,
    options: SearchOptions,
    policies: &dyn Policies,
) -> Result<Answer, SearchError> {
    let mut walk = Walk::of(searcher, query, options)?;
    match &query.table {
        Some(tabular) => {
            if let Make::Sequence { steps, .. } = &tabular.make {
                let any = Filter::Or(steps.iter().map(|step| step.filter.clone()).collect());
                walk.filter = Filter::And(vec![walk.filter, any]);
            }
            tabulated(&walk, query, tabular, policies)
        }
        None => listed(&walk, query, options.limit),
    }
}

/// One way through the log.
pub(super) struct Walk<'a> {
    days: &'a Days,
    segments: Segments<'a>,
    filter: Filter,
    /// End of the records that are looked at.
    to: u64,
    method: Method,
    deadline: Deadline,
}

impl<'a> Walk<'a> {
    /// The way to the records of a query, which may be more than its filter matches.
    pub(super) fn of(
        searcher: &'a Searcher,
        query: &Query,
        options: SearchOptions,
    ) -> Result<Self, SearchError> {
        let segments = Segments::of(searcher.dir())?;
        let size = segments.size();
        let to = options.after.map_or(size, |after| after.min(size));
        let deadline = Deadline::within(options.within);
        let filter = query.filter.clone();
        let (days, method) = (&searcher.days, options.method);
        let mut walk = Self { days, segments, filter, to, method, deadline };
        if let Some(expand) = &query.expand {
            walk.filter = related(&walk, expand)?;
        }
        Ok(walk)
    }

    /// Gives the matches to `take`, newest first, until it says stop.
    pub(super) fn newest_first(
        &self,
        take: &mut dyn FnMut(Row) -> Result<bool, SearchError>,
    ) -> Result<Walked, SearchError> {
        let index = indexed::choose(self.days, &self.filter, self.method)?;
        let (indexed_to, method) = match &index {
            Some(index) => (index.size, Method::Index),
            None => (0, Method::Scan),
        };
        // The newest records may not be indexed yet; they are few.
        let tail = indexed_to..self.to;
        let stopped = scan::newest_first(&self.segments, &self.filter, &self.deadline, tail, take)?;
        if let Some(index) = index
            && !stopped
        {
            let Self { segments, filter, deadline, .. } = self;
            indexed::newest_first(segments, &index, filter, deadline, self.to, take)?;
        }
        Ok(Walked { indexed_to, method, source: Source::Records })
    }

    /// Fills groups from the index's columns, and from the records that it does not have yet or cannot say all about.
    /// `None` where this cannot be: the records have to be walked. Gives the number of matches, too.
    pub(super) fn group(
        &self,
        groups: &mut Groups<'_>,
    ) -> Result<Option<(u64, Walked)>, SearchError> {
        let asked = Asked { filter: &self.filter, by: groups.by, aggs: groups.aggs };
        if !asked.has_columns() {
            return Ok(None);
        }
        let Some(index) = indexed::open(self.days, self.method)? else { return Ok(None) };
        let walked =
            Walked { indexed_to: index.size, method: Method::Index, source: Source::Columns };
        let mut matches = 0;
        let tail = index.size..self.to;
        scan::newest_first(&self.segments, &self.filter, &self.deadline, tail, &mut |row| {
            matches += 1;
            groups.take(&row)?;
            Ok(true)
        })?;
        matches += indexed::group(&self.segments, &index, asked, &self.deadline, self.to, groups)?;
        Ok(Some((matches, walked)))
    }

    pub(super) fn coverage(&self, walked: Walked, from: u64, matches: u64) -> Coverage {
        let Walked { indexed_to, method, source } = walked;
        Coverage { from, to: self.to, indexed_to, matches, method, source }
    }
}

/// How a walk went.
pub(super) struct Walked {
    indexed_to: u64,
    method: Method,
    source: Source,
}

/// Records as they are, newest first or sorted.
fn listed(walk: &Walk<'_>, query: &Query, limit: usize) -> Result<Answer, SearchError> {
    let limit = query.limit().unwrap_or(usize::MAX).min(limit);
    // Newest first is the order of the walk; any other order needs every match.
    let sort = query.sort().filter(|sort| !is_newest_first(sort));
    let keep = if sort.is_some() { SORTED_ROWS_MAX } else { limit };
    let mut rows = Vec::new();
    let mut full = false;
    let walked = walk.newest_first(&mut |row| {
        if rows.len() == keep {
            if sort.is_some() {
                return Err(SearchError::TooManyToSort);
            }
            full = true;
            return Ok(false);
        }
        rows.push(row);
        Ok(true)
    })?;
    let oldest = if full { rows.last() } else { None };
    let mut from = oldest.map_or(walk.segments.first(), |row: &Row| row.seq);
    let mut matches = rows.len() as u64;
    if let Some(sort) = sort {
        // The claim is about all that matched; only some are shown.
        sort_rows(&mut rows, sort);
        rows.truncate(limit);
    } else if limit == 0 {
        (from, matches) = (walk.to, 0);
    }
    Ok(Answer { rows, table: None, coverage: walk.coverage(walked, from, matches) })
}

/// Figures over all matches.
fn tabulated(
    walk: &Walk<'_>,
    query: &Query,
    tabular: &Tabular,
    policies: &dyn Policies,
) -> Result<Answer, SearchError> {
    let answer = |rows, matches, walked| Answer {
        rows: Vec::new(),
        table: Some(table::rework(tabular, rows)),
        coverage: walk.coverage(walked, walk.segments.first(), matches),
    };
    if let Some(mut groups) = table::groups(tabular)
        && let Some((matches, walked)) = walk.group(&mut groups)?
    {
        return Ok(answer(groups.rows(), matches, walked));
    }
    if let Make::Unused = &tabular.make
        && let Some((unused, matches, walked)) = unused(walk, policies)?
    {
        return Ok(answer(unused.rows(), matches, walked));
    }
    let mut collector = table::collector(query, tabular, policies)?;
    let mut matches = 0;
    let walked = walk.newest_first(&mut |row| {
        matches += 1;
        collector.take(&row)?;
        Ok(true)
    })?;
    Ok(answer(collector.finish(&walk.deadline)?, matches, walked))
}

/// The statements that no match names, from columns. A review of permissions asks for a quarter of a year, and reading
/// that many records takes minutes.
fn unused(
    walk: &Walk<'_>,
    policies: &dyn Policies,
) -> Result<Option<(Unused, u64, Walked)>, SearchError> {
    let statement = stage::Key::Field(STATEMENT.to_owned());
    let mut named = Groups::distinct(&statement);
    match walk.group(&mut named) {
        Ok(None) => Ok(None),
        Ok(Some((matches, walked))) => {
            let mut unused = Unused::new(policies)?;
            named.rows().iter().flatten().for_each(|cell| unused.is_named(&cell.to_string()));
            Ok(Some((unused, matches, walked)))
        }
        // More names than a table may have rows; one after the other they need no room.
        Err(SearchError::TooMuch(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The filter for everything that has a request or a session in common with a match, and for the matches themselves.
fn related(walk: &Walk<'_>, expand: &Expand) -> Result<Filter, SearchError> {
    let mut names = BTreeSet::new();
    walk.newest_first(&mut |row| {
        for field in expand.related.fields() {
            names.extend(leaf::values(&row.leaf, field));
        }
        if names.len() > RELATED_MAX {
            return Err(SearchError::TooMuch("`expand` would follow more than 1000 of them"));
        }
        Ok(true)
    })?;
    let names: Vec<String> = names.into_iter().collect();
    let named = |field: &&str| {
        Filter::Pred(Pred { field: (*field).to_owned(), test: Test::OneOf(names.clone()) })
    };
    let mut any: Vec<Filter> = expand.related.fields().iter().map(named).collect();
    any.push(walk.filter.clone());
    Ok(Filter::And(vec![Filter::Or(any), expand.then.clone()]))
}

fn is_newest_first(sort: &Sort) -> bool {
    matches!(sort.field.as_str(), "time" | "seq") && sort.order == Order::Descending
}

fn sort_rows(rows: &mut Vec<Row>, sort: &Sort) {
    let mut keyed: Vec<(Option<Key>, Row)> = std::mem::take(rows)
        .into_iter()
        .map(|row| (leaf::values(&row.leaf, &sort.field).into_iter().next().map(Key::new), row))
        .collect();
    keyed.sort_by(|(a, x), (b, y)| {
        let by_key = match (a, b) {
            (Some(a), Some(b)) if sort.order == Order::Ascending => a.cmp(b),
            (Some(a), Some(b)) => b.cmp(a),
            // Rows without the field come last either way.
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        by_key.then(y.seq.cmp(&x.seq))
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// Numbers sort as numbers, before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i128),
    Text(String),
}

impl Key {
    fn new(text: String) -> Self {
        text.parse().map_or(Self::Text(text), Self::Number)
    }
}
