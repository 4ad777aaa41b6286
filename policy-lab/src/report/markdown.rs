//! A comment for a pull request.

use std::fmt::Write as _;

use super::self_check_line;
use super::table::printable;
use crate::replay::{Class, Outcome};

/// A heading, a table per class, and the self-check last.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let totals = &outcome.totals;
    let mut text = format!(
        "## Policy simulation\n\n\
         | events | newly denied | newly allowed | not known | reason changed | undecided |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {} | {} | {} | {} | {} | {} |\n",
        totals.events,
        totals.newly_denied,
        totals.newly_allowed,
        totals.unknown,
        totals.reason_changed,
        totals.unresolved,
    );
    for (class, title) in [
        (Class::NewlyDenied, "Newly denied"),
        (Class::NewlyAllowed, "Newly allowed"),
        (Class::Unknown, "Not known: the record lacks a key"),
        (Class::ReasonChanged, "Another reason"),
    ] {
        groups(&mut text, outcome, class, title);
    }
    if outcome.ungrouped > 0 {
        let _ = write!(text, "\n{} more changed events are in no group.\n", outcome.ungrouped);
    }
    problems(&mut text, outcome);
    // Writing to a string does not fail.
    let _ = write!(text, "\n{}\n", self_check_line(&outcome.self_check));
    text
}

fn groups(text: &mut String, outcome: &Outcome, class: Class, title: &str) {
    let mut groups = outcome.groups.iter().filter(|group| group.class == class).peekable();
    if groups.peek().is_none() {
        return;
    }
    let _ = write!(
        text,
        "\n### {title}\n\n\
         | count | principal | action | prefix | reason | events |\n\
         | ---: | --- | --- | --- | --- | --- |\n"
    );
    for group in groups {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} → {}{} | {} |",
            group.count,
            code(&group.principal),
            code(&group.action),
            code(&group.prefix),
            group.before,
            group.after,
            group.keys.iter().map(|key| format!(" {}", code(key))).collect::<String>(),
            group.samples.iter().map(|id| code(id)).collect::<Vec<_>>().join(" "),
        );
    }
}

fn problems(text: &mut String, outcome: &Outcome) {
    let undecided = outcome
        .unresolved
        .iter()
        .map(|event| format!("- undecided {}: {}\n", code(&event.id), code(&event.why)));
    let mismatches = outcome.self_check.mismatches.iter().map(|mismatch| {
        format!(
            "- not reproduced {}: recorded {}, replayed {}\n",
            code(&mismatch.id),
            code(&mismatch.recorded),
            code(&mismatch.replayed)
        )
    });
    let lines: String = undecided.chain(mismatches).collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n{lines}");
    }
}

/// Text as code: nothing in a name is markup, ends the cell or closes the code.
fn code(text: &str) -> String {
    let text = printable(text).replace('`', "'").replace('|', "\\|");
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
