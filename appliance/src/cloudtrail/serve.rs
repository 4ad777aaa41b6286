//! From a call of the CloudTrail API to its answer: AWS JSON 1.1, signed for the service `cloudtrail`, decided by the gate,
//! and its outcome in the log before it leaves.
//!
//! # Source
//! Smithy, "AWS JSON 1.1 protocol".

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use audit::{Class, ErrorInfo, Outcome};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header as names};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use policy_lab::{Action, Resource};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lookup::Lookup;
use super::names::TRAIL;
use super::operation::TARGET;
use super::{Context, Operation};
use crate::app::App;
use crate::authz::{Check, Effect, Permit};
use crate::frame;
use crate::s3::answer;
use crate::s3::audited::authenticate_by;
use crate::s3::auth::{Authenticated, Scheme};
use crate::s3::error::S3Error;
use crate::s3::request::{header, principal_context, transport_context};
use crate::scope::Scope;
use crate::server::{Body, Connection};

const BODY_BYTES_MAX: usize = 64 << 10;
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const SHA256: &str = "x-amz-content-sha256";

/// What a permit of this API is for.
#[derive(Debug)]
struct Asking;

/// An error as a client of this protocol sees it.
#[derive(Debug)]
pub(super) struct Refused {
    code: String,
    status: StatusCode,
    message: String,
}

impl Refused {
    pub(super) fn invalid(code: &str, message: &str) -> Self {
        Self { code: code.into(), status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_internal(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// For the operator's log only.
    pub(super) fn internal(error: impl Display) -> Self {
        tracing::error!(%error, "a CloudTrail call could not be answered");
        Self {
            code: "InternalFailure".into(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "We encountered an internal error, please try again.".into(),
        }
    }
}

impl<E: Into<S3Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        let S3Error { code, status, message, .. } = error.into();
        let code = match &*code {
            "AccessDenied" => "AccessDeniedException".to_owned(),
            other => other.to_owned(),
        };
        Self { code, status, message: message.into_owned() }
    }
}

/// Whether [`serve`] answers this request; nothing of S3 has this header.
#[must_use]
pub fn is_cloudtrail_request<B>(request: &Request<B>) -> bool {
    *request.method() == Method::POST
        && request.uri().path() == "/"
        && header(request.headers(), "x-amz-target").is_some_and(|it| it.starts_with(TARGET))
}

/// Answers one call.
pub async fn serve(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let scope = frame::open(&app, connection, request.headers());
    let (parts, body) = request.into_parts();
    let (status, answer) = match receive(&app, &scope, parts, body).await {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Refused { code, status, message }) => {
            (status, json!({ "__type": code, "message": message }))
        }
    };
    let mut response = answer::bytes(status, Bytes::from(answer.to_string()));
    response.headers_mut().insert(names::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    frame::close(&app, &scope, "cloudtrail", status.as_u16(), response)
}

/// What is known of a call as it goes, for its outcome.
struct Trail {
    action: &'static str,
    params: BTreeMap<String, String>,
    bytes_in: u64,
}

async fn receive(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    mut parts: Parts,
    body: Incoming,
) -> Result<Value, Refused> {
    let body = collect(app, body).await?;
    let sha256 = hex::encode(Sha256::digest(&body));
    match header(&parts.headers, SHA256) {
        Some(said) if said != sha256 => {
            let message = "The body is not the one that was signed.";
            return Err(Refused::invalid("InvalidSignatureException", message));
        }
        Some(_) => {}
        // Clients of this protocol do not say it; what was signed has it all the same.
        None => {
            let value = HeaderValue::from_str(&sha256).map_err(Refused::internal)?;
            parts.headers.insert(SHA256, value);
        }
    }
    // A failure here has its own record.
    let authenticated = authenticate_by(&app.cloudtrail().verifier, app, scope, &parts).await?;
    let mut trail = Trail {
        action: "cloudtrail:unresolved",
        params: BTreeMap::new(),
        bytes_in: body.len() as u64,
    };
    let result = operate(app, scope, &parts, &authenticated, &body, &mut trail).await;
    record_outcome(scope, trail, result.as_ref()).await?;
    result
}

/// The body before anybody is known: small, and within the time that bodies get.
async fn collect(app: &App, body: Incoming) -> Result<Bytes, Refused> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let unread = || Refused::invalid("SerializationException", "The body could not be read.");
    match tokio::time::timeout(app.body_limits().idle, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) | Err(_) => Err(unread()),
    }
}

async fn operate(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    parts: &Parts,
    authenticated: &Authenticated,
    body: &[u8],
    trail: &mut Trail,
) -> Result<Value, Refused> {
    let is_header =
        matches!(authenticated, Authenticated::Signed(signed) if signed.scheme == Scheme::Header);
    if !is_header {
        return Err(denied());
    }
    let target = header(&parts.headers, "x-amz-target").unwrap_or_default();
    let Some(operation) = Operation::of(target) else {
        let message = "This call of the CloudTrail API is not answered here.";
        return Err(Refused::invalid("UnknownOperationException", message));
    };
    trail.action = operation.action();
    trail.params.insert("operation".into(), operation.name().into());
    let body: Value = match body {
        [] => json!({}),
        body => serde_json::from_slice(body)
            .map_err(|error| Refused::invalid("SerializationException", &error.to_string()))?,
    };
    let checks = vec![check(scope, operation)?];
    let permit = app.gate().decide::<Asking>(scope, Effect::Read, checks).await?;
    carry_out(app, permit, scope, operation, body, trail).await
}

