//! What a question can tell apart in a request, dimension by dimension.
//!
//! First everything is noted that some statement asks; then each dimension is cut into the pieces that these questions
//! tell apart, and every literal becomes a set of pieces.

use std::collections::{BTreeMap, HashMap};

use fixedbitset::FixedBitSet;

use super::actions::Actions;
use super::automaton::{Automaton, Class, Kinds, kinds, many, one};
use super::callers::Callers;
use super::domain::{Domain, Many, ManyDomain, Region, SlotDomain, SlotRegion};
use super::formula::Formula;
use super::key::Key;
use super::search::{Ground, Literal};
use super::template::Template;
use super::value::{Pieces, Test, pieces};
use super::{Limit, World};
use crate::action::ResourceKind;

/// A statement about a request that concerns one dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Symbol {
    /// The action is in this list of patterns.
    Action(usize),
    /// The action's row of the catalogue says so; `None`: it has no row.
    ActionOn(Option<ResourceKind>),
    /// The caller is in this set.
    Caller(usize),
    /// The resource has no bucket.
    Anywhere,
    Object,
    /// `bucket` or `bucket/key` fits this pattern.
    Path(usize),
    Slot(Key, Slot),
    /// A pattern with a variable fits; what it stands for is left open.
    Open(usize),
}

/// A statement about what a key holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) absent: bool,
    pub(super) empty: bool,
    pub(super) one: Value,
    pub(super) many: Values,
}

impl Slot {
    /// Exactly one value, whichever.
    pub(super) const ONE: Self =
        Self { absent: false, empty: false, one: Value::Any, many: Values::None };
    pub(super) const ABSENT: Self =
        Self { absent: true, empty: false, one: Value::None, many: Values::None };
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Any,
    /// The test says this.
    Fits(usize, bool),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    None,
    Any,
    /// The test says this of every value.
    Every(usize, bool),
    Some(usize, bool),
}

/// What a key holds in the case that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Absent,
    One(String),
    /// Several, whichever: a variable has no value then.
    Several,
}

/// Everything that is asked about a request.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    actions: Vec<(Vec<Template>, Vec<Automaton>)>,
    paths: Vec<Automaton>,
    keys: BTreeMap<Key, Vec<Test>>,
    open: Vec<(Option<Key>, Template)>,
    callers: Vec<FixedBitSet>,
}

fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|there| *there == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

impl Vocabulary {
    pub(super) fn action(&mut self, patterns: &[Template]) -> Symbol {
        let automata = patterns
            .iter()
            .map(|pattern| pattern.automaton(|_| super::template::Filling::Missing))
            .collect();
        Symbol::Action(place(&mut self.actions, (patterns.to_vec(), automata)))
    }

    pub(super) fn caller(&mut self, set: FixedBitSet) -> Symbol {
        Symbol::Caller(place(&mut self.callers, set))
    }

    pub(super) fn path(&mut self, pattern: Automaton) -> Symbol {
        Symbol::Path(place(&mut self.paths, pattern))
    }

    pub(super) fn test(&mut self, key: &Key, test: Test) -> usize {
        place(self.keys.entry(key.clone()).or_default(), test)
    }

    pub(super) fn slot(&mut self, key: &Key, slot: Slot) -> Symbol {
        self.keys.entry(key.clone()).or_default();
        Symbol::Slot(key.clone(), slot)
    }

    /// A pattern over the values of a key, or over resources. Also says whether it is new.
    pub(super) fn open(&mut self, key: Option<&Key>, pattern: &Template) -> (usize, bool) {
        let known = self.open.len();
        let at = place(&mut self.open, (key.cloned(), pattern.clone()));
        (at, at == known)
    }

    /// The open patterns, each with the key whose values it is of; without one it is of resources.
    pub(super) fn opened(&self) -> impl Iterator<Item = (Option<&Key>, &Template)> {
        self.open.iter().map(|(place, pattern)| (place.as_ref(), pattern))
    }

    /// Pairs of open patterns, the first of which fits only where the second does.
    pub(super) fn implications(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (a, (place, pattern)) in self.open.iter().enumerate() {
            for (b, (other_place, other)) in self.open.iter().enumerate() {
                if a != b && place == other_place && pattern.implies(other) {
                    found.push((a, b));
                }
            }
        }
        found
    }

    /// Every key that is asked about.
    pub(super) fn mentioned(&self) -> Vec<Key> {
        self.keys.keys().cloned().collect()
    }

