//! Questions about one caller, of whom, and of whose request, something is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::automaton::Automaton;
use super::encode::{Asked, Encoder, Layers, Sure, pattern};
use super::formula::Formula;
use super::key::Key;
use super::prove::Question;
use super::question::{compared, guarded};
use super::value::Test;
use super::vocabulary::{Held, Slot, Value, Values};
use super::{Access, Grant, Limit, Verdict, World};
use crate::{Context, Effect, Principal, Request};

/// Who asks, and what is known of the request.
#[derive(Clone, Debug)]
pub struct Asker {
    pub principal: Principal,
    /// Keys that are known.
    pub context: Context,
    pub others: Others,
}

/// What is known of the keys that the context does not hold.
#[derive(Clone, Debug)]
pub enum Others {
    /// They are absent, but these may hold anything.
    AbsentBut(Vec<String>),
    /// They may hold anything, but these are absent.
    OpenBut(Vec<String>),
}

/// Where the resource is.
#[derive(Clone, Debug)]
pub enum Within {
    Bucket(String),
    /// In none of these buckets, or in no bucket.
    Outside(Vec<String>),
}

/// What shall be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Denied,
    ExplicitlyDenied,
    ImplicitlyDenied,
    /// Nothing: there shall be no such request.
    None,
}

impl Outcome {
    fn is(self, effect: Effect) -> bool {
        match self {
            Self::Allowed => effect == Effect::Allow,
            Self::Denied => effect != Effect::Allow,
            Self::ExplicitlyDenied => effect == Effect::ExplicitDeny,
            Self::ImplicitlyDenied => effect == Effect::ImplicitDeny,
            Self::None => false,
        }
    }
}

/// Every request of the pattern by this caller is decided so. Never asked about root, whom policies do not bind.
#[must_use]
pub fn always(
    access: &Access,
    asker: &Asker,
    grant: &Grant,
    within: &Within,
    outcome: Outcome,
) -> Verdict {
    let read = Layers::read(access).and_then(|layers| Ok((layers, pattern(&grant.0)?)));
    let Ok((layers, wanted)) = read else { return Verdict::Unknown(Limit::Unread) };
    let ask = |encoder: &mut Encoder<'_>| {
        let fits = encoder.applies(&wanted, Sure::Yes).and(within.formula(encoder));
        let otherwise = match outcome {
            Outcome::Allowed => encoder.allowed(&layers).not(),
            Outcome::Denied => encoder.allowed(&layers),
            Outcome::ExplicitlyDenied => encoder.denied(&layers).not(),
            Outcome::ImplicitlyDenied => encoder.denied(&layers).or(encoder.allowed(&layers)),
            Outcome::None => Formula::constant(true),
        };
        fits.and(otherwise)
    };
    let confirm = |request: &Request| {
        grant.matches(request)
            && within.contains(request)
            && !outcome.is(access.decide(request).effect)
    };
    let question = Question {
        statements: layers.statements().chain([&wanted]).collect(),
        world: World::S3,
        asker: Some(asker),
        ask: &ask,
        confirm: &confirm,
    };
    let verdict = guarded(&question, access, None);
    // Guardrails only deny: a deny that is proved without them stays one.
    let is_open = matches!(outcome, Outcome::Allowed | Outcome::ImplicitlyDenied);
    match verdict {
        Verdict::Proved if is_open && access.policies.guardrails.is_some() => {
            Verdict::Unknown(Limit::Guardrails)
        }
        verdict => verdict,
    }
}

/// This caller is allowed nothing here that `other` does not allow.
#[must_use]
pub fn no_more_than(access: &Access, other: &Access, asker: &Asker, within: &Within) -> Verdict {
    let read = Layers::read(access).and_then(|layers| Ok((layers, Layers::read(other)?)));
    let Ok((layers, limit)) = read else { return Verdict::Unknown(Limit::Unread) };
    let ask = |encoder: &mut Encoder<'_>| {
        let beyond = encoder.allowed(&layers).and(encoder.allowed(&limit).not());
        beyond.and(within.formula(encoder))
    };
    let confirm = |request: &Request| {
        within.contains(request)
            && access.decide(request).is_allowed()
            && !other.decide(request).is_allowed()
    };
    let question = Question {
        statements: layers.statements().chain(limit.statements()).collect(),
        world: World::S3,
        asker: Some(asker),
        ask: &ask,
        confirm: &confirm,
    };
    compared(&question, access, other)
}

