//! What both kinds of lines have in common.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::Recorded;
use super::members::Unambiguous;
use crate::document::place_of;
use crate::{Context, Principal, PrincipalKind};

/// A request of a line, with its time where the line has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since 1970.
    pub time_us: Option<i64>,
    pub recorded: Recorded,
}

/// Why a line is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
#[non_exhaustive]
pub struct LineError {
    /// From one.
    pub column: usize,
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Names of the members that it is about, each in the one before; the column is that of the last.
    path: Vec<String>,
}

impl LineError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { column: 1, message: message.into(), hint: None, path: Vec::new() }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// At a character of a line that is not JSON, from one.
    pub(super) fn at(self, column: usize) -> Self {
        Self { column, ..self }
    }

    /// About a member, or an item of a list by its number from zero, or about something in it.
    pub(super) fn of(mut self, member: &str) -> Self {
        self.path.insert(0, member.to_owned());
        self
    }

    /// With the column of the member that it is about.
    pub(super) fn placed(self, line: &str) -> Self {
        match self.path.as_slice() {
            [] => self,
            path => {
                let (_, column) = place_of(line, path);
                Self { column, path: Vec::new(), ..self }
            }
        }
    }
}

/// A complaint of the JSON reader, without the line that it counts by itself.
pub(super) fn fault(error: &serde_json::Error) -> LineError {
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    LineError {
        column: error.column().max(1),
        message: message.get(..end).unwrap_or_default().to_owned(),
        hint: Some("each line is one JSON object".to_owned()),
        path: Vec::new(),
    }
}

/// Reads a line as a JSON object, in which no member is there twice.
pub(super) fn object(line: &[u8]) -> Result<Value, LineError> {
    let Unambiguous(value) =
        serde_json::from_slice(line).map_err(|error| match error.is_data() {
            true => fault(&error).hint("keep one of the two"),
            false => fault(&error),
        })?;
    match value.is_object() {
        true => Ok(value),
        false => Err(LineError::new("the line is not a JSON object").hint("begin it with `{`")),
    }
}

/// A member that is text; absent and `null` are `None`.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Result<Option<&'a str>, LineError> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => {
            let error = LineError::new(format!("`{name}` is not a string"));
            Err(error.hint("put it in quotes").of(name))
        }
    }
}

/// Text of a member of a member; empty where one of them is not there.
pub(super) fn text_in<'a>(
    value: &'a Value,
    member: &str,
    name: &str,
) -> Result<&'a str, LineError> {
    let found = value.get(member).map_or(Ok(None), |value| text(value, name));
    Ok(found.map_err(|error| error.of(member))?.unwrap_or_default())
}

pub(super) fn time_us(text: Option<&str>) -> Result<Option<i64>, LineError> {
    let Some(text) = text else { return Ok(None) };
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        LineError::new(format!("`{text}` is not a time"))
            .hint("write 2026-11-05T10:00:00Z")
            .of("ts")
    })?;
    Ok(Some(time.as_microsecond()))
}

/// One value of a condition key: text, number or boolean.
pub(super) fn scalar(value: &Value) -> Result<String, LineError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(LineError::new("a value of a condition key is not text, number or boolean")),
    }
}

/// One value or a list of them.
pub(super) fn values(value: &Value) -> Result<Vec<String>, LineError> {
    match value {
        Value::Array(values) => values.iter().map(scalar).collect(),
        one => Ok(vec![scalar(one)?]),
    }
}

/// A list of texts, or one.
pub(super) fn texts(value: &Value, name: &str) -> Result<Vec<String>, LineError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        one => text(one).map(|one| vec![one]),
    };
    texts.ok_or_else(|| {
        let error = LineError::new(format!("`{name}` is not a list of strings"));
        error.hint(format!("write \"{name}\":[\"one\",\"another\"]")).of(name)
    })
}

/// A caller, as both formats have it.
#[derive(Default, Deserialize)]
pub(super) struct Caller<'a> {
    #[serde(borrow)]
    pub(super) account: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) arn: Option<Text<'a>>,
    pub(super) groups: Option<Vec<String>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) parent: Option<Text<'a>>,
    /// How the caller signed, which only the log says.
    #[serde(borrow)]
    pub(super) sig: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
}

/// Text that borrows from the line where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A caller from a member of a request.
pub(super) fn principal(value: &Value) -> Result<Principal, LineError> {
    let member = |name| Ok(text(value, name)?.map(|text| Text(Cow::Borrowed(text))));
    principal_of(Caller {
        account: member("account")?,
        arn: member("arn")?,
        groups: match value.get("groups") {
            None | Some(Value::Null) => None,
            Some(groups) => Some(texts(groups, "groups")?),
        },
        name: member("name")?,
        parent: member("parent")?,
        sig: None,
        kind: member("type")?,
    })
}

pub(super) fn principal_of(caller: Caller<'_>) -> Result<Principal, LineError> {
    let arn = caller.arn.as_deref().unwrap_or_default();
    let groups = caller.groups.unwrap_or_default();
    let from_arn = crate::arn::Arn::parse(arn);
    let name = from_arn
        .map(|arn| arn.resource.split_once('/').map_or(arn.resource, |(_, name)| name))
        .unwrap_or(arn);
    let kind = match caller.kind.as_deref() {
        Some(word) => kind(word)?,
        None if arn.is_empty() || arn == "*" => PrincipalKind::Anonymous,
        None if arn.ends_with(":root") => PrincipalKind::Root,
        None if arn.contains(":assumed-role/") => PrincipalKind::Session,
        None => PrincipalKind::User,
    };
    let account = match caller.account.as_deref() {
        Some(account) => account,
        None => from_arn.map_or("", |arn| arn.account),
    };
    if kind == PrincipalKind::Anonymous {
        return Ok(Principal { groups, ..Principal::anonymous(account) });
    }
    Ok(Principal {
        kind,
        name: caller.name.as_deref().unwrap_or(name).to_owned(),
        arn: arn.to_owned(),
        account: account.to_owned(),
        groups,
        parent: caller.parent.map(|parent| parent.0.into_owned()),
    })
}

/// The words of the audit log, and ours.
fn kind(word: &str) -> Result<PrincipalKind, LineError> {
    Ok(match word {
        "Root" | "root" => PrincipalKind::Root,
        "IAMUser" | "user" => PrincipalKind::User,
        "Service" | "service_account" => PrincipalKind::ServiceAccount,
        "AssumedRole" | "Federated" | "sts" => PrincipalKind::Session,
        "Anonymous" | "anonymous" => PrincipalKind::Anonymous,
        other => {
            let error = LineError::new(format!("`{other}` is not a kind of principal"));
            let hint = "there are root, user, service_account, sts, anonymous";
            return Err(error.hint(hint).of("type"));
        }
    })
}

/// A context from `{key: value-or-values}`.
pub(super) fn context(value: Option<&Value>) -> Result<Context, LineError> {
    let mut context = Context::new();
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) => {
            for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                let hint = "write a text, a number, true, false, or a list of these";
                let values = values(value).map_err(|error| error.hint(hint).of(key).of("ctx"))?;
                context.set_many(key, values);
            }
        }
        Some(_) => {
            let error = LineError::new("`ctx` is not an object");
            return Err(error.hint("write {\"aws:SourceIp\":\"10.0.0.1\"}").of("ctx"));
        }
    }
    Ok(context)
}
