//! Names of condition keys, compared as a context compares them.

use std::cmp::Ordering;

use crate::context::{CATALOGUE, KeyKind};

/// A key: equal names are one key, whatever their letter case.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As a request writes it.
    pub(super) name: String,
    folded: String,
    pub(super) kind: KeyKind,
}

impl Key {
    pub(super) fn new(name: &str) -> Self {
        match CATALOGUE.iter().find(|info| info.name.eq_ignore_ascii_case(name)) {
            Some(info) => Self {
                name: info.name.to_owned(),
                folded: info.name.to_ascii_lowercase(),
                kind: info.kind,
            },
            // The mark keeps a stranger that folds to a known name apart from it.
            None => Self {
                name: name.to_owned(),
                folded: format!("~{}", name.to_lowercase()),
                kind: KeyKind::String,
            },
        }
    }

    /// Several values by nature, also when it has one.
    pub(super) fn is_array(&self) -> bool {
        self.kind == KeyKind::Array
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}
