//! The least policy that allows what was observed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::{Request, Resource};

/// Distinct keys of one directory that stay single entries; more become `directory/*`.
const KEYS_MAX: usize = 2;

/// Gathers requests into a policy.
#[derive(Debug)]
pub struct Generator {
    prefix_depth: usize,
    requests: u64,
    /// Bucket, then as patterns directory, action, keys; of a full set only that it is full counts.
    objects: BTreeMap<(String, String), BTreeMap<String, BTreeSet<String>>>,
    buckets: BTreeMap<String, BTreeSet<String>>,
    others: BTreeSet<String>,
}

impl Generator {
    /// `prefix_depth` directories of a key stay as they are; what is below becomes `*` once there is more than a
    /// little of it.
    #[must_use]
    pub fn new(prefix_depth: usize) -> Self {
        Self {
            prefix_depth,
            requests: 0,
            objects: BTreeMap::new(),
            buckets: BTreeMap::new(),
            others: BTreeSet::new(),
        }
    }

    /// Takes a request that shall be allowed.
    pub fn add(&mut self, request: &Request) {
        self.requests += 1;
        let action = request.action.as_str().to_owned();
        match &request.resource {
            Resource::Any => {
                self.others.insert(action);
            }
            Resource::Bucket(bucket) => {
                self.buckets.entry(bucket.clone()).or_default().insert(action);
            }
            Resource::Object { bucket, key } => {
                let parts: Vec<String> =
                    key.split_inclusive('/').map(|part| pattern(part, own_name(request))).collect();
                let directories = parts.iter().filter(|part| part.ends_with('/'));
                let directory: String =
                    directories.take(self.prefix_depth).map(String::as_str).collect();
                let actions = self.objects.entry((bucket.clone(), directory)).or_default();
                let keys = actions.entry(action).or_default();
                if keys.len() <= KEYS_MAX {
                    keys.insert(parts.concat());
                }
            }
        }
    }

    /// How many requests were taken.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Every action that was taken.
    #[must_use]
    pub fn actions(&self) -> BTreeSet<&str> {
        let objects = self.objects.values().flat_map(|actions| actions.keys());
        let buckets = self.buckets.values().flatten();
        objects.chain(buckets).chain(&self.others).map(String::as_str).collect()
    }

    /// The policy, as text with a newline behind it. It allows every request that was taken.
    #[must_use]
    pub fn finish(&self) -> String {
        let mut by_resource: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for ((bucket, directory), actions) in &self.objects {
            for (action, keys) in actions {
                let patterns = match keys.len() > KEYS_MAX {
                    true => vec![format!("{directory}*")],
                    false => keys.iter().cloned().collect(),
                };
                for pattern in patterns {
                    let resource = format!("arn:aws:s3:::{}/{pattern}", literal(bucket));
                    by_resource.entry(resource).or_default().insert(action);
                }
            }
        }
        for (bucket, actions) in &self.buckets {
            let resource = format!("arn:aws:s3:::{}", literal(bucket));
            by_resource.entry(resource).or_default().extend(actions.iter().map(String::as_str));
        }
        for action in &self.others {
            by_resource.entry("*".to_owned()).or_default().insert(action);
        }
        let mut by_actions: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
        for (resource, actions) in by_resource {
            by_actions.entry(actions.into_iter().collect()).or_default().push(resource);
        }
        let statements: Vec<_> = by_actions
            .iter()
            .map(|(actions, resources)| {
                json!({ "Effect": "Allow", "Action": actions, "Resource": resources })
            })
            .collect();
        format!("{:#}\n", json!({ "Version": "2012-10-17", "Statement": statements }))
    }
}

/// The caller's name, where a policy's variable stands for it.
fn own_name(request: &Request) -> Option<&str> {
    match request.context.get("aws:username")? {
        [name] if *name == request.principal.name && !name.is_empty() => Some(name),
        _ => None,
    }
}

