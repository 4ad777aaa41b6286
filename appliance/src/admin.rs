//! The admin API that `mc admin` and the MinIO SDKs speak: users, groups, policies, server information.
//!
//! Table-driven: one [`Row`] per call. Every call is decided by the same gate as an S3 request, so its handler needs a
//! permit; it is decided before its body is opened, because opening costs 64 MiB and a tenth of a second; and it is
//! answered when its outcome is durable in the log.
//!
//! # Source
//! The wire format of `madmin-go` v3 and `minio-py`.

mod attachment;
mod audit_key;
pub mod envelope;
mod error;
mod group;
mod info;
mod operation;
mod policy;
mod retention;
mod serve;
mod siem;
mod user;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use audit::Class;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, header};

pub use self::audit_key::LogKeys;
pub use self::error::AdminError;
use self::operation::Answer;
pub use self::operation::{Call, Operation, Row};
pub(crate) use self::serve::error_response;
pub use self::serve::serve;
pub(crate) use self::world::world;
use crate::authz::Gate;
use crate::call::{Sent, Trail};
use crate::iam::Iam;
use crate::retention::Keeper;
use crate::s3::auth::{PayloadKind, Scheme, Signed};
use crate::s3::query::Query;
use crate::scope::Scope;
use crate::siem::Deliveries;

/// Where all calls live.
const PREFIX: &str = "/minio/admin/v3/";
/// The action of a call that no row names.
pub(crate) const UNRESOLVED: &str = "admin:unresolved";
/// Bodies sealed or opened at the same time; each holds 64 MiB.
const ENVELOPES_AT_ONCE: usize = 4;
/// Longest body of a call.
pub const BODY_BYTES_MAX: usize = envelope::SEALED_BYTES_MAX;
/// Query parameters that reach the log: names of things, never secrets.
const RECORDED: &[&str] = &[
    "accessKey",
    "bucket",
    "digest",
    "group",
    "hold",
    "isGroup",
    "name",
    "policyName",
    "prefix",
    "principal",
    "proposal",
    "reason",
    "since",
    "status",
    "until",
    "userOrGroup",
];

/// What the calls work on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    gate: Arc<Gate>,
    iam: Arc<Iam>,
    siem: Arc<Deliveries>,
    keeper: Arc<Keeper>,
    log_keys: LogKeys,
    envelopes: envelope::Envelopes,
    started: Instant,
}

impl Context {
    #[must_use]
    pub fn new(
        gate: Arc<Gate>,
        iam: Arc<Iam>,
        siem: Arc<Deliveries>,
        keeper: Arc<Keeper>,
        log_keys: LogKeys,
    ) -> Self {
        let envelopes = envelope::Envelopes::new(ENVELOPES_AT_ONCE);
        Self { gate, iam, siem, keeper, log_keys, envelopes, started: Instant::now() }
    }
}

/// Whether [`serve`] answers this path.
#[must_use]
pub fn is_admin_path(path: &str) -> bool {
    path.starts_with("/minio/admin/")
}

/// All calls.
#[must_use]
pub fn table() -> Vec<Row> {
    vec![
        Row::of::<user::AddUser>(),
        Row::of::<user::ListUsers>(),
        Row::of::<user::UserInfo>(),
        Row::of::<user::RemoveUser>(),
        Row::of::<user::SetUserStatus>(),
        Row::of::<group::UpdateGroupMembers>(),
        Row::of::<group::GroupInfo>(),
        Row::of::<group::ListGroups>(),
        Row::of::<group::SetGroupStatus>(),
        Row::of::<policy::AddCannedPolicy>(),
        Row::of::<policy::InfoCannedPolicy>(),
        Row::of::<policy::ListCannedPolicies>(),
        Row::of::<policy::RemoveCannedPolicy>(),
        Row::of::<attachment::SetUserOrGroupPolicy>(),
        Row::of::<attachment::AttachPolicy>(),
        Row::of::<attachment::DetachPolicy>(),
        Row::of::<attachment::PolicyEntities>(),
        Row::of::<info::ServerInfo>(),
        Row::of::<siem::SiemStatus>(),
        Row::of::<siem::SiemReplay>(),
        Row::of::<siem::SiemResume>(),
        Row::of::<siem::SiemTest>(),
        Row::of::<retention::Retention>(),
        Row::of::<retention::Hold>(),
        Row::of::<retention::Release>(),
        Row::of::<retention::ProposePrune>(),
        Row::of::<retention::ConfirmPrune>(),
        Row::of::<retention::RefusePrune>(),
        Row::of::<audit_key::AuditKeyList>(),
        Row::of::<audit_key::AuditKeyRotate>(),
        Row::of::<audit_key::AuditKeyRevoke>(),
        Row::of::<world::ExportWorld>(),
    ]
}

