//! Answers as lines of JSON, for programs: the server's and the command line's are the same.

use audit::{Cell, Coverage, Method, Query, Row, Source, Table};
use serde_json::{Value, json};

/// A record: its own bytes, or the fields that the query names.
pub(crate) fn record(out: &mut Vec<u8>, query: &Query, row: &Row) {
    match query.fields() {
        None => out.extend_from_slice(&row.leaf),
        Some(fields) => {
            let line = projected(fields, query.project(&row.leaf)).to_string();
            out.extend_from_slice(line.as_bytes());
        }
    }
    out.push(b'\n');
}

/// One row of a table.
pub(crate) fn figures(out: &mut Vec<u8>, table: &Table, row: &[Cell]) {
    let members = table.columns.iter().cloned().zip(row.iter().map(cell));
    out.extend_from_slice(Value::Object(members.collect()).to_string().as_bytes());
    out.push(b'\n');
}

/// What an answer is complete for: its last line.
pub(crate) fn coverage(out: &mut Vec<u8>, coverage: &Coverage) {
    let method = match coverage.method {
        Method::Scan => "scan",
        Method::Auto | Method::Index => "index+tail",
    };
    let source = match coverage.source {
        Source::Records => "records",
        Source::Columns => "columns",
    };
    let line = json!({ "coverage": {
        "from": coverage.from,
        "to": coverage.to,
        "indexed_to": coverage.indexed_to,
        "matches": coverage.matches,
        "method": method,
        "source": source,
    }});
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

/// The signed note over an answer.
pub(crate) fn note(out: &mut Vec<u8>, note: &str) {
    out.extend_from_slice(json!({ "note": note }).to_string().as_bytes());
    out.push(b'\n');
}

/// One JSON object; a field with one value is a string, with several an array.
fn projected(fields: &[String], values: Vec<Vec<String>>) -> Value {
    let members = fields.iter().cloned().zip(values).map(|(field, mut values)| {
        let value = match values.len() {
            0 => Value::Null,
            1 => values.remove(0).into(),
            _ => values.into(),
        };
        (field, value)
    });
    Value::Object(members.collect())
}

fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Absent => Value::Null,
        Cell::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            // Beyond what every reader of JSON keeps exactly.
            Err(_) => number.to_string().into(),
        },
        Cell::Real(number) => (*number).into(),
        Cell::Text(text) => text.as_str().into(),
    }
}
