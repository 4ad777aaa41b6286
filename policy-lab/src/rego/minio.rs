//! The document that MinIO shows its policy plugin, made from a request of ours.
//!
//! ```json
//! {"account":"alice","groups":["eng"],"action":"s3:GetObject","originalAction":"","bucket":"b","object":"o",
//!  "conditions":{"SourceIp":["10.0.0.1"],"username":["alice"],"User-Agent":["mc"]},"owner":false,"claims":{},
//!  "denyOnly":false}
//! ```
//!
//! The conditions are those keys of ours that a record has: without the prefix of their family, as there, and the headers
//! among them under their canonical names too. `Authorization`, which MinIO sends along, is never here, nor is a header or
//! query parameter that is no condition key. `owner` is root alone. An anonymous caller, about whom MinIO asks nobody,
//! is asked about with an empty account.

use std::collections::BTreeMap;

use regorus::Value;
use serde_json::{Map, Value as Json, json};

use super::input::{HEADERS, View};
use crate::PrincipalKind;

type Member = (&'static str, fn(&View<'_>) -> Json);

const MEMBERS: [Member; 10] = [
    ("account", |view| match view.request.principal.kind {
        PrincipalKind::Anonymous => json!(""),
        _ => json!(view.request.principal.name),
    }),
    ("groups", |view| json!(view.request.principal.groups)),
    ("action", |view| json!(view.request.action.as_str())),
    // Of an action that is decided in place of another: here each is asked by itself.
    ("originalAction", |_| json!("")),
    ("bucket", |view| json!(view.request.resource.bucket().unwrap_or_default())),
    ("object", |view| json!(view.request.resource.key().unwrap_or_default())),
    ("conditions", |view| json!(conditions(view))),
    ("owner", |view| json!(view.request.principal.kind == PrincipalKind::Root)),
    ("claims", claims),
    ("denyOnly", |_| json!(false)),
];

pub(super) fn document(view: &View<'_>) -> Value {
    let member = |(name, member): &Member| ((*name).to_owned(), member(view));
    Value::from(Json::Object(MEMBERS.iter().map(member).collect()))
}

pub(super) fn part(view: &View<'_>, first: &str, second: Option<&str>) -> Option<Json> {
    let (_, member) = MEMBERS.iter().find(|(name, _)| *name == first)?;
    let whole = member(view);
    match second {
        None => Some(whole),
        Some(second) => whole.get(second).cloned(),
    }
}

/// Families of keys, whose names are there without them.
const FAMILIES: [&str; 6] = ["aws:", "s3:", "jwt:", "ldap:", "sts:", "svc:"];

fn conditions<'a>(view: &View<'a>) -> BTreeMap<String, Vec<&'a str>> {
    let mut conditions: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut add = |name: String, values: &'a [String]| {
        let there = conditions.entry(name).or_default();
        for value in values {
            if !there.contains(&value.as_str()) {
                there.push(value);
            }
        }
    };
    for (key, values) in view.request.context.iter() {
        let name = FAMILIES.iter().find_map(|family| key.strip_prefix(family)).unwrap_or(key);
        match name {
            "PrincipalType" => add("principaltype".to_owned(), values),
            name => add(name.to_owned(), values),
        }
        for (header, _) in HEADERS.iter().filter(|(_, of)| *of == key) {
            add(canonical(header), values);
        }
    }
    conditions
}

/// `User-Agent` of `user-agent`.
fn canonical(header: &str) -> String {
    let mut capital = true;
    let letter = |char: char| {
        let written = if capital { char.to_ascii_uppercase() } else { char };
        capital = char == '-';
        written
    };
    header.chars().map(letter).collect()
}

/// What the token of the caller says, and who is behind a derived credential.
fn claims(view: &View<'_>) -> Json {
    let mut claims = Map::new();
    for (key, values) in view.request.context.iter() {
        let claim = match key {
            "ldap:user" => "ldapUser",
            "ldap:username" => "ldapUsername",
            key => match key.strip_prefix("jwt:") {
                Some(claim) => claim,
                None => continue,
            },
        };
        let value = match (claim, values) {
            ("groups" | "roles" | "aud", values) => json!(values),
            (_, [value]) => json!(value),
            (_, values) => json!(values),
        };
        claims.insert(claim.to_owned(), value);
    }
    if let Some(parent) = &view.request.principal.parent {
        claims.insert("accessKey".to_owned(), json!(view.request.principal.name));
        claims.insert("parent".to_owned(), json!(parent));
    }
    Json::Object(claims)
}