/// A part of a key, up to its slash, as a pattern. One that is the caller's own name stands for that of whoever has the
/// policy: for this caller it is the same.
fn pattern(part: &str, own_name: Option<&str>) -> String {
    let (name, slash) = match part.strip_suffix('/') {
        Some(name) => (name, "/"),
        None => (part, ""),
    };
    match own_name {
        Some(own) if own == name && slash == "/" => "${aws:username}/".to_owned(),
        _ => literal(name) + slash,
    }
}

/// A name in a pattern, standing for itself.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '*' | '?' | '$' => literal.extend(['$', '{', char, '}']),
            _ => literal.push(char),
        }
    }
    literal
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::Generator;
    use crate::replay::request_line;
    use crate::{Attached, DocumentKind, Policy, PolicySet, Request, evaluate};

    fn request(op: &str, bucket: &str, key: Option<&str>) -> Request {
        let line = serde_json::json!({"op": op, "bucket": bucket, "key": key, "principal": "ann"});
        request_line(1, &line.to_string()).expect("valid").expect("one").recorded.request
    }

    fn set(text: &str) -> PolicySet {
        let policy = Policy::parse(text, DocumentKind::Identity).expect("valid");
        let identity = vec![Attached { name: Arc::from("g"), policy: Arc::new(policy) }];
        PolicySet { identity, ..PolicySet::default() }
    }

    #[test]
    fn directories_become_patterns_and_single_keys_stay() {
        let mut generator = Generator::new(1);
        for n in 0..5 {
            generator.add(&request("GetObject", "b", Some(&format!("in/{n}/x"))));
        }
        generator.add(&request("PutObject", "b", Some("in/one")));
        generator.add(&request("GetObject", "b", Some("top*")));
        generator.add(&request("ListObjectsV2", "b", None));
        assert_eq!(generator.requests(), 8);
        insta::assert_snapshot!(generator.finish());
        let set = set(&generator.finish());
        assert!(evaluate(&set, &request("GetObject", "b", Some("in/9"))).is_allowed());
        assert!(!evaluate(&set, &request("GetObject", "b", Some("topical"))).is_allowed());
        assert!(!evaluate(&set, &request("PutObject", "b", Some("in/two"))).is_allowed());
    }

    #[test]
    fn the_caller_s_own_directory_is_that_of_whoever_has_the_policy() {
        let mut generator = Generator::new(2);
        for n in 0..4 {
            let mut own = request("PutObject", "b", Some(&format!("home/ann/{n}")));
            own.context.set("aws:username", "ann");
            generator.add(&own);
        }
        // Not the caller's name, and not a directory.
        generator.add(&request("GetObject", "b", Some("home/ann")));
        let text = generator.finish();
        assert!(text.contains("arn:aws:s3:::b/home/${aws:username}/*"), "{text}");
        assert!(text.contains("\"arn:aws:s3:::b/home/ann\""), "{text}");
        let set = set(&text);
        let mut other = request("PutObject", "b", Some("home/ann/5"));
        for (name, allowed) in [("ann", true), ("bob", false)] {
            other.context.set("aws:username", name);
            assert_eq!(evaluate(&set, &other).is_allowed(), allowed, "{name}");
        }
    }

    proptest! {
        /// Whatever was observed is allowed.
        #[test]
        fn allows_what_was_observed(
            observed in prop::collection::vec((
                prop::sample::select(vec!["GetObject", "PutObject", "DeleteObject", "ListObjectsV2"]),
                "[ab]{1,2}", prop::option::of("[a$*?/{}.é]{1,6}"),
            ), 1..20),
            depth in 0_usize..3,
        ) {
            let requests: Vec<_> = observed
                .iter()
                .map(|(op, bucket, key)| match *op {
                    "ListObjectsV2" => request(op, bucket, None),
                    _ => request(op, bucket, Some(key.as_deref().unwrap_or("k"))),
                })
                .collect();
            let mut generator = Generator::new(depth);
            requests.iter().for_each(|request| generator.add(request));
            let set = set(&generator.finish());
            for request in &requests {
                prop_assert!(evaluate(&set, request).is_allowed(), "{request:?} {}", generator.finish());
            }
        }
    }
}
