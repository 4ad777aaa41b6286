//! Patterns with policy variables, `${key}` and `${key, 'default'}`.

use std::borrow::Cow;

use super::{Glob, Part, matches_parts, push_text, push_wildcards};
use crate::context::{Context, Key};

/// What is special in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// `${…}` is a variable (policy version 2012-10-17).
    pub(crate) variables: bool,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Fixed(Glob),
    Template(Box<[Piece]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Part(Part<'static>),
    Variable { key: Key, default: Option<Box<str>> },
}

impl Pattern {
    /// Compiles a text; the error says what is wrong with a variable.
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut parts = Vec::new();
        let plain = |parts: &mut Vec<_>, text: &str| {
            if syntax.wildcards { push_wildcards(parts, text) } else { push_text(parts, text) }
        };
        let mut rest = text;
        while let Some((before, after)) = syntax.variables.then(|| rest.split_once("${")).flatten()
        {
            plain(&mut parts, before);
            let Some((inside, behind)) = split_variable(after) else {
                return Err(format!("variable in `{text}` has no closing brace"));
            };
            match inside {
                "*" | "?" | "$" => push_text(&mut parts, inside),
                _ => {
                    pieces.extend(parts.drain(..).map(Piece::Part));
                    pieces.push(variable(inside)?);
                }
            }
            rest = behind;
        }
        plain(&mut parts, rest);
        if pieces.is_empty() {
            return Ok(Self::Fixed(Glob::of(parts)));
        }
        pieces.extend(parts.into_iter().map(Piece::Part));
        Ok(Self::Template(pieces.into()))
    }

    /// Whether the pattern covers the text; a variable without value and default covers nothing.
    pub(crate) fn matches(&self, text: &str, context: &Context) -> bool {
        match self {
            Self::Fixed(glob) => glob.matches(text),
            Self::Template(pieces) => {
                substitute(pieces, context).is_some_and(|parts| matches_parts(&parts, text))
            }
        }
    }

    /// Whether every variable has a value.
    pub(crate) fn resolves(&self, context: &Context) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Template(pieces) => substitute(pieces, context).is_some(),
        }
    }

    /// The text a pattern without wildcards stands for.
    pub(crate) fn literal(&self, context: &Context) -> Option<Cow<'_, str>> {
        match self {
            Self::Fixed(Glob::Exact(text)) => Some(Cow::Borrowed(text)),
            Self::Fixed(_) => None,
            Self::Template(pieces) => substitute(pieces, context)?
                .into_iter()
                .map(|part| match part {
                    Part::Text(text) => Some(text.into_owned()),
                    Part::Star | Part::One => None,
                })
                .collect::<Option<String>>()
                .map(Cow::Owned),
        }
    }
}

fn substitute<'a>(pieces: &'a [Piece], context: &'a Context) -> Option<Vec<Part<'a>>> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Part(Part::Star) => Some(Part::Star),
            Piece::Part(Part::One) => Some(Part::One),
            Piece::Part(Part::Text(text)) => Some(Part::Text(Cow::Borrowed(text))),
            Piece::Variable { key, default } => {
                let value = context.variable(key).or(default.as_deref())?;
                Some(Part::Text(Cow::Borrowed(value)))
            }
        })
        .collect()
}

/// Splits behind the closing brace; a brace inside a quoted default does not close.
fn split_variable(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = text.char_indices().find(|(_, char)| {
        quoted ^= *char == '\'';
        *char == '}' && !quoted
    });
    let (end, _) = end?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn variable(inside: &str) -> Result<Piece, String> {
    let (name, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((name, default)) => {
            let quoted = default.trim_start().strip_prefix('\'').and_then(|d| d.strip_suffix('\''));
            let Some(default) = quoted.filter(|default| !default.contains('\'')) else {
                return Err(format!("default of variable `{name}` is not in single quotes"));
            };
            (name, Some(default.into()))
        }
    };
    let is_key = |char: char| !char.is_control() && !"${}'*?".contains(char);
    if !name.contains(':') || name.starts_with(':') || !name.chars().all(is_key) {
        return Err(format!("`{name}` is not a variable: it needs a key such as `aws:username`"));
    }
    Ok(Piece::Variable { key: Key::new(name), default })
}
