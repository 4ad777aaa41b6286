//! Retention of the log: holds, and the two steps of a prune. Calls of our own, under the same prefix and the same gate.

use http::{Method, StatusCode};
use serde_json::json;

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed};
use crate::authz::{Effect, Permit};
use crate::retention::{RetentionError, Subject};

/// `GET audit-retention`: retention, holds and the open proposal.
#[derive(Debug)]
pub(super) struct Retention;

impl Operation for Retention {
    const NAME: &'static str = "audit-retention";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:AuditRetention";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        Answer::json(&call.context.keeper.status(call.now_us()).await?)
    }
}

/// `POST audit-hold?reason=R` with one of `prefix=BUCKET/KEY`, `principal=WHO`, or `since=T&until=T`.
#[derive(Debug)]
pub(super) struct Hold;

impl Operation for Hold {
    const NAME: &'static str = "audit-hold";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditHold";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let query = &call.query;
        let times = (query.get("since"), query.get("until"));
        let subject = Subject::parse(query.get("prefix"), query.get("principal"), times)?;
        let reason = call.required("reason")?;
        let hold = call.context.keeper.hold(&call.scope, &subject, reason).await?;
        call.note("hold", hold.clone());
        Answer::json(&json!({ "hold": hold }))
    }
}

/// `POST audit-release?hold=ID&reason=R`.
#[derive(Debug)]
pub(super) struct Release;

impl Operation for Release {
    const NAME: &'static str = "audit-release";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditHold";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (hold, reason) = (call.required("hold")?, call.required("reason")?);
        call.context.keeper.release(&call.scope, hold, reason).await?;
        Ok(Answer::default())
    }
}

/// `POST audit-prune-propose?reason=R`: what could go, in the log, for somebody else to confirm.
#[derive(Debug)]
pub(super) struct ProposePrune;

impl Operation for ProposePrune {
    const NAME: &'static str = "audit-prune-propose";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditPrune";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let proposed = call.context.keeper.propose(&call.scope, call.required("reason")?).await?;
        call.note("proposal", proposed.id.clone());
        call.note("digest", proposed.digest.clone());
        Answer::json(&proposed)
    }
}

/// `POST audit-prune-confirm?proposal=ID&digest=HEX`: prunes.
#[derive(Debug)]
pub(super) struct ConfirmPrune;

impl Operation for ConfirmPrune {
    const NAME: &'static str = "audit-prune-confirm";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditConfirmPrune";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (proposal, digest) = (call.required("proposal")?, call.required("digest")?);
        let pruned = call.context.keeper.confirm(&call.scope, proposal, digest).await?;
        call.note("record", pruned.record.to_string());
        Answer::json(&json!({ "first": pruned.end, "record": pruned.record }))
    }
}

/// `POST audit-prune-refuse?proposal=ID&reason=R`.
#[derive(Debug)]
pub(super) struct RefusePrune;

impl Operation for RefusePrune {
    const NAME: &'static str = "audit-prune-refuse";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:AuditConfirmPrune";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let (proposal, reason) = (call.required("proposal")?, call.required("reason")?);
        call.context.keeper.refuse(&call.scope, proposal, reason).await?;
        Ok(Answer::default())
    }
}

impl From<RetentionError> for AdminError {
    fn from(error: RetentionError) -> Self {
        let answer = |code: &'static str, status| Self {
            code: code.into(),
            status,
            message: format!("{error}.").into(),
            decision: None,
        };
        match &error {
            RetentionError::Argument(why) => Self::invalid_argument(why.clone()),
            RetentionError::NoHold(_) => answer("NoSuchHold", StatusCode::NOT_FOUND),
            RetentionError::NoProposal(_) => answer("NoSuchProposal", StatusCode::NOT_FOUND),
            RetentionError::Expired => answer("ProposalExpired", StatusCode::GONE),
            RetentionError::SamePerson(_) => answer("SamePerson", StatusCode::FORBIDDEN),
            RetentionError::Unlimited
            | RetentionError::Nothing(_)
            | RetentionError::Digest
            | RetentionError::Changed(_) => answer("NothingPruned", StatusCode::CONFLICT),
            RetentionError::Log(_) => match error {
                RetentionError::Log(unrecorded) => unrecorded.into(),
                _ => Self::internal(),
            },
            RetentionError::Read(_)
            | RetentionError::Position { .. }
            | RetentionError::Record(_)
            | RetentionError::Prune(_)
            | RetentionError::Task => {
                let why = crate::siem::error_text(&error);
                tracing::error!(why, "a call about retention failed");
                Self::internal()
            }
        }
    }
}
