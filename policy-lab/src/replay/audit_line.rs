//! Decision records of the audit log.
//!
//! A month of a busy server is a hundred million of these, so a record is read once, in place: text is borrowed from
//! the line until it is known that the record is a decision.

use serde::Deserialize;

use super::line::{Caller, Text, fault, principal_of, time_us};
use super::{Complete, Event, LineError, Recorded, RecordedDecision};
use crate::context::{Implied, event_s};
use crate::{Action, Context, Request, Resource};

/// What a replay needs of a record; the rest is skipped.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    action: Option<Text<'a>>,
    #[serde(borrow)]
    auth: Option<Auth<'a>>,
    #[serde(borrow)]
    event: Option<Text<'a>>,
    #[serde(borrow)]
    net: Option<Net<'a>>,
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    #[serde(borrow)]
    principal: Option<Caller<'a>>,
    #[serde(borrow)]
    resources: Option<Vec<Touched<'a>>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    trunc: Option<Vec<Cut<'a>>>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    #[serde(borrow, default)]
    ctx: Vec<Pair<'a>>,
    #[serde(borrow)]
    decision: Option<Text<'a>>,
    #[serde(borrow)]
    digest: Option<Text<'a>>,
    #[serde(default)]
    implied: bool,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Net<'a> {
    #[serde(borrow)]
    src: Option<Text<'a>>,
    #[serde(borrow)]
    tls: Option<Text<'a>>,
    #[serde(borrow)]
    ua: Option<Text<'a>>,
}

/// `{"k":key,"v":[value,…]}`
#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    k: Text<'a>,
    #[serde(default)]
    v: Vec<String>,
}

#[derive(Deserialize)]
struct Touched<'a> {
    #[serde(borrow)]
    bucket: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
}

/// A value that was too long for the log.
#[derive(Deserialize)]
struct Cut<'a> {
    #[serde(borrow)]
    path: Option<Text<'a>>,
}

/// Reads one record; `None` if it is not a decision of the policies (outcomes, keys used beside it, marks of the log
/// itself).
///
/// The recorder writes every condition key that the server filled and other members do not imply, so a key that is not
/// there was absent.
///
/// # Errors
/// When a record that says it is a decision lacks what a decision needs, or had values cut that decided.
pub fn audit_line(seq: u64, line: &[u8]) -> Result<Option<Event>, LineError> {
    decision(seq, line).map_err(|error| error.placed(&String::from_utf8_lossy(line)))
}

fn decision(seq: u64, line: &[u8]) -> Result<Option<Event>, LineError> {
    if line.first() != Some(&b'{') {
        return Err(LineError::new("the line is not a JSON object").hint("begin it with `{`"));
    }
    let record: Record<'_> = serde_json::from_slice(line).map_err(|error| fault(&error))?;
    let Some(auth) = record.auth else { return Ok(None) };
    let Some(digest) = auth.digest.filter(|digest| !digest.is_empty()) else { return Ok(None) };
    if record.phase.as_deref() == Some("outcome") {
        return Ok(None);
    }
    let action = Action::parse(record.action.as_deref().unwrap_or_default()).map_err(|error| {
        LineError::new(error.to_string()).hint("actions are written s3:GetObject").of("action")
    })?;
    let mut context = Context::new();
    for pair in auth.ctx {
        context.set_many(&pair.k, pair.v);
    }
    // A text that is cut and implies something is named whole as well, if the record had room for it.
    let needs_net = auth.implied && context.get("aws:UserAgent").is_none();
    refuse_cut_values(record.trunc.as_deref().unwrap_or_default(), needs_net)?;
    let caller = record.principal.unwrap_or_default();
    if auth.implied {
        let net = record.net.unwrap_or_default();
        implied(record.event.as_deref(), &caller, &net).complete(&mut context, |_| true, Vec::new);
    }
    let request = Request {
        action,
        resource: resource(record.resources.as_deref().and_then(<[_]>::first)),
        principal: principal_of(caller)?,
        context,
    };
    let decision = RecordedDecision {
        allowed: auth.decision.as_deref() == Some("allow"),
        reason: auth.reason.map(|reason| reason.0.into_owned()),
        digest: Some(digest.0.into_owned()),
    };
    let id = record.event.map_or_else(|| format!("#{seq}"), |event| event.0.into_owned());
    let recorded = Recorded {
        id,
        seq: Some(seq),
        request,
        recorded: Some(decision),
        complete: Complete::everything(),
    };
    Ok(Some(Event { time_us: time_us(record.time.as_deref())?, recorded }))
}

fn implied<'a>(event: Option<&str>, caller: &'a Caller<'_>, net: &'a Net<'_>) -> Implied<'a> {
    Implied {
        event_s: event.and_then(event_s),
        account: caller.account.as_deref(),
        arn: caller.arn.as_deref(),
        name: caller.name.as_deref(),
        parent: caller.parent.as_deref(),
        kind: caller.kind.as_deref(),
        sig: caller.sig.as_deref(),
        src: net.src.as_deref(),
        tls: net.tls.as_deref(),
        ua: net.ua.as_deref(),
    }
}

fn resource(touched: Option<&Touched<'_>>) -> Resource {
    let Some(touched) = touched else { return Resource::Any };
    match (touched.bucket.as_deref().filter(|bucket| !bucket.is_empty()), &touched.key) {
        (None, _) => Resource::Any,
        (Some(bucket), None) => Resource::Bucket(bucket.to_owned()),
        (Some(bucket), Some(key)) => {
            Resource::Object { bucket: bucket.to_owned(), key: key.to_string() }
        }
    }
}

/// A value that was too long for the log cannot be decided about again, nor can what it implies.
fn refuse_cut_values(cuts: &[Cut<'_>], needs_net: bool) -> Result<(), LineError> {
    for path in cuts.iter().filter_map(|cut| cut.path.as_deref()) {
        let decides = ["auth.ctx", "principal", "resources", "action"];
        if decides.iter().any(|p| path.starts_with(p)) || needs_net && path.starts_with("net") {
            let error = LineError::new(format!("the record's `{path}` was cut"));
            return Err(error
                .hint("ask about it with a line of requests that has it whole")
                .of("trunc"));
        }
    }
    Ok(())
}
