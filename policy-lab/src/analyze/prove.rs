//! A question from start to answer: search, make the request, and ask the evaluator whether it is so.

use std::collections::BTreeMap;

use super::asker::Asker;
use super::callers::Callers;
use super::encode::{Asked, Encoder};
use super::formula::Formula;
use super::key::Key;
use super::search::search;
use super::statement::Statement;
use super::template::Template;
use super::value::Test;
use super::vocabulary::{Held, Slot, Space, Symbol, Value, ground};
use super::{Limit, World, witness};
use crate::action::ResourceKind;
use crate::condition::{Comparison, reading};
use crate::{Profile, Request};

/// Combinations of values of variables that are tried.
const TRIES_MAX: usize = 400;

/// Values of one variable that are tried.
const WORDS_MAX: usize = 16;

/// Keys that the server fills from the signature: absent for an anonymous caller, present for every other.
const SIGNED: [(&str, bool); 7] = [
    ("aws:PrincipalAccount", true),
    ("aws:PrincipalArn", true),
    ("aws:userid", true),
    ("aws:username", true),
    ("aws:groups", false),
    ("s3:authType", true),
    ("s3:signatureversion", true),
];

/// What a search for a request ends with.
#[derive(Debug)]
pub(super) enum Answer {
    /// There is no such request.
    None,
    /// This one, confirmed.
    Found(Box<Request>),
    Unknown(Limit),
}

/// A question: is there a request of which a formula is true?
pub(super) struct Question<'a> {
    /// Everything that can be asked about.
    pub(super) statements: Vec<&'a Statement>,
    pub(super) world: World,
    /// Who asks, where that is known.
    pub(super) asker: Option<&'a Asker>,
    /// The formula.
    pub(super) ask: &'a dyn Fn(&mut Encoder<'_>) -> Asked,
    /// Whether it is true of a request, by the evaluator.
    pub(super) confirm: &'a dyn Fn(&Request) -> bool,
}

