//! From a request on an admin path to its answer: authentication, body, headers.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header as names};
use hyper::body::Incoming;

use super::{AdminError, BODY_BYTES_MAX, handle, unresolved};
use crate::app::App;
use crate::call::Sent;
use crate::frame;
use crate::s3::answer;
use crate::s3::audited::authenticate;
use crate::s3::auth::Authenticated;
use crate::s3::body::Payload;
use crate::scope::Scope;
use crate::server::{Body, Connection};

/// Answers one admin request.
pub async fn serve(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let scope = frame::open(&app, connection, &request);
    let (parts, body) = request.into_parts();
    let answered = receive(&app, &scope, &parts, body).await;
    let response = match answered {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let mut whole = answer::bytes(head.status, body);
            whole.headers_mut().extend(head.headers);
            whole
        }
        Err(error) => error_response(&app, &scope, parts.uri.path(), &error),
    };
    frame::close(&app, &scope, "admin", response.status().as_u16(), response)
}

async fn receive(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Bytes>, AdminError> {
    // A failure here has its own record.
    let authenticated = authenticate(app, scope, parts).await?;
    let body = match collect(app, &authenticated, parts, body).await {
        Ok(body) => body,
        Err(error) => return refuse(scope, error).await,
    };
    match &authenticated {
        Authenticated::Anonymous => refuse(scope, AdminError::access_denied()).await,
        Authenticated::Signed(signed) => handle(app.admin(), scope, signed, parts, body).await,
    }
}

async fn collect(
    app: &App,
    authenticated: &Authenticated,
    parts: &Parts,
    body: Incoming,
) -> Result<Bytes, AdminError> {
    let mut payload = Payload::new(body, authenticated, &parts.headers, app.body_limits())?;
    let body = payload.collect(BODY_BYTES_MAX).await?;
    app.metrics().received_bytes(body.len() as u64);
    Ok(body)
}

/// Refuses a request that is no call; the refusal is durable before the answer.
async fn refuse<T>(scope: &Scope, error: AdminError) -> Result<T, AdminError> {
    unresolved().conclude(scope, Sent::Error(error.status, error.info())).await?;
    Err(error)
}

pub(crate) fn error_response(
    app: &App,
    scope: &Scope,
    path: &str,
    error: &AdminError,
) -> Response<Body> {
    let body = error.to_json(path, &scope.request_id, app.host_id());
    let mut response = answer::bytes(error.status, body.into());
    let headers = response.headers_mut();
    headers.insert(names::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(event) = &error.decision {
        frame::insert(headers, "x-appliance-decision", event);
    }
    response
}
