//! Findings as text: one line each for a terminal and an editor, JSON, SARIF for code review.

use std::fmt::Write as _;

use serde::Serialize;

use super::sarif::{Level, Log, Place};
use super::table::printable;
use crate::lint::{Finding, RULES, Severity};

/// One file that was reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    pub file: String,
    /// `identity policy`, `guardrail`, …
    pub what: String,
    pub findings: Vec<Finding>,
}

/// `FILE:LINE:COLUMN: WEIGHT CODE: message`, the remedy below; a file without findings is `ok`.
#[must_use]
pub fn lint_text(files: &[Reviewed]) -> String {
    let mut text = String::new();
    for reviewed in files {
        let file = printable(&reviewed.file);
        if reviewed.findings.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{file}: ok, {}", reviewed.what);
        }
        for finding in &reviewed.findings {
            let _ = writeln!(
                text,
                "{file}:{}:{}: {} {}: {}",
                finding.line,
                finding.column,
                finding.rule.severity.as_str(),
                finding.rule.code,
                printable(&finding.message),
            );
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "  remedy: {}", printable(remedy));
            }
        }
    }
    text
}

#[derive(Serialize)]
struct Row<'a> {
    code: &'a str,
    severity: &'a str,
    line: usize,
    column: usize,
    end_column: usize,
    message: &'a str,
    remedy: Option<&'a str>,
}

/// One JSON object with a newline behind it.
#[must_use]
pub fn lint_json(files: &[Reviewed]) -> String {
    let row = |finding: &'_ Finding| -> serde_json::Value {
        // Strings and integers in plain structs always serialise.
        serde_json::to_value(Row {
            code: finding.rule.code,
            severity: finding.rule.severity.as_str(),
            line: finding.line,
            column: finding.column,
            end_column: finding.end_column,
            message: &finding.message,
            remedy: finding.remedy.as_deref(),
        })
        .unwrap_or_default()
    };
    let files: Vec<_> = files
        .iter()
        .map(|reviewed| {
            serde_json::json!({
                "file": reviewed.file,
                "what": reviewed.what,
                "findings": reviewed.findings.iter().map(row).collect::<Vec<_>>(),
            })
        })
        .collect();
    let document = serde_json::json!({ "schema": "policy-lab/check", "v": 1, "files": files });
    format!("{document:#}\n")
}

/// A SARIF 2.1.0 log.
#[must_use]
pub fn lint_sarif(files: &[Reviewed]) -> String {
    let mut log = Log::new();
    for rule in RULES {
        log.rule(rule.code, rule.about, level(rule.severity));
    }
    for reviewed in files {
        for finding in &reviewed.findings {
            let message = match &finding.remedy {
                Some(remedy) => format!("{}. Remedy: {remedy}", finding.message),
                None => finding.message.clone(),
            };
            let place = Place {
                file: &reviewed.file,
                line: finding.line,
                column: finding.column,
                end_column: finding.end_column,
            };
            log.result(finding.rule.code, level(finding.rule.severity), &message, Some(place));
        }
    }
    log.finish()
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Error => Level::Error,
        Severity::SecurityWarning | Severity::Warning => Level::Warning,
        Severity::Suggestion => Level::Note,
    }
}
