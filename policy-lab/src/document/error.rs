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
        let before = text.get(..fault.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
            message: fault.message,
            hint: fault.hint,
        }
    }
}

fn remedy(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}
