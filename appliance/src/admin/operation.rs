//! What every admin call has in common: its place in the table, its decision, the sealing of its bodies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use audit::Class;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{AdminError, Context};
use crate::authz::{Check, Effect, Permit};
use crate::call;
use crate::iam::{Iam, Snapshot};
use crate::s3::auth::SecretKey;
use crate::s3::query::Query;
use crate::scope::Scope;

/// Most values of one repeated query parameter.
const REPEATED_MAX: usize = 1000;

/// Which bodies of a call are sealed under the caller's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    Neither,
    Request,
    Response,
    Both,
}

/// One admin call: its decision, and its handler, which takes the permit by value.
pub trait Operation: Sized + Send + 'static {
    /// The path behind the common prefix.
    const NAME: &'static str;
    const METHOD: Method;
    /// The action that is decided.
    const ACTION: &'static str;
    /// The action in place of [`Self::ACTION`] when the call disables something.
    const ACTION_DISABLING: Option<&'static str> = None;
    const EFFECT: Effect;
    const SEALED: Sealed;

    /// Carries the call out. The body in `call` is open.
    fn run(
        permit: Permit<Self>,
        call: Call,
    ) -> impl Future<Output = Result<Answer, AdminError>> + Send;
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub method: Method,
    /// The whole path.
    pub path: String,
    pub action: &'static str,
    /// Another action that the call is decided by when it disables something.
    pub action_disabling: Option<&'static str>,
    pub effect: Effect,
    pub sealed: Sealed,
    pub(super) action_of: fn(&Query) -> &'static str,
    pub(super) run: fn(Call) -> BoxFuture<'static, Result<Answer, AdminError>>,
}

impl Row {
    pub(super) fn of<O: Operation>() -> Self {
        Self {
            name: O::NAME,
            method: O::METHOD,
            path: format!("{}{}", super::PREFIX, O::NAME),
            action: O::ACTION,
            action_disabling: O::ACTION_DISABLING,
            effect: O::EFFECT,
            sealed: O::SEALED,
            action_of: action_of::<O>,
            run: |call| execute::<O>(call).boxed(),
        }
    }
}

fn action_of<O: Operation>(query: &Query) -> &'static str {
    let disabling = O::ACTION_DISABLING.filter(|_| query.get("status") == Some("disabled"));
    disabling.unwrap_or(O::ACTION)
}

/// ORDER: decided and recorded, then the body opened, then carried out, then the answer sealed.
async fn execute<O: Operation>(mut call: Call) -> Result<Answer, AdminError> {
    let check = call.check(action_of::<O>(&call.query))?;
    let permit = call.context.gate.decide::<O>(&call.scope, O::EFFECT, vec![check]).await?;
    let envelopes = call.context.envelopes.clone();
    let secret = Zeroizing::new(call.secret.expose().to_owned());
    if matches!(O::SEALED, Sealed::Request | Sealed::Both) {
        let sealed = std::mem::take(&mut call.body);
        let mut open = envelopes.open(secret.clone(), sealed).await?;
        call.body = Bytes::from(std::mem::take(&mut *open));
    }
    let mut answer = O::run(permit, call).await?;
    if matches!(O::SEALED, Sealed::Response | Sealed::Both) {
        answer.body = envelopes.seal(secret, answer.body).await?;
    }
    Ok(answer)
}

/// One admin call under way.
pub struct Call {
    pub(super) context: Context,
    pub(super) scope: Arc<Scope>,
    /// The caller's secret, which bodies are sealed under.
    pub(super) secret: SecretKey,
    pub(super) query: Query,
    pub(super) raw_query: String,
    pub(super) body: Bytes,
    pub(super) notes: Notes,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may hold a secret.
        f.debug_struct("Call").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Call {
    pub(super) fn iam(&self) -> &Iam {
        &self.context.iam
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.context.iam.snapshot()
    }

    pub(super) fn now_us(&self) -> u64 {
        self.scope.now_us()
    }

    /// Makes decisions from here on see what this call changed; also after a failure, which may have changed a part.
    pub(super) fn identities_changed(&self) {
        self.context.gate.forget_identities();
    }

    /// A query parameter that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, AdminError> {
        let value = self.query.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| {
            AdminError::invalid_argument(format!("The parameter {name} is missing."))
        })
    }

    /// All values of a repeated query parameter.
    pub(super) fn repeated(&self, name: &str) -> Vec<String> {
        let pairs = self.raw_query.split('&').filter_map(|pair| Query::parse(Some(pair)).ok());
        let values = pairs.filter_map(|pair| pair.get(name).map(ToOwned::to_owned));
        values.filter(|value| !value.is_empty()).take(REPEATED_MAX).collect()
    }

    /// The open body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, AdminError> {
        // The text of a JSON error may quote the body, which may hold a secret: it is not passed on.
        serde_json::from_slice(&self.body).map_err(|_| AdminError::bad_json())
    }

    /// Puts what the body named into the outcome record; never a secret.
    pub(super) fn note(&self, name: &str, value: impl Into<String>) {
        self.notes.lock().insert(name.to_owned(), value.into());
    }

    fn check(&self, action: &str) -> Result<Check, AdminError> {
        Ok(call::check(&self.scope, Class::Admin, action, super::recorded(&self.query))?)
    }
}

/// What a handler wants in the outcome record.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

impl Notes {
    pub(super) fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A successful answer: status 200, with or without a JSON body.
#[derive(Debug, Default)]
pub struct Answer {
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Result<Self, AdminError> {
        let body = serde_json::to_vec(value).map_err(|error| {
            tracing::error!(%error, "an admin answer did not serialise");
            AdminError::internal()
        })?;
        Ok(Self { body })
    }
}

/// A time as Go clients read it.
pub(super) fn rfc3339(at_us: u64) -> String {
    let at = i64::try_from(at_us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    at.unwrap_or_default().to_string()
}
