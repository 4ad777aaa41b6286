//! Wildcards and policy variables.
//!
//! `*` is any run of characters, `/` included; `?` is one Unicode scalar. A substituted variable is data: wildcards
//! in its value are plain characters, so a user called `*` gains nothing.
//!
//! Matching never recurses and keeps one place to return to, so a hostile pattern costs at most its length times the
//! length of the text.

mod template;

use std::borrow::Cow;

pub(crate) use self::template::{Pattern, Syntax};

/// A pattern without variables, in the cheapest form that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    General(Box<[Part<'static>]>),
}

/// One piece of a pattern that is being matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Star,
    One,
    Text(Cow<'a, str>),
}

impl Glob {
    /// Every text is a pattern.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        push_wildcards(&mut parts, text);
        Self::of(parts)
    }

    pub(crate) fn of(parts: Vec<Part<'static>>) -> Self {
        match parts.as_slice() {
            [] => Self::Exact("".into()),
            [Part::Star] => Self::Any,
            [Part::Text(text)] => Self::Exact((&**text).into()),
            [Part::Text(text), Part::Star] => Self::Prefix((&**text).into()),
            [Part::Star, Part::Text(text)] => Self::Suffix((&**text).into()),
            _ => Self::General(parts.into()),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => text == &**exact,
            Self::Prefix(prefix) => text.as_bytes().starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => text.as_bytes().ends_with(suffix.as_bytes()),
            Self::General(parts) => matches_parts(parts, text),
        }
    }
}

/// Appends the parts of a text with wildcards; neighbours of one kind become one.
pub(crate) fn push_wildcards(parts: &mut Vec<Part<'static>>, text: &str) {
    for piece in text.split_inclusive(['*', '?']) {
        let (plain, wildcard) = match piece.strip_suffix('*') {
            Some(plain) => (plain, Some(Part::Star)),
            None => match piece.strip_suffix('?') {
                Some(plain) => (plain, Some(Part::One)),
                None => (piece, None),
            },
        };
        push_text(parts, plain);
        if let Some(wildcard) = wildcard
            && !(wildcard == Part::Star && parts.last() == Some(&Part::Star))
        {
            parts.push(wildcard);
        }
    }
}

/// Appends literal text.
pub(crate) fn push_text(parts: &mut Vec<Part<'static>>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(before)) => before.to_mut().push_str(text),
        _ => parts.push(Part::Text(Cow::Owned(text.to_owned()))),
    }
}

/// Whether the parts cover the whole text.
pub(crate) fn matches_parts(parts: &[Part<'_>], text: &str) -> bool {
    let mut at = 0;
    let mut rest = text;
    // The parts after the last star, and the text that star has not taken yet.
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let after = match parts.get(at) {
            Some(Part::Star) => {
                retry = Some((at + 1, rest));
                Some(rest)
            }
            Some(Part::One) => after_one(rest),
            Some(Part::Text(text)) => rest.strip_prefix(&**text),
            None if rest.is_empty() => return true,
            None => None,
        };
        match (after, retry) {
            (Some(after), _) => {
                at += 1;
                rest = after;
            }
            (None, None) => return false,
            // The last star takes one character more. An earlier star never needs to: what it could still reach, the
            // later one can.
            (None, Some((back, untaken))) => {
                let Some(less) = after_one(untaken) else { return false };
                retry = Some((back, less));
                at = back;
                rest = less;
            }
        }
        if at == parts.len() && matches!(parts.last(), Some(Part::Star)) {
            return true;
        }
    }
}

fn after_one(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests;