    pub(super) fn mentions(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
    }
}

/// A question with every dimension cut into pieces.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) literals: Vec<Literal>,
    pub(super) domains: Vec<Domain>,
    pub(super) formula: Ground,
    pub(super) actions: Actions,
    pub(super) paths: Vec<Path>,
    pub(super) keys: Vec<(Key, Vec<Option<String>>)>,
    /// Every point of every domain stands for a request that exists.
    pub(super) is_exact: bool,
}

/// A kind of resource.
#[derive(Clone, Debug)]
pub(super) enum Path {
    Anywhere,
    Bucket(String),
    Object(String),
}

const ACTION: usize = 0;
const CALLER: usize = 1;
const PATH: usize = 2;
const FIRST_KEY: usize = 3;

/// Cuts the dimensions.
///
/// With `held`, the keys in it hold just that, and only values count of which a text is known: what is found is a
/// request. Without, everything counts that may be: what is not found does not exist.
pub(super) fn ground(
    vocabulary: Vocabulary,
    formula: Formula<Symbol>,
    callers: &Callers,
    world: World,
    held: Option<&BTreeMap<Key, Held>>,
) -> Result<Space, Limit> {
    let patterns: Vec<_> =
        vocabulary.actions.iter().map(|(_, automata)| automata.clone()).collect();
    let actions = Actions::of(&patterns, world)?;
    let cut = cut_paths(vocabulary.paths)?;
    let mut domains = vec![full(actions.len()), full(callers.len()), full(cut.paths.len())];
    let mut keys = Vec::new();
    let mut is_exact = vocabulary.open.is_empty();
    let holds = |key: &Key| held.and_then(|held| held.get(key));
    for (key, tests) in vocabulary.keys {
        let pieces = match holds(&key) {
            Some(Held::One(text)) => alone(&tests, text),
            _ => pieces(&tests)?,
        };
        is_exact &= pieces.are_all_known();
        keys.push((key, pieces));
    }
    for (key, pieces) in &keys {
        domains.push(Domain::Slot(possible(key, pieces, holds(key), held.is_some())));
    }
    let first_open = domains.len();
    domains.extend(vocabulary.open.iter().map(|_| full(2)));
    let mut grounder = Grounder {
        callers: &vocabulary.callers,
        actions: &actions,
        cut: &cut,
        keys: &keys,
        first_open,
        literals: Vec::new(),
    };
    let formula = formula.map(&mut |symbol, holds| grounder.literal(&symbol, holds));
    let literals = grounder.literals;
    let keys = keys.into_iter().map(|(key, pieces)| (key, pieces.texts)).collect();
    Ok(Space { literals, domains, formula, actions, paths: cut.paths, keys, is_exact })
}

fn full(points: usize) -> Domain {
    Domain::Points(all(points))
}

fn all(points: usize) -> FixedBitSet {
    let mut all = FixedBitSet::with_capacity(points);
    all.insert_range(..);
    all
}

/// The pieces of a key whose one value is known.
fn alone(tests: &[Test], text: &str) -> Pieces {
    let fits = tests.iter().map(|test| {
        let mut fits = FixedBitSet::with_capacity(1);
        fits.set(0, test.fits(text));
        fits
    });
    Pieces { texts: vec![Some(text.to_owned())], fits: fits.collect() }
}

/// Everything that a key can hold.
fn possible(key: &Key, pieces: &Pieces, held: Option<&Held>, known_only: bool) -> SlotDomain {
    let mut values = all(pieces.texts.len());
    for (piece, text) in pieces.texts.iter().enumerate().filter(|_| known_only) {
        values.set(piece, text.is_some());
    }
    let nothing = FixedBitSet::with_capacity(values.len());
    let many = ManyDomain::new(values.clone(), Vec::new());
    let one = if key.is_array() { nothing.clone() } else { values };
    match held {
        None => SlotDomain { absent: true, empty: true, one, many },
        Some(Held::Absent) => SlotDomain { absent: true, empty: false, one: nothing, many: None },
        Some(Held::One(_)) => SlotDomain { absent: false, empty: false, one, many: None },
        Some(Held::Several) => SlotDomain { absent: false, empty: true, one: nothing, many },
    }
}

struct Cut {
    paths: Vec<Path>,
    /// For each pattern.
    fits: Vec<FixedBitSet>,
    objects: FixedBitSet,
}

