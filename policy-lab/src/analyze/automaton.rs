//! Patterns as automata, and the finitely many kinds of texts that a list of patterns can tell apart.
//!
//! A pattern is a chain of steps; a set of places in it is a state. Walking all patterns at once, breadth first, finds
//! every combination of "fits" and "does not fit" that some text has, each with a shortest text. Characters that no
//! pattern waits for are interchangeable, so each state has few successors.

use std::collections::{HashMap, HashSet, VecDeque};

use fixedbitset::FixedBitSet;
use foldhash::fast::RandomState;

use super::Limit;
use crate::condition::fold;

/// States of one walk at most; real policies need a few hundred.
const STATES_MAX: usize = 20_000;

/// Places in all states of one walk at most: bounds time and memory for patterns with many wildcards.
const PLACES_MAX: usize = 4_000_000;

/// What one character must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Any,
    Char(char),
    /// Equal when folded; the character is folded already.
    Fold(char),
    /// Equal but for ASCII letter case.
    AsciiFold(char),
    Not(char),
    /// Any but the signs that stand for variables.
    Plain,
    /// `[a-z0-9-]`: what action names are made of, in lower case.
    Word,
}

/// Private characters from here on stand for variables, see [`super::template::Filling::Sign`].
pub(super) const SIGNS: char = '\u{f0000}';

impl Class {
    fn has(self, char: char) -> bool {
        match self {
            Self::Any => true,
            Self::Char(wanted) => char == wanted,
            Self::Fold(wanted) => fold(char) == wanted,
            Self::AsciiFold(wanted) => char.eq_ignore_ascii_case(&wanted),
            Self::Not(other) => char != other,
            Self::Plain => char < SIGNS,
            Self::Word => is_word(char),
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-'
}

/// One character, or with `many` any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) class: Class,
    pub(super) many: bool,
}

/// A pattern over whole texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Automaton {
    steps: Vec<Step>,
    /// Fits no text at all.
    never: bool,
}

impl Automaton {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
        for step in steps {
            if !(step.many && kept.last() == Some(&step)) {
                kept.push(step);
            }
        }
        Self { steps: kept, never: false }
    }

    pub(super) fn never() -> Self {
        Self { steps: Vec::new(), never: true }
    }

    pub(super) fn exact(text: &str) -> Self {
        Self::new(text.chars().map(|char| one(Class::Char(char))).collect())
    }

    /// Everything that begins with a text.
    pub(super) fn prefix(text: &str) -> Self {
        let steps = text.chars().map(|char| one(Class::Char(char)));
        Self::new(steps.chain([many(Class::Any)]).collect())
    }

    pub(super) fn ascii_folded(text: &str) -> Self {
        Self::new(text.chars().map(|char| one(Class::AsciiFold(char))).collect())
    }

    /// Whether the pattern fits a text.
    pub(super) fn fits(&self, text: &str) -> bool {
        let is_glob = |step: &Step| !step.many || step.class == Class::Any;
        if !self.never && self.steps.iter().all(is_glob) {
            return self.fits_glob(text);
        }
        let mut places = self.start();
        for char in text.chars() {
            places = self.advance(&places, char);
        }
        self.accepts(&places)
    }

    /// The usual case without a set of places: when a step fails, the last star takes one character more.
    fn fits_glob(&self, text: &str) -> bool {
        let mut place = 0;
        let mut rest = text.chars();
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            match self.steps.get(place) {
                Some(step) if step.many => {
                    place += 1;
                    retry = Some((place, rest.clone()));
                    continue;
                }
                Some(step) => {
                    let mut ahead = rest.clone();
                    if ahead.next().is_some_and(|char| step.class.has(char)) {
                        place += 1;
                        rest = ahead;
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((back, untaken)) = &mut retry else { return false };
            if untaken.next().is_none() {
                return false;
            }
            place = *back;
            rest = untaken.clone();
        }
    }

    fn start(&self) -> Vec<u32> {
        let mut places = Vec::new();
        if !self.never {
            self.enter(0, &mut places);
        }
        self.settle(places)
    }

    /// Adds a place, and the places behind what may be empty.
    fn enter(&self, mut place: u32, places: &mut Vec<u32>) {
        loop {
            places.push(place);
            match self.steps.get(place as usize) {
                Some(step) if step.many => place += 1,
                _ => return,
            }
        }
    }

    fn advance(&self, places: &[u32], char: char) -> Vec<u32> {
        let mut next = Vec::new();
        for place in places {
            let Some(step) = self.steps.get(*place as usize) else { continue };
            if step.class.has(char) {
                self.enter(if step.many { *place } else { place + 1 }, &mut next);
            }
        }
        self.settle(next)
    }

    /// Sorted, and without what an unrestricted star makes needless: whatever an earlier place can still reach, the
    /// last star can.
    fn settle(&self, mut places: Vec<u32>) -> Vec<u32> {
        places.sort_unstable();
        places.dedup();
        let is_star = |place: &u32| {
            self.steps.get(*place as usize) == Some(&Step { class: Class::Any, many: true })
        };
        if let Some(last) = places.iter().rposition(is_star) {
            places.drain(..last);
        }
        places
    }

    fn accepts(&self, places: &[u32]) -> bool {
        places.last().is_some_and(|place| *place as usize == self.steps.len())
    }

    /// Characters that some place tells from others.
    fn awaited(&self, places: &[u32], chars: &mut Vec<char>) {
        for place in places {
            match self.steps.get(*place as usize).map(|step| step.class) {
                Some(Class::Char(char) | Class::Not(char)) => chars.push(char),
                Some(Class::Fold(folded)) => chars.extend(unfold(folded)),
                Some(Class::AsciiFold(char)) => {
                    chars.extend([char.to_ascii_lowercase(), char.to_ascii_uppercase()]);
                }
                Some(Class::Any | Class::Plain | Class::Word) | None => {}
            }
        }
    }
}

pub(super) fn one(class: Class) -> Step {
    Step { class, many: false }
}

pub(super) fn many(class: Class) -> Step {
    Step { class, many: true }
}

/// Kinds of texts: each with a shortest text, and for each pattern the set of kinds that it fits.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    pub(super) texts: Vec<String>,
    pub(super) fits: Vec<FixedBitSet>,
}

