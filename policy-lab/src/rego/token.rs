//! A source in tokens: what the checks at load look at.

/// A name, string or sign of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// From one.
    pub(super) line: usize,
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
    let mut line = 1;
    let mut is_apart = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let started = line;
        let kind = match char {
            '#' => {
                while chars.next_if(|char| *char != '\n').is_some() {}
                is_apart = true;
                continue;
            }
            _ if char.is_whitespace() => {
                line += usize::from(char == '\n');
                is_apart = true;
                continue;
            }
            '"' | '`' => {
                let quoted = quoted(char, &mut chars);
                line += quoted.matches('\n').count();
                Kind::Text(quoted)
            }
            _ if char.is_alphanumeric() || char == '_' => {
                let mut name = String::from(char);
                while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(more);
                }
                Kind::Name(name)
            }
            sign => Kind::Sign(sign),
        };
        tokens.push(Token { line: started, is_apart, kind });
        is_apart = false;
    }
    tokens
}

/// The text up to the closing quote. Escapes stay as written, but an escaped letter cannot hide a name: such a text is
/// compared after `\uXXXX` is resolved.
fn quoted(quote: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(char) = chars.next_if(|char| *char != quote) {
        text.push(char);
        if char == '\\' && quote == '"' {
            text.extend(chars.next());
        }
    }
    let _ = chars.next();
    if quote == '"' && text.contains('\\') {
        return serde_json::from_str(&format!("\"{text}\"")).unwrap_or(text);
    }
    text
}
