//! From statements to formulas: when a request is allowed, said as `evaluate` decides it.
//!
//! A statement that allows needs a sure yes, one that denies is only stopped by a sure no, so every statement has two
//! formulas ([`Sure`]); they differ where the language has no sure answer.

use std::collections::BTreeMap;

use super::Access;
use super::automaton::Automaton;
use super::callers::Callers;
use super::formula::Formula;
use super::key::Key;
use super::statement::{Clause, Entry, Resources, Statement, Unread, statements};
use super::template::{Filling, Manner, Template};
use super::value::Test;
use super::vocabulary::{Held, Slot, Symbol, Value, Values, Vocabulary};
use crate::condition::{Family, Quantifier, reading};
use crate::{Attached, Policy};

pub(super) type Asked = Formula<Symbol>;

/// Patterns of a variable's values that are followed into the patterns that it stands in, at most.
const TIES_MAX: usize = 128;

/// Open patterns that are held against a text, at most.
const TEXTS_MAX: usize = 64;

/// Which doubtful answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    /// Only a sure yes: what lets a statement allow.
    Yes,
    /// Anything but a sure no: what lets a statement deny.
    NotNo,
}

impl Sure {
    fn doubt(self) -> bool {
        self == Self::NotNo
    }
}

/// The statements that decide for somebody, layer by layer.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) identity: Vec<Vec<Statement>>,
    pub(super) bucket: Option<Vec<Statement>>,
    /// The bucket whose policy that is; `None`: of whichever bucket is asked about.
    pub(super) bucket_name: Option<String>,
    pub(super) boundary: Option<Vec<Statement>>,
    pub(super) session: Option<Vec<Statement>>,
}

impl Layers {
    pub(super) fn read(access: &Access) -> Result<Self, Unread> {
        let read = |attached: &Attached| statements(&attached.policy);
        let optional = |attached: &Option<Attached>| attached.as_ref().map(read).transpose();
        let set = &access.policies;
        Ok(Self {
            identity: set.identity.iter().map(read).collect::<Result<_, _>>()?,
            bucket: optional(&set.bucket)?,
            bucket_name: access.bucket.clone(),
            boundary: optional(&set.boundary)?,
            session: optional(&set.session)?,
        })
    }

    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        let optional = [&self.bucket, &self.boundary, &self.session];
        self.identity.iter().chain(optional.into_iter().flatten()).flatten()
    }
}

/// Reads one statement of a policy of its own, as a pattern of requests.
pub(super) fn pattern(policy: &Policy) -> Result<Statement, Unread> {
    statements(policy)?.pop().ok_or(Unread)
}

/// A variable in an open pattern, and a pattern that its values are compared with.
struct Tie {
    open: usize,
    place: Option<Key>,
    template: Template,
    key: Key,
    pattern: Template,
}

