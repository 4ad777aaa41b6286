//! `ForAllValues` and `ForAnyValue`: a key with one value is a set of one, an absent key the empty set.

use crate::context::Slot;

/// True for the empty set.
pub(super) fn all(slot: Slot<'_>, fits: impl Fn(&str) -> bool) -> bool {
    match slot {
        Slot::Absent => true,
        Slot::One(value) => fits(value),
        Slot::Many(values) => values.iter().all(|value| fits(value)),
    }
}

/// False for the empty set.
pub(super) fn any(slot: Slot<'_>, fits: impl Fn(&str) -> bool) -> bool {
    match slot {
        Slot::Absent => false,
        Slot::One(value) => fits(value),
        Slot::Many(values) => values.iter().any(|value| fits(value)),
    }
}
