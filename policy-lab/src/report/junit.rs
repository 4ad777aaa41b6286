//! A JUnit report: what continuous integration draws as tests.
//!
//! One test case per class of change, which fails if the caller asked for that, with the groups as its text; and one
//! for the self-check.

use std::fmt::Write as _;

use super::self_check_line;
use super::simulation::Title;
use crate::replay::{Class, Outcome};

const CLASSES: [Class; 4] =
    [Class::NewlyDenied, Class::NewlyAllowed, Class::Unknown, Class::ReasonChanged];

/// `failing` are the classes that must not occur.
#[must_use]
pub fn junit(outcome: &Outcome, title: &Title, failing: &[Class]) -> String {
    let fails = |class: &Class| failing.contains(class) && outcome.count(*class) > 0;
    let broken = !outcome.self_check.holds();
    let failures = CLASSES.iter().filter(|class| fails(class)).count() + usize::from(broken);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"policy-lab simulate\" tests=\"{tests}\" failures=\"{failures}\">\n\
         <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\">\n",
        escape(&title.draft.join(", ")),
        tests = CLASSES.len() + 1,
    );
    for class in CLASSES {
        let body = groups(outcome, class);
        case(&mut text, class.as_str(), outcome.count(class), &body, fails(&class));
    }
    let mut body = self_check_line(&outcome.self_check) + "\n";
    for mismatch in &outcome.self_check.mismatches {
        let (recorded, replayed) = (&mismatch.recorded, &mismatch.replayed);
        // Writing to a string does not fail.
        let _ = writeln!(body, "{}: recorded {recorded}, replayed {replayed}", mismatch.id);
    }
    let missed = outcome.self_check.compared - outcome.self_check.reproduced;
    case(&mut text, "self-check", missed, &body, broken);
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// Tests as cases: the file, the name, and what is wrong, if it is not as expected.
#[must_use]
pub fn junit_cases<'a>(
    cases: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a str>)>,
) -> String {
    let cases: Vec<_> = cases.into_iter().collect();
    let failures = cases.iter().filter(|(.., fault)| fault.is_some()).count();
    let tests = cases.len();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"policy-lab test\" tests=\"{tests}\" failures=\"{failures}\">\n\
         <testsuite name=\"policy-lab test\" tests=\"{tests}\" failures=\"{failures}\">\n",
    );
    for (file, name, fault) in cases {
        let (file, name) = (escape(file), escape(name));
        // Writing to a string does not fail.
        let _ = write!(text, "<testcase classname=\"{file}\" name=\"{name}\"");
        let _ = match fault.map(escape) {
            None => writeln!(text, "/>"),
            Some(fault) => writeln!(text, "><failure message=\"{fault}\"/></testcase>"),
        };
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, name: &str, count: u64, body: &str, fails: bool) {
    let body = escape(body);
    let _ = writeln!(text, "<testcase classname=\"policy-lab.simulate\" name=\"{name}\">");
    if fails {
        let _ = writeln!(text, "<failure message=\"{count} events\">{body}</failure>");
    } else if !body.is_empty() {
        let _ = writeln!(text, "<system-out>{body}</system-out>");
    }
    text.push_str("</testcase>\n");
}

fn groups(outcome: &Outcome, class: Class) -> String {
    let mut text = String::new();
    for group in outcome.groups.iter().filter(|group| group.class == class) {
        let _ = writeln!(
            text,
            "{} × {} {} {} ({} → {}): {}",
            group.count,
            group.principal,
            group.action,
            group.prefix,
            group.before,
            group.after,
            group.samples.join(" ")
        );
    }
    text
}

/// Text for XML; characters that XML 1.0 does not have become the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(char),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            // Nor anything that turns the writing round.
            '\u{202a}'..='\u{202e}' => escaped.push('\u{fffd}'),
            _ if char.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(char),
        }
    }
    escaped
}
