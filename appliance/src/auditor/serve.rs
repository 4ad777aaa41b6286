//! From a request on an auditor's path to its answer: who asks, may they, what do they ask, and the log knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::{Class, Coverage};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header as names};
use hyper::body::Incoming;

use super::ask::{self, Question};
use super::bundle::{self, Wanted};
use super::{Context, Operation, follow, log};
use crate::admin::{self, AdminError, UNRESOLVED};
use crate::app::App;
use crate::authz::{Effect, Permit};
use crate::call::{self, Sent, Trail};
use crate::frame;
use crate::s3::answer;
use crate::s3::audited::authenticate;
use crate::s3::auth::{Authenticated, PayloadKind, Scheme};
use crate::s3::body::Payload;
use crate::s3::query::Query as Pairs;
use crate::scope::Scope;
use crate::server::{Body, Connection};

/// A query has 4 KiB at most.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What a permit of this API is for.
#[derive(Debug)]
struct Auditing;

/// An answer that is all there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) body: Vec<u8>,
    pub(super) content_type: &'static str,
    pub(super) coverage: Option<Coverage>,
    /// Who may keep it, and for how long.
    pub(super) cache: &'static str,
}

impl Found {
    /// Bytes of no particular kind that nobody may keep.
    pub(super) fn of(body: Vec<u8>) -> Self {
        let content_type = "application/octet-stream";
        Self { body, content_type, coverage: None, cache: "no-store" }
    }

    fn into_response(self) -> Response<Body> {
        let mut response = answer::bytes(StatusCode::OK, Bytes::from(self.body));
        let headers = response.headers_mut();
        headers.insert(names::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(names::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        response
    }
}

/// Answers one request of an auditor.
pub async fn serve(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let scope = frame::open(&app, connection, &request);
    let (parts, body) = request.into_parts();
    let response = match receive(&app, &scope, &parts, body).await {
        Ok(response) => response,
        Err(error) => admin::error_response(&app, &scope, parts.uri.path(), &error),
    };
    frame::close(&app, &scope, "audit", response.status().as_u16(), response)
}

async fn receive(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, AdminError> {
    // A failure here has its own record.
    let authenticated = authenticate(app, scope, parts).await?;
    if matches!(authenticated, Authenticated::Anonymous)
        && let Some((operation, place)) =
            log::opened(app.auditor(), &parts.method, parts.uri.path())
    {
        return give_opened(app.auditor(), scope, operation, place).await;
    }
    let mut trail = Trail::new(Class::Query, UNRESOLVED);
    let answered = operate(app, scope, parts, &authenticated, body, &mut trail).await;
    match answered {
        Ok(Answered::Whole(found)) => {
            record_outcome(scope, trail, Ok(&found)).await?;
            Ok(found.into_response())
        }
        Ok(Answered::Stream(response)) => Ok(response),
        Err(error) => {
            record_outcome(scope, trail, Err(&error)).await?;
            Err(error)
        }
    }
}

/// What the operator has opened to everybody. Hashes leave no record: they tell nothing of users, change nothing, and a
/// log that grew by being watched would never be seen whole. Records that leave are recorded; there is no decision,
/// because nobody is asked.
async fn give_opened(
    context: &Context,
    scope: &Arc<Scope>,
    operation: Operation,
    place: &str,
) -> Result<Response<Body>, AdminError> {
    let result = log::fetch_opened(context, place).await;
    if operation != Operation::Tile {
        let mut trail = Trail::new(Class::Query, operation.action());
        trail.note("operation", operation.name());
        trail.note("place", place);
        record_outcome(scope, trail, result.as_ref()).await?;
    }
    result.map(Found::into_response)
}

enum Answered {
    Whole(Found),
    /// Its outcome is recorded when it ends.
    Stream(Response<Body>),
}

async fn operate(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    parts: &Parts,
    authenticated: &Authenticated,
    body: Incoming,
    trail: &mut Trail,
) -> Result<Answered, AdminError> {
    let Authenticated::Signed(signed) = authenticated else {
        return Err(AdminError::access_denied());
    };
    // A URL that was signed once must not open the log to whoever finds it.
    if signed.scheme != Scheme::Header || !matches!(signed.payload, PayloadKind::Sha256(_)) {
        return Err(AdminError::access_denied());
    }
    let mut payload = Payload::new(body, authenticated, &parts.headers, app.body_limits())?;
    let body = payload.collect(BODY_BYTES_MAX).await?;
    let origin = app.auditor().tiles.origin();
    let (operation, id) = Operation::of(&parts.method, parts.uri.path(), origin)?;
    trail.action = operation.action();
    trail.note("operation", operation.name());
    let checks = vec![call::check(scope, trail.class, trail.action, BTreeMap::new())?];
    let permit = app.gate().decide::<Auditing>(scope, Effect::Read, checks).await?;
    carry_out(app.auditor(), permit, scope, parts, operation, id, &body, trail).await
}

#[expect(clippy::too_many_arguments, reason = "one call site; the parts of one request")]
async fn carry_out(
    context: &Context,
    _permit: Permit<Auditing>,
    scope: &Arc<Scope>,
    parts: &Parts,
    operation: Operation,
    id: &str,
    body: &[u8],
    trail: &mut Trail,
) -> Result<Answered, AdminError> {
    match operation {
        Operation::Search => {
            let question = Question::parse(body)?;
            trail.note("text", &question.q);
            ask::search(context, question, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Request => {
            trail.note("request", id);
            let question = Question::of_request(id)?;
            ask::search(context, question, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Event => {
            trail.note("event", id);
            ask::event(context, id).await.map(Answered::Whole)
        }
        Operation::Bundle => {
            let wanted = Wanted::parse(body)?;
            trail.note("text", wanted.query()?);
            bundle::bundle(context, wanted, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Proof => {
            trail.note("seq", id);
            log::prove(context, id).await.map(Answered::Whole)
        }
        Operation::Tile | Operation::Entries => {
            trail.note("place", id);
            log::fetch(context, id).await.map(Answered::Whole)
        }
        Operation::Tail => {
            let pairs = Pairs::parse(parts.uri.query())?;
            let (tail, query, text) =
                follow::begin(context, &pairs, &parts.headers, scope.now_us())?;
            trail.note("text", text);
            // ORDER: the decision is durable before the first record leaves.
            scope.settle().await?;
            follow::respond(context, Arc::clone(scope), trail.clone(), tail, query)
                .map(Answered::Stream)
        }
    }
}

/// Records what was asked and what was found, and waits until it is durable.
async fn record_outcome(
    scope: &Scope,
    mut trail: Trail,
    result: Result<&Found, &AdminError>,
) -> Result<(), AdminError> {
    if let Some(coverage) = result.ok().and_then(|found| found.coverage) {
        trail.note("matches", coverage.matches.to_string());
        trail.note("range", format!("{}..{}", coverage.from, coverage.to));
    }
    let sent = match result {
        Ok(found) => Sent::Bytes(found.body.len() as u64),
        Err(error) => Sent::Error(error.status, error.info()),
    };
    Ok(trail.conclude(scope, sent).await?)
}
