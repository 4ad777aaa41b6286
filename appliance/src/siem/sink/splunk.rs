//! Splunk's HTTP Event Collector. With indexer acknowledgement a batch is confirmed when the indexer has it; without,
//! when the collector says that it looks well.
//!
//! # Source
//! Splunk documentation, "Format events for HTTP Event Collector" and "About HTTP Event Collector Indexer
//! Acknowledgment".

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::http::{Http, Reply, put};
use super::{Batch, Sink, SinkError};
use crate::siem::delivery::{Answer, Item};
use crate::siem::destination::Destination;
use crate::siem::format::{About, Format};

/// Between two questions after an acknowledgement: first soon, then more slowly.
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Splunk {
    events: Http,
    acks: Option<Http>,
    about: Arc<About>,
    format: Format,
    index: Option<String>,
    channel: String,
}

impl Splunk {
    pub(super) fn new(
        destination: &Destination,
        about: Arc<About>,
        certs_dir: &Path,
    ) -> Result<Self, SinkError> {
        let http = |suffix| {
            Http::new(destination, certs_dir, suffix)?
                .authorized("Splunk ", destination.token.as_ref())
        };
        let acks = destination.acknowledge.then(|| http("/services/collector/ack")).transpose()?;
        Ok(Self {
            events: http("/services/collector/event")?,
            acks,
            channel: channel(&about.origin, &destination.name),
            about,
            format: destination.format,
            index: destination.index.clone(),
        })
    }

    fn event(&self, item: &Item) -> Value {
        let event = match self.format.is_json() {
            true => serde_json::from_slice(&item.body).unwrap_or_default(),
            false => json!(String::from_utf8_lossy(&item.body)),
        };
        let mut whole = json!({
            "time": seconds(item.time_us),
            "host": self.about.deployment,
            "source": self.about.origin,
            "sourcetype": format!("appliance:audit:{}", self.format.as_str()),
            "event": event,
            "fields": { "seq": item.seq.to_string(), "event_id": item.event },
        });
        if let Some(index) = &self.index {
            whole["index"] = json!(index);
        }
        whole
    }

    async fn post(&self, batch: &Batch) -> Result<Answer, String> {
        let body: String = batch.items.iter().map(|item| self.event(item).to_string()).collect();
        let reply = self
            .events
            .post(None, Some("application/json"), self.headers(batch), body.into())
            .await?;
        if !reply.status.is_success() {
            return Ok(reply.judge());
        }
        match &self.acks {
            None => Ok(Answer::Confirmed),
            Some(acks) => self.acknowledged(acks, batch, &reply).await,
        }
    }

    fn headers(&self, batch: &Batch) -> HeaderMap {
        let mut headers = HeaderMap::new();
        put(&mut headers, "x-splunk-request-channel", &self.channel);
        put(&mut headers, "x-appliance-batch", &batch.id);
        headers
    }

    /// Asks until the indexer has the batch. After the timeout it is sent again: better twice than never.
    async fn acknowledged(
        &self,
        acks: &Http,
        batch: &Batch,
        reply: &Reply,
    ) -> Result<Answer, String> {
        let accepted: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(id) = accepted["ackId"].as_u64() else {
            let why = format!(
                "the token gives no acknowledgements ({}); enable them for it, or set \
                 `acknowledge = false` and live with less",
                reply.quoted()
            );
            return Ok(Answer::Halt(why));
        };
        let query = format!("?channel={}", self.channel);
        let question = Bytes::from(json!({ "acks": [id] }).to_string());
        let deadline = Instant::now() + self.events.timeout();
        let mut pause = POLL_MIN;
        loop {
            let asked = acks
                .post(Some(&query), Some("application/json"), self.headers(batch), question.clone())
                .await?;
            if !asked.status.is_success() {
                return Ok(asked.judge());
            }
            let answer: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            if answer["acks"][id.to_string()] == json!(true) {
                return Ok(Answer::Confirmed);
            }
            if Instant::now() + pause >= deadline {
                return Err(format!("ackId {id} was not confirmed in {:?}", self.events.timeout()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }
}

impl Sink for Splunk {
    fn send<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        let sent = self.post(batch);
        sent.map(|sent| sent.unwrap_or_else(|why| Answer::Later { wait: None, why })).boxed()
    }
}

/// Seconds with microseconds, as a JSON number that keeps every digit.
fn seconds(time_us: u64) -> Value {
    let text = format!("{}.{:06}", time_us / 1_000_000, time_us % 1_000_000);
    serde_json::from_str(&text).unwrap_or_default()
}

/// A channel of our own per log and destination, equal after a restart: a UUID of version 8.
fn channel(origin: &str, name: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("appliance siem channel\n{origin}\n{name}")));
    let part = |range: std::ops::Range<usize>| digest.get(range).unwrap_or_default().to_owned();
    format!("{}-{}-8{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}
