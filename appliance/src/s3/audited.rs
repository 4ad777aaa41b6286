//! The outermost layer of a request: opens its audit scope, and does not answer before the log has what it must have.
//!
//! A change is answered when its outcome is durable; a read's first byte waits for its decision, and its outcome
//! follows when the last byte has left. A request that fails before it is an operation is recorded too.

use std::sync::Arc;

use audit::{Class, ErrorInfo, Outcome, Record, Resource};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tracing::Instrument;

use super::auth::{Authenticated, Cause, Failure, Scheme, Verifier};
use super::body::Payload;
use super::error::{Named, S3Error};
use super::outgoing::Outgoing;
use super::query::Query;
use super::request::{Call, Target, host};
use super::{answer, guard};
use crate::app::App;
use crate::authz::{Effect, touched};
use crate::config::Rule;
use crate::frame::{self, insert};
use crate::iam::Snapshot;
use crate::scope::{Actor, Scope};
use crate::server::{Body, Connection};

/// Answers one S3 request.
pub async fn serve(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let scope = frame::open(&app, connection, &request);
    let head_only = request.method() == Method::HEAD;
    let path = request.uri().path().to_owned();
    let mut trail = Trail::default();
    let span =
        tracing::info_span!("s3", request = %scope.request_id, operation = tracing::field::Empty);
    let result = operate(&app, &scope, request, &mut trail).instrument(span).await;
    let code = match &result {
        Ok(response) => response.status(),
        Err(error) => error.status,
    };
    let result = match close(&scope, &mut trail, result).await {
        Ok(response) => response,
        Err(error) => error_response(&app, &scope, &trail, &path, head_only, &error),
    };
    app.metrics().received_bytes(trail.bytes_in);
    frame::close(&app, &scope, trail.name, code.as_u16(), result)
}

/// Refuses a request that nobody has looked at. It leaves no record: nothing was decided, and whoever sends more than
/// there is room for must not fill the log.
pub fn refuse_unread(
    app: &App,
    connection: Arc<Connection>,
    request: &Request<Incoming>,
    error: &S3Error,
) -> Response<Body> {
    let scope = frame::open(app, connection, request);
    let (trail, path) = (Trail::default(), request.uri().path());
    let head_only = request.method() == Method::HEAD;
    let response = error_response(app, &scope, &trail, path, head_only, error);
    frame::close(app, &scope, trail.name, error.status.as_u16(), response)
}

/// What is known of a request as it goes, for its outcome.
#[derive(Debug)]
pub(super) struct Trail {
    name: &'static str,
    action: &'static str,
    class: Class,
    effect: Effect,
    target: Option<Target>,
    pub(super) bytes_in: u64,
    /// The operation was found and its decision is the log's business from here.
    resolved: bool,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            name: "unresolved",
            action: "s3:unresolved",
            class: Class::Authn,
            effect: Effect::Read,
            target: None,
            bytes_in: 0,
            resolved: false,
        }
    }
}

impl Trail {
    /// What is known so far; the name stays, for the metrics.
    pub(super) fn take(&mut self) -> Self {
        let name = self.name;
        std::mem::replace(self, Self { name, resolved: true, ..Self::default() })
    }

    fn resources(&self) -> Vec<Resource> {
        self.target.as_ref().map(|target| vec![touched(&target.resource())]).unwrap_or_default()
    }
}

async fn operate(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    request: Request<Incoming>,
    trail: &mut Trail,
) -> Result<Response<Body>, S3Error> {
    let (parts, body) = request.into_parts();
    let authenticated = authenticate(app, scope, &parts).await?;
    guard::unsupported(&parts.headers, app.account())?;
    let query = Query::parse(parts.uri.query())?;
    let host = host(&parts.uri, &parts.headers);
    let target = Target::parse(parts.uri.path(), host, app.domains())?;
    trail.target = Some(target.clone());
    let row = app.operations().resolve(&parts.method, &target, &query, &parts.headers)?.clone();
    (trail.name, trail.action, trail.class, trail.effect) =
        (row.name, row.action, row.class, row.effect);
    trail.resolved = true;
    tracing::Span::current().record("operation", row.name);
    let payload = Payload::new(body, &authenticated, &parts.headers, app.body_limits())?;
    let received = payload.counter();
    let call = Call {
        app: Arc::clone(app),
        scope: Arc::clone(scope),
        target,
        query,
        headers: parts.headers,
        authenticated,
        payload,
    };
    let result = (row.run)(call).await;
    trail.bytes_in = received.bytes();
    result
}

/// Verifies who is asking. A failure is a record of its own, durable before the answer.
///
/// # Errors
/// The authentication error, once it is recorded; or that it could not be.
pub(crate) async fn authenticate(
    app: &App,
    scope: &Scope,
    parts: &http::request::Parts,
) -> Result<Authenticated, S3Error> {
    authenticate_by(app.verifier(), app, scope, parts).await
}

