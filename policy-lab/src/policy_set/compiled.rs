//! A policy set with an index over its statements, for many decisions.

use super::PolicySet;
use super::index::Index;

/// A policy set that is asked often: a decision looks at the statements of the request's action and bucket only, and
/// the search for them allocates nothing.
///
/// Making one costs about a microsecond per statement; it is never changed, a new set is compiled anew.
#[derive(Clone, Debug)]
pub struct Compiled {
    set: PolicySet,
    index: Index,
}

impl Compiled {
    #[must_use]
    pub fn new(set: PolicySet) -> Self {
        let index = Index::new(&set);
        Self { set, index }
    }

    /// The policies it was made from.
    #[must_use]
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }
}

impl From<PolicySet> for Compiled {
    fn from(set: PolicySet) -> Self {
        Self::new(set)
    }
}
