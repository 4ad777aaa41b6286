//! Where an error of the engine stands in the source as its author wrote it.
//!
//! The engine has sources with calls that count put in ([`super::metered`]), and its columns are not characters: a tab is
//! four of them, a text has as many as bytes. So a place is taken to the token that it is of, the token to its byte, and
//! the byte to the line and column that an editor shows. This is done for errors only.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;

use regorus::unstable::{Lexer, Source, Span, Token, TokenKind};

use super::metered::{self, WEIGHED};
use crate::document::line_and_column;

/// Why guardrails are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}{}", remedy(.hint.as_deref()))]
#[non_exhaustive]
pub struct RegoError {
    pub file: String,
    /// From one; one also where the complaint is about the whole file.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

fn remedy(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(" ({hint})"))
}

impl RegoError {
    /// About a whole file.
    pub(super) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self::at(file, (1, 1), message)
    }

    /// About a line and a column.
    pub(super) fn at(
        file: &str,
        (line, column): (usize, usize),
        message: impl Into<String>,
    ) -> Self {
        Self { file: file.to_owned(), line, column, message: message.into(), hint: None }
    }

    /// About a part of a source that is as it was written.
    pub(super) fn of_span(span: &Span, message: impl Into<String>) -> Self {
        let at = usize::try_from(span.start).unwrap_or(usize::MAX);
        let place = line_and_column(span.source.contents(), at);
        Self::at(span.source.get_path(), place, message)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A source as it was written, and what was put in before the engine had it.
#[derive(Debug)]
pub(super) struct Written {
    name: String,
    text: String,
    /// Where the calls that count are put around.
    members: Vec<Range<usize>>,
}

impl Written {
    pub(super) fn new(name: &str, text: &str, members: Vec<Range<usize>>) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), members }
    }

    /// Line and column, from one, of what the engine has at its own line and column.
    fn place(&self, line: u32, column: u32) -> (usize, usize) {
        let (text, insertions) = metered::weighed(&self.text, &self.members);
        let at = byte(&text, line, column);
        let put_in: usize = insertions
            .iter()
            .map(|insertion| at.min(insertion.end).saturating_sub(insertion.start))
            .sum();
        line_and_column(&self.text, at - put_in)
    }

    /// The line that an error is in, as the engine shows its own: with the place above, and a mark below.
    fn excerpt(&self, (line, column): (usize, usize)) -> String {
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let blank = |char: char| if char == '\t' { '\t' } else { ' ' };
        let mark: String = text.chars().take(column - 1).map(blank).collect();
        let (name, margin) = (&self.name, " ".repeat(line.to_string().len() + 1));
        format!("--> {name}:{line}:{column}\n{margin}|\n{line} | {text}\n{margin}| {mark}^")
    }
}

/// The byte that the library has at a place: counted from the token before it, or from the begin of the line.
fn byte(text: &str, line: u32, column: u32) -> usize {
    let lines = text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(0));
    let (mut start, mut at) = (lines.map(str::len).sum(), 1);
    for span in spans(text).filter(|span| span.line == line && span.col <= column) {
        (start, at) = (usize::try_from(span.start).unwrap_or(0), span.col);
    }
    let mut end = start;
    for char in text.get(start..).unwrap_or_default().chars().take_while(|char| *char != '\n') {
        if at >= column {
            break;
        }
        at += if char == '\t' { 4 } else { 1 };
        end += char.len_utf8();
    }
    end
}

/// The library's tokens up to the first that is none.
fn spans(text: &str) -> impl Iterator<Item = Span> {
    let (bytes, lines) = (NonZeroUsize::MAX, NonZeroUsize::MAX);
    let source = Source::from_contents_with_limits(String::new(), text.to_owned(), bytes, lines);
    source.ok().into_iter().flat_map(|source| {
        let mut lexer = Lexer::new(&source);
        lexer.set_max_col(NonZeroU32::MAX);
        let mut spans = Vec::new();
        while let Ok(Token(kind, span)) = lexer.next_token()
            && kind != TokenKind::Eof
        {
            spans.push(span);
        }
        spans
    })
}

/// An error of the engine in the words and places of the sources as they were written.
///
/// The engine writes `--> FILE:LINE:COLUMN`, three lines of an excerpt, and `error: MESSAGE`.
pub(super) fn complaint(text: &str, sources: &[Written]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match named(line, sources) {
            Some((source, line, column)) if is_excerpt(line, &lines) => {
                out.push(source.excerpt(source.place(line, column)));
                lines.nth(2);
            }
            _ => out.push(line.replace(&format!("{WEIGHED}("), "(")),
        }
    }
    out.join("\n")
}

