//! What all requests have in common, whatever they speak: a scope that opens, a count, and headers that every answer
//! carries.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, header as names};

use crate::app::App;
use crate::redact;
use crate::s3::request::header;
use crate::scope::Scope;
use crate::server::{Body, Connection};

/// Opens the audit scope of one request.
pub(crate) fn open<B>(app: &App, connection: Arc<Connection>, request: &Request<B>) -> Arc<Scope> {
    let headers = request.headers();
    let agent = header(headers, "user-agent").map(redact::agent);
    let mut scope = app.open_scope(connection, agent.as_deref());
    scope.withhold(redact::masked(headers, request.uri().query()));
    Arc::new(scope)
}

/// Counts the request under `operation`, whose answer has status `code`, and gives the answer its headers.
pub(crate) fn close(
    app: &App,
    scope: &Scope,
    operation: &'static str,
    code: u16,
    mut response: Response<Body>,
) -> Response<Body> {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a float")]
    let seconds = scope.elapsed_us() as f64 / 1e6;
    app.metrics().request_finished(operation, code, seconds);
    let headers = response.headers_mut();
    headers.insert(names::SERVER, HeaderValue::from_static("appliance"));
    insert(headers, "x-amz-request-id", &scope.request_id);
    insert(headers, "x-amz-id-2", app.host_id());
    insert(headers, "x-content-type-options", "nosniff");
    if scope.connection.tls.is_some() {
        insert(headers, "strict-transport-security", "max-age=31536000; includeSubDomains");
    }
    response
}

/// Sets a header; a value that no header can hold is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
