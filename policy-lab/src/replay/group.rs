//! Gathers changed events by what they have in common.

use std::collections::HashMap;

use super::bounds::Answer;
use super::{Class, Detail, Group, Recorded};
use crate::{Action, Resource};

/// Groups kept at most; what does not fit is counted.
const GROUPS_MAX: usize = 100_000;

#[derive(PartialEq, Eq, Hash)]
struct Key {
    class: Class,
    principal: String,
    action: Action,
    prefix: String,
    before: &'static str,
    after: &'static str,
    keys: Vec<String>,
}

pub(super) struct Groups {
    detail: Detail,
    found: HashMap<Key, (u64, Vec<String>)>,
    ungrouped: u64,
}

impl Groups {
    pub(super) fn new(detail: Detail) -> Self {
        Self { detail, found: HashMap::new(), ungrouped: 0 }
    }

    pub(super) fn add(&mut self, class: Class, event: &Recorded, before: &Answer, after: &Answer) {
        let request = &event.request;
        let key = Key {
            class,
            principal: request.principal.name.clone(),
            action: request.action.clone(),
            prefix: prefix(&request.resource, self.detail.prefix_depth),
            before: word(before),
            after: word(after),
            keys: missing(before, after),
        };
        if self.found.len() >= GROUPS_MAX && !self.found.contains_key(&key) {
            self.ungrouped += 1;
            return;
        }
        let (count, samples) = self.found.entry(key).or_default();
        *count += 1;
        if samples.len() < self.detail.samples_max {
            samples.push(event.id.clone());
        }
    }

    /// The groups in the order of the report, and how many events are in none.
    pub(super) fn finish(self) -> (Vec<Group>, u64) {
        let mut groups: Vec<_> = self
            .found
            .into_iter()
            .map(|(key, (count, samples))| Group {
                class: key.class,
                principal: key.principal,
                action: key.action.as_str().to_owned(),
                prefix: key.prefix,
                before: key.before.to_owned(),
                after: key.after.to_owned(),
                keys: key.keys,
                count,
                samples,
            })
            .collect();
        groups.sort_by(|a, b| {
            let order = |group: &Group| (group.class, std::cmp::Reverse(group.count));
            let names = |group: &Group| {
                [&group.principal, &group.action, &group.prefix, &group.before, &group.after]
                    .map(String::clone)
            };
            order(a).cmp(&order(b)).then_with(|| names(a).cmp(&names(b)))
        });
        (groups, self.ungrouped)
    }
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Sure(decision) => decision.reason.as_str(),
        Answer::Unknown(_) => "unknown",
    }
}

/// The keys that would decide, of both answers.
fn missing(before: &Answer, after: &Answer) -> Vec<String> {
    let mut keys = Vec::new();
    for answer in [before, after] {
        if let Answer::Unknown(missing) = answer {
            keys.extend(missing.iter().cloned());
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// `bucket`, or `bucket/` and whole directories of the key, at most so many.
fn prefix(resource: &Resource, depth: usize) -> String {
    match resource {
        Resource::Any => "*".to_owned(),
        Resource::Bucket(bucket) => bucket.clone(),
        Resource::Object { bucket, key } => {
            let directories = key.split_inclusive('/').filter(|part| part.ends_with('/'));
            format!("{bucket}/{}", directories.take(depth).collect::<String>())
        }
    }
}
