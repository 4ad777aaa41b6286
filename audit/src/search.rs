//! Finding records: by query, by position, by event, in order, and as they come.
//!
//! Everything here reads the log's directory, takes no lock and works while a server writes. The records are the truth:
//! the index proposes candidates, and every row is read back and matched again. Figures over many records are made of
//! the index's columns where it has them; the coverage of an answer says so.

use std::{
    io,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use crate::{durable, index::IndexError, query::Query, segment};

pub use claim::Claim;
pub(crate) use cursor::{Brought, Located};
pub use cursor::{Records, Tail, records, tail};
pub use histogram::{Bar, Histogram};
pub use locate::{find_event, read_record};
pub use pieces::{Piece, Pieces, pieces};
pub use policies::{NoPolicies, Policies, Replay, Replayed};
pub use searcher::Searcher;
pub use table::{Cell, TABLE_BYTES_MAX, TABLE_ROWS_MAX, Table};
pub(crate) use table::{Figure, combinations};

mod claim;
mod cursor;
mod file;
mod follower;
mod histogram;
mod indexed;
pub(crate) mod locate;
mod pieces;
mod plan;
mod policies;
mod scan;
mod searcher;
mod table;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// Rows, at most; a smaller limit in the query wins. A table is limited by its query alone.
    pub limit: usize,
    /// Only rows below this `seq`: the last row of the page before.
    pub after: Option<u64>,
    /// Which way.
    pub method: Method,
    /// How long it may take; longer is an error, never a part of an answer.
    pub within: Option<Duration>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { limit: 100, after: None, method: Method::Auto, within: None }
    }
}

/// Which way to search; the answer is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The index where it helps.
    Auto,
    /// The index and a scan of what is not indexed yet.
    Index,
    /// Every record.
    Scan,
}

/// Rows, and what they are complete for.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Matching records, newest first unless the query sorts; none where it makes a table.
    pub rows: Vec<Row>,
    /// Figures over the matching records, where the query makes a table.
    pub table: Option<Table>,
    /// What was looked at.
    pub coverage: Coverage,
}

/// One matching record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its position.
    pub seq: u64,
    /// Its exact bytes.
    pub leaf: Vec<u8>,
}

/// The claim: among the records `from..to` exactly `matches` match, and they are the rows or what the table is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// First record of the range; a limit that stopped the search puts it at the last row.
    pub from: u64,
    /// End of the range.
    pub to: u64,
    /// End of what the index knew.
    pub indexed_to: u64,
    /// Matching records in the range.
    pub matches: u64,
    /// Which way was gone.
    pub method: Method,
    /// What the answer was made of.
    pub source: Source,
}

/// What an answer is made of; it is the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Every match was read.
    Records,
    /// Columns of the index, and the few records that are not indexed: figures over many matches at once.
    Columns,
}

/// Rows that a sorted query may have to hold.
pub const SORTED_ROWS_MAX: usize = 100_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// Reading failed.
    #[error("reading `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Later records are there, and this one cannot be read.
    #[error(
        "record {seq} cannot be read in `{path}`: it is damaged or missing; run `audit verify`"
    )]
    Damaged {
        /// Segment.
        path: String,
        /// Position of the first record that is missing.
        seq: u64,
    },
    /// The index proposes a record that is not in that place, or is not the one that was indexed.
    #[error(
        "record {seq} is not the one that was indexed: it is damaged, or the index is; run `audit verify`, or rebuild the \
         index"
    )]
    Misplaced {
        /// Its position.
        seq: u64,
    },
    /// The index cannot be used; a scan would work.
    #[error("the index cannot be read: {0}; search with method scan, or rebuild it")]
    Index(String),
    /// Too much to sort.
    #[error("more than {SORTED_ROWS_MAX} records match; narrow the query or drop its `sort`")]
    TooManyToSort,
    /// A table would be too large.
    #[error("{0}; narrow the query")]
    TooMuch(&'static str),
    /// The query asks for policies, and they cannot be had.
    #[error("{0}")]
    Policies(String),
    /// It would take too long.
    #[error("the search takes longer than {}; narrow the query", seconds(*.0))]
    TooLong(Duration),
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// When a search has to have ended.
#[derive(Debug)]
struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    fn within(duration: Option<Duration>) -> Self {
        Self(duration.map(|duration| (Instant::now(), duration)))
    }

    fn check(&self) -> Result<(), SearchError> {
        match self.0 {
            Some((started, within)) if started.elapsed() > within => {
                Err(SearchError::TooLong(within))
            }
            _ => Ok(()),
        }
    }
}

impl From<IndexError> for SearchError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Log(error) => error,
            error => Self::Index(error.to_string()),
        }
    }
}

impl SearchError {
    pub(crate) fn too_many_rows() -> Self {
        Self::TooMuch("the table has more than 100000 rows")
    }

    pub(crate) fn too_much_held() -> Self {
        Self::TooMuch("the table needs more than 512 MB")
    }

    /// Records that could not be read, if that is what went wrong: another copy of the log may have them.
    pub(crate) fn damaged(&self) -> Option<Range<u64>> {
        let seq = match self {
            Self::Damaged { seq, .. } | Self::Misplaced { seq } => *seq,
            Self::Io { path, .. } => segment::Name::of_path(path)?.first,
            _ => return None,
        };
        Some(seq..seq.saturating_add(1))
    }

    pub(crate) fn io(path: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Answers a single query over the log in `dir`; who has several keeps a [`Searcher`].
///
/// # Errors
/// [`SearchError`]. An answer is never cut silently: its coverage says what it is complete for.
pub fn search(dir: &Path, query: &Query, options: SearchOptions) -> Result<Answer, SearchError> {
    Searcher::new(dir).search(query, options)
}

/// All segments of a directory in order.
pub(crate) fn names(dir: &Path) -> Result<Vec<segment::Name>, SearchError> {
    segment::names(&|path| durable::list(&dir.join(path))).map_err(SearchError::io("seg"))
}
