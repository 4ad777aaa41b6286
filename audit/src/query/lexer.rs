//! Words, quoted strings and signs of a query.
#![deny(clippy::indexing_slicing)]

use super::QueryError;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Op(Op),
    Open,
    Close,
    /// `[` and `]` around a step of `sequence`.
    OpenStep,
    CloseStep,
    Comma,
    Pipe,
}

/// Comparison signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Glob,
    Regex,
}

/// A token and where it begins.
pub(super) type Placed = (usize, Token);

/// Splits a query into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, QueryError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let c = rest.chars().next().unwrap_or(' ');
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, len) =
            if c == '"' { quoted(rest, at)? } else { sign(rest).unwrap_or_else(|| word(rest)) };
        if len == 0 {
            return Err(QueryError::new(at, format!("`{c}` is not expected here")));
        }
        tokens.push((at, token));
        at += len;
    }
    Ok(tokens)
}

fn sign(rest: &str) -> Option<(Token, usize)> {
    // Longer signs first.
    let signs = [
        ("!=", Token::Op(Op::NotEqual)),
        ("<=", Token::Op(Op::LessEqual)),
        (">=", Token::Op(Op::GreaterEqual)),
        ("=~", Token::Op(Op::Regex)),
        ("=", Token::Op(Op::Equal)),
        ("<", Token::Op(Op::Less)),
        (">", Token::Op(Op::Greater)),
        ("~", Token::Op(Op::Glob)),
        ("(", Token::Open),
        (")", Token::Close),
        ("[", Token::OpenStep),
        ("]", Token::CloseStep),
        (",", Token::Comma),
        ("|", Token::Pipe),
    ];
    signs
        .into_iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .map(|(sign, token)| (token, sign.len()))
}

fn word(rest: &str) -> (Token, usize) {
    let ends = |c: char| c.is_whitespace() || "\"()[]|,=!<>~".contains(c);
    let end = rest.find(ends).unwrap_or(rest.len());
    (Token::Word(rest.get(..end).unwrap_or_default().to_owned()), end)
}

/// A string in double quotes; `\"` and `\\` stand for themselves.
fn quoted(rest: &str, at: usize) -> Result<(Token, usize), QueryError> {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Quoted(out), i + 1)),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                _ => {
                    return Err(QueryError::new(at + i, "after `\\` only `\"` or `\\` may follow"));
                }
            },
            c => out.push(c),
        }
    }
    Err(QueryError::new(at, "the quote is not closed"))
}
