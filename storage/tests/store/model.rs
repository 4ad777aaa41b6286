//! The store against an obvious model, a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use storage::drive::Drive;
use storage::drive::memory::MemoryDrive;
use storage::{ErrorKind, ListRequest, Store};

use crate::support::{Bench, DEPLOYMENT, bucket, key, pattern};

#[derive(Clone, Debug)]
enum Step {
    Put(String, usize),
    Delete(String),
    Get(String),
    List { prefix: String, delimiter: bool, after: Option<String>, max: usize },
    Reopen,
}

fn name() -> impl Strategy<Value = String> {
    // Few names, many collisions: separators, a prefix of another, and the byte just above the separator.
    "[ab/0\u{1}]{1,4}"
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0usize..200, 1 => Just(300_000usize)];
    let list = (
        prop_oneof![Just(String::new()), name()],
        any::<bool>(),
        proptest::option::of(name()),
        1usize..6,
    );
    prop_oneof![
        5 => (name(), size).prop_map(|(name, size)| Step::Put(name, size)),
        3 => name().prop_map(Step::Delete),
        3 => name().prop_map(Step::Get),
        4 => list.prop_map(|(prefix, delimiter, after, max)| Step::List { prefix, delimiter, after, max }),
        1 => Just(Step::Reopen),
    ]
}

struct Subject {
    drives: Vec<Arc<dyn Drive>>,
    store: Store,
    bench: Bench,
    model: BTreeMap<String, usize>,
}

impl Subject {
    async fn new() -> Self {
        let drives: Vec<Arc<dyn Drive>> =
            (0..4).map(|_| Arc::new(MemoryDrive::new()) as Arc<dyn Drive>).collect();
        let store = open(&drives);
        store.create_bucket(&bucket(), "owner", 1).await.unwrap();
        Self { drives, store, bench: Bench::new(0), model: BTreeMap::new() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put(name, size) => {
                self.bench.put(&self.store, &name, &pattern(size)).await.unwrap();
                self.model.insert(name, size);
            }
            Step::Delete(name) => {
                let deleted =
                    self.store.delete(&bucket(), &key(&name), None, "1", 1).await.unwrap();
                assert_eq!(deleted.existed, self.model.remove(&name).is_some());
            }
            Step::Get(name) => {
                match (self.bench.get(&self.store, &name).await, self.model.get(&name)) {
                    (Ok(bytes), Some(size)) => assert!(bytes == pattern(*size)),
                    (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NoSuchKey),
                    (read, expected) => {
                        panic!("{:?} instead of {expected:?}", read.map(|b| b.len()))
                    }
                }
            }
            Step::List { prefix, delimiter, after, max } => {
                self.list(prefix, delimiter, after, max).await;
            }
            Step::Reopen => {
                self.store.close();
                self.store = open(&self.drives);
            }
        }
    }

    /// All pages together are what the model says.
    async fn list(&self, prefix: String, delimiter: bool, after: Option<String>, max: usize) {
        let expected = self.expected(&prefix, delimiter, after.as_deref());
        let mut found = Vec::new();
        let mut next = after;
        loop {
            let request = ListRequest {
                bucket: bucket(),
                prefix: prefix.clone(),
                delimiter: delimiter.then(|| "/".to_owned()),
                start_after: next,
                max,
            };
            let page = self.store.list(request).await.unwrap();
            let mut entries: Vec<String> =
                page.objects.iter().map(|entry| entry.key.to_string()).collect();
            entries.extend(page.prefixes);
            assert!(entries.len() <= max);
            entries.sort();
            found.extend(entries);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
    }

    fn expected(&self, prefix: &str, delimiter: bool, after: Option<&str>) -> Vec<String> {
        let roll_up = |name: &str| {
            let rest = name.strip_prefix(prefix)?;
            let (until, _) = rest.split_once('/').filter(|_| delimiter)?;
            Some(format!("{prefix}{until}/"))
        };
        let rolled_up_after = after.filter(|after| roll_up(after).as_deref() == Some(*after));
        let mut entries: Vec<String> = self
            .model
            .keys()
            .filter(|name| name.starts_with(prefix))
            .filter(|name| after.is_none_or(|after| name.as_str() > after))
            .filter(|name| rolled_up_after.is_none_or(|after| !name.starts_with(after)))
            .map(|name| roll_up(name).unwrap_or_else(|| name.clone()))
            .collect();
        entries.dedup();
        entries
    }
}

fn open(drives: &[Arc<dyn Drive>]) -> Store {
    let drives = drives.iter().cloned().map(Some).collect();
    Store::over(drives, DEPLOYMENT, [42; 32].into(), None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_store_is_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut subject = Subject::new().await;
            for step in steps {
                subject.step(step).await;
            }
        });
    }
}