/// The same, for another service's signatures.
///
/// # Errors
/// As [`authenticate`].
pub(crate) async fn authenticate_by(
    verifier: &Verifier,
    app: &App,
    scope: &Scope,
    parts: &http::request::Parts,
) -> Result<Authenticated, S3Error> {
    let now_s = scope.now_us() / 1_000_000;
    let identities = app.iam().snapshot();
    let verified = tracing::info_span!("authenticate").in_scope(|| {
        verifier.authenticate(&parts.method, &parts.uri, &parts.headers, &*identities, now_s)
    });
    let failure = match verified {
        Ok(authenticated) => match actor_of(&identities, &authenticated) {
            Some(actor) => {
                scope.identify(actor);
                return Ok(authenticated);
            }
            None => Failure { cause: Cause::UnknownKey, claimed_access_key: None },
        },
        Err(failure) => failure,
    };
    app.metrics().rejected_auth();
    let record = scope.refused_record(
        failure.reason(),
        failure.code(),
        failure.claimed_access_key.as_deref(),
        parts.method.as_str(),
        parts.uri.path(),
    );
    scope.append(vec![record]).await?;
    scope.settle().await?;
    let error = S3Error::new(failure.code(), failure.status(), failure.message());
    Err(S3Error { details: failure.details(), ..error })
}

/// The caller behind a verified signature; none if the key was disabled or removed meanwhile.
fn actor_of(identities: &Snapshot, authenticated: &Authenticated) -> Option<Actor> {
    match authenticated {
        Authenticated::Anonymous => Some(Actor {
            principal: crate::iam::anonymous(),
            access_key: None,
            scheme: "none",
            signature_sha256: None,
        }),
        Authenticated::Signed(signed) => {
            let credential = identities.credential(&signed.access_key)?;
            credential.enabled.then(|| Actor {
                principal: credential.principal,
                access_key: Some(signed.access_key.clone()),
                scheme: match signed.scheme {
                    Scheme::Header => "v4",
                    Scheme::Presigned => "presigned",
                },
                signature_sha256: Some(signed.sig_sha256.as_str().into()),
            })
        }
    }
}

/// Records the outcome and waits for what must be durable before the answer.
async fn close(
    scope: &Arc<Scope>,
    trail: &mut Trail,
    result: Result<Response<Body>, S3Error>,
) -> Result<Response<Body>, S3Error> {
    let result = match result {
        Ok(response) if trail.effect == Effect::Read => {
            if let Some(bytes) = response.body().size_hint().exact() {
                scope.promise(trail.name, response.status().as_u16(), bytes);
            }
            let recorded = match scope.rule_of_read(trail.class) {
                Rule::Async => scope.hand_over().await,
                Rule::Strict | Rule::Response => scope.settle().await,
            };
            recorded.map(|()| response).map_err(S3Error::from)
        }
        result => result,
    };
    match result {
        Ok(response) if trail.effect == Effect::Read => {
            Ok(Outgoing::wrap(response, Arc::clone(scope), trail))
        }
        Ok(response) => {
            let outcome = Outcome {
                code: response.status().as_u16(),
                bytes_in: trail.bytes_in,
                us: scope.elapsed_us(),
                ..Outcome::default()
            };
            scope.append(vec![outcome_record(scope, trail, outcome, None)]).await?;
            scope.settle().await?;
            Ok(response)
        }
        Err(error) => {
            // A refused signature has its own record already.
            if scope.actor().is_some() {
                let outcome = Outcome {
                    code: error.status.as_u16(),
                    bytes_in: trail.bytes_in,
                    us: scope.elapsed_us(),
                    ..Outcome::default()
                };
                let info =
                    ErrorInfo { code: error.code.to_string(), msg: error.message.to_string() };
                scope.append(vec![outcome_record(scope, trail, outcome, Some(info))]).await?;
                scope.settle().await?;
            }
            Err(error)
        }
    }
}

pub(super) fn outcome_record(
    scope: &Scope,
    trail: &Trail,
    outcome: Outcome,
    error: Option<ErrorInfo>,
) -> Record {
    let mut record =
        scope.outcome_record(trail.class, trail.action, trail.resources(), outcome, error);
    record.params.insert("operation".into(), trail.name.into());
    record
}

fn error_response(
    app: &App,
    scope: &Scope,
    trail: &Trail,
    path: &str,
    head_only: bool,
    error: &S3Error,
) -> Response<Body> {
    let target = trail.target.as_ref();
    let named = Named {
        bucket: target.and_then(Target::bucket).map(storage::BucketName::as_str),
        key: target.and_then(Target::key).map(storage::ObjectKey::as_str),
        path,
        request_id: &scope.request_id,
        host_id: app.host_id(),
    };
    let mut response = if head_only || error.status == StatusCode::NOT_MODIFIED {
        answer::empty(error.status)
    } else {
        answer::xml(error.status, error.to_xml(&named))
    };
    let headers = response.headers_mut();
    if head_only {
        insert(headers, "x-minio-error-code", &error.code);
        insert(headers, "x-minio-error-desc", &error.message);
    }
    if let Some(event) = &error.decision {
        insert(headers, "x-appliance-decision", event);
    }
    response
}
