//! What can be said about a request whose record lacks a key that a policy asks for.
//!
//! Two readings of the policies enclose the truth. In the narrow one every allowing statement that asks for a missing
//! key does not apply and every denying one does; in the wide one it is the other way round. Where both give the same
//! answer, it is the answer whatever the key was; else nobody knows. The readings are made from the documents' text, so
//! that they are decided by [`crate::evaluate()`] like any other.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Recorded;
use crate::{Attached, Decision, Policy, PolicySet, evaluate};

/// Readings kept ready at most; the cache is emptied when it is full.
const READINGS_MAX: usize = 4_096;

/// What is known about a decision.
#[derive(Clone, Debug)]
pub(super) enum Answer<D> {
    Sure(D),
    /// It depends on these keys, which the record does not speak of.
    Unknown(Rc<[String]>),
}

impl<D> Answer<D> {
    pub(super) fn map<E>(self, map: impl FnOnce(D) -> E) -> Answer<E> {
        match self {
            Self::Sure(decision) => Answer::Sure(map(decision)),
            Self::Unknown(keys) => Answer::Unknown(keys),
        }
    }
}

/// The key of a reading: the policy set by its place in memory, and the missing keys.
type Key = (usize, Vec<String>);

/// Readings that were made, with what they were made from: a place in memory names a set only while the set lives.
#[derive(Default)]
pub(super) struct Bounds {
    asked: HashMap<usize, (Rc<PolicySet>, Rc<BTreeSet<String>>)>,
    readings: HashMap<Key, Rc<Readings>>,
}

struct Readings {
    narrow: PolicySet,
    wide: PolicySet,
    missing: Rc<[String]>,
}

impl Bounds {
    /// Decides an event, as far as its record goes.
    pub(super) fn decide(&mut self, set: &Rc<PolicySet>, event: &Recorded) -> Answer<Decision> {
        if event.complete.is_everything() {
            return Answer::Sure(evaluate(set, &event.request));
        }
        let context = &event.request.context;
        let asked = self.asked(set);
        let is_missing =
            |key: &&String| context.get(key).is_none() && !event.complete.speaks_of(key);
        let missing: Vec<_> = asked.iter().filter(is_missing).cloned().collect();
        // A guardrail may read anything, and only ever denies.
        let guarded = set.guardrails.is_some();
        if missing.is_empty() && !guarded {
            return Answer::Sure(evaluate(set, &event.request));
        }
        let readings = self.readings(set, missing);
        let wide = evaluate(&readings.wide, &event.request);
        if !wide.is_allowed() {
            return Answer::Sure(wide);
        }
        let narrow = evaluate(&readings.narrow, &event.request);
        if narrow.is_allowed() && !guarded {
            return Answer::Sure(narrow);
        }
        Answer::Unknown(Rc::clone(&readings.missing))
    }

    fn asked(&mut self, set: &Rc<PolicySet>) -> Rc<BTreeSet<String>> {
        let place = Rc::as_ptr(set) as usize;
        if let Some((_, asked)) = self.asked.get(&place) {
            return Rc::clone(asked);
        }
        if self.asked.len() >= READINGS_MAX {
            self.asked.clear();
            self.readings.clear();
        }
        let mut keys = BTreeSet::new();
        for attached in attached(set) {
            for statement in statements(attached.policy.source()).1 {
                asks(&statement, &mut keys);
            }
        }
        let keys = Rc::new(keys);
        self.asked.insert(place, (Rc::clone(set), Rc::clone(&keys)));
        keys
    }

    fn readings(&mut self, set: &Rc<PolicySet>, missing: Vec<String>) -> Rc<Readings> {
        let key = (Rc::as_ptr(set) as usize, missing);
        if let Some(readings) = self.readings.get(&key) {
            return Rc::clone(readings);
        }
        if self.readings.len() >= READINGS_MAX {
            self.readings.clear();
        }
        let mut named: Vec<String> = key.1.clone();
        if named.is_empty() {
            named.push("whatever the guardrails read".to_owned());
        }
        let readings = Rc::new(Readings {
            narrow: reading(set, &key.1, false),
            wide: reading(set, &key.1, true),
            missing: named.into(),
        });
        self.readings.insert(key, Rc::clone(&readings));
        readings
    }
}