impl Question<'_> {
    pub(super) fn answer(&self) -> Answer {
        match self.try_answer() {
            Ok(answer) => answer,
            Err(limit) => Answer::Unknown(limit),
        }
    }

    fn try_answer(&self) -> Result<Answer, Limit> {
        let case_counts = self.statements.iter().any(|it| it.profile.action_case_counts);
        if self.world == World::Any && case_counts {
            return Err(Limit::Names);
        }
        let callers = match self.asker {
            Some(asker) => Callers::only(&asker.principal),
            None => Callers::of(self.statements.iter().copied())?,
        };
        let space = self.space(&callers, None)?;
        let Some(domains) = search(&space.literals, space.domains.clone(), &space.formula)? else {
            return Ok(Answer::None);
        };
        if space.is_exact {
            let found =
                witness::request(&space, &domains, &callers).and_then(|r| self.confirmed(r));
            return Ok(found.map_or(Answer::Unknown(Limit::Unconfirmed), Answer::Found));
        }
        let known = self.known();
        match self.templates().flat_map(Template::keys).all(|(key, _)| known.contains_key(key)) {
            true if self.asker.is_some() => self.with(&known, &callers),
            _ => self.by_cases(&callers),
        }
    }

    /// What keys hold of which it is known.
    fn known(&self) -> BTreeMap<Key, Held> {
        let Some(asker) = self.asker else { return BTreeMap::new() };
        let clauses = self.statements.iter().flat_map(|statement| &statement.clauses);
        let variables = self.templates().flat_map(Template::keys).map(|(key, _)| key);
        asker.held(clauses.map(|clause| &clause.key).chain(variables))
    }

    /// Every variable has a value, or none, that is known.
    fn with(&self, known: &BTreeMap<Key, Held>, callers: &Callers) -> Result<Answer, Limit> {
        let space = self.space(callers, Some(known))?;
        let found = search(&space.literals, space.domains.clone(), &space.formula)?;
        let request = found.and_then(|domains| witness::request(&space, &domains, callers));
        Ok(match request {
            Some(request) => {
                let confirmed = self.confirmed(request);
                confirmed.map_or(Answer::Unknown(Limit::Unconfirmed), Answer::Found)
            }
            None if space.is_exact => Answer::None,
            None => Answer::Unknown(self.doubt()),
        })
    }

    /// Variables are in the way of an exact answer: with values put in for them there is one.
    fn by_cases(&self, callers: &Callers) -> Result<Answer, Limit> {
        for held in self.cases() {
            let space = self.space(callers, Some(&held))?;
            if let Some(domains) = search(&space.literals, space.domains.clone(), &space.formula)?
                && let Some(request) = witness::request(&space, &domains, callers)
                && let Some(request) = self.confirmed(request)
            {
                return Ok(Answer::Found(request));
            }
        }
        Ok(Answer::Unknown(self.doubt()))
    }

    /// What kept the analysis from following the variables.
    fn doubt(&self) -> Limit {
        if self.templates().any(Template::repeats) {
            return Limit::Repeated;
        }
        let variables: Vec<&Key> =
            self.templates().flat_map(|t| t.keys().map(|(key, _)| key)).collect();
        let clauses = self.statements.iter().flat_map(|statement| &statement.clauses);
        let mut folded =
            clauses.filter(|clause| clause.templates.iter().any(Template::ignores_case));
        match folded.any(|clause| variables.contains(&&clause.key)) {
            true => Limit::Case,
            false => Limit::Variables,
        }
    }

    fn confirmed(&self, request: Request) -> Option<Box<Request>> {
        if let Some(asker) = self.asker {
            let request = asker.makes(&request);
            return (self.confirm)(&request).then(|| Box::new(request));
        }
        let named = witness::named(&request).filter(|named| (self.confirm)(named));
        named.or_else(|| (self.confirm)(&request).then_some(request)).map(Box::new)
    }

    fn space(&self, callers: &Callers, held: Option<&BTreeMap<Key, Held>>) -> Result<Space, Limit> {
        let mut encoder = Encoder::new(callers, held);
        let asked = (self.ask)(&mut encoder);
        let facts = encoder.facts();
        let rules = rules(&mut encoder, self.world);
        // Every key that is held is cut, so that the request says what it holds.
        let held_keys = held.into_iter().flatten().map(|(key, _)| {
            let any = Slot {
                absent: true,
                empty: true,
                one: Value::Any,
                many: super::vocabulary::Values::Any,
            };
            Formula::Is(encoder.vocabulary.slot(key, any))
        });
        let held_keys = Formula::all(held_keys.collect::<Vec<_>>());
        let known = self.asker.map(|asker| asker.facts(&mut encoder));
        let formula = Formula::all([asked, facts, rules, held_keys].into_iter().chain(known));
        ground(encoder.vocabulary, formula, callers, self.world, held)
    }

    /// What the keys of variables may hold: words of the patterns around, and none at all.
    fn cases(&self) -> Vec<BTreeMap<Key, Held>> {
        let mut keys: Vec<&Key> =
            self.templates().flat_map(|t| t.keys().map(|(key, _)| key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let known = self.known();
        keys.retain(|key| !known.contains_key(*key));
        let mut cases = vec![known];
        for key in keys {
            let values = self.values(key);
            cases = cases
                .iter()
                .flat_map(|case: &BTreeMap<Key, Held>| {
                    values.iter().map(|held| {
                        let mut case = case.clone();
                        case.insert(key.clone(), held.clone());
                        case
                    })
                })
                .take(TRIES_MAX)
                .collect();
        }
        cases
    }

    fn values(&self, key: &Key) -> Vec<Held> {
        let mut words: Vec<String> =
            vec!["someone".to_owned(), "a".to_owned(), "a/a".to_owned(), String::new()];
        for statement in &self.statements {
            for clause in statement.clauses.iter().filter(|clause| clause.key == *key) {
                let ignores_case = clause.templates.iter().any(Template::ignores_case);
                for value in &clause.values {
                    words.push(value.replace('*', ""));
                    if ignores_case {
                        words.extend([value.to_uppercase(), value.to_lowercase()]);
                    }
                }
            }
        }
        words.extend(self.templates().flat_map(Template::words));
        let mut seen = std::collections::HashSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words.truncate(WORDS_MAX);
        let one = words.into_iter().filter(|_| !key.is_array()).map(Held::One);
        one.chain([Held::Absent, Held::Several]).collect()
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.statements.iter().flat_map(|statement| statement.templates())
    }
}

/// What is true of every request in a world.
fn rules(encoder: &mut Encoder<'_>, world: World) -> Asked {
    if world == World::Any {
        return Formula::constant(true);
    }
    let on = |kind, place: Asked| Formula::Is(Symbol::ActionOn(Some(kind))).and(place);
    let (anywhere, object) = (Formula::Is(Symbol::Anywhere), Formula::Is(Symbol::Object));
    let bucket = anywhere.clone().not().and(object.clone().not());
    let mut rules = vec![Formula::any([
        on(ResourceKind::Object, object),
        on(ResourceKind::Bucket, bucket),
        on(ResourceKind::None, anywhere),
    ])];
    let anonymous = encoder.anonymous();
    for (name, always) in SIGNED {
        let key = Key::new(name);
        if !encoder.vocabulary.mentions(&key) {
            continue;
        }
        let absent = Formula::Is(encoder.vocabulary.slot(&key, Slot::ABSENT));
        rules.push(anonymous.clone().not().or(absent.clone()));
        if always && world == World::Server {
            let one = Formula::Is(encoder.vocabulary.slot(&key, Slot::ONE));
            rules.push(anonymous.clone().or(one));
        }
    }
    if world == World::Server {
        rules.extend(server_rules(encoder));
    }
    Formula::all(rules)
}

/// Keys that the server always fills, and with what.
fn server_rules(encoder: &mut Encoder<'_>) -> Vec<Asked> {
    let networks = ["0.0.0.0/0", "::/0"];
    let networks = networks.iter().filter_map(|text| reading::network(text, Profile::AWS));
    let texts =
        |words: [&str; 2]| Test::Text(words.map(super::automaton::Automaton::exact).to_vec());
    let instant = Test::Date(Comparison::Greater, reading::date("0").into_iter().collect());
    let second = Test::Numeric(Comparison::Greater, reading::decimal("0").into_iter().collect());
    let filled = [
        ("aws:SourceIp", Test::Ip(networks.collect())),
        ("aws:SecureTransport", texts(["true", "false"])),
        ("aws:CurrentTime", instant.clone()),
        ("aws:EpochTime", instant),
        ("aws:EpochTime", second),
    ];
    let mut rules = Vec::new();
    for (name, test) in filled {
        let key = Key::new(name);
        if encoder.vocabulary.mentions(&key) {
            let test = encoder.vocabulary.test(&key, test);
            let slot = Slot { one: Value::Fits(test, true), ..Slot::ONE };
            rules.push(Formula::Is(encoder.vocabulary.slot(&key, slot)));
        }
    }
    rules
}
