//! Which statements a request can concern, by action, bucket and the literal start of the key.
//!
//! Actions that the same statements speak of form a class, so that `s3:*` costs one entry and not one per action. The
//! statements of a bucket (or, under no bucket, those with a wildcard in the bucket) lie in cells, one per class. A
//! large cell is a sorted list of literal prefixes, each knowing the longest other one that it extends: one binary
//! search finds the last prefix in question, and its ancestors are all there can be.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::PolicySet;
use crate::Resource;
use crate::action::CATALOGUE;
use crate::decision::StatementPlace;
use crate::document::{Statement, path};
use crate::pattern::Text;

/// Rows of the action catalogue.
const ROWS: usize = CATALOGUE.len();

/// A cell with at most this many statements is a plain list: looking at each costs less than the search.
const PLAIN_MAX: usize = 8;

/// A statement with its place; what a decision looks at.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: StatementPlace,
    pub(crate) statement: Arc<Statement>,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    entries: Box<[Entry]>,
    /// The class of each action of the catalogue.
    classes: Box<[u16]>,
    buckets: HashMap<Box<str>, Group, BuildHasherDefault<NameHasher>>,
    /// Statements that name no bucket literally; their prefixes are of `bucket/key`.
    anywhere: Group,
}

/// The cells of one bucket, sorted by class.
#[derive(Clone, Debug, Default)]
struct Group(Box<[(u16, Cell)]>);

/// Sorted by prefix.
#[derive(Clone, Debug)]
struct Cell(Box<[Node]>);

#[derive(Clone, Debug)]
struct Node {
    prefix: Box<str>,
    /// The longest other prefix in the cell that this one starts with.
    parent: Option<u32>,
    /// Positions in `entries`.
    entries: Box<[u32]>,
}

impl Index {
    pub(super) fn new(set: &PolicySet) -> Self {
        let entries: Box<[Entry]> = set
            .statements()
            .map(|(place, statement)| Entry { place, statement: Arc::clone(statement) })
            .collect();
        let (classes, classes_of) = classify(&entries);
        let mut drafts: BTreeMap<Option<&str>, GroupDraft<'_>> = BTreeMap::new();
        for ((position, entry), classes) in (0_u32..).zip(&entries).zip(&classes_of) {
            for reach in entry.statement.reaches() {
                let group = drafts.entry(reach.bucket).or_default();
                for class in classes {
                    group.entry(*class).or_default().push((reach.prefix, position));
                }
            }
        }
        let anywhere = drafts.remove(&None).map(Group::new).unwrap_or_default();
        let buckets = drafts
            .into_iter()
            .filter_map(|(bucket, draft)| Some((bucket?.into(), Group::new(draft))))
            .collect();
        Self { entries, classes, buckets, anywhere }
    }

    /// Every statement that can concern the action on the resource; one that cannot may be among them, and one may come
    /// twice.
    pub(crate) fn candidates(&self, row: u16, resource: &Resource) -> impl Iterator<Item = &Entry> {
        let class = self.classes.get(usize::from(row)).copied().unwrap_or_default();
        let key = Text::from(resource.key().unwrap_or_default());
        let group = resource.bucket().and_then(|bucket| self.buckets.get(bucket));
        let bucket = group.and_then(|group| group.cell(class)).map(|cell| cell.chain(key));
        let anywhere = self.anywhere.cell(class).map(|cell| cell.chain(path(resource)));
        bucket
            .into_iter()
            .chain(anywhere)
            .flatten()
            .flat_map(|node| &node.entries)
            .filter_map(|position| self.entries.get(usize::try_from(*position).ok()?))
    }
}

/// Prefixes and positions by class.
type GroupDraft<'a> = BTreeMap<u16, Vec<(&'a str, u32)>>;

impl Group {
    fn new(draft: GroupDraft<'_>) -> Self {
        Self(draft.into_iter().map(|(class, cell)| (class, Cell::new(cell))).collect())
    }

    fn cell(&self, class: u16) -> Option<&Cell> {
        let found = self.0.binary_search_by_key(&class, |(class, _)| *class).ok()?;
        self.0.get(found).map(|(_, cell)| cell)
    }
}

