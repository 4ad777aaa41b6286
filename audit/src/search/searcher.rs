//! Questions to one log, as many as come.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Head, index::Days, query::Query};

use super::{
    Answer, Claim, Coverage, Histogram, NoPolicies, Policies, SearchError, SearchOptions, claim,
    histogram, plan,
};

/// Answers questions about the log in one directory, from any thread, while a server writes. What it reads for every
/// question stays open; each answer is about the log as it is at that moment.
#[derive(Debug)]
pub struct Searcher {
    dir: PathBuf,
    pub(super) days: Days,
}

impl Searcher {
    /// Opens nothing yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), days: Days::new(dir) }
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Answers a query.
    ///
    /// # Errors
    /// [`SearchError`]. An answer is never cut silently: its coverage says what it is complete for.
    pub fn search(&self, query: &Query, options: SearchOptions) -> Result<Answer, SearchError> {
        self.search_with(query, options, &NoPolicies)
    }

    /// Answers a query that may also speak of policies: `policies()` and `replay`.
    ///
    /// # Errors
    /// As [`Searcher::search`]; [`SearchError::Policies`] when there is no such policy.
    pub fn search_with(
        &self,
        query: &Query,
        options: SearchOptions,
        policies: &dyn Policies,
    ) -> Result<Answer, SearchError> {
        match plan::answer(self, query, options, policies) {
            // A prune took a segment away that was listed; the next list begins behind it.
            Err(SearchError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                plan::answer(self, query, options, policies)
            }
            answer => answer,
        }
    }

    /// Counts the matches of a query over time, in at most `bars_max` bars. What the query says about rows (`fields`,
    /// `sort`, `limit`) does not matter here.
    ///
    /// # Errors
    /// [`SearchError`], also when more than 20 million records match that have to be read.
    pub fn histogram(
        &self,
        query: &Query,
        options: SearchOptions,
        bars_max: usize,
    ) -> Result<Histogram, SearchError> {
        histogram::histogram(self, query, options, bars_max)
    }

    /// Finds again what an answer covers, below a head of the log.
    ///
    /// # Errors
    /// [`SearchError`]; [`SearchError::TooMuch`] when the answer goes beyond the head, or is about more than ten million
    /// records.
    pub fn claim(
        &self,
        query: &Query,
        coverage: &Coverage,
        head: Head,
        within: Option<Duration>,
    ) -> Result<Claim, SearchError> {
        claim::claim(self, query, coverage, head, within)
    }
}
