//! A source in tokens: what the checks at load look at.

/// A name, string or sign of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The byte that it begins at.
    pub(super) at: usize,
    /// White space or a comment stands before it.
    pub(super) is_apart: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Name(String),
    Text(String),
    Sign(char),
}

/// Cuts a source into tokens; comments and spaces fall away.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut is_apart = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let kind = match char {
            '#' => {
                while chars.next_if(|(_, char)| *char != '\n').is_some() {}
                is_apart = true;
                continue;
            }
            _ if char.is_whitespace() => {
                is_apart = true;
                continue;
            }
            '"' | '`' => Kind::Text(quoted(char, &mut chars)),
            _ if char.is_alphanumeric() || char == '_' => {
                let mut name = String::from(char);
                let is_part = |(_, c): &(usize, char)| c.is_alphanumeric() || *c == '_';
                while let Some((_, more)) = chars.next_if(is_part) {
                    name.push(more);
                }
                Kind::Name(name)
            }
            sign => Kind::Sign(sign),
        };
        tokens.push(Token { at, is_apart, kind });
        is_apart = false;
    }
    tokens
}

/// The text up to the closing quote. Escapes stay as written, but an escaped letter cannot hide a name: such a text is
/// compared after `\uXXXX` is resolved.
fn quoted(quote: char, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> String {
    let mut text = String::new();
    while let Some((_, char)) = chars.next_if(|(_, char)| *char != quote) {
        text.push(char);
        if char == '\\' && quote == '"' {
            text.extend(chars.next().map(|(_, char)| char));
        }
    }
    let _ = chars.next();
    if quote == '"' && text.contains('\\') {
        return serde_json::from_str(&format!("\"{text}\"")).unwrap_or(text);
    }
    text
}
