//! Condition keys of a request and their values.
//!
//! Names are compared without regard to letter case, tag names after the `/` included, and kept in their canonical
//! spelling. How a key without a set operator is read depends on its type in the catalogue and on the number of its
//! values only, so that a context survives a journey through the log unchanged.

mod catalogue;
mod implied;
mod wanted;

use std::cmp::Ordering;

pub use self::catalogue::{CATALOGUE, KeyInfo, KeyKind};
pub use self::implied::Implied;
pub(crate) use self::implied::event_s;
pub(crate) use self::wanted::Wanted;

/// A key name, resolved once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Position in [`CATALOGUE`].
    Known(u8),
    /// Lower case.
    Other(Box<str>),
}

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        match position(name) {
            Some(position) => Self::Known(position),
            None => Self::Other(name.to_lowercase().into()),
        }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::Known(position) => {
                CATALOGUE.get(usize::from(*position)).map_or(KeyKind::String, |info| info.kind)
            }
            Self::Other(_) => KeyKind::String,
        }
    }
}

/// What a condition finds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot<'a> {
    Absent,
    One(&'a str),
    Many(&'a [String]),
}

/// The condition keys of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Bit `n`: catalogue row `n` is present.
    present: u128,
    /// Values of the present rows, in catalogue order.
    known: Vec<Vec<String>>,
    /// Tags and keys of other vocabularies, sorted by folded name.
    others: Vec<Other>,
}

/// What was under a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The spelling of a key outside the catalogue.
    name: Box<str>,
    values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    folded: Box<str>,
    name: Box<str>,
    values: Vec<String>,
}

impl Context {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A context from names and their values.
    pub fn from_pairs<K: AsRef<str>>(pairs: impl IntoIterator<Item = (K, Vec<String>)>) -> Self {
        let mut context = Self::new();
        for (key, values) in pairs {
            context.set_many(key.as_ref(), values);
        }
        context
    }

