//! YAML with the place of every value: for files of expectations.
//!
//! Aliases are refused: a small file must not become a large one. The scalars are those of the JSON schema of YAML 1.2.

use std::borrow::Cow;
use std::collections::HashSet;

use granit_parser::{Event, Parser, ScalarStyle};

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; no name comes twice.
    Mapping(Vec<Member>),
}

/// A member of a mapping, and where its name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub line: usize,
    pub column: usize,
    pub node: Node,
}

/// Values within one another.
const DEPTH_MAX: usize = 32;

/// Bytes of a document at most.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
#[non_exhaustive]
pub struct Error {
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    pub message: String,
    pub hint: &'static str,
}

/// Line and column, from one.
type Place = (usize, usize);

/// Reads the one document of a text.
///
/// # Errors
/// With the place: no YAML, more than one document, an alias, a name that is there twice, or what is nested too deep.
pub fn read(text: &str) -> Result<Node, Error> {
    if text.len() > BYTES_MAX {
        let message = format!("the document has more than {BYTES_MAX} bytes");
        return Err(error((1, 1), message, "make several files of it"));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut document = None;
    loop {
        let (event, place) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => {
                let none = || error((1, 1), "there is no document", "begin with `version: 1`");
                return document.ok_or_else(none);
            }
            _ if document.is_some() => {
                let hint = "make a file of its own of it";
                return Err(error(place, "there is a second document", hint));
            }
            event => document = Some(reader.node(event, place, 0)?),
        }
    }
}

fn error((line, column): Place, message: impl Into<String>, hint: &'static str) -> Error {
    Error { line, column, message: message.into(), hint }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    /// The next event and its place.
    fn next(&mut self) -> Result<(Event<'a>, Place), Error> {
        let place = |marker: &granit_parser::Marker| (marker.line().max(1), marker.col() + 1);
        let hint =
            "indent what belongs together by the same number of spaces, and quote what has signs";
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(fault)) => Err(error(place(fault.marker()), fault.info(), hint)),
            None => Err(error((1, 1), "the document ends too early", hint)),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Error> {
        if depth > DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} deep");
            return Err(error(place, message, "expectations are three deep"));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(text),
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            _ => {
                let message = "an alias or what it stands for";
                return Err(error(place, message, "write it out"));
            }
        };
        let (line, column) = place;
        Ok(Node { line, column, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Error> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(nodes)),
                (event, place) => nodes.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let mut members: Vec<Member> = Vec::new();
        let mut names = HashSet::new();
        loop {
            let (event, place) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Mapping(members)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(error(place, "a name is not a plain text", "write `name: value`")),
            };
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, depth + 1)?;
            if !names.insert(name.clone()) {
                return Err(error(place, format!("`{name}` is there twice"), "leave one of them"));
            }
            let (line, column) = place;
            members.push(Member { name, line, column, node });
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
            Ok(number) => Value::Number(number),
            Err(_) => Value::Text(text.into_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Node, Value, read};

    /// As text, with the places.
    fn shown(node: &Node) -> String {
        let value = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(nodes) => format!("{:?}", nodes.iter().map(shown).collect::<Vec<_>>()),
            Value::Mapping(members) => members
                .iter()
                .map(|it| format!("{}@{}:{}={} ", it.name, it.line, it.column, shown(&it.node)))
                .collect(),
        };
        format!("{}:{} {value}", node.line, node.column).replace('"', "").replace('\\', "")
    }

    #[test]
    fn scalars_lists_and_mappings() {
        let text = "a: [1, x, 'true', true, ~, 99999999999999999999, 1.5]\nb:\n  - é: \"é\"\n";
        assert_eq!(
            shown(&read(text).expect("valid")),
            "1:1 a@1:1=1:4 [1:5 1, 1:8 x, 1:11 true, 1:19 true, 1:25 null, 1:28 99999999999999999999, \
             1:50 1.5] b@2:1=3:3 [3:5 é@3:5=3:8 é ] "
        );
    }

    #[test]
    fn what_is_refused_is_refused_with_its_place() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        for (text, place, word) in [
            ("", (1, 1), "no document"),
            ("a: 1\n---\nb: 2\n", (3, 1), "second document"),
            ("a: &x 1\nb: *x\n", (2, 4), "alias"),
            ("a: 1\nb: 2\n  \na: 3\n", (4, 1), "twice"),
            ("? [a]\n: 1\n", (1, 3), "a name"),
            (&deep, (1, 36), "deep"),
            ("a: 'open\n", (0, 0), ""),
            ("a:\n\t- b\n", (0, 0), ""),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.message.contains(word) && !error.hint.is_empty(), "{text}: {error}");
            let at = (error.line, error.column);
            assert!(place == (0, 0) && at.0 > 0 || at == place, "{text}: {error}");
        }
        assert!(read(&"a".repeat(BYTES_MAX + 1)).is_err());
    }

    /// Ten aliases of ten aliases would be a billion values.
    #[test]
    fn a_small_file_stays_small() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert!(read(bomb).expect_err("aliases").message.contains("alias"));
    }
}
