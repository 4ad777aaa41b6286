//! Wildcards and policy variables.
//!
//! `*` is any run of characters, `/` included; `?` is one Unicode scalar. A substituted variable is data: wildcards
//! in its value are plain characters, so a user called `*` gains nothing.
//!
//! Matching never recurses and keeps one place to return to, so a hostile pattern costs at most its length times the
//! length of the text.

pub(crate) mod raw;
mod template;
mod text;

pub(crate) use self::template::{Pattern, Syntax};
pub(crate) use self::text::Text;

/// Whether a text fits a pattern in which `*` is any text and `?` any character.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    Glob::parse(pattern).matches(text)
}

/// A pattern without variables, in the cheapest form that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    General(Box<[Part]>),
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Star,
    One,
    Text(Box<str>),
}

/// One part of a pattern that is being matched, variables replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Star,
    One,
    Text(&'a str),
}

impl Part {
    fn token(&self) -> Token<'_> {
        match self {
            Self::Star => Token::Star,
            Self::One => Token::One,
            Self::Text(text) => Token::Text(text),
        }
    }
}

impl Glob {
    /// Every text is a pattern.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        push_wildcards(&mut parts, text);
        Self::of(parts)
    }

    pub(crate) fn of(parts: Vec<Part>) -> Self {
        match parts.as_slice() {
            [] => Self::Exact("".into()),
            [Part::Star] => Self::Any,
            [Part::Text(text)] => Self::Exact(text.clone()),
            [Part::Text(text), Part::Star] => Self::Prefix(text.clone()),
            [Part::Star, Part::Text(text)] => Self::Suffix(text.clone()),
            _ => Self::General(parts.into()),
        }
    }

    pub(crate) fn matches<'a>(&self, text: impl Into<Text<'a>>) -> bool {
        let text = text.into();
        match self {
            Self::Any => true,
            Self::Exact(exact) => text.equals(exact),
            Self::Prefix(prefix) => text.strip_prefix(prefix).is_some(),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::General(parts) => matches_tokens(|at| parts.get(at).map(Part::token), text),
        }
    }

    /// The text in front of the first wildcard: every text that matches starts with it.
    pub(crate) fn literal_prefix(&self) -> &str {
        match self {
            Self::Any | Self::Suffix(_) => "",
            Self::Exact(text) | Self::Prefix(text) => text,
            Self::General(parts) => match parts.first() {
                Some(Part::Text(text)) => text,
                _ => "",
            },
        }
    }
}

/// Appends the parts of a text with wildcards; neighbours of one kind become one.
pub(crate) fn push_wildcards(parts: &mut Vec<Part>, text: &str) {
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
pub(crate) fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(before)) => *before = format!("{before}{text}").into(),
        _ => parts.push(Part::Text(text.into())),
    }
}

/// Whether the tokens, numbered from zero, cover the whole text.
pub(crate) fn matches_tokens<'a>(
    token: impl Fn(usize) -> Option<Token<'a>>,
    text: Text<'_>,
) -> bool {
    let mut at = 0;
    let mut rest = text;
    // The tokens after the last star, and the text that star has not taken yet.
    let mut retry: Option<(usize, Text<'_>)> = None;
    loop {
        let after = match token(at) {
            Some(Token::Star) if token(at + 1).is_none() => return true,
            Some(Token::Star) => {
                retry = Some((at + 1, rest));
                Some(rest)
            }
            Some(Token::One) => rest.strip_char(),
            Some(Token::Text(text)) => rest.strip_prefix(text),
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
                let Some(less) = untaken.strip_char() else { return false };
                retry = Some((back, less));
                at = back;
                rest = less;
            }
        }
    }
}

#[cfg(test)]
mod tests;
