//! A policy set that a replay decides by.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use crate::context::Wanted;
use crate::{Compiled, Policies, PolicySet};

/// Decisions after which the set gets an index: making one costs what some hundred walks over the statements do, and
/// many sets decide a few events only.
const WALKS_MAX: u32 = 100;

/// Belongs to one thread.
#[derive(Debug)]
pub(super) struct InForce {
    set: Rc<PolicySet>,
    wanted: Wanted,
    walks: Cell<u32>,
    compiled: OnceCell<Compiled>,
}

impl InForce {
    pub(super) fn new(set: PolicySet) -> Self {
        let wanted = set.wanted();
        Self { set: Rc::new(set), wanted, walks: Cell::new(0), compiled: OnceCell::new() }
    }

    pub(super) fn set(&self) -> &Rc<PolicySet> {
        &self.set
    }

    /// The condition keys that a decision can depend on.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The set, in the form that decides soonest.
    pub(super) fn policies(&self) -> Policies<'_> {
        if self.walks.get() < WALKS_MAX {
            self.walks.set(self.walks.get() + 1);
            return Policies::from(&*self.set);
        }
        Policies::from(self.compiled.get_or_init(|| Compiled::new((*self.set).clone())))
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self::new(PolicySet::default())
    }
}
