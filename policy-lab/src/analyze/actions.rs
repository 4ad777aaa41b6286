//! Kinds of actions: those that no statement in question tells apart count as one.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use super::automaton::{Automaton, Class, kinds, many, one};
use super::{Limit, World};
use crate::action::{CATALOGUE, ResourceKind};

/// Shown when a kind has one of them: a reader knows what they do.
const FAMILIAR: [&str; 6] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
    "s3:GetBucketLocation",
    "s3:ListAllMyBuckets",
];

#[derive(Debug)]
pub(super) struct Actions {
    points: Vec<Point>,
    /// For each list of patterns.
    matched: Vec<FixedBitSet>,
}

#[derive(Debug)]
struct Point {
    name: String,
    on: Option<ResourceKind>,
}

/// Which lists match, and what the action is on.
type Signature = (Vec<bool>, Option<u8>);

impl Actions {
    pub(super) fn of(lists: &[Vec<Automaton>], world: World) -> Result<Self, Limit> {
        let mut seen: BTreeMap<Signature, Point> = BTreeMap::new();
        let familiar =
            FAMILIAR.iter().filter_map(|name| CATALOGUE.iter().find(|info| info.name == *name));
        for info in familiar.chain(CATALOGUE) {
            let lower = info.name.to_ascii_lowercase();
            let matched = lists.iter().map(|list| list.iter().any(|pattern| pattern.fits(&lower)));
            seen.entry((matched.collect(), Some(info.resource as u8)))
                .or_insert_with(|| Point { name: info.name.to_owned(), on: Some(info.resource) });
        }
        if world == World::Any {
            for (name, matched) in strangers(lists)? {
                seen.entry((matched, None)).or_insert(Point { name, on: None });
            }
        }
        let rank = |name: &str| {
            FAMILIAR.iter().position(|familiar| *familiar == name).unwrap_or(FAMILIAR.len())
        };
        let mut found: Vec<_> = seen.into_iter().collect();
        found.sort_by(|(_, a), (_, b)| (rank(&a.name), &a.name).cmp(&(rank(&b.name), &b.name)));
        let mut matched = vec![FixedBitSet::with_capacity(found.len()); lists.len()];
        for (at, ((fits, _), _)) in found.iter().enumerate() {
            for (set, fits) in matched.iter_mut().zip(fits) {
                set.set(at, *fits);
            }
        }
        Ok(Self { points: found.into_iter().map(|(_, point)| point).collect(), matched })
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    pub(super) fn name(&self, at: usize) -> Option<&str> {
        self.points.get(at).map(|point| &*point.name)
    }

    pub(super) fn matched(&self, list: usize) -> Option<&FixedBitSet> {
        self.matched.get(list)
    }

    pub(super) fn on(&self, kind: Option<ResourceKind>) -> FixedBitSet {
        let mut set = FixedBitSet::with_capacity(self.points.len());
        for (at, point) in self.points.iter().enumerate() {
            set.set(at, point.on == kind);
        }
        set
    }
}

/// Names that are well-formed but not of the catalogue, one of each kind.
fn strangers(lists: &[Vec<Automaton>]) -> Result<Vec<(String, Vec<bool>)>, Limit> {
    let word = [one(Class::Word), many(Class::Word)];
    let name = word.into_iter().chain([one(Class::Char(':'))]).chain(word).collect();
    let mut patterns: Vec<_> = lists.iter().flatten().cloned().collect();
    patterns.push(Automaton::new(name));
    // A kind whose shortest name is of the catalogue may have others: that name is told apart, and the walk repeated.
    let mut known = 0;
    loop {
        let shape = patterns.len() - known - 1;
        let found = kinds(&patterns)?;
        let is = |pattern: usize, kind: usize| {
            found.fits.get(pattern).is_some_and(|fits| fits.contains(kind))
        };
        let mut strangers = Vec::new();
        let mut more = Vec::new();
        for (kind, text) in found.texts.iter().enumerate() {
            let is_known = (shape + 1..patterns.len()).any(|pattern| is(pattern, kind));
            if !is(shape, kind) || is_known {
                continue;
            }
            if CATALOGUE.iter().any(|info| info.name.eq_ignore_ascii_case(text)) {
                more.push(Automaton::exact(text));
            } else if text.len() <= 128 {
                let matched =
                    lists.iter().map(|list| list.iter().any(|pattern| pattern.fits(text)));
                strangers.push((text.clone(), matched.collect()));
            }
        }
        if more.is_empty() {
            return Ok(strangers);
        }
        known += more.len();
        patterns.extend(more);
    }
}
