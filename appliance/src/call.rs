//! What calls to the appliance itself have in common, whichever API they come by (administration, auditors, CloudTrail):
//! one action on no resource, and one outcome.

use std::collections::BTreeMap;

use audit::{Class, ErrorInfo, Outcome, Record};
use http::StatusCode;
use policy_lab::{Action, Context, Resource};

use crate::authz::{Check, Refusal};
use crate::recorder::Unrecorded;
use crate::s3::request::{principal_context, transport_context};
use crate::scope::Scope;

/// What is known of a call as it goes, for its records.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    pub(crate) class: Class,
    pub(crate) action: &'static str,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) bytes_in: u64,
}

/// What went out.
#[derive(Debug)]
pub(crate) enum Sent {
    /// An answer of so many bytes.
    Bytes(u64),
    Error(StatusCode, ErrorInfo),
}

impl Trail {
    pub(crate) fn new(class: Class, action: &'static str) -> Self {
        Self { class, action, params: BTreeMap::new(), bytes_in: 0 }
    }

    /// Says something about the call.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<String>) {
        self.params.insert(name.to_owned(), value.into());
    }

    /// The outcome, for a log that nobody waits for.
    pub(crate) fn outcome(self, scope: &Scope, sent: Sent) -> Record {
        let (code, bytes_out, error) = match sent {
            Sent::Bytes(bytes) => (StatusCode::OK, bytes, None),
            Sent::Error(code, error) => (code, 0, Some(error)),
        };
        let Self { class, action, params, bytes_in } = self;
        let (code, us) = (code.as_u16(), scope.elapsed_us());
        let outcome = Outcome { code, bytes_in, bytes_out, us, ..Outcome::default() };
        let mut record = scope.outcome_record(class, action, Vec::new(), outcome, error);
        record.params = params;
        record
    }

    /// Records the outcome, and waits until it is durable.
    ///
    /// # Errors
    /// The log has not made it durable; the answer must not leave.
    pub(crate) async fn conclude(self, scope: &Scope, sent: Sent) -> Result<(), Unrecorded> {
        scope.append(vec![self.outcome(scope, sent)]).await?;
        scope.settle().await
    }
}

/// The question whether the caller may do this; `params` is what its record says besides.
///
/// # Errors
/// [`Refusal::Unasked`]: the action is none, which is a mistake in a table of ours.
pub(crate) fn check(
    scope: &Scope,
    class: Class,
    action: &str,
    params: BTreeMap<String, String>,
) -> Result<Check, Refusal> {
    let action = Action::parse(action).map_err(|error| {
        tracing::error!(%error, action, "a call names an action that is not one");
        Refusal::Unasked
    })?;
    let mut context = Context::new();
    transport_context(&mut context, scope);
    if let Some(actor) = scope.actor() {
        principal_context(&mut context, scope, &actor.principal.account);
    }
    Ok(Check { action, resource: Resource::Any, context, class, params })
}