/// A state of the walk, how it was reached, and by which character.
struct Reached {
    places: Vec<Vec<u32>>,
    from: usize,
    by: Option<char>,
}

/// The first state of each kind.
type Found = HashMap<FixedBitSet, usize, RandomState>;

/// Every kind of text that the patterns tell apart.
pub(super) fn kinds(patterns: &[Automaton]) -> Result<Kinds, Limit> {
    let start: Vec<_> = patterns.iter().map(Automaton::start).collect();
    let mut seen: HashSet<Vec<u32>, RandomState> = HashSet::default();
    seen.insert(state(&start));
    let mut reached = vec![Reached { places: start, from: 0, by: None }];
    let mut queue = VecDeque::from([0]);
    let mut found: Found = HashMap::default();
    let mut work = 0;
    while let Some(at) = queue.pop_front() {
        let Some(places) = reached.get(at).map(|state| state.places.clone()) else { break };
        found.entry(accepted(patterns, &places)).or_insert(at);
        let choices = choices(patterns, &places);
        work += choices.len() * places.iter().map(|places| 1 + places.len()).sum::<usize>();
        if reached.len() > STATES_MAX || work > PLACES_MAX {
            return Err(Limit::Patterns);
        }
        for char in choices {
            let next: Vec<_> = patterns
                .iter()
                .zip(&places)
                .map(|(pattern, places)| pattern.advance(places, char))
                .collect();
            if seen.insert(state(&next)) {
                queue.push_back(reached.len());
                reached.push(Reached { places: next, from: at, by: Some(char) });
            }
        }
    }
    Ok(gather(patterns.len(), found, &reached))
}

/// The places of all patterns as one text. Lists of lists were compared list by list, and an empty one lies at no address:
/// the C library's comparison with masked loads is slow there.
fn state(places: &[Vec<u32>]) -> Vec<u32> {
    let count = places.iter().map(|places| places.len() + 1).sum();
    let mut state = Vec::with_capacity(count);
    for places in places {
        state.extend(places);
        // No place: a pattern has fewer steps.
        state.push(u32::MAX);
    }
    state
}

fn accepted(patterns: &[Automaton], places: &[Vec<u32>]) -> FixedBitSet {
    let mut accepted = FixedBitSet::with_capacity(patterns.len());
    for (at, (pattern, places)) in patterns.iter().zip(places).enumerate() {
        accepted.set(at, pattern.accepts(places));
    }
    accepted
}

/// The characters worth trying: those awaited, and one that stands for all others.
fn choices(patterns: &[Automaton], places: &[Vec<u32>]) -> Vec<char> {
    let mut chars = Vec::new();
    for (pattern, places) in patterns.iter().zip(places) {
        pattern.awaited(places, &mut chars);
    }
    chars.sort_unstable();
    chars.dedup();
    let plain = ('a'..='z').chain('0'..='9').chain(std::iter::once('-'));
    // Private use: no key or name has one, so there is always a character left.
    let other = plain.chain('\u{e000}'..='\u{f8ff}').find(|char| !chars.contains(char));
    other.into_iter().chain(chars).collect()
}