/// What stands behind `-->`, if it is of one of our sources.
fn named<'a>(line: &str, sources: &'a [Written]) -> Option<(&'a Written, u32, u32)> {
    let mut fields = line.trim().strip_prefix("--> ")?.rsplitn(3, ':');
    let (column, line, file) = (fields.next()?, fields.next()?, fields.next()?);
    let source = sources.iter().find(|source| source.name == file)?;
    let line = line.parse().ok().filter(|line| *line > 0)?;
    Some((source, line, column.parse().ok()?))
}

fn is_excerpt(line: u32, lines: &std::str::Lines<'_>) -> bool {
    let mut lines = lines.clone();
    let (above, itself) = (lines.next(), lines.next());
    above.is_some_and(|above| above.trim() == "|")
        && itself.is_some_and(|itself| itself.starts_with(&format!("{line} | ")))
}

/// An error of the engine as one of a file.
pub(super) fn located(file: &str, text: &str, sources: &[Written]) -> RegoError {
    let text = complaint(text, sources);
    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "));
    let mut fields = place.map(|place| place.rsplitn(3, ':')).into_iter().flatten();
    let mut number = || fields.next().and_then(|number| number.parse().ok()).unwrap_or(1);
    let (column, line) = (number(), number());
    let message = message(&text);
    let unbound = message.split_once("var ").and_then(|(_, rest)| rest.split_once(" is unsafe"));
    let message = match unbound {
        Some((name, _)) => format!("`{name}` has no value anywhere: it is unsafe"),
        None => message.to_owned(),
    };
    let hint = remedy_of(&message);
    RegoError::at(fields.next().unwrap_or(file), (line, column), message).hint(hint)
}

/// What the engine complains of, without place and excerpt.
pub(super) fn message(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("error: "))
        .or_else(|| text.lines().map(str::trim).find(|line| !line.is_empty()))
        .unwrap_or("the guardrails do not compile")
}

/// What to do about a complaint of the library.
fn remedy_of(message: &str) -> &'static str {
    const REMEDIES: [(&str, &str); 10] = [
        ("is unsafe", "give it a value first: `x := …`, or `some x in …`"),
        ("package", "begin with `package s3.authz`"),
        ("import path", "a guardrail needs no import but `import rego.v1`"),
        ("`if` keyword", "write `deny contains {…} if { … }`, as Rego has it since 1.0"),
        ("`contains` keyword", "write `deny contains {…} if { … }`, as Rego has it since 1.0"),
        ("maximum column width", "break the line"),
        ("maximum allowed line count", "make two files of it"),
        ("in string", "a text ends on its line; one of several lines stands in backquotes"),
        ("unmatched", "close the quotes"),
        ("number", "a number has digits, and what follows it a space or a sign before it"),
    ];
    let found = REMEDIES.iter().find(|(word, _)| message.contains(word));
    found.map_or(
        "a rule is written `deny contains {\"id\": \"…\", \"msg\": \"…\"} if { … }`",
        |(_, remedy)| remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::{Written, complaint, located};

    #[test]
    fn a_place_of_the_engine_is_one_of_the_source() {
        let text = "x := [concat(1, y) | some y in z]\n\tdeny := \"é☃\" + foo # é\nlast";
        let place = |member: &str| {
            let start = text.find(member).expect("there");
            start..start + member.len()
        };
        let written = Written::new("a:b.rego", text, vec![place("concat(1, y)")]);
        // The engine has `[__weighed(concat(1, y)) | …`, tabs of four columns, and texts of as many as bytes.
        for (engine, ours) in [
            ((1, 7), (1, 7)),
            ((1, 17), (1, 7)),
            ((1, 24), (1, 14)),
            ((1, 31), (1, 20)),
            ((1, 45), (1, 34)),
            ((2, 5), (2, 2)),
            ((2, 13), (2, 10)),
            ((2, 23), (2, 17)),
            ((3, 1), (3, 1)),
            ((3, 99), (3, 5)),
            ((9, 1), (3, 5)),
        ] {
            assert_eq!(written.place(engine.0, engine.1), ours, "{engine:?}");
        }
    }

    #[test]
    fn an_excerpt_is_of_the_source() {
        let members = std::iter::once(6..10).collect();
        let written = Written::new("a.rego", "x if\n\tf(y)\n", members);
        let engine =
            "\n--> a.rego:2:15\n  |\n2 | \t__weighed(f(y))\n  |               ^\nerror: no f";
        let expected = "\n--> a.rego:2:2\n  |\n2 | \tf(y)\n  | \t^\nerror: no f";
        let sources = [written];
        assert_eq!(complaint(engine, &sources), expected);
        let error = located("?", engine, &sources);
        assert_eq!((error.file.as_str(), error.line, error.column), ("a.rego", 2, 2));
        assert_eq!(error.message, "no f");
        // What only looks like one stays.
        for text in ["--> b.rego:1:1\n  |\n1 | x\n  | ^", "--> a.rego:1:1\nelse", "--> a.rego:x:1"]
        {
            assert_eq!(complaint(text, &sources), text);
        }
    }
}