impl Cell {
    fn new(members: Vec<(&str, u32)>) -> Self {
        let mut by_prefix: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let is_plain = members.len() <= PLAIN_MAX;
        for (prefix, position) in members {
            let positions = by_prefix.entry(if is_plain { "" } else { prefix }).or_default();
            if positions.last() != Some(&position) {
                positions.push(position);
            }
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(by_prefix.len());
        // The prefixes that the current one extends, innermost last.
        let mut open: Vec<(u32, &str)> = Vec::new();
        for (at, (prefix, positions)) in (0_u32..).zip(by_prefix) {
            while open.last().is_some_and(|(_, outer)| !prefix.starts_with(outer)) {
                open.pop();
            }
            let parent = open.last().map(|(outer, _)| *outer);
            nodes.push(Node { prefix: prefix.into(), parent, entries: positions.into() });
            open.push((at, prefix));
        }
        Self(nodes.into())
    }

    /// The nodes whose prefix the text starts with, longest first.
    fn chain(&self, text: Text<'_>) -> Chain<'_> {
        if let [only] = &*self.0
            && only.prefix.is_empty()
        {
            return Chain { cell: self, at: Some(only) };
        }
        // Every prefix of the text sorts at or before it, and behind the last such node's ancestors comes none.
        let before = self.0.partition_point(|node| text.sorts_from(&node.prefix));
        let node = |at: usize| self.0.get(at);
        let mut at = before.checked_sub(1).and_then(node);
        while let Some(found) = at
            && text.strip_prefix(&found.prefix).is_none()
        {
            at = found.parent.and_then(|parent| node(usize::try_from(parent).ok()?));
        }
        Chain { cell: self, at }
    }
}

/// A node and its ancestors.
struct Chain<'a> {
    cell: &'a Cell,
    at: Option<&'a Node>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a Node;

    fn next(&mut self) -> Option<&'a Node> {
        let node = self.at?;
        self.at = node.parent.and_then(|parent| self.cell.0.get(usize::try_from(parent).ok()?));
        Some(node)
    }
}

/// Folds eight bytes at a time: bucket names are short. A stranger chooses only what is looked up and never what lies in
/// the map, so nothing is gained by collisions.
#[derive(Clone, Copy, Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let word = piece.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 ^= self.0 >> 32;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The class of each row, and the classes of each statement.
fn classify(entries: &[Entry]) -> (Box<[u16]>, Vec<Vec<u16>>) {
    // Each set of actions splits every class into what is in it and what is not.
    let mut classes = vec![0_u16; ROWS];
    let mut count = 1_u16;
    let bits: Vec<Vec<u64>> =
        entries.iter().map(|entry| entry.statement.action_bits().collect()).collect();
    let mut distinct: Vec<&Vec<u64>> = bits.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    for set in distinct {
        let mut renamed: HashMap<u16, u16> = HashMap::new();
        let mut sizes = vec![(0_u32, 0_u32); usize::from(count)];
        for (row, class) in classes.iter().enumerate() {
            if let Some((inside, all)) = sizes.get_mut(usize::from(*class)) {
                *inside += u32::from(contains(set, row));
                *all += 1;
            }
        }
        for (row, class) in classes.iter_mut().enumerate() {
            let is_split = sizes.get(usize::from(*class)).is_some_and(|(inside, all)| inside < all);
            if contains(set, row) && is_split {
                *class = *renamed.entry(*class).or_insert_with(|| {
                    count += 1;
                    count - 1
                });
            }
        }
    }
    let classes_of = bits
        .iter()
        .map(|set| {
            let mut of: Vec<u16> = classes
                .iter()
                .enumerate()
                .filter(|(row, _)| contains(set, *row))
                .map(|(_, class)| *class)
                .collect();
            of.sort_unstable();
            of.dedup();
            of
        })
        .collect();
    (classes.into(), classes_of)
}

fn contains(set: &[u64], row: usize) -> bool {
    set.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
}
