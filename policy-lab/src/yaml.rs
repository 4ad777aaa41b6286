//! YAML as JSON, with the line where each mapping begins: for files of expectations.
//!
//! Aliases are refused: a small file must not become a large one. The scalars are those of the JSON schema of YAML 1.2.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The member of every object that holds its line, from one. No name in YAML can be the same.
pub const LINE: &str = "\u{0}line";

/// Values within one another.
const DEPTH_MAX: usize = 32;

/// Bytes of a document at most.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {message}")]
#[non_exhaustive]
pub struct Error {
    /// From one.
    pub line: usize,
    pub message: String,
}

/// Reads the one document of a text; the answer is JSON.
///
/// # Errors
/// With the line: no YAML, more than one document, an alias, a name that is there twice, or what is nested too deep.
pub fn json(text: &str) -> Result<String, Error> {
    if text.len() > BYTES_MAX {
        return Err(error(1, format!("the document has more than {BYTES_MAX} bytes")));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut document = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => {
                let document: Option<Value> = document;
                let document = document.ok_or_else(|| error(1, "there is no document"))?;
                return Ok(document.to_string());
            }
            _ if document.is_some() => return Err(error(line, "there is a second document")),
            event => document = Some(reader.value(event, line, 0)?),
        }
    }
}

fn error(line: usize, message: impl Into<String>) -> Error {
    Error { line, message: message.into() }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    /// The next event and its line, from one.
    fn next(&mut self) -> Result<(Event<'a>, usize), Error> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(fault)) => Err(error(fault.marker().line(), fault.to_string())),
            None => Err(error(1, "the document ends too early")),
        }
    }

    fn value(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(error(line, format!("nested more than {DEPTH_MAX} deep")));
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(text)),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.mapping(line, depth),
            _ => Err(error(line, "an alias or what it stands for; write it out")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Error> {
        let mut values = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(values)),
                (event, line) => values.push(self.value(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, line: usize, depth: usize) -> Result<Value, Error> {
        let mut members = Map::new();
        members.insert(LINE.to_owned(), Value::from(line));
        loop {
            let (event, line) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(error(line, "a name is a plain text")),
            };
            let (event, value_line) = self.next()?;
            let value = self.value(event, value_line, depth + 1)?;
            if members.insert(name.clone(), value).is_some() {
                return Err(error(line, format!("`{name}` is there twice")));
            }
        }
    }
}

/// A scalar without quotes.
fn plain(text: Cow<'_, str>) -> Value {
    match &*text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => match number.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(text.into_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as object};

    use super::{BYTES_MAX, LINE, json};

    #[test]
    fn scalars_lists_and_mappings() {
        let text = "a: [1, x, 'true', true, ~, 99999999999999999999, 1.5]\nb:\n  - c: \"é\"\n";
        let found: Value = serde_json::from_str(&json(text).expect("valid")).expect("JSON");
        let expected = object!({
            LINE: 1,
            "a": [1, "x", "true", true, null, "99999999999999999999", "1.5"],
            "b": [{ LINE: 3, "c": "é" }],
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_refused_is_refused_with_its_line() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        for (text, line, word) in [
            ("", 1, "no document"),
            ("a: 1\n---\nb: 2\n", 3, "second document"),
            ("a: &x 1\nb: *x\n", 2, "alias"),
            ("a: 1\nb: 2\na: 3\n", 3, "twice"),
            ("? [a]\n: 1\n", 1, "a name"),
            (&deep, 1, "deep"),
            ("a: 'open\n", 0, ""),
            ("a:\n\t- b\n", 0, ""),
        ] {
            let error = json(text).expect_err(text);
            assert!(error.message.contains(word), "{text}: {error}");
            assert!(line == 0 && error.line > 0 || error.line == line, "{text}: {error}");
        }
        assert!(json(&"a".repeat(BYTES_MAX + 1)).is_err());
    }

    /// Ten aliases of ten aliases would be a billion values.
    #[test]
    fn a_small_file_stays_small() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert!(json(bomb).expect_err("aliases").message.contains("alias"));
    }
}