/// Answers one call of an authenticated caller, whose body has been received and verified.
///
/// # Errors
/// The error to answer; its outcome is in the log already, unless the log is what failed.
pub async fn handle(
    context: &Context,
    scope: &Arc<Scope>,
    signed: &Signed,
    parts: &Parts,
    body: Bytes,
) -> Result<Response<Bytes>, AdminError> {
    let mut trail = unresolved();
    trail.bytes_in = body.len() as u64;
    let result = operate(context, scope, signed, parts, body, &mut trail).await;
    conclude(scope, trail, result).await
}

async fn operate(
    context: &Context,
    scope: &Arc<Scope>,
    signed: &Signed,
    parts: &Parts,
    body: Bytes,
    trail: &mut Trail,
) -> Result<Answer, AdminError> {
    // The clients sign headers and the literal digest; anything else on this path is not one of them.
    if signed.scheme != Scheme::Header || !matches!(signed.payload, PayloadKind::Sha256(_)) {
        return Err(AdminError::access_denied());
    }
    let query = Query::parse(parts.uri.query())?;
    let row = resolve(parts)?;
    trail.action = (row.action_of)(&query);
    trail.params = recorded(&query);
    trail.note("operation", row.name);
    let credential = context.iam.snapshot().credential(&signed.access_key);
    let credential = credential.ok_or_else(AdminError::access_denied)?;
    let call = Call {
        context: context.clone(),
        scope: Arc::clone(scope),
        secret: credential.secret,
        query,
        raw_query: parts.uri.query().unwrap_or_default().to_owned(),
        body,
        notes: operation::Notes::default(),
    };
    let notes = call.notes.clone();
    let answered = (row.run)(call).await;
    trail.params.extend(notes.take());
    answered
}

/// What the query says about the target of a call, for its records.
fn recorded(query: &Query) -> BTreeMap<String, String> {
    let named = RECORDED.iter().filter_map(|name| Some((*name, query.get(name)?)));
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn resolve(parts: &Parts) -> Result<Row, AdminError> {
    let name = parts.uri.path().strip_prefix(PREFIX).map(|name| name.trim_end_matches('/'));
    let rows: Vec<_> = table().into_iter().filter(|row| Some(row.name) == name).collect();
    if rows.is_empty() {
        return Err(AdminError::not_implemented());
    }
    let row = rows.into_iter().find(|row| row.method == parts.method);
    row.ok_or_else(AdminError::method_not_allowed)
}

/// A call before anything is known of it.
fn unresolved() -> Trail {
    let mut trail = Trail::new(Class::Admin, UNRESOLVED);
    trail.note("operation", "unresolved");
    trail
}

/// Records the outcome and waits until it is durable.
async fn conclude(
    scope: &Scope,
    trail: Trail,
    result: Result<Answer, AdminError>,
) -> Result<Response<Bytes>, AdminError> {
    let sent = match &result {
        Ok(answer) => Sent::Bytes(answer.body.len() as u64),
        Err(error) => Sent::Error(error.status, error.info()),
    };
    trail.conclude(scope, sent).await?;
    result.map(Answer::into_response)
}

impl Answer {
    fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body));
        if !response.body().is_empty() {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        response
    }
}

#[cfg(test)]
mod tests;
