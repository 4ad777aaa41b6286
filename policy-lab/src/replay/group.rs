//! Gathers changed events by what they have in common.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::bounds::Answer;
use super::{Class, Detail, Group, Recorded, Verdict};
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
    max: usize,
    found: HashMap<Key, Found>,
    ungrouped: u64,
}

struct Found {
    /// How many groups were found before this one.
    order: usize,
    count: u64,
    samples: Vec<String>,
}

impl Groups {
    pub(super) fn new(detail: Detail) -> Self {
        Self { detail, max: GROUPS_MAX, found: HashMap::new(), ungrouped: 0 }
    }

    /// The groups of one piece of a log: as many as there are, so that joining all pieces keeps those that one walk over
    /// the whole would keep.
    pub(super) fn of_piece(detail: Detail) -> Self {
        Self { max: usize::MAX, ..Self::new(detail) }
    }

    /// Adds what was found later in the log.
    pub(super) fn join(&mut self, later: Self) {
        self.ungrouped += later.ungrouped;
        let mut later: Vec<_> = later.found.into_iter().collect();
        later.sort_unstable_by_key(|(_, found)| found.order);
        for (key, found) in later {
            let samples = found.samples.iter().map(String::as_str);
            self.count(key, found.count, samples);
        }
    }

    pub(super) fn add(
        &mut self,
        class: Class,
        event: &Recorded,
        before: &Answer<Verdict>,
        after: &Answer<Verdict>,
    ) {
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
        self.count(key, 1, std::iter::once(event.id.as_str()));
    }

    fn count<'a>(&mut self, key: Key, count: u64, samples: impl Iterator<Item = &'a str>) {
        let order = self.found.len();
        let found = match self.found.entry(key) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(_) if order >= self.max => {
                self.ungrouped += count;
                return;
            }
            Entry::Vacant(place) => place.insert(Found { order, count: 0, samples: Vec::new() }),
        };
        found.count += count;
        let room = self.detail.samples_max.saturating_sub(found.samples.len());
        found.samples.extend(samples.take(room).map(str::to_owned));
    }

    /// The groups in the order of the report, and how many events are in none.
    pub(super) fn finish(self) -> (Vec<Group>, u64) {
        let mut groups: Vec<_> = self
            .found
            .into_iter()
            .map(|(key, Found { count, samples, .. })| Group {
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

fn word(answer: &Answer<Verdict>) -> &'static str {
    match answer {
        Answer::Sure(verdict) => verdict.reason.as_str(),
        Answer::Unknown(_) => "unknown",
    }
}

/// The keys that would decide, of both answers.
fn missing(before: &Answer<Verdict>, after: &Answer<Verdict>) -> Vec<String> {
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
