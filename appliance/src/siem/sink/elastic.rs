//! Elasticsearch and OpenSearch `_bulk`. Every document has an id made of log and position and is only ever created, so
//! a document that comes again is a conflict, which is a success. Of one batch, a document may be stored before an
//! earlier one that had to wait; `event.sequence` has the order, and the cursor waits for the earlier one.
//!
//! # Source
//! Elasticsearch reference, "Bulk API": `create`, one result per item in order.

use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::http::{Http, Reply};
use super::{Batch, Sink, SinkError};
use crate::siem::delivery::{Answer, Item, Verdict};
use crate::siem::destination::Destination;
use crate::siem::format::About;

/// The index, or data stream, when none is named.
const USUAL_INDEX: &str = "appliance-audit";

#[derive(Debug)]
pub(super) struct Elastic {
    http: Http,
    index: String,
    /// The first half of every document id.
    log: String,
}

#[derive(Deserialize)]
struct Reported {
    items: Vec<Created>,
}

#[derive(Deserialize)]
struct Created {
    create: Status,
}

#[derive(Deserialize)]
struct Status {
    status: u16,
    #[serde(default)]
    error: Value,
}

impl Elastic {
    pub(super) fn new(
        destination: &Destination,
        about: &About,
        certs_dir: &Path,
    ) -> Result<Self, SinkError> {
        // A token with a blank names its own scheme; one without is an API key.
        let token = destination.token.as_ref();
        let has_scheme = token.is_some_and(|token| token.expose().trim().contains(' '));
        let scheme = if has_scheme { "" } else { "ApiKey " };
        let mut log = hex::encode(Sha256::digest(&about.origin));
        log.truncate(16);
        Ok(Self {
            http: Http::new(destination, certs_dir, "/_bulk")?.authorized(scheme, token)?,
            index: destination.index.clone().unwrap_or_else(|| USUAL_INDEX.to_owned()),
            log,
        })
    }

    fn body(&self, items: &[Item]) -> Vec<u8> {
        let mut body = Vec::new();
        for item in items {
            let id = format!("{}-{}", self.log, item.seq);
            let action = json!({ "create": { "_index": self.index, "_id": id } });
            body.extend_from_slice(action.to_string().as_bytes());
            body.push(b'\n');
            body.extend_from_slice(&item.body);
            body.push(b'\n');
        }
        body
    }
}

impl Sink for Elastic {
    fn send<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        async move {
            let body = self.body(&batch.items).into();
            let ndjson = Some("application/x-ndjson");
            match self.http.post(None, ndjson, HeaderMap::new(), body).await {
                Ok(reply) if reply.status.is_success() => each(&reply, batch.items.len()),
                Ok(reply) => reply.judge(),
                Err(why) => Answer::Later { wait: None, why },
            }
        }
        .boxed()
    }
}

/// One verdict per document. A success without them is none.
fn each(reply: &Reply, count: usize) -> Answer {
    let reported: Result<Reported, _> = serde_json::from_slice(&reply.body);
    match reported {
        Ok(Reported { items }) if items.len() == count => {
            Answer::Each(items.into_iter().map(|item| verdict(&item.create)).collect())
        }
        _ => Answer::Later {
            wait: None,
            why: format!("an answer that names no result for each record: {}", reply.quoted()),
        },
    }
}

fn verdict(status: &Status) -> Verdict {
    let text = || format!("{} {}", status.status, status.error);
    match status.status {
        // 409: the document is there from before.
        200..=299 | 409 => Verdict::Stored,
        400 | 413 | 422 => Verdict::Refused(text()),
        _ => Verdict::Later(text()),
    }
}

/// Verdicts are believed only where there is one for each record.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let body = bytes::Bytes::copy_from_slice(bytes);
    let reply = Reply { status: http::StatusCode::OK, wait: None, body };
    for count in 0..4 {
        if let Answer::Each(verdicts) = each(&reply, count) {
            assert_eq!(verdicts.len(), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    #[test]
    fn verdicts_are_per_document() {
        let body = br#"{"took":1,"errors":true,"items":[
            {"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":409,"error":{"type":"x"}}},
            {"create":{"_id":"c","status":400,"error":{"type":"mapper"}}},{"create":{"_id":"d","status":429}}]}"#;
        let reply = Reply { status: StatusCode::OK, wait: None, body: Bytes::from_static(body) };
        let Answer::Each(verdicts) = each(&reply, 4) else { panic!("no verdicts") };
        assert_eq!(verdicts[..2], [Verdict::Stored, Verdict::Stored]);
        assert_eq!(verdicts[2], Verdict::Refused("400 {\"type\":\"mapper\"}".into()));
        assert!(matches!(verdicts[3], Verdict::Later(_)));
        assert!(matches!(each(&reply, 3), Answer::Later { .. }));
    }
}