fn gather(patterns: usize, found: Found, reached: &[Reached]) -> Kinds {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by_key(|(_, at)| *at);
    let mut fits = vec![FixedBitSet::with_capacity(found.len()); patterns];
    let mut texts = Vec::with_capacity(found.len());
    for (kind, (accepted, at)) in found.into_iter().enumerate() {
        for pattern in accepted.ones() {
            if let Some(fits) = fits.get_mut(pattern) {
                fits.insert(kind);
            }
        }
        texts.push(spell(reached, at));
    }
    Kinds { texts, fits }
}

fn spell(reached: &[Reached], mut at: usize) -> String {
    let mut chars = Vec::new();
    while let Some(Reached { from, by: Some(char), .. }) = reached.get(at) {
        chars.push(*char);
        at = *from;
    }
    chars.into_iter().rev().collect()
}

/// Every character that folds to this one. Beyond ASCII the search is over all characters.
fn unfold(folded: char) -> Vec<char> {
    if !folded.is_ascii() {
        return ('\0'..=char::MAX).filter(|char| fold(*char) == folded).collect();
    }
    // The only strangers among the letters: dotless i, long s, the Kelvin sign. A test walks all characters.
    let stranger = match folded {
        'i' => Some('\u{131}'),
        's' => Some('\u{17f}'),
        'k' => Some('\u{212a}'),
        _ => None,
    };
    let mut chars = vec![folded, folded.to_ascii_uppercase()];
    chars.extend(stranger);
    chars.dedup();
    chars
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Automaton, Class, fold, kinds, many, one, unfold};

    fn glob(text: &str) -> Automaton {
        let step = |char| match char {
            '*' => many(Class::Any),
            '?' => one(Class::Any),
            char => one(Class::Char(char)),
        };
        Automaton::new(text.chars().map(step).collect())
    }

    #[test]
    fn no_other_characters_fold_to_ascii() {
        for char in '\0'..=char::MAX {
            let folded = fold(char);
            assert!(!folded.is_ascii() || unfold(folded).contains(&char), "{char:?}");
        }
        assert_eq!(unfold('é'), ['É', 'é']);
    }

    #[test]
    fn kinds_of_a_few_patterns() {
        let found = kinds(&["a*", "*b", "a?", ""].map(glob)).expect("few");
        // Of sixteen combinations seven are possible.
        assert_eq!(found.texts.len(), 7);
        assert_eq!(found.texts.first().map(String::as_str), Some(""));
    }

    /// Every pair of short patterns over a small alphabet: one lies within the other exactly if no short text says
    /// otherwise.
    #[test]
    fn inclusion_exhaustively() {
        let over = |letters: &str, length_max: usize| {
            let mut all = vec![String::new()];
            let mut last = all.clone();
            for _ in 0..length_max {
                last = last
                    .iter()
                    .flat_map(|text| letters.chars().map(move |char| format!("{text}{char}")))
                    .collect();
                all.extend(last.iter().cloned());
            }
            all
        };
        let texts = over("abc", 6);
        let patterns: Vec<_> = over("ab*?", 3).iter().map(|pattern| glob(pattern)).collect();
        let fitting: Vec<Vec<bool>> =
            patterns.iter().map(|p| texts.iter().map(|text| p.fits(text)).collect()).collect();
        for (a, fits_a) in patterns.iter().zip(&fitting) {
            for (b, fits_b) in patterns.iter().zip(&fitting) {
                let found = kinds(&[a.clone(), b.clone()]).expect("few");
                let within = fits_a.iter().zip(fits_b).all(|(a, b)| !a || *b);
                assert_eq!(found.fits[0].is_subset(&found.fits[1]), within, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let stars: Vec<_> = (0..24).map(|n| glob(&format!("*{}*", char::from(b'a' + n)))).collect();
        assert!(kinds(&stars).is_err());
        assert!(kinds(&[glob(&"*a".repeat(2000))]).is_ok());
    }

    proptest! {
        /// Every text has the combination of one kind, and every kind's text its own.
        #[test]
        fn kinds_are_all_there_are(
            patterns in prop::collection::vec("[ab*?]{0,4}", 1..4),
            text in "[abc]{0,5}",
        ) {
            let automata: Vec<_> = patterns.iter().map(|p| glob(p)).collect();
            let found = kinds(&automata).expect("few");
            let fits = |text: &str| -> Vec<bool> { automata.iter().map(|a| a.fits(text)).collect() };
            let of_kind = |kind: usize| -> Vec<bool> { found.fits.iter().map(|f| f.contains(kind)).collect() };
            for (kind, text) in found.texts.iter().enumerate() {
                prop_assert_eq!(fits(text), of_kind(kind));
            }
            prop_assert!((0..found.texts.len()).any(|kind| of_kind(kind) == fits(&text)));
            for automaton in &automata {
                let mut places = automaton.start();
                for char in text.chars() {
                    places = automaton.advance(&places, char);
                }
                prop_assert_eq!(automaton.accepts(&places), automaton.fits(&text));
            }
        }
    }
}
