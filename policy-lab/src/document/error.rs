//! What is wrong with a policy, and where.

use super::json::Fault;

/// A policy that is refused: the place, the complaint, and a remedy if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}{}", remedy(.hint.as_deref()))]
#[non_exhaustive]
pub struct DocumentError {
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl DocumentError {
    pub(super) fn locate(fault: Fault, text: &str) -> Self {
        let (line, column) = line_and_column(text, fault.at);
        Self { line, column, message: fault.message, hint: fault.hint }
    }
}

/// Of a byte, from one; the column in characters.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let bytes = before.as_bytes();
    let line_start = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
    (memchr::memchr_iter(b'\n', bytes).count() + 1, column)
}

fn remedy(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}