fn attached(set: &PolicySet) -> impl Iterator<Item = &Attached> {
    set.identity.iter().chain(&set.bucket).chain(&set.boundary).chain(&set.session)
}

fn reading(set: &PolicySet, missing: &[String], wide: bool) -> PolicySet {
    let read = |attached: &Attached| rewrite(attached, missing, wide);
    PolicySet {
        identity: set.identity.iter().map(read).collect(),
        bucket: set.bucket.as_ref().map(read),
        boundary: set.boundary.as_ref().map(read),
        session: set.session.as_ref().map(read),
        guardrails: None,
    }
}

/// The document's other members, and its statements.
pub(super) fn statements(source: &str) -> (Map<String, Value>, Vec<Value>) {
    let Ok(Value::Object(mut document)) = serde_json::from_str(source) else {
        return (Map::new(), Vec::new());
    };
    let statements = match document.remove("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    (document, statements)
}

/// Gathers the keys that a statement asks for, in lower case.
fn asks(statement: &Value, keys: &mut BTreeSet<String>) {
    for name in ["Resource", "NotResource"] {
        each_text(&statement[name], &mut |text| variables(text, keys));
    }
    let operators = statement["Condition"].as_object().into_iter().flatten();
    for (key, values) in operators.flat_map(|(_, keys)| keys.as_object().into_iter().flatten()) {
        keys.insert(key.to_lowercase());
        each_text(values, &mut |text| variables(text, keys));
    }
}

fn each_text(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter().for_each(|value| each_text(value, visit)),
        _ => {}
    }
}

/// Keys of `${key}` and `${key, 'default'}`.
fn variables(text: &str, keys: &mut BTreeSet<String>) {
    for piece in text.split("${").skip(1) {
        let inside = piece.split('}').next().unwrap_or_default();
        let key = inside.split(',').next().unwrap_or_default().trim();
        if key.contains(':') {
            keys.insert(key.to_lowercase());
        }
    }
}

/// The policy in one of the two readings.
fn rewrite(attached: &Attached, missing: &[String], wide: bool) -> Attached {
    let (mut document, all) = statements(attached.policy.source());
    let mut kept = Vec::new();
    for mut statement in all {
        let mut keys = BTreeSet::new();
        asks(&statement, &mut keys);
        if missing.iter().any(|key| keys.contains(key)) {
            let applies = (statement["Effect"] == "Allow") == wide;
            if !applies {
                continue;
            }
            loosen(&mut statement, missing);
        }
        kept.push(statement);
    }
    document.insert("Statement".to_owned(), Value::Array(kept));
    let text = Value::Object(document).to_string();
    match Policy::parse_as(&text, attached.policy.kind(), attached.policy.profile()) {
        Ok(policy) => Attached { name: attached.name.clone(), policy: Arc::new(policy) },
        // What was left out cannot make a valid document invalid; if it does, the policy itself is the safe reading.
        Err(_) => attached.clone(),
    }
}