/// Turns statements into formulas and notes what they ask.
pub(super) struct Encoder<'a> {
    pub(super) vocabulary: Vocabulary,
    callers: &'a Callers,
    /// What keys hold, where that is known; without, patterns with variables stay open.
    held: Option<&'a BTreeMap<Key, Held>>,
    /// What follows from an open pattern: holds for every request.
    facts: Vec<Asked>,
    /// What the values of keys are compared with: patterns without variables.
    compared: Vec<(Key, Template)>,
    /// What resources are compared with, without wildcards and variables.
    paths: Vec<String>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(callers: &'a Callers, held: Option<&'a BTreeMap<Key, Held>>) -> Self {
        Self {
            vocabulary: Vocabulary::default(),
            callers,
            held,
            facts: Vec::new(),
            compared: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// What holds of every request whatever the question.
    pub(super) fn facts(&mut self) -> Asked {
        let mut facts = std::mem::take(&mut self.facts);
        for (narrow, wide) in self.vocabulary.implications() {
            facts.push(Formula::Not(Symbol::Open(narrow)).or(Formula::Is(Symbol::Open(wide))));
        }
        let mut ties = Vec::new();
        for (open, (place, template)) in self.vocabulary.opened().enumerate() {
            for (key, pattern) in &self.compared {
                if template.keys().any(|(variable, _)| variable == key) {
                    let (key, pattern) = (key.clone(), pattern.clone());
                    ties.push(Tie {
                        open,
                        place: place.cloned(),
                        template: template.clone(),
                        key,
                        pattern,
                    });
                }
            }
        }
        for tie in ties.into_iter().take(TIES_MAX) {
            facts.extend(self.tie(&tie));
        }
        for (open, place, template, text) in self.held_against().into_iter().take(TEXTS_MAX) {
            facts.extend(self.of_text(open, place.as_ref(), &template, &text));
        }
        Formula::all(facts)
    }

    /// Open patterns, each with a text that its place is compared with.
    fn held_against(&self) -> Vec<(usize, Option<Key>, Template, String)> {
        let mut found = Vec::new();
        for (open, (place, template)) in self.vocabulary.opened().enumerate() {
            let of_key = |key: &Key| {
                let there = self.compared.iter().filter(|(compared, _)| compared == key);
                there
                    .filter(|(_, pattern)| !pattern.ignores_case())
                    .filter_map(|(_, p)| p.text())
                    .collect()
            };
            let texts: Vec<String> = place.map_or_else(|| self.paths.clone(), of_key);
            found.extend(
                texts.into_iter().map(|text| (open, place.cloned(), template.clone(), text)),
            );
        }
        found
    }

    /// Where an open pattern's place holds this text, the variable's values that make the pattern fit are known, and so is
    /// whether there is any: also of a pattern in which it stands twice.
    fn of_text(
        &mut self,
        open: usize,
        place: Option<&Key>,
        template: &Template,
        text: &str,
    ) -> Vec<Asked> {
        let Some((key, values)) = template.values_for(text) else { return Vec::new() };
        let exact = Automaton::exact(text);
        let there = match place {
            Some(place) => self.one(place, Test::Text(vec![exact])),
            None => Formula::Is(self.vocabulary.path(exact)),
        };
        let values: Vec<_> = values
            .iter()
            .map(|value| self.one(&key, Test::Text(vec![template.spelled_as(value)])))
            .collect();
        let open = Formula::Is(Symbol::Open(open));
        let value = Formula::any(values);
        vec![
            Formula::any([open.clone().not(), there.clone().not(), value.clone()]),
            Formula::any([open, there.not(), value.not()]),
        ]
    }

    /// What an open pattern fits when the value of a variable in it fits a pattern of its own: that pattern in the place of
    /// the variable. If only one text fits that, and there is no other variable, the converse is true as well.
    fn tie(&mut self, Tie { open, place, template, key, pattern }: &Tie) -> Vec<Asked> {
        let Some(filling) = pattern.as_filling() else { return Vec::new() };
        let is_text = matches!(filling, Filling::Text(_));
        // A wildcard in a value that is put in raw takes more than the value's own pattern does.
        if key.is_array() || template.is_raw() && !is_text {
            return Vec::new();
        }
        let fill = |variable: &Key| match pattern.as_filling() {
            Some(filling) if variable == key => filling,
            _ => Filling::Open,
        };
        let test = Test::Text(vec![pattern.automaton(|_| Filling::Missing)]);
        let value = self.one(key, test);
        let narrowed = template.automaton(fill);
        let fits = match place {
            Some(place) => self.one(place, Test::Text(vec![narrowed])),
            None => {
                let path = Formula::Is(self.vocabulary.path(narrowed));
                path.or(self.buckets(template, fill))
            }
        };
        let mut facts = vec![Formula::any([
            Formula::Not(Symbol::Open(*open)),
            value.clone().not(),
            fits.clone(),
        ])];
        if is_text && template.keys().all(|(variable, _)| variable == key) {
            facts.push(Formula::any([fits.not(), value.not(), Formula::Is(Symbol::Open(*open))]));
        }
        facts
    }

    /// The key has one value, which fits.
    fn one(&mut self, key: &Key, test: Test) -> Asked {
        let test = self.vocabulary.test(key, test);
        let one = Slot { one: Value::Fits(test, true), ..Slot::ONE };
        Formula::Is(self.vocabulary.slot(key, one))
    }

    /// The request is allowed.
    pub(super) fn allowed(&mut self, layers: &Layers) -> Asked {
        let here = self.in_bucket(layers.bucket_name.as_deref());
        let denied = self.denied(layers);
        let anonymous = self.anonymous();
        let identity: Vec<_> = layers.identity.iter().map(|policy| self.allows(policy)).collect();
        let identity = Formula::any(identity).and(anonymous.not());
        let bucket = match &layers.bucket {
            Some(statements) => here.and(self.lets_in(statements)),
            None => Formula::constant(false),
        };
        let mut limit = |layer: &Option<Vec<Statement>>| match layer {
            Some(statements) => self.allows(statements),
            None => Formula::constant(true),
        };
        let limits = limit(&layers.boundary).and(limit(&layers.session));
        Formula::all([denied.not(), identity.or(bucket), limits])
    }

    /// Some statement denies the request.
    pub(super) fn denied(&mut self, layers: &Layers) -> Asked {
        let bounded = layers.boundary.is_some();
        let elsewhere = [&layers.boundary, &layers.session].into_iter().flatten();
        let mut denied: Vec<_> = layers
            .identity
            .iter()
            .chain(elsewhere)
            .map(|policy| self.denies(policy, bounded))
            .collect();
        if let Some(policy) = &layers.bucket {
            let here = self.in_bucket(layers.bucket_name.as_deref());
            denied.push(here.and(self.denies(policy, bounded)));
        }
        Formula::any(denied)
    }

    fn denies(&mut self, statements: &[Statement], bounded: bool) -> Asked {
        let denying = statements.iter().filter(|statement| !statement.allows);
        let parts: Vec<_> = denying
            .map(|statement| {
                self.applies(statement, Sure::NotNo).and(self.keeps_out(statement, bounded))
            })
            .collect();
        Formula::any(parts)
    }

    /// The resource is this bucket, or an object in it; with no name it may be any.
    pub(super) fn in_bucket(&mut self, name: Option<&str>) -> Asked {
        let Some(name) = name else { return Formula::constant(true) };
        let bucket = self.vocabulary.path(Automaton::exact(name));
        let objects = self.vocabulary.path(Automaton::prefix(&format!("{name}/")));
        Formula::Is(bucket).or(Formula::Is(objects))
    }

    pub(super) fn anonymous(&mut self) -> Asked {
        Formula::Is(self.vocabulary.caller(self.callers.anonymous()))
    }

    /// A bucket policy's statement speaks of the caller.
    pub(super) fn speaks(&mut self, statement: &Statement) -> Asked {
        let named = Formula::Is(self.vocabulary.caller(self.callers.named(statement)));
        self.of_those_asked_for(statement, named)
    }

    fn keeps_out(&mut self, statement: &Statement, bounded: bool) -> Asked {
        match &statement.principals {
            None => Formula::constant(true),
            Some((element, _)) if bounded && element == "NotPrincipal" => {
                self.of_those_asked_for(statement, Formula::constant(true))
            }
            Some(_) => self.speaks(statement),
        }
    }

    /// In one profile nobody but anonymous callers is asked for in a bucket's policy.
    fn of_those_asked_for(&mut self, statement: &Statement, named: Asked) -> Asked {
        match statement.profile.bucket_is_for_anonymous {
            true => named.and(self.anonymous()),
            false => named,
        }
    }

    fn allows(&mut self, statements: &[Statement]) -> Asked {
        let allowing = statements.iter().filter(|statement| statement.allows);
        Formula::any(
            allowing.map(|statement| self.applies(statement, Sure::Yes)).collect::<Vec<_>>(),
        )
    }

    fn lets_in(&mut self, statements: &[Statement]) -> Asked {
        let allowing = statements.iter().filter(|statement| statement.allows);
        let parts: Vec<_> = allowing
            .map(|statement| self.applies(statement, Sure::Yes).and(self.speaks(statement)))
            .collect();
        Formula::any(parts)
    }

    /// The statement takes effect, its principals aside.
    pub(super) fn applies(&mut self, statement: &Statement, sure: Sure) -> Asked {
        let actions = Formula::Is(self.vocabulary.action(&statement.actions));
        let actions = if statement.actions_inverted { actions.not() } else { actions };
        let resources = match &statement.resources {
            Some(resources) => self.covers(resources, sure),
            None => Formula::constant(true),
        };
        let clauses: Vec<_> =
            statement.clauses.iter().map(|clause| self.holds(clause, sure)).collect();
        Formula::all([actions, resources].into_iter().chain(clauses))
    }

    fn covers(&mut self, resources: &Resources, sure: Sure) -> Asked {
        let entries: Vec<_> = resources.entries.iter().map(|entry| self.entry(entry)).collect();
        let covered = Formula::any(entries);
        // Requests do not say which key of the key service they use.
        let names_a_key = resources.entries.iter().any(|entry| matches!(entry, Entry::KmsKey));
        let unnamed = Formula::constant(names_a_key).and(Formula::Is(Symbol::Anywhere));
        match (resources.inverted, sure) {
            (false, Sure::Yes) => covered,
            (false, Sure::NotNo) => covered.or(unnamed),
            (true, Sure::NotNo) => covered.not(),
            (true, Sure::Yes) => {
                let resolved = self.resolve(resources);
                Formula::all([covered.not(), resolved, unnamed.not()])
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> Asked {
        match entry {
            Entry::All => Formula::constant(true),
            Entry::KmsKey | Entry::Foreign => Formula::constant(false),
            Entry::Path(template) if self.held.is_none() && template.has_variables() => {
                let (open, is_new) = self.vocabulary.open(None, template);
                if is_new {
                    let widest = self.vocabulary.path(template.automaton(|_| Filling::Open));
                    let buckets = self.buckets(template, |_| Filling::Open);
                    self.follow(open, template, Formula::Is(widest).or(buckets));
                }
                Formula::Is(Symbol::Open(open))
            }
            Entry::Path(template) => {
                if let Some(text) = template.text().filter(|text| !self.paths.contains(text)) {
                    self.paths.push(text);
                }
                let automaton = self.filled(template);
                let path = Formula::Is(self.vocabulary.path(automaton));
                let held = self.held;
                path.or(self.buckets(template, |key| filling(held, key)))
            }
        }
    }

    /// The buckets themselves that a pattern of keys covers, where a profile has it so.
    fn buckets(&mut self, template: &Template, fill: impl Fn(&Key) -> Filling) -> Asked {
        if !template.covers_bucket() {
            return Formula::constant(false);
        }
        let patterns = template.before_slash(fill);
        let parts: Vec<_> =
            patterns.into_iter().map(|p| Formula::Is(self.vocabulary.path(p))).collect();
        Formula::any(parts).and(Formula::Not(Symbol::Object))
    }

    /// Every variable of the exceptions has a value.
    fn resolve(&mut self, resources: &Resources) -> Asked {
        let mut parts = Vec::new();
        for entry in &resources.entries {
            let Entry::Path(template) = entry else { continue };
            for (key, has_default) in template.keys() {
                if !has_default {
                    parts.push(Formula::Is(self.vocabulary.slot(key, Slot::ONE)));
                }
            }
        }
        Formula::all(parts)
    }

    /// What is known of an open pattern: what fits it fits the widest reading, and its variables have values.
    fn follow(&mut self, open: usize, template: &Template, widest: Asked) {
        let mut known = vec![widest];
        for (key, has_default) in template.keys() {
            if !has_default {
                known.push(Formula::Is(self.vocabulary.slot(key, Slot::ONE)));
            }
        }
        self.facts.push(Formula::Not(Symbol::Open(open)).or(Formula::all(known)));
    }

    /// The pattern with the values that are known of its keys.
    fn filled(&self, template: &Template) -> Automaton {
        template.automaton(|key| filling(self.held, key))
    }

    fn holds(&mut self, clause: &Clause, sure: Sure) -> Asked {
        if clause.operator.family == Family::Null {
            return self.null(clause);
        }
        if self.held.is_none() {
            for template in &clause.templates {
                let compared = (clause.key.clone(), template.clone());
                if template.as_filling().is_some() && !self.compared.contains(&compared) {
                    self.compared.push(compared);
                }
            }
        }
        let is_open = |template: &&Template| template.has_variables() && self.held.is_none();
        let open: Vec<_> = clause.templates.iter().filter(is_open).cloned().collect();
        let test = self.test(clause);
        let test = self.vocabulary.test(&clause.key, test);
        if open.is_empty() {
            let slot = slot(clause, test, sure);
            return Formula::Is(self.vocabulary.slot(&clause.key, slot));
        }
        self.holds_open(clause, test, &open, sure)
    }

    /// A clause with patterns that are left open.
    fn holds_open(&mut self, clause: &Clause, test: usize, open: &[Template], sure: Sure) -> Asked {
        let closed = slot(clause, test, sure);
        let closed = Formula::Is(self.vocabulary.slot(&clause.key, closed));
        let fits: Vec<_> =
            open.iter().map(|template| self.open_value(&clause.key, template)).collect();
        let is_raw = open.iter().any(Template::is_raw);
        if clause.operator.quantifier == Quantifier::None && !is_raw {
            // An open pattern fits only a single value, so it adds to, or takes from, exactly that case.
            return match clause.operator.negated {
                false => closed.or(Formula::any(fits)),
                true => closed.and(Formula::any(fits).not()),
            };
        }
        // Of several values with open patterns nothing is known.
        self.unsaid(clause, sure)
    }

    /// A literal without any facts, one for every clause.
    fn unsaid(&mut self, clause: &Clause, sure: Sure) -> Asked {
        let doubtful = sure.doubt() && clause.operator.if_exists;
        let name = clause.profile.name;
        let text = format!("{name} {:?} {doubtful} {:?}", clause.operator, clause.values);
        match Template::parse(&text, Manner::Equals, false) {
            Some(mark) => {
                Formula::Is(Symbol::Open(self.vocabulary.open(Some(&clause.key), &mark).0))
            }
            None => Formula::constant(true),
        }
    }

    fn open_value(&mut self, key: &Key, template: &Template) -> Asked {
        let (open, is_new) = self.vocabulary.open(Some(key), template);
        if is_new {
            let widest = Test::Text(vec![template.automaton(|_| Filling::Open)]);
            let one = self.one(key, widest);
            self.follow(open, template, one);
        }
        Formula::Is(Symbol::Open(open))
    }

    fn null(&mut self, clause: &Clause) -> Asked {
        let wants = |word: bool| clause.values.iter().any(|v| reading::presence(v) == Some(word));
        let (absent, present) = (wants(true), wants(false));
        let slot = Slot {
            absent,
            empty: absent,
            one: if present { Value::Any } else { Value::None },
            many: if present { Values::Any } else { Values::None },
        };
        Formula::Is(self.vocabulary.slot(&clause.key, slot))
    }

    /// Whether one value fits, open patterns aside.
    fn test(&self, clause: &Clause) -> Test {
        let texts = || clause.values.iter();
        match clause.operator.family {
            Family::Numeric(by) => {
                Test::Numeric(by, texts().filter_map(|v| reading::decimal(v)).collect())
            }
            Family::Date(by) => Test::Date(by, texts().filter_map(|v| reading::date(v)).collect()),
            Family::Ip => {
                Test::Ip(texts().filter_map(|v| reading::network(v, clause.profile)).collect())
            }
            Family::Bool if clause.profile.bool_and_ip_are_fixed => {
                Test::Text(texts().map(|v| Automaton::exact(v)).collect())
            }
            Family::Bool => Test::Text(texts().map(|v| Automaton::ascii_folded(v)).collect()),
            Family::Binary => Test::Text(
                texts()
                    .filter_map(|v| String::from_utf8(reading::binary(v)?).ok())
                    .map(|v| Automaton::exact(&v))
                    .collect(),
            ),
            Family::Null => Test::Text(Vec::new()),
            _ => Test::Text(
                clause
                    .templates
                    .iter()
                    .filter(|template| self.held.is_some() || !template.has_variables())
                    .map(|template| self.filled(template))
                    .collect(),
            ),
        }
    }
}

/// What is put in for a variable.
fn filling(held: Option<&BTreeMap<Key, Held>>, key: &Key) -> Filling {
    match held.and_then(|held| held.get(key)) {
        Some(Held::One(text)) if !key.is_array() => Filling::Text(text.clone()),
        _ => Filling::Missing,
    }
}

/// What a key must hold for a clause, as [`crate::condition`] decides.
fn slot(clause: &Clause, test: usize, sure: Sure) -> Slot {
    let (operator, profile) = (clause.operator, clause.profile);
    let fits = !operator.negated;
    let one = Value::Fits(test, fits);
    let doubtful = if sure.doubt() { Values::Any } else { Values::None };
    let outside = operator.negated && profile.negation_is_outside;
    match operator.quantifier {
        Quantifier::None if profile.absent_numbers_fail && operator.is_ordered() => {
            let nothing = operator.if_exists;
            Slot { absent: nothing, empty: nothing, one, many: doubtful }
        }
        Quantifier::None if profile.sets_overlap && !operator.is_textual() => {
            let nothing = operator.if_exists || operator.negated;
            Slot { absent: nothing, empty: nothing, one, many: doubtful }
        }
        Quantifier::None if profile.sets_overlap => overlap(operator.negated, test),
        Quantifier::Any if outside => overlap(true, test),
        Quantifier::All if outside => {
            Slot { absent: false, empty: false, one, many: Values::Some(test, false) }
        }
        Quantifier::All => Slot { absent: true, empty: true, one, many: Values::Every(test, fits) },
        Quantifier::Any => Slot {
            absent: operator.if_exists && sure.doubt(),
            empty: false,
            one,
            many: Values::Some(test, fits),
        },
        Quantifier::None => Slot {
            absent: operator.if_exists || operator.negated,
            empty: sure.doubt(),
            one,
            many: doubtful,
        },
    }
}

/// One of the values fits, or, negated, none does.
fn overlap(negated: bool, test: usize) -> Slot {
    let (one, many) = match negated {
        false => (Value::Fits(test, true), Values::Some(test, true)),
        true => (Value::Fits(test, false), Values::Every(test, false)),
    };
    Slot { absent: negated, empty: negated, one, many }
}
