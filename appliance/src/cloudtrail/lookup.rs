//! `LookupEvents`: records by one attribute, newest first, in CloudTrail's shape.
//!
//! The log is searched in its own language where it can narrow the search down, and every record that comes is compared
//! once more in the shape in which it is given out.

use audit::{Query, SearchOptions, Searcher};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::Refused;
use crate::siem::{About, Format, time_of};

/// Events of one answer, as on AWS.
const EVENTS_MAX: usize = 50;
/// Records looked at for one answer; beyond, it ends with a token to go on with.
const RECORDS_MAX: usize = 20_000;
/// Records of one search.
const BATCH: usize = 1000;

/// The body of the call. Times are seconds since 1970.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Lookup {
    lookup_attributes: Vec<Attribute>,
    start_time: Option<f64>,
    end_time: Option<f64>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_key: String,
    attribute_value: String,
}

impl Lookup {
    /// What was asked, for the log.
    pub(super) fn text(&self) -> String {
        let named = |attribute: &Attribute| {
            format!("{}={}", attribute.attribute_key, attribute.attribute_value)
        };
        self.lookup_attributes.iter().map(named).collect::<Vec<_>>().join(" ")
    }

    /// Answers from the log.
    pub(super) fn answer(
        &self,
        searcher: &Searcher,
        about: &About,
        now_us: u64,
    ) -> Result<Value, Refused> {
        let attribute = match self.lookup_attributes.as_slice() {
            [] => None,
            [one] if pointer(&one.attribute_key).is_some() => Some(one),
            _ => {
                let message = "One attribute may be given, of: AccessKeyId, EventId, EventName, \
                               EventSource, ReadOnly, ResourceName, ResourceType, Username.";
                return Err(Refused::invalid("InvalidLookupAttributesException", message));
            }
        };
        let most = match self.max_results {
            None => EVENTS_MAX,
            Some(most @ 1..=EVENTS_MAX) => most,
            Some(_) => {
                let message = "MaxResults is a number from 1 to 50.";
                return Err(Refused::invalid("InvalidMaxResultsException", message));
            }
        };
        let mut before = self.before()?;
        let query = self.query(attribute, now_us)?;
        let (mut events, mut looked_at) = (Vec::new(), 0);
        loop {
            let options = SearchOptions { limit: BATCH, after: before, ..SearchOptions::default() };
            let rows = searcher.search(&query, options).map_err(Refused::internal)?.rows;
            let is_last = rows.len() < BATCH;
            looked_at += rows.len();
            for row in rows {
                before = Some(row.seq);
                events.extend(event(about, &row.leaf, attribute)?);
                if events.len() == most {
                    return Ok(json!({ "Events": events, "NextToken": row.seq.to_string() }));
                }
            }
            if is_last {
                return Ok(json!({ "Events": events }));
            }
            if looked_at >= RECORDS_MAX {
                let token = before.unwrap_or_default().to_string();
                return Ok(json!({ "Events": events, "NextToken": token }));
            }
        }
    }

    /// Only records before this one.
    fn before(&self) -> Result<Option<u64>, Refused> {
        let Some(token) = &self.next_token else { return Ok(None) };
        let invalid = || {
            let message = "NextToken is none that was given out.";
            Refused::invalid("InvalidNextTokenException", message)
        };
        token.parse().map(Some).map_err(|_| invalid())
    }

    /// The search, as far as its language says the same.
    fn query(&self, attribute: Option<&Attribute>, now_us: u64) -> Result<Query, Refused> {
        let mut filters = Vec::new();
        for (name, time) in [(">=", self.start_time), ("<=", self.end_time)] {
            let Some(time) = time else { continue };
            let at = jiff::SignedDuration::try_from_secs_f64(time).ok();
            let at = at.and_then(|at| jiff::Timestamp::from_duration(at).ok());
            let at = at.ok_or_else(|| {
                let message = "StartTime and EndTime are seconds since 1970.";
                Refused::invalid("InvalidTimeRangeException", message)
            })?;
            filters.push(format!("time{name}{at}"));
        }
        if let Some(Attribute { attribute_key, attribute_value: value }) = attribute
            && !value.is_empty()
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
        {
            match attribute_key.as_str() {
                "Username" => filters.push(format!("principal.name=\"{value}\"")),
                "AccessKeyId" => filters.push(format!("access_key=\"{value}\"")),
                _ => {}
            }
        }
        Query::parse(&filters.join(" "), now_us).map_err(Refused::internal)
    }
}

