//! YAML as JSON values, with the line where each entry of a list begins.
//!
//! Aliases are refused: a small file must not become a large one. The scalars are those of the JSON schema of YAML 1.2.

use std::borrow::Cow;

use anyhow::{anyhow, bail};
use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Values within one another.
const DEPTH_MAX: usize = 32;

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> anyhow::Result<Value> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut document = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => return document.ok_or_else(|| anyhow!("1: there is no document")),
            _ if document.is_some() => bail!("{line}: there is a second document"),
            event => document = Some(reader.value(event, line, 0)?),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    /// The next event and its line, from one.
    fn next(&mut self) -> anyhow::Result<(Event<'a>, usize)> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(anyhow!("{}: {error}", error.marker().line())),
            None => Err(anyhow!("1: the document ends too early")),
        }
    }

    fn value(&mut self, event: Event<'a>, line: usize, depth: usize) -> anyhow::Result<Value> {
        if depth > DEPTH_MAX {
            bail!("{line}: nested more than {DEPTH_MAX} deep");
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(text)),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.mapping(line, depth),
            _ => bail!("{line}: an alias or what it stands for; write it out"),
        }
    }

    fn list(&mut self, depth: usize) -> anyhow::Result<Value> {
        let mut values = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(values)),
                (event, line) => values.push(self.value(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, line: usize, depth: usize) -> anyhow::Result<Value> {
        let mut members = Map::new();
        members.insert(super::expectation::LINE.to_owned(), Value::from(line));
        loop {
            let (event, line) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(name, ..) => name.into_owned(),
                _ => bail!("{line}: a name is a plain text"),
            };
            let (event, value_line) = self.next()?;
            let value = self.value(event, value_line, depth + 1)?;
            if members.insert(name.clone(), value).is_some() {
                bail!("{line}: `{name}` is there twice");
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
