//! The body of a read on its way out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use audit::Outcome;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::audited::{Trail, outcome_record};
use super::request::header;
use crate::scope::Scope;
use crate::server::Body;

/// Counts what leaves. When the body ends, or the client is gone, the outcome is recorded, unless it is the one that the
/// decision promised.
pub(super) struct Outgoing {
    inner: Body,
    scope: Arc<Scope>,
    trail: Trail,
    expected: Option<u64>,
    code: u16,
    sent: u64,
    ended: bool,
}

impl Outgoing {
    /// Takes over what is known of the request.
    pub(super) fn wrap(
        response: Response<Body>,
        scope: Arc<Scope>,
        trail: &mut Trail,
    ) -> Response<Body> {
        let code = response.status().as_u16();
        let announced = header(response.headers(), "content-length");
        let announced = announced.and_then(|length| length.parse().ok());
        let trail = trail.take();
        response.map(|inner| {
            // hyper stops asking once it has as many bytes as were announced.
            let expected = announced.or_else(|| inner.size_hint().exact());
            Self { inner, scope, trail, expected, code, sent: 0, ended: false }.boxed_unsync()
        })
    }

    fn outcome(&self) -> Outcome {
        let whole = self.ended || self.expected == Some(self.sent) || self.inner.is_end_stream();
        Outcome {
            code: self.code,
            bytes_in: self.trail.bytes_in,
            bytes_out: self.sent,
            us: self.scope.elapsed_us(),
            aborted: !whole,
            ..Outcome::default()
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.ended = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.scope.metrics.sent_bytes(self.sent);
        let outcome = self.outcome();
        if !self.scope.promised(&outcome) {
            let record = outcome_record(&self.scope, &self.trail, outcome, None);
            self.scope.recorder().append_last(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use audit::{Class, Log, Phase};
    use http::StatusCode;
    use serde_json::Value;

    use super::*;
    use crate::kms::tests::audited::{log_in, records_of, scope_on};
    use crate::s3::answer;

    const TEXT: &[u8] = b"seventeen letters";

    /// A read that is decided, and answers so much.
    async fn answered(log: &Arc<Log>, promised: u64) -> Response<Body> {
        let scope = scope_on(log);
        let mut decision = scope.record(Class::Data, "s3:GetObject");
        decision.phase = Phase::Decision;
        scope.hold(vec![decision]);
        scope.promise("GetObject", 200, promised);
        scope.settle().await.unwrap();
        let response = answer::bytes(StatusCode::OK, Bytes::from_static(TEXT));
        Outgoing::wrap(response, scope, &mut Trail::default())
    }

    fn told(log: &Log, dir: &Path) -> (Vec<Value>, Vec<Value>) {
        log.close().unwrap();
        let records = [records_of(dir, "data"), records_of(dir, "authn")].concat();
        records.into_iter().partition(|record| record["phase"] != "outcome")
    }

    #[tokio::test]
    async fn a_promise_that_is_kept_needs_no_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(dir.path());
        let body = answered(&log, TEXT.len() as u64).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), TEXT);
        let (decisions, outcomes) = told(&log, dir.path());
        assert_eq!(outcomes, [Value::Null; 0]);
        assert_eq!(decisions.len(), 1);
        assert_eq!(decisions[0]["phase"], "single");
        assert_eq!(decisions[0]["result"]["code"], 200);
        assert_eq!(decisions[0]["result"]["bytes_out"], TEXT.len());
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_promised_one_has_an_outcome() {
        let kept = TEXT.len() as u64;
        // Promised, whether the client reads; what the outcome says then.
        for (promised, reads, phase, aborted) in [
            (kept, false, "single", true),
            (kept + 1, true, "single", false),
            (u64::MAX, true, "decision", false),
            (u64::MAX, false, "decision", true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let log = log_in(dir.path());
            let body = answered(&log, promised).await.into_body();
            if reads {
                body.collect().await.unwrap();
            } else {
                drop(body);
            }
            let (decisions, outcomes) = told(&log, dir.path());
            assert_eq!(decisions[0]["phase"], phase, "{promised} {reads}");
            assert_eq!(outcomes.len(), 1, "{promised} {reads}");
            assert_eq!(outcomes[0]["ref"], decisions[0]["seq"]);
            assert_eq!(outcomes[0]["result"]["aborted"] == true, aborted, "{}", outcomes[0]);
            assert_eq!(outcomes[0]["result"]["bytes_out"], if reads { kept } else { 0 });
        }
    }

    #[tokio::test]
    async fn a_request_that_ends_in_the_middle_leaves_its_decision() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(dir.path());
        let scope = scope_on(&log);
        scope.hold(vec![scope.record(Class::Data, "s3:GetObject")]);
        drop(scope);
        let (decisions, outcomes) = told(&log, dir.path());
        assert_eq!((decisions.len(), outcomes.len()), (1, 0));
    }
}
