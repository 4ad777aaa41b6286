//! From a request on an auditor's path to its answer: who asks, may they, what do they ask, and the log knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::{Class, Coverage, ErrorInfo, Outcome};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header as names};
use hyper::body::Incoming;
use policy_lab::{Action, Resource};

use super::ask::{self, Question};
use super::bundle::{self, Wanted};
use super::{Context, Operation, follow, log};
use crate::admin::{self, AdminError};
use crate::app::App;
use crate::authz::{Check, Effect, Permit};
use crate::frame;
use crate::s3::answer;
use crate::s3::audited::authenticate;
use crate::s3::auth::{Authenticated, PayloadKind, Scheme};
use crate::s3::body::Payload;
use crate::s3::query::Query as Pairs;
use crate::s3::request::{principal_context, transport_context};
use crate::scope::Scope;
use crate::server::{Body, Connection};

/// A query has 4 KiB at most.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What a permit of this API is for.
#[derive(Debug)]
struct Auditing;

/// What is known of a call as it goes, for its outcome.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) action: &'static str,
    pub(super) params: BTreeMap<String, String>,
}

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
    let scope = frame::open(&app, connection, request.headers());
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
    let mut trail = Trail { action: "admin:unresolved", params: BTreeMap::new() };
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
        let mut trail = Trail { action: operation.action(), params: BTreeMap::new() };
        trail.params.insert("operation".into(), operation.name().into());
        trail.params.insert("place".into(), place.into());
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
    trail.params.insert("operation".into(), operation.name().into());
    let checks = vec![check(scope, operation)?];
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
            trail.params.insert("text".into(), question.q.clone());
            ask::search(context, question, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Request => {
            trail.params.insert("request".into(), id.into());
            let question = Question::of_request(id)?;
            ask::search(context, question, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Event => {
            trail.params.insert("event".into(), id.into());
            ask::event(context, id).await.map(Answered::Whole)
        }
        Operation::Bundle => {
            let wanted = Wanted::parse(body)?;
            trail.params.insert("text".into(), wanted.query()?);
            bundle::bundle(context, wanted, scope.now_us()).await.map(Answered::Whole)
        }
        Operation::Proof => {
            trail.params.insert("seq".into(), id.into());
            log::prove(context, id).await.map(Answered::Whole)
        }
        Operation::Tile | Operation::Entries => {
            trail.params.insert("place".into(), id.into());
            log::fetch(context, id).await.map(Answered::Whole)
        }
        Operation::Tail => {
            let pairs = Pairs::parse(parts.uri.query())?;
            let (tail, query, text) =
                follow::begin(context, &pairs, &parts.headers, scope.now_us())?;
            trail.params.insert("text".into(), text);
            // ORDER: the decision is durable before the first record leaves.
            scope.settle().await?;
            let params = trail.params.clone();
            let kept = Trail { action: trail.action, params };
            follow::respond(context, Arc::clone(scope), kept, tail, query).map(Answered::Stream)
        }
    }
}

fn check(scope: &Scope, operation: Operation) -> Result<Check, AdminError> {
    let action = Action::parse(operation.action()).map_err(|error| {
        tracing::error!(%error, "an audit call names an action that is not one");
        AdminError::internal()
    })?;
    let mut context = policy_lab::Context::new();
    transport_context(&mut context, scope);
    if let Some(actor) = scope.actor() {
        principal_context(&mut context, scope, &actor.principal.account);
    }
    let params = BTreeMap::new();
    Ok(Check { action, resource: Resource::Any, context, class: Class::Query, params })
}

/// Records what was asked and what was found, and waits until it is durable.
async fn record_outcome(
    scope: &Scope,
    trail: Trail,
    result: Result<&Found, &AdminError>,
) -> Result<(), AdminError> {
    let (code, bytes_out, error) = match result {
        Ok(found) => (StatusCode::OK, found.body.len() as u64, None),
        Err(error) => {
            let info = ErrorInfo { code: error.code.to_string(), msg: error.message.to_string() };
            (error.status, 0, Some(info))
        }
    };
    let us = scope.elapsed_us();
    let outcome = Outcome { code: code.as_u16(), bytes_out, us, ..Outcome::default() };
    let mut record = scope.outcome_record(Class::Query, trail.action, Vec::new(), outcome, error);
    record.params = trail.params;
    if let Some(coverage) = result.ok().and_then(|found| found.coverage) {
        record.params.insert("matches".into(), coverage.matches.to_string());
        record.params.insert("range".into(), format!("{}..{}", coverage.from, coverage.to));
    }
    scope.append(&[record]).await?;
    Ok(scope.settle().await?)
}
