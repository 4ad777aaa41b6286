//! Health and metrics: the documented paths that leave no record, because they return no data and change nothing.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::app::App;
use crate::s3::answer;
use crate::server::Body;

const LIVE: &str = "/minio/health/live";
const READY: &str = "/minio/health/ready";
const CLUSTER: &str = "/minio/health/cluster";
/// Says nothing about readiness: without an index, searches are slow and everything else is as it was.
const INDEX: &str = "/minio/health/audit-index";
const METRICS: &[&str] =
    &["/minio/v2/metrics/cluster", "/minio/v2/metrics/node", "/minio/prometheus/metrics"];

/// Every path that is answered without a record, for the documentation and its test.
pub const UNAUDITED: &[&str] = &[LIVE, READY, CLUSTER, INDEX];

/// Answers a health or metrics request; none if it is neither.
pub fn answer<B>(app: &App, request: &Request<B>) -> Option<Response<Body>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    match request.uri().path() {
        LIVE => Some(answer::empty(StatusCode::OK)),
        READY | CLUSTER if app.is_ready() => Some(answer::empty(StatusCode::OK)),
        READY | CLUSTER => Some(answer::empty(StatusCode::SERVICE_UNAVAILABLE)),
        INDEX if app.is_indexing() => Some(answer::empty(StatusCode::OK)),
        INDEX => Some(answer::empty(StatusCode::SERVICE_UNAVAILABLE)),
        path if METRICS.contains(&path) => app.metrics_page().map(|page| {
            let mut response = answer::bytes(StatusCode::OK, Bytes::from(page));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }),
        _ => None,
    }
}
