//! Which parts of the input a guardrail can read.
//!
//! Guardrails are functions of their input and nothing else. Where every `input` in the sources stands at the head of a
//! written-out path, the answer depends on the values under these paths only, so that a review need not ask twice what
//! differs elsewhere. An `input` that stands alone, or before an index that is computed, may be read whole.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::input::View;
use super::schema::Schema;
use super::token::{Kind, Token};

/// Values under some paths, two names deep; longer paths count as what they begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    everything: bool,
    paths: BTreeSet<(String, Option<String>)>,
}

impl Reads {
    /// Adds what a source reads.
    pub(super) fn add(&mut self, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            let is_field = !token.is_apart
                && at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(is_dot);
            if token.kind != Kind::Name("input".to_owned()) || is_field {
                continue;
            }
            match member(tokens, at + 1) {
                None => self.everything = true,
                Some((first, behind)) => {
                    let second = member(tokens, behind).map(|(second, _)| second.to_owned());
                    self.paths.insert((first.to_owned(), second));
                }
            }
        }
    }

    /// The answer may depend on what the policies decided.
    #[cfg(feature = "analyze")]
    pub(super) fn see_policies(&self) -> bool {
        let is_theirs = |(first, second): &(String, Option<String>)| match (first.as_str(), second)
        {
            ("iam", _) | ("principal", None) => true,
            ("principal", Some(second)) => second == "policies",
            _ => false,
        };
        self.everything || self.paths.iter().any(is_theirs)
    }

    /// The input document without what the guardrails cannot see; `None` if they may see it all.
    pub(super) fn document(&self, schema: Schema, view: &View<'_>) -> Option<Json> {
        if self.everything {
            return None;
        }
        let mut document = Map::new();
        for (first, second) in &self.paths {
            let Some(part) = schema.part(view, first, second.as_deref()) else { continue };
            match second {
                None => drop(document.insert(first.clone(), part)),
                Some(second) => {
                    let member = document.entry(first.as_str()).or_insert_with(|| json!({}));
                    // Without a second name the whole member is there already.
                    if let Json::Object(member) = member {
                        member.insert(second.clone(), part);
                    }
                }
            }
        }
        Some(Json::Object(document))
    }

    /// Appends what the guardrails can see of a request: equal bytes mean equal answers. False if they may see it all.
    pub(super) fn fingerprint(&self, schema: Schema, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        if self.everything {
            return false;
        }
        for (first, second) in &self.paths {
            let part = schema.part(view, first, second.as_deref());
            // A value that is not there is another one than `null`; a line break is in no JSON of ours.
            if let Some(part) = part
                && serde_json::to_writer(&mut *out, &part).is_err()
            {
                return false;
            }
            out.push(b'\n');
        }
        true
    }
}

fn is_dot(token: &Token) -> bool {
    token.kind == Kind::Sign('.')
}

/// The member named at a place, `.name` or `["name"]` without spaces, and the place behind it.
fn member(tokens: &[Token], at: usize) -> Option<(&str, usize)> {
    let here = |at: usize| tokens.get(at).filter(|token| !token.is_apart).map(|token| &token.kind);
    match (here(at)?, here(at + 1)?, here(at + 2)) {
        (Kind::Sign('.'), Kind::Name(name), _) => Some((name, at + 2)),
        (Kind::Sign('['), Kind::Text(name), Some(Kind::Sign(']'))) => Some((name, at + 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tokens;
    use super::Reads;

    fn reads(source: &str) -> Option<Vec<String>> {
        let mut reads = Reads::default();
        reads.add(&tokens(source));
        let path = |(first, second): &(String, Option<String>)| match second {
            Some(second) => format!("{first}.{second}"),
            None => first.clone(),
        };
        (!reads.everything).then(|| reads.paths.iter().map(path).collect())
    }

    #[test]
    fn paths_that_are_written_out() {
        for (source, expected) in [
            ("x if input.env.tls", "env.tls"),
            ("x if input[\"env\"][\"tls\"]", "env.tls"),
            ("some g in input.principal.groups; g == input.action", "action principal.groups"),
            ("input.request.headers[name]; input.context[key]", "context request.headers"),
            ("data.x.input.y; \"input\"; # input", ""),
            ("f(input.iam.statements[_].sid)", "iam.statements"),
            ("import input.env as e", "env"),
        ] {
            let paths = reads(source).map(|paths| paths.join(" "));
            assert_eq!(paths.as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn an_input_that_stands_alone_may_be_read_whole() {
        for source in [
            "f(input)",
            "x := input",
            "input[section].tls",
            "x := input\n[\"env\"]",
            "walk(input, [path, value])",
            "input .env",
            "x with input as {}",
            "input",
        ] {
            assert_eq!(reads(source), None, "{source}");
        }
    }
}
