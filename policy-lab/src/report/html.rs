//! A page for a browser: one file, no script, nothing from elsewhere.
//!
//! First what matters (how many requests change, whether the past was reproduced), then the picture of who gains and
//! who loses, then every group with its events.

mod picture;

use std::fmt::Write as _;

use super::junit::escape;
use super::matrix::Matrix;
use super::simulation::Title;
use super::table::printable;
use super::{percent, self_check_line};
use crate::replay::{Class, Group, Outcome};

const STYLE: &str = include_str!("html/style.css");

/// Groups of one class that are listed; the picture and the totals have all of them.
const GROUPS_MAX: usize = 500;

/// The whole page.
#[must_use]
pub fn html(outcome: &Outcome, title: &Title) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Policy review</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut page, title);
    summary(&mut page, outcome);
    self_check(&mut page, outcome);
    let matrix = Matrix::new(outcome);
    if !matrix.rows.is_empty() {
        page.push_str("<section><h2>Who gains, who loses</h2>\n");
        picture::draw(&mut page, &matrix);
        page.push_str("</section>\n");
    }
    for (class, heading, lead) in [
        (Class::NewlyDenied, "Loses access", "Allowed then; the draft denies it."),
        (Class::NewlyAllowed, "Gains access", "Denied then; the draft allows it."),
        (
            Class::Unknown,
            "Nobody knows",
            "The record does not hold what the policies ask for; the keys are named.",
        ),
        (Class::ReasonChanged, "Same answer, other reason", "Nothing changes for the caller."),
    ] {
        groups(&mut page, outcome, class, heading, lead);
    }
    problems(&mut page, outcome);
    let _ = writeln!(
        page,
        "<footer>policy-lab {}. The same log and the same drafts give the same page, byte for byte. \
         It shows what recorded requests would meet, not what nobody has asked for yet.</footer>\n\
         </main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    page
}

/// Text of requests on a page: no markup, and nothing that turns the writing round.
fn safe(text: &str) -> String {
    escape(&printable(text))
}

fn head(page: &mut String, title: &Title) {
    page.push_str("<header>\n<h1>Policy review</h1>\n<dl>\n");
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", safe(value));
        }
    };
    add("Requests", &title.source);
    add("In force", &title.baseline);
    add("Draft", &title.draft.join(", "));
    page.push_str("</dl>\n</header>\n");
}

fn summary(page: &mut String, outcome: &Outcome) {
    let totals = &outcome.totals;
    let changed = totals.newly_denied + totals.newly_allowed;
    let open = totals.unknown + totals.unresolved;
    let same = totals.events.saturating_sub(changed + open);
    let cards = [
        ("lost", "−", totals.newly_denied, "newly denied"),
        ("gained", "+", totals.newly_allowed, "newly allowed"),
        ("open", "?", open, "not known"),
        ("same", "=", same, "as before"),
    ];
    page.push_str("<section class=\"cards\">\n");
    for (class, sign, count, words) in cards {
        let quiet = if count == 0 { " none" } else { "" };
        let _ = writeln!(
            page,
            "<div class=\"card {class}{quiet}\"><b><i aria-hidden=\"true\">{sign}</i>{}</b>\
             <span>{words}</span><small>{} %</small></div>",
            grouped(count),
            percent(count, totals.events),
        );
    }
    page.push_str("</section>\n");
    let shares = cards.map(|(class, _, count, words)| (class, count, words));
    picture::bar(page, &shares, totals.events);
    let _ = writeln!(
        page,
        "<p class=\"fine\">{} replayed; {} with the answer of before for another reason.</p>",
        requests(totals.events),
        grouped(totals.reason_changed)
    );
}

fn requests(count: u64) -> String {
    match count {
        1 => "1 request".to_owned(),
        count => format!("{} requests", grouped(count)),
    }
}

fn self_check(page: &mut String, outcome: &Outcome) {
    let check = &outcome.self_check;
    let (class, words) = match (check.compared, check.holds()) {
        (0, _) => ("none", "Nothing was recorded that this review could be held against."),
        (_, true) => ("holds", "Every recorded decision came out again."),
        (_, false) => {
            ("broken", "Some recorded decisions did not come out again: do not rely on this page.")
        }
    };
    let _ = writeln!(
        page,
        "<p class=\"check {class}\"><strong>{}</strong> {words}</p>",
        escape(&self_check_line(check))
    );
}

fn groups(page: &mut String, outcome: &Outcome, class: Class, heading: &str, lead: &str) {
    let groups: Vec<_> = outcome.groups.iter().filter(|group| group.class == class).collect();
    let largest = groups.iter().map(|group| group.count).max().unwrap_or(0);
    if groups.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "<section class=\"{}\"><h2>{heading} <small>{}</small></h2>\n<p>{lead}</p>\n\
         <div class=\"scroll\"><table>\n<thead><tr><th>Principal</th><th>Action</th><th>Where</th>\
         <th>Reason</th><th class=\"n\">Requests</th><th></th></tr></thead>\n<tbody>",
        side(class),
        requests(groups.iter().map(|group| group.count).sum()),
    );
    for group in groups.iter().take(GROUPS_MAX) {
        row(page, group, largest);
    }
    page.push_str("</tbody></table></div>\n");
    if groups.len() > GROUPS_MAX {
        let more = groups.len() - GROUPS_MAX;
        let _ =
            writeln!(page, "<p class=\"fine\">{more} smaller groups are in the totals only.</p>");
    }
    page.push_str("</section>\n");
}

fn row(page: &mut String, group: &Group, largest: u64) {
    let width = (group.count * 100).div_ceil(largest.max(1));
    let why = match group.keys.is_empty() {
        true => format!("{} → {}", group.before, group.after),
        false => format!("depends on {}", group.keys.join(", ")),
    };
    let _ = write!(
        page,
        "<tr><td>{}</td><td><code>{}</code></td><td><code>{}</code></td><td>{}</td>\
         <td class=\"n\">{}</td><td class=\"bar\"><i style=\"width:{width}%\"></i>",
        safe(&group.principal),
        safe(&group.action),
        safe(&group.prefix),
        safe(&why),
        grouped(group.count),
    );
    if !group.samples.is_empty() {
        page.push_str("<details><summary>events</summary>");
        for sample in &group.samples {
            let _ = write!(page, "<code>{}</code> ", safe(sample));
        }
        page.push_str("</details>");
    }
    page.push_str("</td></tr>\n");
}

fn problems(page: &mut String, outcome: &Outcome) {
    let unresolved = outcome.unresolved.iter().map(|event| format!("{}: {}", event.id, event.why));
    let mismatches = outcome.self_check.mismatches.iter().map(|mismatch| {
        format!("{}: recorded {}, replayed {}", mismatch.id, mismatch.recorded, mismatch.replayed)
    });
    let mut lines: Vec<_> = unresolved.chain(mismatches).collect();
    if outcome.ungrouped > 0 {
        lines.push(format!("{} more changed requests are in no group", outcome.ungrouped));
    }
    if lines.is_empty() {
        return;
    }
    page.push_str(
        "<section class=\"open\"><h2>What could not be decided or reproduced</h2>\n<ul>\n",
    );
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", safe(&line));
    }
    page.push_str("</ul></section>\n");
}

fn side(class: Class) -> &'static str {
    match class {
        Class::NewlyDenied => "lost",
        Class::NewlyAllowed => "gained",
        Class::Unknown => "open",
        Class::ReasonChanged => "same",
    }
}

/// Digits in threes, with a narrow space.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