impl Within {
    fn formula(&self, encoder: &mut Encoder<'_>) -> Asked {
        match self {
            Self::Bucket(name) => encoder.in_bucket(Some(name)),
            Self::Outside(names) => {
                let outside: Vec<_> =
                    names.iter().map(|name| encoder.in_bucket(Some(name)).not()).collect();
                Formula::all(outside)
            }
        }
    }

    fn contains(&self, request: &Request) -> bool {
        let bucket = request.resource.bucket();
        match self {
            Self::Bucket(name) => bucket == Some(name.as_str()),
            Self::Outside(names) => {
                bucket.is_none_or(|bucket| names.iter().all(|name| name != bucket))
            }
        }
    }
}

/// What is known of one key.
enum Known<'a> {
    Nothing,
    Absent,
    Values(&'a [String]),
}

impl Asker {
    fn knows(&self, key: &Key) -> Known<'_> {
        let names = |list: &[String]| list.iter().any(|name| Key::new(name) == *key);
        match (self.context.get(&key.name), &self.others) {
            (Some(values), _) => Known::Values(values),
            (None, Others::AbsentBut(open)) if names(open) => Known::Nothing,
            (None, Others::OpenBut(absent)) if !names(absent) => Known::Nothing,
            (None, _) => Known::Absent,
        }
    }

    /// What these keys hold, of those of which it is known.
    pub(super) fn held<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> BTreeMap<Key, Held> {
        let mut known = BTreeMap::new();
        for key in keys {
            let held = match self.knows(key) {
                Known::Nothing => continue,
                Known::Absent => Held::Absent,
                Known::Values([one]) if !key.is_array() => Held::One(one.clone()),
                Known::Values(_) => Held::Several,
            };
            known.insert(key.clone(), held);
        }
        known
    }

    /// What is known, of every key that is asked about.
    pub(super) fn facts(&self, encoder: &mut Encoder<'_>) -> Asked {
        let mut facts = Vec::new();
        for key in encoder.vocabulary.mentioned() {
            let exactly = |values: &[String]| {
                Test::Text(values.iter().map(|value| Automaton::exact(value)).collect())
            };
            let slots: Vec<Slot> = match self.knows(&key) {
                Known::Nothing => continue,
                Known::Absent => vec![Slot::ABSENT],
                Known::Values([]) => vec![Slot { absent: false, empty: true, ..Slot::ABSENT }],
                Known::Values([one]) if !key.is_array() => {
                    let test = encoder.vocabulary.test(&key, exactly(std::slice::from_ref(one)));
                    vec![Slot { one: Value::Fits(test, true), ..Slot::ONE }]
                }
                Known::Values(values) => {
                    let nothing = Slot { absent: false, ..Slot::ABSENT };
                    let all = encoder.vocabulary.test(&key, exactly(values));
                    let every = Slot { many: Values::Every(all, true), ..nothing.clone() };
                    let some = values.iter().map(|value| {
                        let test =
                            encoder.vocabulary.test(&key, exactly(std::slice::from_ref(value)));
                        Slot { many: Values::Some(test, true), ..nothing.clone() }
                    });
                    std::iter::once(every).chain(some).collect()
                }
            };
            facts.extend(
                slots.into_iter().map(|slot| Formula::Is(encoder.vocabulary.slot(&key, slot))),
            );
        }
        Formula::all(facts)
    }

    /// A request that was found, as this caller makes it.
    pub(super) fn makes(&self, found: &Request) -> Request {
        let mut context = self.context.clone();
        for (name, values) in found.context.iter() {
            if matches!(self.knows(&Key::new(name)), Known::Nothing) {
                context.set_many(name, values.to_vec());
            }
        }
        Request { principal: self.principal.clone(), context, ..found.clone() }
    }
}

/// The policies of a caller, for [`always`] and [`no_more_than`]: one for each bucket with a policy, one for the rest.
#[must_use]
pub fn by_bucket(export: &Arc<crate::replay::Export>, caller: &Principal) -> Vec<(Access, Within)> {
    let buckets: Vec<String> = export.text().buckets.keys().cloned().collect();
    let of = |bucket: Option<&str>| Access {
        policies: export.policies(caller, bucket),
        bucket: bucket.map(str::to_owned),
    };
    let rest = (of(None), Within::Outside(buckets.clone()));
    let named = buckets.into_iter().map(|bucket| (of(Some(&bucket)), Within::Bucket(bucket)));
    named.chain([rest]).collect()
}

#[cfg(test)]
mod tests;
