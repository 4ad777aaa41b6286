//! A strict JSON reader that remembers where everything stands.
//!
//! Stricter than RFC 8259 where a policy must not be ambiguous: a repeated member is an error, also when the names
//! differ in letter case only, and nesting is bounded.
#![deny(clippy::indexing_slicing)]

use std::collections::HashSet;

/// Arrays and objects within one another.
const DEPTH_MAX: usize = 16;

/// A value, the byte at which it starts, and the one behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written; policies compare the text or an exact decimal, never a float.
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) at: usize,
    pub(crate) name: String,
    pub(crate) node: Node,
}

/// A complaint about the byte at `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Reads exactly one value.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let node = reader.node()?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(Fault::new(reader.at, "there is something behind the document")
            .hint("a file holds one document; remove the rest"));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let Some(found) = self.peek() else {
            return Fault::new(self.at, format!("expected {wanted}, found the end"))
                .hint("the text is cut off, or a bracket is not closed");
        };
        let before = self.text.get(..self.at).unwrap_or_default().trim_end();
        let hint = match found {
            '}' | ']' if before.ends_with(',') => "remove the comma before it",
            '\u{feff}' => "save the file without a byte order mark",
            '\'' | '“' | '”' => "quotes are `\"`",
            '/' | '#' => "JSON has no comments; `Sid` may say what a statement is for",
            _ if wanted == "a value" => {
                "values are text in double quotes, numbers, true, false, null, [lists] and {objects}"
            }
            _ => "a name and its value have a colon between them, members and values a comma",
        };
        Fault::new(self.at, format!("expected {wanted}, found `{found}`")).hint(hint)
    }

    fn node(&mut self) -> Result<Node, Fault> {
        self.skip_space();
        let at = self.at;
        let value = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Value::String(self.string()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Node { at, end: self.at, value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::new(self.at, format!("nested more than {DEPTH_MAX} deep"))
                .hint("no document that is read here needs as many brackets"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, Fault> {
        let mut members = Vec::new();
        let mut names = HashSet::new();
        if self.take('}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.unexpected("a member name in quotes"));
            }
            let name = self.string()?;
            if !names.insert(name.to_lowercase()) {
                return Err(Fault::new(at, format!("`{name}` is there twice"))
                    .hint("names that differ in letter case only count as the same"));
            }
            if !self.take(':') {
                return Err(self.unexpected("`:`"));
            }
            members.push(Member { at, name, node: self.node()? });
            if self.take('}') {
                return Ok(Value::Object(members));
            }
            if !self.take(',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn array(&mut self) -> Result<Value, Fault> {
        let mut nodes = Vec::new();
        if self.take(']') {
            return Ok(Value::Array(nodes));
        }
        loop {
            nodes.push(self.node()?);
            if self.take(']') {
                return Ok(Value::Array(nodes));
            }
            if !self.take(',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    fn word(&mut self) -> Result<Value, Fault> {
        for (word, value) in
            [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
        {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<String, Fault> {
        let rest = self.rest();
        let is_part = |char: char| char.is_ascii_digit() || "+-.eE".contains(char);
        let length = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        let number = rest.get(..length).unwrap_or_default();
        if !is_number(number) {
            return Err(Fault::new(self.at, format!("`{number}` is not a number"))
                .hint("numbers are written as 1, -1, 0.5 or 1e9"));
        }
        self.at += length;
        Ok(number.to_owned())
    }

    fn string(&mut self) -> Result<String, Fault> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\']).unwrap_or(rest.len());
            let piece = rest.get(..plain).unwrap_or_default();
            if let Some((offset, _)) = piece.char_indices().find(|(_, char)| *char < ' ') {
                return Err(Fault::new(self.at + offset, "a string has a control character")
                    .hint("write it as \\n, \\t or \\u00XX, or close the string on its line"));
            }
            text.push_str(piece);
            self.at += plain;
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(_) => text.push(self.escape()?),
                None => {
                    return Err(Fault::new(opened, "a string has no closing quote")
                        .hint("end it with `\"`"));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let at = self.at;
        self.at += 1;
        let hint = "a backslash in a text is written as \\\\";
        let char = self.peek().ok_or_else(|| Fault::new(at, "an escape is cut off").hint(hint))?;
        self.at += char.len_utf8();
        Ok(match char {
            '"' | '\\' | '/' => char,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode(at)?,
            _ => return Err(Fault::new(at, format!("`\\{char}` is not an escape")).hint(hint)),
        })
    }

    fn unicode(&mut self, at: usize) -> Result<char, Fault> {
        let lone = || {
            Fault::new(at, "a \\u escape is not a character")
                .hint("four hexadecimal digits follow; beyond U+FFFF two escapes are a pair")
        };
        let first = self.hex4().ok_or_else(lone)?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.rest().starts_with("\\u") {
                return Err(lone());
            }
            self.at += 2;
            let second = self.hex4().filter(|low| (0xdc00..0xe000).contains(low));
            0x10000 + ((first - 0xd800) << 10) + (second.ok_or_else(lone)? - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

/// RFC 8259 §6.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Node, Value, parse};

    fn plain(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => serde_json::from_str(text).expect("a number"),
            Value::String(text) => text.clone().into(),
            Value::Array(nodes) => nodes.iter().map(plain).collect(),
            Value::Object(members) => {
                members.iter().map(|member| (member.name.clone(), plain(&member.node))).collect()
            }
        }
    }

    proptest! {
        /// What we accept, another reader accepts, with the same meaning.
        #[test]
        fn agrees_with_serde(text in r#"[\[\]{}",:0-9.eE+ \\utrfalsn-]{0,24}"#) {
            if let Ok(node) = parse(&text) {
                let other: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
                prop_assert_eq!(plain(&node), other);
            }
        }

        /// What another writer writes, we read.
        #[test]
        fn reads_what_serde_writes(text in ".{0,20}", number in any::<i64>()) {
            let value = serde_json::json!({"a": [text, number, null, true], "b": {"c": text}});
            let written = serde_json::to_string_pretty(&value).expect("written");
            prop_assert_eq!(plain(&parse(&written).expect("valid")), value);
        }
    }

    #[test]
    fn places_of_faults() {
        for (text, at, message) in [
            (r#"{"a":1,"A":2}"#, 7, "`A` is there twice"),
            (r#"{"a":1,}"#, 7, "expected a member name in quotes, found `}`"),
            ("[1 2]", 3, "expected `,` or `]`, found `2`"),
            ("{} x", 3, "there is something behind the document"),
            ("\"abc", 0, "a string has no closing quote"),
            (r#""\ud800x""#, 1, "a \\u escape is not a character"),
            ("01", 0, "`01` is not a number"),
            ("", 0, "expected a value, found the end"),
        ] {
            let fault = parse(text).expect_err(text);
            assert_eq!((fault.at, fault.message.as_str()), (at, message), "{text}");
        }
        assert!(parse(&"[".repeat(17)).expect_err("deep").message.contains("deep"));
        assert!(parse(&format!("{}{}", "[".repeat(16), "]".repeat(16))).is_ok());
    }
}
