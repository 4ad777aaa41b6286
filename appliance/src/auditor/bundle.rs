//! Evidence for somebody who has nothing of ours: the records that a question finds, the proof of each, the signed head
//! that they hold under, and how to check all that with tools of other people. One `.tar`, the same bytes for the same
//! question under the same head.
//!
//! ```text
//! records.jsonl            the records, in order of seq, as they were hashed
//! proofs/<seq>.tlog-proof  one per record
//! checkpoint               the head that all proofs end in
//! heads/<size>.*           for each record the first head that was published over it, and the way to `checkpoint`
//! tsr/<size>.*             for each record the first head that an authority stamped, its reply, and the way
//! policy.txt               the key that signed it, as C2SP tlog-policy
//! key/NNNN.note            how that key follows from the log's first one, if it is another
//! query.json               what was asked
//! coverage.note            what the answer is complete for, signed
//! schema.json              JSON Schema of the records
//! VERIFY.md  check.py      how to check it
//! manifest.note            SHA-256 of every file before it, signed
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;

use audit::note::{self, Vkey};
use audit::query::TERMS_MAX;
use audit::{Head, Keyring, Query, Row, SearchOptions, Signer, checkpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::ask::{at_leisure, misunderstood, too_large, unanswered, unsigned};
use super::serve::Found;
use super::{Context, ask, log};
use crate::admin::AdminError;
use crate::evidence::CHECK_PY;
use crate::redact;

/// Records of one bundle; each costs a proof of a few hundred bytes.
const RECORDS_MAX: usize = 10_000;
/// Bytes of one bundle, which is made in memory.
const BYTES_MAX: usize = 64 << 20;
/// Events by name, as many as a query has terms.
const EVENTS_MAX: usize = TERMS_MAX;

const VERIFY_MD: &str = include_str!("bundle/VERIFY.md");
/// The commands for a time-stamp, where there is one.
const STAMP_SH: &str = "\n\n# The clock of the time-stamp authority, whose certificate you got from itself:\n\
    openssl ts -verify -data tsr/{stamp}.checkpoint -in tsr/{stamp}.tsr -CAfile tsa-ca.pem";

mod earlier;

/// The body of `POST bundle`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// A filter of the query language.
    q: Option<String>,
    /// Or events by their ids.
    events: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn parse(body: &[u8]) -> Result<Self, AdminError> {
        serde_json::from_slice(body).map_err(|error| {
            let example = r#"{"q":"key~ledger/* denied"} or {"events":["01J..."]}"#;
            let why = redact::json_error(&error);
            AdminError::bad_request("InvalidQuery", format!("Write {example}: {why}."))
        })
    }

    /// The question as a query.
    pub(super) fn query(&self) -> Result<String, AdminError> {
        let events = match (&self.q, &self.events) {
            (Some(query), None) => return Ok(query.clone()),
            (None, Some(events)) if (1..=EVENTS_MAX).contains(&events.len()) => events,
            _ => {
                let message = format!("Ask by `q`, or by 1 to {EVENTS_MAX} `events`.");
                return Err(AdminError::bad_request("InvalidQuery", message));
            }
        };
        let ids = events.iter().map(|event| ask::checked(event));
        Ok(format!("event in ({})", ids.collect::<Result<Vec<_>, _>>()?.join(", ")))
    }
}

/// Makes the bundle.
pub(super) async fn bundle(
    context: &Context,
    wanted: Wanted,
    now_us: u64,
) -> Result<Found, AdminError> {
    let text = wanted.query()?;
    let query = Query::parse(&text, now_us).map_err(|error| misunderstood(&error))?;
    if !query.is_filter() {
        let message = "A bundle is of records: write a filter, without stages that count.";
        return Err(AdminError::bad_request("InvalidQuery", message));
    }
    let named = wanted.events.map(|events| events.into_iter().collect::<BTreeSet<_>>().len());
    let house = context.clone();
    at_leisure(context, move || {
        let (signer, keys) = (house.log.signer(), house.log.keys());
        let (head, note) = house.tiles.head().map_err(log::unproven)?;
        // One key signs all of it. Where the key changed just now, the next head has its signature in a moment.
        if checkpoint::open(&note, keys.current()).is_err() {
            return Err(log::behind());
        }
        let options = SearchOptions {
            limit: RECORDS_MAX + 1,
            after: Some(head.size),
            within: Some(ask::WITHIN),
            ..SearchOptions::default()
        };
        let mut answer = house.searcher.search(&query, options).map_err(unanswered)?;
        if answer.rows.len() > RECORDS_MAX {
            return Err(too_large("a bundle has 10 000 records at most; narrow the query"));
        }
        if named.is_some_and(|named| answer.rows.len() < named) {
            let message = "One of the events is not in the log, or no signed head covers it yet.";
            return Err(AdminError::not_found("NoSuchEvent", message));
        }
        answer.rows.sort_unstable_by_key(|row| row.seq);
        let claim = house
            .searcher
            .claim(&query, &answer.coverage, head, options.within)
            .map_err(unanswered)?;
        let coverage = claim.sign(&text, &*signer).map_err(unsigned)?;
        let asked = format!("{}\n", json!({ "q": text, "now_us": now_us }));
        let files = files(
            &house,
            (&*signer, &keys),
            (&head, &note),
            &answer.rows,
            &[("query.json", asked.into_bytes()), ("coverage.note", coverage.into_bytes())],
        )?;
        let body = archive(&files).map_err(unsigned)?;
        let coverage = Some(answer.coverage);
        Ok(Found { content_type: "application/x-tar", coverage, ..Found::of(body) })
    })
    .await
}

