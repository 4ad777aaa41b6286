//! What a simulation was about, and its outcome as SARIF.

use super::sarif::{Level, Log, Place};
use crate::replay::{Class, Outcome};

/// What was replayed against what; every report says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// Where the events come from, as `audit log /srv/audit, 812 records, verified`.
    pub source: String,
    /// What the draft is compared with.
    pub baseline: String,
    /// The proposals.
    pub draft: Vec<String>,
    /// The file that remarks in a code review belong to.
    pub file: Option<String>,
}

/// One result per group of changed events, at the top of the first draft.
#[must_use]
pub fn sarif(outcome: &Outcome, title: &Title) -> String {
    let mut log = Log::new();
    for (class, about) in [
        (Class::NewlyDenied, "Recorded requests that were allowed would be denied."),
        (Class::NewlyAllowed, "Recorded requests that were denied would be allowed."),
        (Class::Unknown, "The record does not hold what the policies ask for."),
        (Class::ReasonChanged, "The same answer for another reason."),
    ] {
        log.rule(class.as_str(), about, level(class));
    }
    log.rule("not-reproduced", "A recorded decision does not come out again.", Level::Error);
    let place =
        || title.file.as_deref().map(|file| Place { file, line: 1, column: 1, end_column: 2 });
    for group in &outcome.groups {
        let message = format!(
            "{} would be {} {} on {}: {} events ({} → {}), as {}",
            group.principal,
            class_words(group.class),
            group.action,
            group.prefix,
            group.count,
            group.before,
            group.after,
            group.samples.join(", "),
        );
        log.result(group.class.as_str(), level(group.class), &message, place());
    }
    for mismatch in &outcome.self_check.mismatches {
        let message = format!(
            "{} was recorded as {}, but comes out as {}",
            mismatch.id, mismatch.recorded, mismatch.replayed
        );
        log.result("not-reproduced", Level::Error, &message, place());
    }
    log.finish()
}

fn class_words(class: Class) -> &'static str {
    match class {
        Class::NewlyDenied => "denied",
        Class::NewlyAllowed => "allowed",
        Class::Unknown => "allowed or denied, nobody knows,",
        Class::ReasonChanged => "answered as before at",
    }
}

fn level(class: Class) -> Level {
    match class {
        Class::NewlyDenied | Class::NewlyAllowed => Level::Warning,
        Class::Unknown | Class::ReasonChanged => Level::Note,
    }
}