/// Takes out of a statement whatever depends on a missing key.
fn loosen(statement: &mut Value, missing: &[String]) {
    let depends = |text: &str| {
        let mut keys = BTreeSet::new();
        variables(text, &mut keys);
        keys.iter().any(|key| missing.contains(key))
    };
    let Some(elements) = statement.as_object_mut() else { return };
    if let Some(Value::Object(operators)) = elements.get_mut("Condition") {
        for keys in operators.values_mut().filter_map(Value::as_object_mut) {
            keys.retain(|key, values| {
                let mut is_open = missing.contains(&key.to_lowercase());
                each_text(values, &mut |text| is_open |= depends(text));
                !is_open
            });
        }
        operators.retain(|_, keys| keys.as_object().is_none_or(|keys| !keys.is_empty()));
        if operators.is_empty() {
            elements.remove("Condition");
        }
    }
    for name in ["Resource", "NotResource"] {
        let mut is_open = false;
        if let Some(value) = elements.get(name) {
            each_text(value, &mut |text| is_open |= depends(text));
        }
        if is_open {
            elements.remove(name);
            elements.insert("Resource".to_owned(), Value::String("*".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{Answer, Bounds};
    use crate::replay::request_line;
    use crate::{Attached, DocumentKind, Policy, PolicySet};

    fn set(statements: &str) -> Rc<PolicySet> {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
        let identity = vec![Attached { name: Arc::from("p"), policy: Arc::new(policy) }];
        Rc::new(PolicySet { identity, ..PolicySet::default() })
    }

    fn answer(statements: &str, request: &str) -> String {
        let line = format!(
            r#"{{"op":"GetObject","bucket":"b","key":"home/ann/x","principal":"ann",{request}}}"#
        );
        let event = request_line(1, &line).expect("valid").expect("one").recorded;
        match Bounds::default().decide(&set(statements), &event) {
            Answer::Sure(decision) => decision.effect.as_str().to_owned(),
            Answer::Unknown(keys) => keys.join(" "),
        }
    }

    #[test]
    fn only_what_can_change_the_answer_is_missing() {
        let get = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
        let inside = r#""Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#;
        let allow = format!(r#"{{"Effect":"Allow",{get}}}"#);
        let allow_inside = format!(r#"{{"Effect":"Allow",{get},{inside}}}"#);
        let deny_inside = format!(r#"{{"Effect":"Deny",{get},{inside}}}"#);
        let home = r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:username}/*"}"#;
        let known = r#""complete":["s3:*"]"#;
        let ip = |ip: &str| format!(r#""complete":[],"ctx":{{"aws:SourceIp":"{ip}"}}"#);
        for (statements, request, expected) in [
            (&allow, known.to_owned(), "allow"),
            (&allow_inside, known.to_owned(), "aws:sourceip"),
            (&allow_inside, r#""complete":["aws:*"]"#.to_owned(), "implicit-deny"),
            (&allow_inside, String::from(r#""id":"1""#), "implicit-deny"),
            (&allow_inside, ip("10.1.1.1"), "allow"),
            (&allow_inside, ip("11.1.1.1"), "implicit-deny"),
            (&format!("{allow},{allow_inside}"), known.to_owned(), "allow"),
            (&format!("{allow},{deny_inside}"), known.to_owned(), "aws:sourceip"),
            (&deny_inside, known.to_owned(), "implicit-deny"),
            (&home.to_owned(), known.to_owned(), "aws:username"),
            (&home.to_owned(), r#""complete":[],"ctx":{"aws:username":"ann"}"#.to_owned(), "allow"),
        ] {
            assert_eq!(answer(statements, &request), expected, "{statements} {request}");
        }
    }

    #[test]
    fn a_guardrail_leaves_an_allowed_request_open_and_a_denied_one_denied() {
        let rego = "package s3.authz\nimport rego.v1\ndeny contains {\"id\": \"x\"} if input.env.source_ip == \"10.0.0.1\"\n";
        let guardrails = crate::Guardrails::load(vec![("x.rego".into(), rego.into())]);
        let guardrails = Some(Arc::new(guardrails.expect("loads")));
        let allow = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
        let line = r#"{"op":"GetObject","bucket":"b","key":"k","principal":"ann","complete":[]}"#;
        let event = request_line(1, line).expect("valid").expect("one").recorded;
        for (statements, open) in [(allow, true), ("", false)] {
            let set =
                Rc::new(PolicySet { guardrails: guardrails.clone(), ..(*set(statements)).clone() });
            let answer = Bounds::default().decide(&set, &event);
            assert_eq!(matches!(answer, Answer::Unknown(_)), open, "{answer:?}");
        }
    }
}