type File = (String, Vec<u8>);

fn files(
    context: &Context,
    (signer, keys): (&dyn Signer, &Keyring),
    (head, note): (&Head, &[u8]),
    rows: &[Row],
    more: &[(&str, Vec<u8>)],
) -> Result<Vec<File>, AdminError> {
    let vkey = keys.current();
    let mut records = Vec::new();
    let mut files = Vec::with_capacity(rows.len() + 8);
    let mut bytes = 0;
    for row in rows {
        records.extend_from_slice(&row.leaf);
        records.push(b'\n');
        let proof = context.tiles.prove_under(row.seq, head, note).map_err(log::unproven)?;
        let proof = proof.encode().into_bytes();
        bytes += row.leaf.len() + proof.len();
        if bytes > BYTES_MAX {
            return Err(too_large("the bundle is longer than 64 MiB; narrow the query"));
        }
        files.push((format!("proofs/{}.tlog-proof", row.seq), proof));
    }
    files.insert(0, ("records.jsonl".to_owned(), records));
    let (earlier, stamp) = earlier::files(context, keys, head, rows)?;
    bytes += earlier.iter().map(|(_, content)| content.len()).sum::<usize>();
    if bytes > BYTES_MAX {
        return Err(too_large("the bundle is longer than 64 MiB; narrow the query"));
    }
    let stamp = stamp.map(|size| STAMP_SH.replace("{stamp}", &size.to_string()));
    let example = rows.first().map_or(0, |row| row.seq);
    let guide = VERIFY_MD
        .replace("{origin}", vkey.name())
        .replace("{stamp}", &stamp.unwrap_or_default())
        .replace("{records}", &rows.len().to_string())
        .replace("{seq}", &example.to_string())
        .replace("{size}", &head.size.to_string())
        .replace("{root}", &STANDARD.encode(head.root));
    let named = |(name, bytes): &(&str, Vec<u8>)| ((*name).to_owned(), bytes.clone());
    files.push(("checkpoint".to_owned(), note.to_vec()));
    files.extend(earlier);
    files.push(("policy.txt".to_owned(), format!("log {vkey}\nquorum none\n").into_bytes()));
    files.extend(keys.notes().map(|(path, note)| (path, note.to_vec())));
    files.extend(more.iter().map(named));
    files.push(("schema.json".to_owned(), audit::record::SCHEMA.as_bytes().to_vec()));
    files.push(("VERIFY.md".to_owned(), guide.into_bytes()));
    files.push(("check.py".to_owned(), CHECK_PY.as_bytes().to_vec()));
    let manifest = note::sign(&manifest(vkey, head, &files), signer);
    files.push(("manifest.note".to_owned(), manifest.map_err(unsigned)?.into_bytes()));
    Ok(files)
}

/// What is signed: the files as `sha256sum` names them, below a first line that no head begins with.
fn manifest(vkey: &Vkey, head: &Head, files: &[File]) -> String {
    let root = STANDARD.encode(head.root);
    let mut text = format!("audit-bundle/v1\n{}\nroot {} {root}\n", vkey.name(), head.size);
    for (name, bytes) in files {
        // A string takes every byte.
        let _ = writeln!(text, "{}  {name}", hex::encode(Sha256::digest(bytes)));
    }
    text
}

/// The archive: names, lengths and contents, nothing of the machine or the moment.
fn archive(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    tar.into_inner()
}

/// The body of the call: whatever it holds becomes one filter, or nothing.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(wanted) = Wanted::parse(bytes)
        && wanted.q.is_none()
        && let Ok(text) = wanted.query()
    {
        assert!(Query::parse(&text, 0).is_ok_and(|query| query.is_filter()), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_query_or_events_and_never_both() {
        let query = |body: &str| {
            Wanted::parse(body.as_bytes()).and_then(|wanted| wanted.query()).map_err(|e| e.code)
        };
        assert_eq!(query(r#"{"q":"denied"}"#).unwrap(), "denied");
        assert_eq!(query(r#"{"events":["01J","01K"]}"#).unwrap(), "event in (01J, 01K)");
        for body in [
            "",
            "{}",
            "[]",
            r#"{"events":[]}"#,
            r#"{"events":[""]}"#,
            r#"{"q":"x","events":["01J"]}"#,
            r#"{"q":"x","limit":1}"#,
            r#"{"events":["01J) or (seq>0"]}"#,
        ] {
            assert!(query(body).is_err(), "{body}");
        }
        let long = "0".repeat(ask::ID_CHARS_MAX);
        let events = |count: usize| json!({ "events": vec![&long; count] }).to_string();
        assert!(Query::parse(&query(&events(EVENTS_MAX)).unwrap(), 0).is_ok());
        assert!(query(&events(EVENTS_MAX + 1)).is_err());
    }

    #[test]
    fn an_archive_depends_on_its_files_alone() {
        let files =
            [("a".to_owned(), b"1".to_vec()), ("proofs/7.tlog-proof".to_owned(), vec![0; 600])];
        let first = archive(&files).unwrap();
        assert_eq!(first, archive(&files).unwrap());
        let mut read = tar::Archive::new(first.as_slice());
        let names = read.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(
                (entry.header().mtime().unwrap(), entry.header().mode().unwrap()),
                (0, 0o644)
            );
            entry.path().unwrap().display().to_string()
        });
        assert_eq!(names.collect::<Vec<_>>(), ["a", "proofs/7.tlog-proof"]);
    }
}