    /// Gives a key one value, in place of what it had.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.set_many(key, vec![value.into()]);
    }

    /// Gives a key these values, in place of what it had. An empty list is present but empty.
    pub fn set_many(&mut self, key: &str, values: Vec<String>) {
        self.put(Key::new(key), key, values);
    }

    /// The values of a key; `None` if it is absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.values(&Key::new(key))
    }

    /// Puts these values under a key, `None` for taking it away, and answers what was there.
    pub(crate) fn replace(
        &mut self,
        key: &Key,
        name: &str,
        values: Option<Vec<String>>,
    ) -> Option<Taken> {
        if let (Some(slot), Some(_)) = (self.slot_mut(key), &values) {
            let values = std::mem::replace(slot, values.unwrap_or_default());
            return Some(Taken { name: "".into(), values });
        }
        let there = self.take(key);
        if let Some(values) = values {
            self.put(key.clone(), name, values);
        }
        there
    }

    /// Makes a key what it was before [`Context::replace`].
    pub(crate) fn restore(&mut self, key: &Key, there: Option<Taken>) {
        if let (Some(slot), Some(_)) = (self.slot_mut(key), &there) {
            *slot = there.map(|taken| taken.values).unwrap_or_default();
            return;
        }
        self.take(key);
        if let Some(Taken { name, values }) = there {
            self.put(key.clone(), &name, values);
        }
    }

    /// The values of a row of the catalogue that is present.
    fn slot_mut(&mut self, key: &Key) -> Option<&mut Vec<String>> {
        let Key::Known(position) = key else { return None };
        let rank = self.rank(*position).ok()?;
        self.known.get_mut(rank)
    }

    fn take(&mut self, key: &Key) -> Option<Taken> {
        match key {
            Key::Known(position) => {
                let rank = self.rank(*position).ok()?;
                self.present &= !(1 << position);
                Some(Taken { name: "".into(), values: self.known.remove(rank) })
            }
            Key::Other(folded) => {
                let found = self.others.binary_search_by(|other| other.folded.cmp(folded)).ok()?;
                let Other { name, values, .. } = self.others.remove(found);
                Some(Taken { name, values })
            }
        }
    }

    /// All keys with their values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.sorted(u128::MAX).into_iter()
    }

    /// The same, of the catalogue only the rows whose bits are set.
    fn sorted(&self, rows: u128) -> Vec<(&str, &[String])> {
        let present =
            CATALOGUE.iter().enumerate().filter(|(position, _)| self.present >> position & 1 == 1);
        let known = present.zip(&self.known).filter(|((position, _), _)| rows >> position & 1 == 1);
        let known = known.map(|((_, info), values)| (info.name, values.as_slice()));
        let others = self.others.iter().map(|other| (&*other.name, other.values.as_slice()));
        let mut all: Vec<_> = known.chain(others).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    pub(crate) fn slot(&self, key: &Key) -> Slot<'_> {
        match self.values(key) {
            None => Slot::Absent,
            Some([value]) if key.kind() != KeyKind::Array => Slot::One(value),
            Some(values) => Slot::Many(values),
        }
    }

    /// The value a policy variable stands for: only a single-valued key has one.
    pub(crate) fn variable(&self, key: &Key) -> Option<&str> {
        match self.slot(key) {
            Slot::One(value) => Some(value),
            Slot::Absent | Slot::Many(_) => None,
        }
    }

    fn values(&self, key: &Key) -> Option<&[String]> {
        match key {
            Key::Known(position) => {
                let rank = self.rank(*position).ok()?;
                self.known.get(rank).map(Vec::as_slice)
            }
            Key::Other(folded) => {
                let found = self.others.binary_search_by(|other| other.folded.cmp(folded)).ok()?;
                self.others.get(found).map(|other| other.values.as_slice())
            }
        }
    }

    /// Where a catalogue row's values are in `known`, or belong.
    fn rank(&self, position: u8) -> Result<usize, usize> {
        let below = (1_u128 << position) - 1;
        let rank = (self.present & below).count_ones() as usize;
        if self.present >> position & 1 == 1 { Ok(rank) } else { Err(rank) }
    }

    fn set_known(&mut self, position: u8, values: Vec<String>) {
        match self.rank(position) {
            Ok(rank) => {
                if let Some(slot) = self.known.get_mut(rank) {
                    *slot = values;
                }
            }
            Err(rank) => {
                self.known.insert(rank, values);
                self.present |= 1 << position;
            }
        }
    }

    fn set_other(&mut self, folded: Box<str>, name: &str, values: Vec<String>) {
        let other = Other { name: canonical(name).into(), folded, values };
        match self.others.binary_search_by(|there| there.folded.cmp(&other.folded)) {
            Ok(found) => {
                if let Some(slot) = self.others.get_mut(found) {
                    slot.values = other.values;
                }
            }
            Err(place) => self.others.insert(place, other),
        }
    }
}

/// The families of keys whose last part is free.
pub(crate) const FAMILIES: [&str; 6] = [
    "aws:PrincipalTag/",
    "aws:RequestTag/",
    "aws:ResourceTag/",
    "s3:BucketTag/",
    "s3:ExistingObjectTag/",
    "s3:RequestObjectTag/",
];

fn canonical(name: &str) -> String {
    for family in FAMILIES {
        if let (Some(head), Some(tail)) = (name.get(..family.len()), name.get(family.len()..))
            && head.eq_ignore_ascii_case(family)
        {
            return format!("{family}{tail}");
        }
    }
    name.to_owned()
}

/// Length of the longest name that is looked up by its length.
const LENGTH_MAX: usize = 63;

/// Catalogue rows in the order of their names' lengths, and for each length where its rows begin.
const BY_LENGTH: ([u8; CATALOGUE.len()], [u8; LENGTH_MAX + 2]) = by_length();

const fn by_length() -> ([u8; CATALOGUE.len()], [u8; LENGTH_MAX + 2]) {
    let mut rows = [0; CATALOGUE.len()];
    let mut starts = [0; LENGTH_MAX + 2];
    let (mut length, mut filled) = (0, 0);
    while length <= LENGTH_MAX {
        starts[length] = filled as u8;
        let mut row = 0;
        while row < CATALOGUE.len() {
            if CATALOGUE[row].name.len() == length {
                rows[filled] = row as u8;
                filled += 1;
            }
            row += 1;
        }
        length += 1;
    }
    starts[LENGTH_MAX + 1] = filled as u8;
    (rows, starts)
}

