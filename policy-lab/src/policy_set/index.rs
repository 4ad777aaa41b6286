//! Which statements a request can concern, by action, bucket and the literal start of the key.
//!
//! Actions that the same statements speak of form a class, so that `s3:*` costs one entry and not one per action. The
//! statements of a bucket (or, under no bucket, those with a wildcard in the bucket) lie in cells, one per class. A
//! large cell is a sorted list of literal prefixes, each knowing the longest other one that it extends: one binary
//! search finds the last prefix in question, and its ancestors are all there can be.
//!
//! Most patterns are a prefix and a star. Where one is, to be found is to be covered: class, bucket and prefix were
//! compared on the way, and the statement is asked for its conditions only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::PolicySet;
use crate::Resource;
use crate::action::CATALOGUE;
use crate::decision::{Layer, StatementPlace};
use crate::document::{Statement, Verb, path};
use crate::pattern::Text;

/// Rows of the action catalogue.
const ROWS: usize = CATALOGUE.len();

/// A cell with at most this many prefixes is looked through: that costs less than the search.
const PLAIN_MAX: usize = 8;

/// A statement with its place; what a decision looks at.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: StatementPlace,
    pub(crate) verb: Verb,
    /// No conditions, and whoever has the policy is meant: it takes effect on all that it covers.
    pub(crate) is_plain: bool,
    pub(crate) statement: Arc<Statement>,
}

/// Whether a statement that was found covers the action on the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covers {
    Surely,
    /// The statement must be asked.
    Perhaps,
}

/// A position in the entries. Its statement covers every object with the prefix of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Posting {
    position: u32,
    is_whole: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    entries: Box<[Entry]>,
    /// The class of each action of the catalogue.
    classes: Box<[u16]>,
    /// A stranger chooses only what is looked up and never what lies in the map: nothing is gained by collisions.
    buckets: HashMap<Box<str>, Group, FixedState>,
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
    postings: Box<[Posting]>,
}

impl Index {
    pub(super) fn new(set: &PolicySet) -> Self {
        let entries: Box<[Entry]> = set
            .statements()
            .map(|(place, statement)| Entry {
                place,
                verb: statement.verb(),
                is_plain: statement.clauses().is_empty() && place.layer != Layer::Bucket,
                statement: Arc::clone(statement),
            })
            .collect();
        let (classes, classes_of) = classify(&entries);
        let mut drafts: BTreeMap<Option<&str>, GroupDraft<'_>> = BTreeMap::new();
        for ((position, entry), classes) in (0_u32..).zip(&entries).zip(&classes_of) {
            for reach in entry.statement.reaches() {
                let group = drafts.entry(reach.bucket).or_default();
                for class in classes {
                    let posting = Posting { position, is_whole: reach.is_whole };
                    group.entry(*class).or_default().push((reach.prefix, posting));
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

    /// Shows every statement that can concern the action on the resource; one that cannot may be among them, and one may
    /// come twice.
    pub(crate) fn visit(&self, row: u16, resource: &Resource, mut see: impl FnMut(&Entry, Covers)) {
        let class = self.classes.get(usize::from(row)).copied().unwrap_or_default();
        let is_object = matches!(resource, Resource::Object { .. });
        let group = resource.bucket().and_then(|bucket| self.buckets.get(bucket));
        let key = || Text::from(resource.key().unwrap_or_default());
        let in_bucket = group.and_then(|group| group.cell(class)).map(|cell| (cell, key()));
        let anywhere = self.anywhere.cell(class).map(|cell| (cell, path(resource)));
        for (cell, text) in [in_bucket, anywhere].into_iter().flatten() {
            cell.visit(text, |node| {
                for Posting { position, is_whole } in &node.postings {
                    let covers =
                        if *is_whole && is_object { Covers::Surely } else { Covers::Perhaps };
                    let at = usize::try_from(*position).unwrap_or(usize::MAX);
                    if let Some(entry) = self.entries.get(at) {
                        see(entry, covers);
                    }
                }
            });
        }
    }
}

/// Prefixes and positions by class.
type GroupDraft<'a> = BTreeMap<u16, Vec<(&'a str, Posting)>>;

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
    fn new(members: Vec<(&str, Posting)>) -> Self {
        let mut by_prefix: BTreeMap<&str, Vec<Posting>> = BTreeMap::new();
        for (prefix, posting) in members {
            let postings = by_prefix.entry(prefix).or_default();
            match postings.last_mut().filter(|last| last.position == posting.position) {
                // Two patterns of one statement.
                Some(last) => last.is_whole |= posting.is_whole,
                None => postings.push(posting),
            }
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(by_prefix.len());
        // The prefixes that the current one extends, innermost last.
        let mut open: Vec<(u32, &str)> = Vec::new();
        for (at, (prefix, postings)) in (0_u32..).zip(by_prefix) {
            while open.last().is_some_and(|(_, outer)| !prefix.starts_with(outer)) {
                open.pop();
            }
            let parent = open.last().map(|(outer, _)| *outer);
            nodes.push(Node { prefix: prefix.into(), parent, postings: postings.into() });
            open.push((at, prefix));
        }
        Self(nodes.into())
    }

    /// Shows the nodes whose prefix the text starts with.
    fn visit(&self, text: Text<'_>, mut show: impl FnMut(&Node)) {
        if self.0.len() <= PLAIN_MAX {
            self.0.iter().filter(|node| text.starts_with(&node.prefix)).for_each(show);
            return;
        }
        // Every prefix of the text sorts at or before it, and behind the last such node's ancestors comes none.
        let before = self.0.partition_point(|node| text.sorts_from(&node.prefix));
        let mut found = before.checked_sub(1).and_then(|at| self.0.get(at));
        let mut is_inside = false;
        while let Some(node) = found {
            // What a prefix of the text extends is one, too.
            is_inside = is_inside || text.starts_with(&node.prefix);
            if is_inside {
                show(node);
            }
            found = node.parent.and_then(|parent| self.0.get(usize::try_from(parent).ok()?));
        }
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
