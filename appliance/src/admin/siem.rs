//! SIEM delivery: how destinations stand, and the three commands to them. Calls of our own, under the same prefix and
//! the same gate.

use http::Method;
use serde_json::json;

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed};
use crate::authz::{Effect, Permit};
use crate::siem::{ReplayFrom, SiemError};

/// `GET siem-status`.
#[derive(Debug)]
pub(super) struct SiemStatus;

impl Operation for SiemStatus {
    const NAME: &'static str = "siem-status";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:SIEMStatus";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        Answer::json(&call.context.siem.status())
    }
}

/// `POST siem-replay?name=N&from=SEQ` or `&since=RFC3339`: sends everything from there on again.
#[derive(Debug)]
pub(super) struct SiemReplay;

impl Operation for SiemReplay {
    const NAME: &'static str = "siem-replay";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:SIEMControl";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let from = match (call.query.get("from"), call.query.get("since")) {
            (Some(seq), None) => ReplayFrom::Seq(seq.parse().map_err(|_| {
                AdminError::invalid_argument(format!("`{seq}` is no position in the log."))
            })?),
            (None, Some(time)) => ReplayFrom::Time(microseconds(time)?),
            _ => {
                return Err(AdminError::invalid_argument("Give either from or since."));
            }
        };
        let next = call.context.siem.replay(call.required("name")?, from).await?;
        call.note("from", next.to_string());
        Answer::json(&json!({ "next": next }))
    }
}

/// `POST siem-resume?name=N`: tries again at once.
#[derive(Debug)]
pub(super) struct SiemResume;

impl Operation for SiemResume {
    const NAME: &'static str = "siem-resume";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:SIEMControl";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        call.context.siem.resume(call.required("name")?).await?;
        Ok(Answer::default())
    }
}

/// `POST siem-test?name=N`: sends one record of its own and answers what the destination said.
#[derive(Debug)]
pub(super) struct SiemTest;

impl Operation for SiemTest {
    const NAME: &'static str = "siem-test";
    const METHOD: Method = Method::POST;
    const ACTION: &'static str = "admin:SIEMControl";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let tested = call.context.siem.test(call.required("name")?).await?;
        Answer::json(&json!({
            "seq": tested.seq,
            "event": tested.event,
            "taken": tested.answer.is_ok(),
            "answer": tested.answer.err(),
        }))
    }
}

fn microseconds(text: &str) -> Result<u64, AdminError> {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    let time = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
    time.ok_or_else(|| {
        AdminError::invalid_argument(format!(
            "`{text}` is no time of the form 2026-01-31T12:00:00Z."
        ))
    })
}

impl From<SiemError> for AdminError {
    fn from(error: SiemError) -> Self {
        match error {
            SiemError::Unknown { .. } => Self::no_such_destination(error.to_string()),
            SiemError::BeyondLog { .. }
            | SiemError::Pruned { .. }
            | SiemError::PrunedSince { .. } => Self::invalid_argument(error.to_string()),
            SiemError::Stopped { .. } | SiemError::Busy { .. } => {
                Self::destination_unavailable(error.to_string())
            }
            error => {
                tracing::error!(%error, "a SIEM command failed");
                Self::internal()
            }
        }
    }
}