/// The row of a name in its canonical spelling, which is how logs and our own server write it.
fn exact(name: &str) -> Option<u8> {
    let (rows, starts) = &BY_LENGTH;
    let (from, to) = (starts.get(name.len())?, starts.get(name.len() + 1)?);
    let rows = rows.get(usize::from(*from)..usize::from(*to))?;
    let is_named = |row: &&u8| CATALOGUE.get(usize::from(**row)).is_some_and(|i| i.name == name);
    rows.iter().find(is_named).copied()
}

/// The row of a name in any spelling.
pub(crate) fn position(name: &str) -> Option<u8> {
    if let Some(found) = exact(name) {
        return Some(found);
    }
    let found = CATALOGUE.binary_search_by(|info| folded_cmp(info.name, name)).ok()?;
    u8::try_from(found).ok()
}

fn folded_cmp(a: &str, b: &str) -> Ordering {
    let fold = |byte: u8| byte.to_ascii_lowercase();
    a.bytes().map(fold).cmp(b.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CATALOGUE, Context, Key, Slot, folded_cmp};

    #[test]
    fn catalogue_is_sorted_and_fits_the_mask() {
        assert!(CATALOGUE.len() <= 128);
        assert!(CATALOGUE.windows(2).all(|pair| folded_cmp(pair[0].name, pair[1].name).is_lt()));
    }

    #[test]
    fn every_name_is_found_in_any_spelling() {
        for (row, info) in CATALOGUE.iter().enumerate() {
            let row = u8::try_from(row).expect("few");
            assert_eq!(super::position(info.name), Some(row));
            assert_eq!(super::position(&info.name.to_uppercase()), Some(row));
        }
        assert_eq!(super::position(""), None);
        assert_eq!(super::position(&"x".repeat(200)), None);
    }

    #[test]
    fn names_fold_and_come_back_canonical() {
        let mut context = Context::new();
        context.set("AWS:sourceip", "10.0.0.1");
        context.set("S3:existingobjecttag/Class", "secret");
        assert_eq!(context.get("aws:SourceIp"), Some(["10.0.0.1".to_owned()].as_slice()));
        assert_eq!(
            context.get("s3:ExistingObjectTag/class"),
            Some(["secret".to_owned()].as_slice())
        );
        let names: Vec<_> = context.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["aws:SourceIp", "s3:ExistingObjectTag/Class"]);
    }

    #[test]
    fn type_and_number_of_values_decide_the_slot() {
        let mut context = Context::new();
        context.set("aws:TagKeys", "team");
        context.set("aws:username", "alice");
        context.set_many("aws:SourceIp", vec!["::1".into(), "::2".into()]);
        assert!(matches!(context.slot(&Key::new("aws:tagkeys")), Slot::Many([_])));
        assert_eq!(context.slot(&Key::new("aws:UserName")), Slot::One("alice"));
        assert!(matches!(context.slot(&Key::new("aws:SourceIp")), Slot::Many([_, _])));
        assert_eq!(context.slot(&Key::new("s3:prefix")), Slot::Absent);
    }

    proptest! {
        /// Whatever the order and repetition of the calls, a context is what a map of its last values is.
        #[test]
        fn is_a_map(calls in prop::collection::vec(
            (0_usize..CATALOGUE.len() + 3, "[a-c]{0,2}", any::<bool>()), 0..40)) {
            let name = |n: usize| CATALOGUE.get(n).map_or_else(
                || format!("s3:RequestObjectTag/t{n}"), |info| info.name.to_owned());
            let mut context = Context::new();
            let mut model = std::collections::BTreeMap::new();
            for (n, value, is_taken) in calls {
                if is_taken {
                    let key = Key::new(&name(n));
                    let before = context.clone();
                    let there = context.replace(&key, &name(n).to_uppercase(), Some(vec![value]));
                    context.restore(&key, there);
                    prop_assert_eq!(&context, &before);
                    let there = context.replace(&key, &name(n), None);
                    prop_assert_eq!(there.map(|there| there.values), model.remove(&name(n)));
                } else {
                    context.set(&name(n), value.clone());
                    model.insert(name(n), vec![value]);
                }
            }
            let pairs: Vec<_> = context.iter().map(|(k, v)| (k.to_owned(), v.to_vec())).collect();
            prop_assert_eq!(&pairs, &model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(Context::from_pairs(model), context);
        }
    }
}
