//! The log as it grows: server-sent events, one per record.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::search::Tail;
use audit::{Query, Watch};
use bytes::Bytes;
use futures::stream::{self, Stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header as names};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use super::{Context, ask};
use crate::admin::AdminError;
use crate::call::{Sent, Trail};
use crate::s3::query::Query as Pairs;
use crate::s3::request::header;
use crate::scope::Scope;
use crate::server::Body;

/// Silence is broken once in a while, so that a dead connection is noticed.
const BEAT: Duration = Duration::from_secs(10);
/// A stream ends after this, and its client comes back with `Last-Event-ID`: then it is decided anew, and a right that
/// was taken away ends.
const STREAM_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Where to begin and what to leave out.
pub(super) fn begin(
    context: &Context,
    pairs: &Pairs,
    headers: &HeaderMap,
    now_us: u64,
) -> Result<(Tail, Query, String), AdminError> {
    let text = pairs.get("q").unwrap_or_default().to_owned();
    let query = Query::parse(&text, now_us).map_err(|error| ask::misunderstood(&error))?;
    if !query.is_filter() {
        let message = "Only a filter can follow the log.";
        return Err(AdminError::bad_request("InvalidQuery", message));
    }
    let after = match header(headers, "last-event-id").or_else(|| pairs.get("after")) {
        None => context.log.durable_size().checked_sub(1),
        Some(seq) => Some(seq.parse().map_err(|_| {
            AdminError::bad_request("InvalidArgument", "The parameter after is a number.")
        })?),
    };
    let dir = context.searcher.dir();
    let tail = audit::tail(dir, after).with_detour(Some(context.log.detour(dir)));
    Ok((tail, query, text))
}

/// The stream; its decision is durable already, and its outcome is recorded when it ends.
pub(super) fn respond(
    context: &Context,
    scope: Arc<Scope>,
    trail: Trail,
    tail: Tail,
    query: Query,
) -> Result<Response<Body>, AdminError> {
    let place = Arc::clone(&context.followers).try_acquire_owned().map_err(|_| AdminError {
        code: "SlowDown".into(),
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "Too many readers follow the log already.".into(),
        decision: None,
    })?;
    let follow = Follow {
        tail,
        query,
        watch: context.log.subscribe(),
        ready: VecDeque::new(),
        until: Instant::now() + STREAM_WITHIN,
        ended: Ended { scope, trail, sent: 0, records: 0 },
        _place: place,
    };
    let mut response = Response::new(StreamBody::new(frames(follow)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(names::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(names::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Follow {
    tail: Tail,
    query: Query,
    watch: Watch,
    ready: VecDeque<Bytes>,
    until: Instant,
    ended: Ended,
    _place: OwnedSemaphorePermit,
}

fn frames(follow: Follow) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send {
    stream::try_unfold(follow, |mut follow| async move {
        while follow.ready.is_empty() {
            if Instant::now() >= follow.until || follow.watch.is_closed() {
                return Ok(None);
            }
            follow = tokio::task::spawn_blocking(move || follow.wait())
                .await
                .map_err(io::Error::other)??;
        }
        let Some(event) = follow.ready.pop_front() else { return Ok(None) };
        follow.ended.sent += event.len() as u64;
        Ok(Some((Frame::data(event), follow)))
    })
}

impl Follow {
    /// Waits for durable records, for a beat at most.
    fn wait(mut self) -> io::Result<Self> {
        let rows = self.tail.follow(&self.watch, BEAT).map_err(io::Error::other)?;
        if rows.is_empty() {
            self.ready.push_back(Bytes::from_static(b": nothing new\n\n"));
        }
        for row in rows.into_iter().filter(|row| self.query.matches(&row.leaf)) {
            let mut event = format!("id: {}\nevent: record\ndata: ", row.seq).into_bytes();
            event.extend_from_slice(&row.leaf);
            event.extend_from_slice(b"\n\n");
            self.ready.push_back(event.into());
            self.ended.records += 1;
        }
        Ok(self)
    }
}

/// Records how a stream ended, however it ends.
struct Ended {
    scope: Arc<Scope>,
    trail: Trail,
    sent: u64,
    records: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.trail.note("rows", self.records.to_string());
        let record = self.trail.clone().outcome(&self.scope, Sent::Bytes(self.sent));
        self.scope.recorder().append_last(record);
    }
}
