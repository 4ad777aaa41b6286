//! What is wrong with a query, and where.

/// A query that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {offset})")]
pub struct QueryError {
    /// Byte in the query's text.
    pub offset: usize,
    /// What is wrong, with a hint where there is one.
    pub message: String,
}

impl QueryError {
    pub(super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }
}