/// Where an attribute stands in a record of CloudTrail; arrays are looked through.
fn pointer(key: &str) -> Option<&'static [&'static str]> {
    Some(match key {
        "AccessKeyId" => &["userIdentity", "accessKeyId"],
        "EventId" => &["eventID"],
        "EventName" => &["eventName"],
        "EventSource" => &["eventSource"],
        "ReadOnly" => &["readOnly"],
        "ResourceName" => &["resources", "ARN"],
        "ResourceType" => &["resources", "type"],
        "Username" => &["userIdentity", "userName"],
        _ => return None,
    })
}

fn matches(record: &Value, Attribute { attribute_key, attribute_value }: &Attribute) -> bool {
    let Some(path) = pointer(attribute_key) else { return false };
    let Some((last, first)) = path.split_last() else { return false };
    let at = first.iter().fold(record, |at, name| &at[*name]);
    let values: Vec<&Value> = match at.as_array() {
        Some(items) => items.iter().map(|item| &item[*last]).collect(),
        None => vec![&at[*last]],
    };
    values.into_iter().any(|value| match value {
        Value::Bool(flag) => flag.to_string() == *attribute_value,
        Value::String(text) => {
            text == attribute_value
                || attribute_key == "ResourceName"
                    && text.strip_prefix("arn:aws:s3:::") == Some(attribute_value)
        }
        _ => false,
    })
}

/// A record as an event, if it has the attribute.
fn event(
    about: &About,
    leaf: &[u8],
    attribute: Option<&Attribute>,
) -> Result<Option<Value>, Refused> {
    let encoded = Format::CloudTrail.encode(about, &Bytes::copy_from_slice(leaf));
    let encoded = encoded.map_err(Refused::internal)?;
    let record: Value = serde_json::from_slice(&encoded).map_err(Refused::internal)?;
    if attribute.is_some_and(|attribute| !matches(&record, attribute)) {
        return Ok(None);
    }
    let resources = record["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let resource = |it: &Value| json!({ "ResourceType": it["type"], "ResourceName": it["ARN"] });
    let mut event = json!({
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": record["readOnly"].to_string(),
        "EventTime": time_of(leaf).unwrap_or_default() / 1_000_000,
        "EventSource": record["eventSource"],
        "Resources": resources.iter().map(resource).collect::<Vec<_>>(),
        "CloudTrailEvent": String::from_utf8_lossy(&encoded),
    });
    let identity = &record["userIdentity"];
    for (name, value) in
        [("AccessKeyId", &identity["accessKeyId"]), ("Username", &identity["userName"])]
    {
        if let Some(text) = value.as_str() {
            event[name] = text.into();
        }
    }
    Ok(Some(event))
}

/// Whatever is asked, the search is one that can be made.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let Ok(lookup) = serde_json::from_slice::<Lookup>(bytes) else { return };
    let _ = lookup.before();
    if let Err(refused) = lookup.query(lookup.lookup_attributes.first(), 0) {
        assert!(!refused.is_internal(), "{lookup:?} becomes no query");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_where_cloudtrail_has_them() {
        let record = json!({
            "eventID": "e", "eventName": "GetObject", "readOnly": true,
            "userIdentity": { "userName": "alice", "accessKeyId": "AK" },
            "resources": [
                { "type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/k" },
                { "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b" },
            ],
        });
        let is = |key: &str, value: &str| {
            let (attribute_key, attribute_value) = (key.to_owned(), value.to_owned());
            matches(&record, &Attribute { attribute_key, attribute_value })
        };
        for (key, value) in [
            ("EventId", "e"),
            ("EventName", "GetObject"),
            ("ReadOnly", "true"),
            ("Username", "alice"),
            ("AccessKeyId", "AK"),
            ("ResourceType", "AWS::S3::Bucket"),
            ("ResourceName", "b"),
            ("ResourceName", "arn:aws:s3:::b/k"),
        ] {
            assert!(is(key, value), "{key}={value}");
            assert!(!is(key, "other"), "{key}");
        }
        assert!(!is("EventSource", "s3.amazonaws.com"));
        assert!(!is("Region", "us-east-1"));
    }
}
