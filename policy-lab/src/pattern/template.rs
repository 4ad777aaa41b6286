//! Patterns with policy variables, `${key}` and `${key, 'default'}`.

use super::raw;
use super::{Glob, Part, Text, Token, matches_tokens, push_text, push_wildcards};
use crate::context::{Context, Key, Wanted};

/// What is special in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// `${…}` is a variable (policy version 2012-10-17).
    pub(crate) variables: bool,
    /// Values of variables are put in as they are; see [`crate::Profile::variables_are_raw`].
    pub(crate) raw: bool,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Fixed(Glob),
    Template(Box<[Piece]>),
    /// A text in which values are put before it is read as a pattern.
    Raw {
        text: Box<str>,
        wildcards: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Part(Part),
    Variable { key: Key, default: Option<Box<str>> },
}

impl Pattern {
    /// Compiles a text; the error says what is wrong with a variable.
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        if syntax.raw && syntax.variables && text.contains("${") {
            return Ok(Self::Raw { text: text.into(), wildcards: syntax.wildcards });
        }
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
    pub(crate) fn matches<'a>(&self, text: impl Into<Text<'a>>, context: &Context) -> bool {
        match self {
            Self::Fixed(glob) => glob.matches(text),
            Self::Template(pieces) => {
                self.resolves(context)
                    && matches_tokens(
                        |at| pieces.get(at).and_then(|piece| piece.token(context)),
                        text.into(),
                    )
            }
            Self::Raw { text: ours, wildcards } => {
                let filled = raw::fill(ours, context);
                if *wildcards {
                    Glob::parse(&filled).matches(text)
                } else {
                    text.into().equals(&filled)
                }
            }
        }
    }

    /// Gathers the keys of the variables.
    pub(crate) fn wants(&self, wanted: &mut Wanted) {
        match self {
            Self::Fixed(_) => {}
            Self::Template(pieces) => {
                for piece in pieces {
                    if let Piece::Variable { key, .. } = piece {
                        wanted.add(key);
                    }
                }
            }
            // The text is read anew for every request, with the values of the others in it.
            Self::Raw { .. } => wanted.add_everything(),
        }
    }

    /// Whether every variable has a value.
    pub(crate) fn resolves(&self, context: &Context) -> bool {
        match self {
            Self::Fixed(_) | Self::Raw { .. } => true,
            Self::Template(pieces) => pieces.iter().all(|piece| piece.token(context).is_some()),
        }
    }

    /// The pieces of text that a pattern without wildcards stands for; `None` if it has wildcards or no value.
    pub(crate) fn literal<'a>(
        &'a self,
        context: &'a Context,
    ) -> Option<impl Iterator<Item = &'a str>> {
        let (fixed, pieces): (Option<&str>, &[Piece]) = match self {
            Self::Fixed(Glob::Exact(text)) => (Some(text), &[]),
            Self::Fixed(_) | Self::Raw { .. } => return None,
            Self::Template(pieces) => (None, pieces),
        };
        let text = |piece: &'a Piece| match piece.token(context) {
            Some(Token::Text(text)) => Some(text),
            Some(Token::Star | Token::One) | None => None,
        };
        pieces
            .iter()
            .all(|piece| text(piece).is_some())
            .then(|| fixed.into_iter().chain(pieces.iter().filter_map(text)))
    }

    /// A raw pattern with its values.
    pub(crate) fn filled(&self, context: &Context) -> Option<String> {
        match self {
            Self::Raw { text, .. } => Some(raw::fill(text, context)),
            Self::Fixed(_) | Self::Template(_) => None,
        }
    }

    /// A text that the pattern covers; `None` if a variable has no value.
    pub(crate) fn example(&self, context: &Context) -> Option<String> {
        let text = |token| match token {
            Token::Star => "",
            Token::One => "x",
            Token::Text(text) => text,
        };
        match self {
            Self::Fixed(glob) => Some(match glob {
                Glob::Any => "x".to_owned(),
                Glob::Exact(text) | Glob::Prefix(text) | Glob::Suffix(text) => text.to_string(),
                Glob::General(parts) => parts.iter().map(|part| text(part.token())).collect(),
            }),
            Self::Template(pieces) => {
                pieces.iter().map(|piece| piece.token(context).map(text)).collect()
            }
            Self::Raw { text, .. } => Some(raw::fill(text, context)),
        }
    }

    /// The text in front of the first wildcard or variable: every text that matches starts with it.
    pub(crate) fn literal_prefix(&self) -> &str {
        match self {
            Self::Fixed(glob) => glob.literal_prefix(),
            Self::Template(pieces) => match pieces.first() {
                Some(Piece::Part(Part::Text(text))) => text,
                _ => "",
            },
            Self::Raw { text, .. } => text.split(['$', '*', '?']).next().unwrap_or_default(),
        }
    }
}

impl Piece {
    /// `None` for a variable without a value.
    fn token<'a>(&'a self, context: &'a Context) -> Option<Token<'a>> {
        match self {
            Self::Part(part) => Some(part.token()),
            Self::Variable { key, default } => {
                context.variable(key).or(default.as_deref()).map(Token::Text)
            }
        }
    }
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
