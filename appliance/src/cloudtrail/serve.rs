//! From a call of the CloudTrail API to its answer: AWS JSON 1.1, signed for the service `cloudtrail`, decided by the gate,
//! and its outcome in the log before it leaves.
//!
//! # Source
//! Smithy, "AWS JSON 1.1 protocol".

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use audit::{Class, ErrorInfo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header as names};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lookup::Lookup;
use super::names::TRAIL;
use super::operation::TARGET;
use super::{Context, Operation};
use crate::app::App;
use crate::authz::{Effect, Permit};
use crate::call::{self, Sent, Trail};
use crate::frame;
use crate::redact;
use crate::s3::answer;
use crate::s3::audited::authenticate_by;
use crate::s3::auth::{Authenticated, Scheme};
use crate::s3::error::S3Error;
use crate::s3::request::header;
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

    fn info(&self) -> ErrorInfo {
        ErrorInfo { code: self.code.clone(), msg: self.message.clone() }
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
    let scope = frame::open(&app, connection, &request);
    let (parts, body) = request.into_parts();
    let (status, answer) = match receive(&app, &scope, parts, body).await {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Refused { code, status, message }) => {
            (status, json!({ "__type": code, "message": message }).to_string())
        }
    };
    let mut response = answer::bytes(status, Bytes::from(answer));
    response.headers_mut().insert(names::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    frame::close(&app, &scope, "cloudtrail", status.as_u16(), response)
}

async fn receive(
    app: &Arc<App>,
    scope: &Arc<Scope>,
    mut parts: Parts,
    body: Incoming,
) -> Result<String, Refused> {
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
    let mut trail = Trail::new(Class::Query, "cloudtrail:unresolved");
    trail.bytes_in = body.len() as u64;
    let answered = operate(app, scope, &parts, &authenticated, &body, &mut trail).await;
    let result = answered.map(|answer| answer.to_string());
    let sent = match &result {
        Ok(answer) => Sent::Bytes(answer.len() as u64),
        Err(refused) => Sent::Error(refused.status, refused.info()),
    };
    trail.conclude(scope, sent).await?;
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
    trail.note("operation", operation.name());
    let body: Value = match body {
        [] => json!({}),
        body => serde_json::from_slice(body)
            .map_err(|error| redact::json_error(&error))
            .map_err(|why| Refused::invalid("SerializationException", &why))?,
    };
    let checks = vec![call::check(scope, trail.class, trail.action, BTreeMap::new())?];
    let permit = app.gate().decide::<Asking>(scope, Effect::Read, checks).await?;
    carry_out(app, permit, scope, operation, body, trail).await
}

fn denied() -> Refused {
    let message = "Access Denied.".to_owned();
    Refused { code: "AccessDeniedException".into(), status: StatusCode::FORBIDDEN, message }
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
            trail.note("text", lookup.text());
            let (app, now_us) = (Arc::clone(app), scope.now_us());
            let looked = tokio::task::spawn_blocking(move || {
                let context = app.cloudtrail();
                lookup.answer(&context.searcher, &context.about, now_us)
            });
            let found = looked.await.map_err(Refused::internal)??;
            let events = found["Events"].as_array().map_or(0, Vec::len);
            trail.note("matches", events.to_string());
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
