//! Places of a source where a rule puts a member into a list, a set or an object.

use std::ops::Range;

use regorus::unstable::{Expr, Span};

/// Where a member stands whose text begins behind a place of the source.
///
/// The library's place of an object begins with its last field; that object is found by its bracket, or not at all. Its
/// place of a text is without the quotes, so that what ends with one is not whole; and what is written out is no list.
pub(super) fn member(expression: &Expr, behind: u32) -> Option<Range<usize>> {
    let span = expression.span();
    let start = match expression {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => return None,
        Expr::Object { .. } => {
            let text = Span { start: behind, ..span.clone() };
            let text = text.text();
            let object = text.trim_start().starts_with('{').then(|| text.trim_start().len())?;
            behind + u32::try_from(text.len() - object).ok()?
        }
        _ => span.start,
    };
    let whole = Span { start, ..span.clone() };
    let place = usize::try_from(start).ok()?..usize::try_from(span.end).ok()?;
    is_whole(whole.text()).then_some(place)
}

/// Every bracket and quote that is opened is closed, and the other way round.
fn is_whole(text: &str) -> bool {
    let mut open = 0_usize;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '[' | '{' | '(' => open += 1,
            ']' | '}' | ')' => match open.checked_sub(1) {
                Some(less) => open = less,
                None => return false,
            },
            '#' => drop(chars.by_ref().find(|char| *char == '\n')),
            '`' if chars.by_ref().all(|char| char != '`') => return false,
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => drop(chars.next()),
                    Some(_) => {}
                    None => return false,
                }
            },
            _ => {}
        }
    }
    open == 0
}

/// The place behind a sign or word that stands between two expressions.
pub(super) fn behind(before: &Expr, word: &str, after: &Expr) -> Option<u32> {
    let start = before.span().end;
    let text = Span { start, end: after.span().end, ..before.span().clone() };
    let at = text.text().find(word)? + word.len();
    start.checked_add(u32::try_from(at).ok()?)
}
