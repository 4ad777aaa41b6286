//! Aligned columns for a terminal.

use std::fmt::Write as _;

use super::self_check_line;
use crate::replay::{Group, Outcome};

/// Totals, one line per group, and the self-check last.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let totals = &outcome.totals;
    let mut text = format!(
        "{} events: {} newly denied, {} newly allowed, {} not known, {} with another reason, {} undecided\n",
        totals.events,
        totals.newly_denied,
        totals.newly_allowed,
        totals.unknown,
        totals.reason_changed,
        totals.unresolved,
    );
    if !outcome.groups.is_empty() {
        text.push('\n');
        groups(&mut text, &outcome.groups);
    }
    text.push('\n');
    remarks(&mut text, outcome);
    text.push_str(&self_check_line(&outcome.self_check));
    text.push('\n');
    text
}

fn groups(text: &mut String, groups: &[Group]) {
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|group| {
            vec![
                group.class.as_str().to_owned(),
                group.count.to_string(),
                group.principal.clone(),
                group.action.clone(),
                group.prefix.clone(),
                match group.keys.is_empty() {
                    true => format!("{} → {}", group.before, group.after),
                    false => format!("depends on {}", group.keys.join(" ")),
                },
                group.samples.join(" "),
            ]
        })
        .collect();
    let head = ["CHANGE", "COUNT", "PRINCIPAL", "ACTION", "PREFIX", "REASON", "EVENTS"];
    text.push_str(&columns(&head, &rows));
}

/// Rows under a head, in columns as wide as their widest cell.
#[must_use]
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()))
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn remarks(text: &mut String, outcome: &Outcome) {
    if outcome.ungrouped > 0 {
        let _ = writeln!(text, "{} more changed events are in no group", outcome.ungrouped);
    }
    for event in &outcome.unresolved {
        let _ = writeln!(text, "undecided {}: {}", printable(&event.id), event.why);
    }
    for mismatch in &outcome.self_check.mismatches {
        let _ = writeln!(
            text,
            "not reproduced {}: recorded {}, replayed {}",
            printable(&mismatch.id),
            printable(&mismatch.recorded),
            mismatch.replayed,
        );
    }
}

/// Names come from requests: nothing in them may steer a terminal or break a line.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|char| {
            let hidden = char.is_control() || ('\u{202a}'..='\u{202e}').contains(&char);
            let escaped = hidden.then(|| char.escape_unicode());
            let plain = (!hidden).then_some(char);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