fn denied() -> Refused {
    let message = "Access Denied.".to_owned();
    Refused { code: "AccessDeniedException".into(), status: StatusCode::FORBIDDEN, message }
}

fn check(scope: &Scope, operation: Operation) -> Result<Check, Refused> {
    let action = Action::parse(operation.action()).map_err(Refused::internal)?;
    let mut context = policy_lab::Context::new();
    transport_context(&mut context, scope);
    if let Some(actor) = scope.actor() {
        principal_context(&mut context, scope, &actor.principal.account);
    }
    let params = BTreeMap::new();
    Ok(Check { action, resource: Resource::Any, context, class: Class::Query, params })
}

async fn carry_out(
    app: &Arc<App>,
    _permit: Permit<Asking>,
    scope: &Arc<Scope>,
    operation: Operation,
    body: Value,
    trail: &mut Trail,
) -> Result<Value, Refused> {
    let context = app.cloudtrail();
    match operation {
        Operation::DescribeTrails => Ok(describe(context)),
        Operation::GetTrailStatus => status(context, &body),
        Operation::ListPublicKeys => public_keys(context, &body),
        Operation::LookupEvents => {
            let lookup: Lookup = serde_json::from_value(body)
                .map_err(|error| Refused::invalid("SerializationException", &error.to_string()))?;
            trail.params.insert("text".into(), lookup.text());
            let (app, now_us) = (Arc::clone(app), scope.now_us());
            let looked = tokio::task::spawn_blocking(move || {
                let context = app.cloudtrail();
                lookup.answer(&context.searcher, &context.about, now_us)
            });
            let found = looked.await.map_err(Refused::internal)??;
            let events = found["Events"].as_array().map_or(0, Vec::len);
            trail.params.insert("matches".into(), events.to_string());
            Ok(found)
        }
    }
}

fn describe(context: &Context) -> Value {
    let trails = context.trail.iter().map(|trail| {
        json!({
            "Name": TRAIL,
            "S3BucketName": trail.settings.bucket.as_str(),
            "TrailARN": context.names.trail_arn(),
            "HomeRegion": context.names.region,
            "LogFileValidationEnabled": true,
            "IncludeGlobalServiceEvents": true,
            "IsMultiRegionTrail": false,
            "IsOrganizationTrail": false,
            "HasCustomEventSelectors": false,
            "HasInsightSelectors": false,
        })
    });
    json!({ "trailList": trails.collect::<Vec<_>>() })
}

fn status(context: &Context, body: &Value) -> Result<Value, Refused> {
    let name = body["Name"].as_str().unwrap_or_default();
    let trail = context.trail.as_ref();
    let Some(trail) = trail.filter(|_| name == TRAIL || name == context.names.trail_arn()) else {
        let message = format!("There is no trail `{name}`.");
        return Err(Refused::invalid("TrailNotFoundException", &message));
    };
    let status = trail.exporter.status();
    let mut answer = json!({ "IsLogging": true, "StartLoggingTime": status.since_s });
    for (member, time_us) in [
        ("LatestDeliveryTime", status.delivered_us),
        ("LatestDigestDeliveryTime", status.digested_us),
    ] {
        if let Some(time_us) = time_us {
            answer[member] = (time_us / 1_000_000).into();
        }
    }
    if let Some(error) = status.error {
        answer["LatestDeliveryError"] = error.into();
    }
    Ok(answer)
}

/// The keys whose time meets the one that is asked for.
fn public_keys(context: &Context, body: &Value) -> Result<Value, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Range {
        start_time: f64,
        end_time: f64,
    }
    impl Default for Range {
        fn default() -> Self {
            Self { start_time: 0.0, end_time: f64::MAX }
        }
    }
    let range: Range = serde_json::from_value(body.clone())
        .map_err(|error| Refused::invalid("InvalidTimeRangeException", &error.to_string()))?;
    let keys = context.trail.iter().filter_map(|trail| {
        let (from_us, until_us) = trail.key.validity_us();
        let (from_s, until_s) = (from_us / 1_000_000, until_us / 1_000_000);
        #[expect(clippy::cast_precision_loss, reason = "seconds fit a float for ages")]
        let meets = range.start_time <= until_s as f64 && range.end_time >= from_s as f64;
        meets.then(|| {
            json!({
                "Value": STANDARD.encode(trail.key.public_der()),
                "ValidityStartTime": from_s,
                "ValidityEndTime": until_s,
                "Fingerprint": trail.key.fingerprint(),
            })
        })
    });
    Ok(json!({ "PublicKeyList": keys.collect::<Vec<_>>() }))
}

/// Records what was asked and what became of it, and waits until it is durable.
async fn record_outcome(
    scope: &Scope,
    trail: Trail,
    result: Result<&Value, &Refused>,
) -> Result<(), Refused> {
    let (code, error) = match result {
        Ok(_) => (StatusCode::OK, None),
        Err(refused) => {
            let info = ErrorInfo { code: refused.code.clone(), msg: refused.message.clone() };
            (refused.status, Some(info))
        }
    };
    let (us, bytes_in) = (scope.elapsed_us(), trail.bytes_in);
    let outcome = Outcome { code: code.as_u16(), bytes_in, us, ..Outcome::default() };
    let mut record = scope.outcome_record(Class::Query, trail.action, Vec::new(), outcome, error);
    record.params = trail.params;
    scope.append(&[record]).await?;
    scope.settle().await?;
    Ok(())
}
