//! Questions to one log, as many as come.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Detour, Head, Log, index::Days, query::Query};

use super::{
    Answer, Claim, Coverage, Histogram, NoPolicies, Policies, SearchError, SearchOptions, claim,
    histogram, locate, plan,
};

/// Answers questions about the log in one directory, from any thread, while a server writes. What it reads for every
/// question stays open; each answer is about the log as it is at that moment.
#[derive(Debug)]
pub struct Searcher {
    dir: PathBuf,
    pub(super) days: Days,
    detour: Option<Detour>,
}

impl Searcher {
    /// Opens nothing yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), days: Days::new(dir), detour: None }
    }

    /// The same for a log that is open, whose copies `dir` leads to: damage in one of them is read around.
    pub fn of(log: &Log, dir: &Path) -> Self {
        Self { detour: Some(log.detour(dir)), ..Self::new(dir) }
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
        self.round(|| match plan::answer(self, query, options, policies) {
            // A prune took a segment away that was listed; the next list begins behind it.
            Err(SearchError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                plan::answer(self, query, options, policies)
            }
            answer => answer,
        })
    }

    /// The newest record with this event, or `None` if there is none.
    ///
    /// # Errors
    /// [`SearchError::Io`].
    pub fn find_event(&self, event: &str) -> Result<Option<Vec<u8>>, SearchError> {
        self.round(|| locate::find_event(&self.dir, event))
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
        self.round(|| histogram::histogram(self, query, options, bars_max))
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
        self.round(|| claim::claim(self, query, coverage, head, within))
    }

    fn round<T>(&self, read: impl FnMut() -> Result<T, SearchError>) -> Result<T, SearchError> {
        Detour::round(self.detour.as_ref(), SearchError::damaged, read)
    }
}
