//! What is still possible in each dimension of a request: its action, its resource, its caller, each condition key.
//!
//! A dimension other than a key has finitely many kinds of points. A key may be absent, may have one value, or several:
//! several values are a set, of which a condition asks only whether all, or some, are of certain kinds. Such demands
//! are kept as they are: "all of `every`, and one of each of `some`" can be met exactly if each of `some` meets
//! `every`.

use fixedbitset::FixedBitSet;

/// A region of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Region {
    Points(FixedBitSet),
    Slot(SlotRegion),
}

/// A region of what a key can hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SlotRegion {
    pub(super) absent: bool,
    /// Present without a value.
    pub(super) empty: bool,
    pub(super) one: FixedBitSet,
    pub(super) many: Many,
}

/// A region of sets of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Many {
    Nothing,
    Everything,
    /// All values are in it.
    Every(FixedBitSet),
    /// Some value is in it.
    Some(FixedBitSet),
}

impl Region {
    pub(super) fn complement(&self) -> Self {
        match self {
            Self::Points(points) => Self::Points(complement(points)),
            Self::Slot(slot) => Self::Slot(SlotRegion {
                absent: !slot.absent,
                empty: !slot.empty,
                one: complement(&slot.one),
                many: match &slot.many {
                    Many::Nothing => Many::Everything,
                    Many::Everything => Many::Nothing,
                    Many::Every(values) => Many::Some(complement(values)),
                    Many::Some(values) => Many::Every(complement(values)),
                },
            }),
        }
    }
}

pub(super) fn complement(set: &FixedBitSet) -> FixedBitSet {
    let mut other = set.clone();
    other.toggle_range(..);
    other
}

fn meets(a: &FixedBitSet, b: &FixedBitSet) -> bool {
    !a.is_disjoint(b)
}

/// What is possible in one dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Domain {
    Points(FixedBitSet),
    Slot(SlotDomain),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SlotDomain {
    pub(super) absent: bool,
    pub(super) empty: bool,
    pub(super) one: FixedBitSet,
    pub(super) many: Option<ManyDomain>,
}

/// Sets of values within `every` that have an element in each of `some`. Never without such a set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ManyDomain {
    pub(super) every: FixedBitSet,
    pub(super) some: Vec<FixedBitSet>,
}

impl ManyDomain {
    pub(super) fn new(every: FixedBitSet, some: Vec<FixedBitSet>) -> Option<Self> {
        let possible = !every.is_clear() && some.iter().all(|some| meets(some, &every));
        possible.then_some(Self { every, some })
    }

    fn narrowed(&self, region: &Many) -> Option<Self> {
        let mut narrowed = self.clone();
        match region {
            Many::Nothing => return None,
            Many::Everything => return Some(narrowed),
            Many::Every(values) => narrowed.every.intersect_with(values),
            Many::Some(values) => narrowed.some.push(values.clone()),
        }
        Self::new(narrowed.every, narrowed.some)
    }

    fn is_within(&self, region: &Many) -> bool {
        match region {
            Many::Nothing => false,
            Many::Everything => true,
            Many::Every(values) => self.every.is_subset(values),
            Many::Some(values) => {
                let forced =
                    |some: &FixedBitSet| some.intersection(&self.every).all(|v| values.contains(v));
                self.every.is_subset(values) || self.some.iter().any(forced)
            }
        }
    }

    fn meets(&self, region: &Many) -> bool {
        match region {
            Many::Nothing => false,
            Many::Everything => true,
            Many::Every(values) => {
                let left =
                    |some: &FixedBitSet| some.intersection(&self.every).any(|v| values.contains(v));
                meets(&self.every, values) && self.some.iter().all(left)
            }
            Many::Some(values) => meets(&self.every, values),
        }
    }
}

impl Domain {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Points(points) => points.is_clear(),
            Self::Slot(slot) => {
                !slot.absent && !slot.empty && slot.one.is_clear() && slot.many.is_none()
            }
        }
    }

    /// Some point of the domain is in the region.
    pub(super) fn meets(&self, region: &Region) -> bool {
        match (self, region) {
            (Self::Points(points), Region::Points(wanted)) => meets(points, wanted),
            (Self::Slot(slot), Region::Slot(wanted)) => {
                slot.absent && wanted.absent
                    || slot.empty && wanted.empty
                    || meets(&slot.one, &wanted.one)
                    || slot.many.as_ref().is_some_and(|many| many.meets(&wanted.many))
            }
            _ => false,
        }
    }

    /// Every point of the domain is in the region. May say no when it is so: only speed rests on it.
    pub(super) fn is_within(&self, region: &Region) -> bool {
        match (self, region) {
            (Self::Points(points), Region::Points(wanted)) => points.is_subset(wanted),
            (Self::Slot(slot), Region::Slot(wanted)) => {
                (wanted.absent || !slot.absent)
                    && (wanted.empty || !slot.empty)
                    && slot.one.is_subset(&wanted.one)
                    && slot.many.as_ref().is_none_or(|many| many.is_within(&wanted.many))
            }
            _ => false,
        }
    }

    pub(super) fn narrow(&mut self, region: &Region) {
        match (self, region) {
            (Self::Points(points), Region::Points(wanted)) => points.intersect_with(wanted),
            (Self::Slot(slot), Region::Slot(wanted)) => {
                slot.absent &= wanted.absent;
                slot.empty &= wanted.empty;
                slot.one.intersect_with(&wanted.one);
                slot.many = slot.many.as_ref().and_then(|many| many.narrowed(&wanted.many));
            }
            _ => {}
        }
    }
}
