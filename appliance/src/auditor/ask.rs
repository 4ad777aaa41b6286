//! Questions with an end: a query, a record, the records of a request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::{
    Answer, Head, Keyring, Method, NoPolicies, Query, QueryError, SearchError, SearchOptions,
};
use policy_lab::replay::{Export, ExportError};
use serde::Deserialize;

use super::policies::Policies;
use super::serve::Found;
use super::{Context, ndjson};
use crate::admin::{AdminError, world};
use crate::redact;

/// Longest search.
pub(super) const WITHIN: Duration = Duration::from_secs(30);
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 10 << 20;
/// Rows of an answer when the question does not say.
const ROWS: usize = 100;
/// Longest id: an event's has 26 characters, a request's 24.
pub(super) const ID_CHARS_MAX: usize = 32;

/// The body of `POST query`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The query.
    pub(super) q: String,
    /// Rows at most; a smaller limit in the query wins.
    limit: Option<usize>,
    /// Only records before this one.
    after: Option<u64>,
    #[serde(default)]
    method: Way,
    /// The answer shall hold elsewhere: it ends with a note that the log's key signs, over what a signed head covers.
    #[serde(default)]
    signed: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    #[default]
    Auto,
    Index,
    Scan,
}

impl Question {
    pub(super) fn parse(body: &[u8]) -> Result<Self, AdminError> {
        serde_json::from_slice(body).map_err(|error| {
            let example = r#"{"q":"decision=deny","limit":100}"#;
            let why = redact::json_error(&error);
            AdminError::bad_request("InvalidQuery", format!("Write {example}: {why}."))
        })
    }

    /// Everything that a request caused.
    pub(super) fn of_request(id: &str) -> Result<Self, AdminError> {
        let q = format!("request=\"{}\"", checked(id)?);
        Ok(Self { q, limit: Some(usize::MAX), ..Self::default() })
    }

    fn options(&self) -> SearchOptions {
        let method = match self.method {
            Way::Auto => Method::Auto,
            Way::Index => Method::Index,
            Way::Scan => Method::Scan,
        };
        let limit = self.limit.unwrap_or(ROWS);
        SearchOptions { limit, after: self.after, method, within: Some(WITHIN) }
    }
}

/// An id as ids are made; anything else would search for nothing, at length.
pub(super) fn checked(id: &str) -> Result<&str, AdminError> {
    let fits = (1..=ID_CHARS_MAX).contains(&id.len());
    let is_id = fits && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_id {
        true => Ok(id),
        false => Err(AdminError::bad_request("InvalidId", "An id has letters and digits.")),
    }
}

/// Answers a query: records or figures as lines of JSON, and what the answer covers as the last line.
pub(super) async fn search(
    context: &Context,
    question: Question,
    now_us: u64,
) -> Result<Found, AdminError> {
    let query = Query::parse(&question.q, now_us).map_err(|error| misunderstood(&error))?;
    let (searcher, mut options) = (Arc::clone(&context.searcher), question.options());
    let signer = question.signed.then(|| (context.log.signer(), context.log.keys()));
    let world = query.asks_policies().then(|| world(&context.iam.snapshot(), &context.gate));
    at_leisure(context, move || {
        let world = world.map(|world| Export::new(world).map_err(unreadable)).transpose()?;
        let known = world.map(|world| Policies::new(Arc::new(world), searcher.dir()));
        let policies: &dyn audit::Policies = match &known {
            Some(known) => known,
            None => &NoPolicies,
        };
        let Some((signer, keys)) = signer else {
            let answer = searcher.search_with(&query, options, policies).map_err(unanswered)?;
            return written(&query, &answer);
        };
        // What no head covers yet could be lost in a crash, and a signature over it would be a lie.
        let head = newest_head(searcher.dir(), &keys)?;
        options.after = Some(options.after.unwrap_or(head.size).min(head.size));
        let answer = searcher.search_with(&query, options, policies).map_err(unanswered)?;
        let claim = searcher.claim(&query, &answer.coverage, head, options.within);
        let note = claim.map_err(unanswered)?.sign(&question.q, &*signer).map_err(unsigned)?;
        let mut found = written(&query, &answer)?;
        ndjson::note(&mut found.body, &note);
        Ok(found)
    })
    .await
}

/// The newest signed head, as the log's directory has it.
fn newest_head(dir: &Path, keys: &Keyring) -> Result<Head, AdminError> {
    let bytes = std::fs::read(dir.join("checkpoint")).map_err(unsigned)?;
    // A key that came just now signs beside the one before.
    keys.head(&bytes).map_err(unsigned)
}

fn unreadable(error: ExportError) -> AdminError {
    tracing::error!(%error, "the policies in force could not be read for a question about them");
    AdminError::internal()
}

pub(super) fn unsigned(error: impl std::fmt::Display) -> AdminError {
    tracing::error!(%error, "an answer could not be signed");
    AdminError::internal()
}

fn written(query: &Query, answer: &Answer) -> Result<Found, AdminError> {
    let mut body = Vec::new();
    let fits = |body: &Vec<u8>| match body.len() > ANSWER_BYTES_MAX {
        true => Err(too_large("the answer is longer than 10 MB; use a limit, or fewer fields")),
        false => Ok(()),
    };
    for row in &answer.rows {
        ndjson::record(&mut body, query, row);
        fits(&body)?;
    }
    let table = answer.table.as_ref();
    for (table, row) in
        table.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)))
    {
        ndjson::figures(&mut body, table, row);
        fits(&body)?;
    }
    ndjson::coverage(&mut body, &answer.coverage);
    let coverage = Some(answer.coverage);
    Ok(Found { content_type: "application/x-ndjson", coverage, ..Found::of(body) })
}

/// The record of an event.
pub(super) async fn event(context: &Context, id: &str) -> Result<Found, AdminError> {
    let (searcher, event) = (Arc::clone(&context.searcher), checked(id)?.to_owned());
    at_leisure(context, move || {
        let found = searcher.find_event(&event).map_err(unanswered)?;
        let mut body = found.ok_or_else(|| {
            let pruned = audit::pruned(searcher.dir())
                .ok()
                .flatten()
                .map(|pruned| format!(" The records before {} were {pruned}.", pruned.end));
            let told = format!("There is no such event in the log.{}", pruned.unwrap_or_default());
            AdminError::not_found("NoSuchEvent", told)
        })?;
        body.push(b'\n');
        Ok(Found { content_type: "application/json", ..Found::of(body) })
    })
    .await
}

/// Runs a search on a thread that may block, when there is room for one more.
pub(super) async fn at_leisure<T: Send + 'static>(
    context: &Context,
    search: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    let Ok(_place) = context.searches.acquire().await else { return Err(AdminError::internal()) };
    tokio::task::spawn_blocking(search).await.map_err(|error| {
        tracing::error!(%error, "a search of the log ended abnormally");
        AdminError::internal()
    })?
}

/// What is wrong with a query, and where.
pub(super) fn misunderstood(error: &QueryError) -> AdminError {
    AdminError::bad_request("InvalidQuery", error.to_string())
}

pub(super) fn unanswered(error: SearchError) -> AdminError {
    match error {
        SearchError::Policies(message) => AdminError::bad_request("InvalidQuery", message),
        SearchError::TooMuch(_) | SearchError::TooManyToSort | SearchError::TooLong(_) => {
            too_large(&error.to_string())
        }
        error => {
            tracing::error!(%error, "the log could not be searched");
            AdminError::internal()
        }
    }
}

pub(super) fn too_large(message: &str) -> AdminError {
    AdminError::bad_request("QueryTooLarge", message.to_owned())
}
