//! Decision records of the audit log.

use serde_json::Value;

use super::line::{object, principal, text, time_us, values};
use super::{Complete, Event, LineError, Recorded, RecordedDecision};
use crate::{Action, Context, Request, Resource};

/// Reads one record; `None` if it is not a decision of the policies (outcomes, key uses, marks of the log itself).
///
/// The recorder writes every condition key that the server filled, so a key that is not there was absent.
///
/// # Errors
/// When a record that says it is a decision lacks what a decision needs, or had values cut that decided.
pub fn audit_line(seq: u64, line: &[u8]) -> Result<Option<Event>, LineError> {
    let record = object(line)?;
    let Some(auth) = record.get("auth") else { return Ok(None) };
    let Some(digest) = text(auth, "digest")?.filter(|digest| !digest.is_empty()) else {
        return Ok(None);
    };
    if text(&record, "phase")? == Some("outcome") {
        return Ok(None);
    }
    refuse_cut_values(&record)?;
    let action = text(&record, "action")?.unwrap_or_default();
    let action = Action::parse(action).map_err(|error| LineError::new(error.to_string()))?;
    let caller = record.get("principal").unwrap_or(&Value::Null);
    let request = Request {
        action,
        resource: resource(&record)?,
        principal: principal(caller)?,
        context: context(auth)?,
    };
    let decision = RecordedDecision {
        allowed: text(auth, "decision")? == Some("allow"),
        reason: text(auth, "reason")?.map(str::to_owned),
        digest: Some(digest.to_owned()),
    };
    let id = text(&record, "event")?.map_or_else(|| format!("#{seq}"), str::to_owned);
    let recorded = Recorded {
        id,
        seq: Some(seq),
        request,
        recorded: Some(decision),
        complete: Complete::everything(),
    };
    Ok(Some(Event { time_us: time_us(text(&record, "time")?)?, recorded }))
}

fn resource(record: &Value) -> Result<Resource, LineError> {
    let first = record.get("resources").and_then(|resources| resources.get(0));
    let Some(first) = first else { return Ok(Resource::Any) };
    let bucket = text(first, "bucket")?.filter(|bucket| !bucket.is_empty());
    Ok(match (bucket, text(first, "key")?) {
        (None, _) => Resource::Any,
        (Some(bucket), None) => Resource::Bucket(bucket.to_owned()),
        (Some(bucket), Some(key)) => {
            Resource::Object { bucket: bucket.to_owned(), key: key.to_owned() }
        }
    })
}

/// `[{"k":key,"v":[value,…]},…]`
fn context(auth: &Value) -> Result<Context, LineError> {
    let mut context = Context::new();
    for pair in auth.get("ctx").and_then(Value::as_array).into_iter().flatten() {
        let key = text(pair, "k")?.ok_or_else(|| LineError::new("a member of `ctx` has no `k`"))?;
        context.set_many(key, pair.get("v").map_or(Ok(Vec::new()), values)?);
    }
    Ok(context)
}

/// A value that was too long for the log cannot be decided about again.
fn refuse_cut_values(record: &Value) -> Result<(), LineError> {
    let cuts = record.get("trunc").and_then(Value::as_array).into_iter().flatten();
    for cut in cuts {
        let path = text(cut, "path")?.unwrap_or_default();
        if ["auth.ctx", "principal", "resources", "action"].iter().any(|p| path.starts_with(p)) {
            return Err(LineError::new(format!("the record's `{path}` was cut")));
        }
    }
    Ok(())
}
