//! What a guardrail must not call, found in its tokens before it is compiled.

use super::RegoError;

/// Calls without a repeatable answer, or with an effect.
const REFUSED: [(&str, &str); 10] = [
    ("time", "now_ns"),
    ("rand", "intn"),
    ("uuid", "rfc4122"),
    ("opa", "runtime"),
    ("http", "send"),
    ("net", "lookup_ip_addr"),
    ("rego", "parse_module"),
    ("io", "jwt"),
    ("providers", "aws"),
    ("trace", ""),
];

/// A name, string or sign of the source, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Sign(char),
}

/// Refuses sources whose answer may differ from one evaluation to the next.
pub(super) fn repeatable(file: &str, text: &str) -> Result<(), RegoError> {
    let tokens = tokens(text);
    for (position, (line, token)) in tokens.iter().enumerate() {
        let refuse = |call: &str| RegoError {
            file: file.to_owned(),
            line: *line,
            message: format!(
                "`{call}` has no repeatable answer; what a guardrail may use comes in with `input`"
            ),
        };
        let Token::Name(name) = token else { continue };
        let behind = |steps: usize| tokens.get(position + steps).map(|(_, token)| token);
        // `input.time.now_ns` is a field, not the call.
        let is_field =
            position > 0 && matches!(tokens.get(position - 1), Some((_, Token::Sign('.'))));
        if is_field {
            continue;
        }
        if matches!(name.as_str(), "print" | "trace") && behind(1) == Some(&Token::Sign('(')) {
            return Err(refuse(name));
        }
        let member = match (behind(1), behind(2)) {
            (Some(Token::Sign('.')), Some(Token::Name(member)))
            | (Some(Token::Sign('[')), Some(Token::Text(member))) => member,
            _ => continue,
        };
        if REFUSED.iter().any(|(space, call)| name == space && member == call) {
            return Err(refuse(&format!("{name}.{member}")));
        }
    }
    Ok(())
}

/// Cuts a source into tokens; comments and spaces fall away.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let started = line;
        let token = match char {
            '\n' => {
                line += 1;
                continue;
            }
            '#' => {
                while chars.next_if(|char| *char != '\n').is_some() {}
                continue;
            }
            '"' | '`' => {
                let quoted = quoted(char, &mut chars);
                line += quoted.matches('\n').count();
                Token::Text(quoted)
            }
            _ if char.is_whitespace() => continue,
            _ if char.is_alphanumeric() || char == '_' => {
                let mut name = String::from(char);
                while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(more);
                }
                Token::Name(name)
            }
            sign => Token::Sign(sign),
        };
        tokens.push((started, token));
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

/// An error of the engine, with the line that its text names.
///
/// The engine writes `--> FILE:LINE:COLUMN` above an excerpt and `error: MESSAGE` below it.
pub(super) fn located(file: &str, text: &str) -> RegoError {
    let place = text.lines().find_map(|line| line.trim().strip_prefix("--> "));
    let mut fields = place.map(|place| place.rsplitn(3, ':')).into_iter().flatten();
    let line = fields.nth(1).and_then(|line| line.parse().ok()).unwrap_or(1);
    let file = fields.next().unwrap_or(file).to_owned();
    let message = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("error: "))
        .or_else(|| text.lines().map(str::trim).find(|line| !line.is_empty()))
        .unwrap_or("the guardrails do not compile")
        .to_owned();
    RegoError { file, line, message }
}
