//! Reads the `deny` set.

use regorus::Value;

use crate::Denial;

/// Members of `deny`, and bytes of one text in them, at most: each becomes part of a record of the log.
const MEMBERS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 4_096;

/// Bytes of all of them together.
const BYTES_MAX: usize = 64 * 1024;

/// The members that deny, sorted; `severity` `warn` and `audit` do not deny.
///
/// The error is what is wrong with the result: it must be a set of objects with a string `id`.
pub(super) fn denials(result: &Value) -> Result<Vec<Denial>, String> {
    let Value::Set(members) = result else {
        return Err("`deny` is not a set".to_owned());
    };
    if members.len() > MEMBERS_MAX {
        return Err(format!("`deny` has more than {MEMBERS_MAX} members"));
    }
    let mut denials = Vec::new();
    for member in members.iter() {
        denials.extend(denial(member)?);
    }
    let bytes: usize = denials.iter().map(|denial| denial.id.len() + denial.msg.len()).sum();
    if bytes > BYTES_MAX {
        return Err(format!("`deny` has more than {BYTES_MAX} bytes of text"));
    }
    denials.sort_unstable();
    Ok(denials)
}

fn denial(member: &Value) -> Result<Option<Denial>, String> {
    let text = |name: &str| match &member[name] {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => {
            Err(format!("`{name}` of a member of `deny` has more than {TEXT_BYTES_MAX} bytes"))
        }
        Value::String(text) => Ok(Some(text.to_string())),
        Value::Undefined => Ok(None),
        _ => Err(format!("`{name}` of a member of `deny` is not a string")),
    };
    let Some(id) = text("id")?.filter(|id| !id.is_empty()) else {
        return Err("a member of `deny` has no `id`".to_owned());
    };
    match text("severity")?.as_deref() {
        None | Some("block") => Ok(Some(Denial { id, msg: text("msg")?.unwrap_or_default() })),
        Some("warn" | "audit") => Ok(None),
        Some(other) => Err(format!("`{other}` is not a severity")),
    }
}
