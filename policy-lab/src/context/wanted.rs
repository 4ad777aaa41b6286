//! Which condition keys policies can ask for, so that a replay reads no others out of its records.

use std::collections::BTreeSet;

use super::{Context, Key};

/// A set of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    everything: bool,
    /// One bit per row of the catalogue.
    known: u128,
    /// Keys of other vocabularies, in lower case.
    others: BTreeSet<Box<str>>,
}

impl Wanted {
    pub(crate) fn add(&mut self, key: &Key) {
        match key {
            Key::Known(position) => self.known |= 1 << position,
            Key::Other(folded) => {
                self.others.insert(folded.clone());
            }
        }
    }

    /// Whatever there is: somebody looks at the keys whom nobody can ask which.
    pub(crate) fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Whether the row of the catalogue is asked for.
    pub(crate) fn has_known(&self, position: u8) -> bool {
        self.everything || self.known >> position & 1 == 1
    }

    /// Whether any key outside the catalogue is.
    pub(crate) fn has_others(&self) -> bool {
        self.everything || !self.others.is_empty()
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        match key {
            Key::Known(position) => self.has_known(*position),
            Key::Other(folded) => self.everything || self.others.contains(folded),
        }
    }
}

impl Context {
    /// Puts values under a key that was resolved before; `name` is its spelling.
    pub(crate) fn put(&mut self, key: Key, name: &str, values: Vec<String>) {
        match key {
            Key::Known(position) => self.set_known(position, values),
            Key::Other(folded) => self.set_other(folded, name, values),
        }
    }

    /// Takes everything out; the lists can be filled again.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.present = 0;
        let others = self.others.drain(..).map(|other| other.values);
        self.known.drain(..).chain(others)
    }
}
