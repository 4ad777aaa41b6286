//! One POST and what its answer means. Redirects are never followed: a receiver's address is the operator's decision.

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::SinkError;
use crate::siem::delivery::Answer;
use crate::siem::destination::{Destination, Secret};
use crate::siem::error_text;
use crate::tls;

/// Longest answer that is read: a bulk answer has some hundred bytes per record.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How much of an answer is kept to explain a failure.
const QUOTED_CHARS_MAX: usize = 300;
/// Below the idle times of usual proxies, so that a connection is not closed under a request.
const IDLE: Duration = Duration::from_secs(20);

/// A pooled client for one destination.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) wait: Option<Duration>,
    pub(super) body: Bytes,
}

impl Http {
    /// A client that posts to the destination's address with `suffix` behind its path.
    pub(super) fn new(
        destination: &Destination,
        certs_dir: &Path,
        suffix: &str,
    ) -> Result<Self, SinkError> {
        let config = tls::client_config(&destination.tls, certs_dir)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let endpoint = &destination.endpoint;
        let scheme = if endpoint.is_tls { "https" } else { "http" };
        let host = match endpoint.host.contains(':') {
            true => format!("[{}]", endpoint.host),
            false => endpoint.host.clone(),
        };
        let path = format!("{}{suffix}", endpoint.path);
        let path = if path.is_empty() { "/" } else { &path };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(format!("{host}:{}", endpoint.port))
            .path_and_query(path)
            .build();
        // INVARIANT: the configuration took these parts from a whole address.
        let uri = uri.unwrap_or_default();
        Ok(Self { client, uri, authorization: None, timeout: destination.timeout })
    }

    /// Sends the token behind `scheme` with every request.
    pub(super) fn authorized(
        mut self,
        scheme: &str,
        token: Option<&Secret>,
    ) -> Result<Self, SinkError> {
        if let Some(token) = token {
            let value = format!("{scheme}{}", token.expose());
            let mut value = HeaderValue::from_str(&value).map_err(|_| SinkError::Token)?;
            value.set_sensitive(true);
            self.authorization = Some(value);
        }
        Ok(self)
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One exchange. The error is a text about the network.
    pub(super) async fn post(
        &self,
        query: Option<&str>,
        content_type: Option<&'static str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, String> {
        let exchange = self.exchange(query, content_type, headers, body);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(
        &self,
        query: Option<&str>,
        content_type: Option<&'static str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, String> {
        let uri = match query {
            None => self.uri.clone(),
            Some(query) => format!("{}{query}", self.uri).parse().map_err(|_| "a bad address")?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let agent = HeaderValue::from_static(concat!("appliance/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(http::header::AUTHORIZATION, value.clone());
        }
        let response = self.client.request(request).await.map_err(|error| error_text(&error))?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(retry_after);
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("receiving the answer: {error}"))?.to_bytes();
        Ok(Reply { status, wait, body })
    }
}

impl Reply {
    /// What the status means where the body says nothing more.
    ///
    /// # Source
    /// RFC 9110 §15; Standard Webhooks, "Delivery": 410 stops, a redirect is a failure.
    pub(super) fn judge(&self) -> Answer {
        let text = self.quoted();
        match self.status.as_u16() {
            200..=299 => Answer::Confirmed,
            400 | 413 | 422 => Answer::Refused(text),
            401 | 403 | 410 => Answer::Halt(text),
            _ => Answer::Later { wait: self.wait, why: text },
        }
    }

    /// Status and the beginning of the body, on one line.
    pub(super) fn quoted(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let words: Vec<&str> = body.split_whitespace().collect();
        let body: String = words.join(" ").chars().take(QUOTED_CHARS_MAX).collect();
        format!("{} {body}", self.status).trim_end().to_owned()
    }
}

/// Adds a header whose value may not be one; then it is left out.
pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(SystemTime::now()).ok()?;
    Duration::try_from(at.duration_since(now)).ok()
}

/// What is quoted of an answer is short and one line, and a wait is none or one.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = HeaderValue::from_bytes(bytes).ok().as_ref().and_then(retry_after);
    let body = Bytes::copy_from_slice(bytes);
    let quoted = Reply { status: StatusCode::BAD_REQUEST, wait: None, body }.quoted();
    assert!(quoted.chars().count() <= QUOTED_CHARS_MAX + 16 && !quoted.contains('\n'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_specification_says() {
        let answer = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            Reply { status, wait: None, body: Bytes::from_static(b"a\n b") }.judge()
        };
        for status in [200, 202, 204] {
            assert_eq!(answer(status), Answer::Confirmed);
        }
        for status in [400, 413, 422] {
            assert!(matches!(answer(status), Answer::Refused(_)), "{status}");
        }
        for status in [401, 403, 410] {
            assert!(matches!(answer(status), Answer::Halt(_)), "{status}");
        }
        for status in [301, 307, 404, 408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(answer(status), Answer::Later { .. }), "{status}");
        }
        assert_eq!(answer(403), Answer::Halt("403 Forbidden a b".into()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let value = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(value("120"), Some(Duration::from_secs(120)));
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
        let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let wait = value(&date).unwrap();
        assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
        assert_eq!(value("Thu, 01 Jan 1970 00:00:00 GMT"), None);
        assert_eq!(value("soon"), None);
    }
}
