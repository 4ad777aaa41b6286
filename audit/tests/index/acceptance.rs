//! What auditors ask: each question of `data/acceptance.json`, by index and by scan, with the answer that the scene has.

use std::{collections::BTreeMap, path::Path};

use audit::*;
use serde_json::Value;

use crate::scene::{self, NOW_US};

/// Two policies are in force, and a draft `v3` that denies writing.
struct Drafts;

impl Policies for Drafts {
    fn statements(&self) -> Result<Vec<String>, String> {
        Ok(["pol-read", "pol-write", "pol-never"].map(str::to_owned).to_vec())
    }

    fn replay(&self, policy: &str, _: Option<&str>) -> Result<Box<dyn Replay + '_>, String> {
        match policy {
            "v3" => Ok(Box::new(Self)),
            other => Err(format!("there is no policy `{other}`")),
        }
    }
}

impl Replay for Drafts {
    fn decide(&mut self, _: u64, leaf: &[u8]) -> Result<Option<Replayed>, String> {
        let record: Value = serde_json::from_slice(leaf).map_err(|error| error.to_string())?;
        let Some(recorded) = record.pointer("/auth/decision") else { return Ok(None) };
        let writes = record["action"] == "s3:PutObject";
        let decision = if writes { "deny".into() } else { recorded.as_str().unwrap().to_owned() };
        Ok(Some(Replayed { decision, reason: "implicit-deny".to_owned() }))
    }
}

/// One answer: names of records as text, or the rows of a table.
fn answer(dir: &Path, text: &str, method: Method) -> Value {
    let query = match Query::parse(text, NOW_US) {
        Ok(query) => query,
        Err(error) => return Value::from(error.message),
    };
    let options = SearchOptions { limit: 10_000, method, ..SearchOptions::default() };
    let answer = Searcher::new(dir).search_with(&query, options, &Drafts);
    let answer = answer.unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(answer.coverage.method, method, "{text}");
    match answer.table {
        Some(table) => {
            let line =
                |row: &Vec<Cell>| row.iter().map(Cell::to_string).collect::<Vec<_>>().join(" | ");
            table.rows.iter().map(line).collect()
        }
        None => names(&answer.rows),
    }
}

/// Names of the records, newest first; a name that comes in a row is counted.
fn names(rows: &[Row]) -> Value {
    let name = Query::parse("| fields request.scene, action", NOW_US).unwrap();
    let mut named: Vec<(String, usize)> = Vec::new();
    for row in rows {
        let columns = name.project(&row.leaf);
        let own = columns.iter().flatten().next().cloned().unwrap_or_default();
        match named.last_mut() {
            Some((last, count)) if *last == own => *count += 1,
            _ => named.push((own, 1)),
        }
    }
    let text = |(name, count)| if count == 1 { name } else { format!("{count} {name}") };
    Value::from(named.into_iter().map(text).collect::<Vec<String>>().join(" "))
}

#[test]
fn every_question_has_its_answer_by_index_and_by_scan() {
    let dir = tempfile::tempdir().unwrap();
    scene::write(dir.path());
    let asked: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../data/acceptance.json")).unwrap();
    assert_eq!(asked.len(), 48);
    let mut wrong = Vec::new();
    for (name, question) in &asked {
        let text = question["query"].as_str().unwrap();
        let scan = answer(dir.path(), text, Method::Scan);
        let index = answer(dir.path(), text, Method::Index);
        assert_eq!(index, scan, "{name} {text}");
        if scan != question["answer"] {
            wrong.push(format!("{name} {text}\n  {scan}\n  expected {}", question["answer"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