/// Kinds of paths: buckets are names without a slash, objects have a key.
fn cut_paths(mut patterns: Vec<Automaton>) -> Result<Cut, Limit> {
    let count = patterns.len();
    let name = [one(Class::Not('/')), many(Class::Not('/'))];
    let key = [one(Class::Char('/')), one(Class::Any), many(Class::Any)];
    patterns.push(Automaton::new(name.to_vec()));
    patterns.push(Automaton::new(name.into_iter().chain(key).collect()));
    let Kinds { texts, fits } = kinds(&patterns)?;
    let is =
        |shape: usize, kind: usize| fits.get(count + shape).is_some_and(|set| set.contains(kind));
    let mut paths = vec![Path::Anywhere];
    let mut points = HashMap::new();
    for (kind, text) in texts.into_iter().enumerate() {
        let path = match (is(0, kind), is(1, kind)) {
            (true, _) => Path::Bucket(text),
            (_, true) => Path::Object(text),
            _ => continue,
        };
        points.insert(kind, paths.len());
        paths.push(path);
    }
    let points_of = |set: &FixedBitSet| {
        let mut moved = FixedBitSet::with_capacity(paths.len());
        moved.extend(set.ones().filter_map(|kind| points.get(&kind).copied()));
        moved
    };
    let objects = fits.get(count + 1).map(points_of).unwrap_or_default();
    Ok(Cut { fits: fits.iter().take(count).map(points_of).collect(), objects, paths })
}

struct Grounder<'a> {
    callers: &'a [FixedBitSet],
    actions: &'a Actions,
    cut: &'a Cut,
    keys: &'a [(Key, Pieces)],
    first_open: usize,
    literals: Vec<Literal>,
}

impl Grounder<'_> {
    /// The literal and its negation stand side by side, so that one number away is the opposite.
    fn literal(&mut self, symbol: &Symbol, holds: bool) -> Ground {
        let Some((dimension, region)) = self.region(symbol) else {
            return Formula::constant(false);
        };
        let known = self
            .literals
            .iter()
            .step_by(2)
            .position(|literal| literal.dimension == dimension && literal.region == region);
        let at = known.map_or(self.literals.len(), |pair| 2 * pair);
        if known.is_none() {
            let complement = region.complement();
            self.literals.push(Literal { dimension, region });
            self.literals.push(Literal { dimension, region: complement });
        }
        Formula::Is(if holds { at } else { at + 1 })
    }

    fn region(&self, symbol: &Symbol) -> Option<(usize, Region)> {
        let points = |dimension, set: &FixedBitSet| Some((dimension, Region::Points(set.clone())));
        match symbol {
            Symbol::Action(list) => points(ACTION, self.actions.matched(*list)?),
            Symbol::ActionOn(kind) => points(ACTION, &self.actions.on(*kind)),
            Symbol::Caller(set) => points(CALLER, self.callers.get(*set)?),
            Symbol::Anywhere => {
                let mut anywhere = FixedBitSet::with_capacity(self.cut.paths.len());
                anywhere.insert(0);
                points(PATH, &anywhere)
            }
            Symbol::Object => points(PATH, &self.cut.objects),
            Symbol::Path(pattern) => points(PATH, self.cut.fits.get(*pattern)?),
            Symbol::Open(at) => {
                let mut fits = FixedBitSet::with_capacity(2);
                fits.insert(1);
                points(self.first_open + at, &fits)
            }
            Symbol::Slot(key, slot) => {
                let at = self.keys.iter().position(|(there, _)| there == key)?;
                let (_, pieces) = self.keys.get(at)?;
                Some((FIRST_KEY + at, Region::Slot(slot_region(pieces, slot)?)))
            }
        }
    }
}

fn slot_region(pieces: &Pieces, slot: &Slot) -> Option<SlotRegion> {
    let nothing = || FixedBitSet::with_capacity(pieces.texts.len());
    let fitting = |test: usize, fits: bool| {
        let set = pieces.fits.get(test)?;
        Some(if fits { set.clone() } else { super::domain::complement(set) })
    };
    let one = match slot.one {
        Value::None => nothing(),
        Value::Any => all(pieces.texts.len()),
        Value::Fits(test, fits) => fitting(test, fits)?,
    };
    let many = match slot.many {
        Values::None => Many::Nothing,
        Values::Any => Many::Everything,
        Values::Every(test, fits) => Many::Every(fitting(test, fits)?),
        Values::Some(test, fits) => Many::Some(fitting(test, fits)?),
    };
    Some(SlotRegion { absent: slot.absent, empty: slot.empty, one, many })
}
