//! A pattern as it is written: text, wildcards, variables. What stands for a variable is put in later, or left open.

use super::automaton::{Automaton, Class, SIGNS, Step, kinds, many, one};
use super::key::Key;
use crate::pattern::raw;

/// Characters of a text at most whose every part is tried in the place of a variable.
const TRIED_CHARS_MAX: usize = 24;

/// How the texts of an element are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Manner {
    Equals,
    EqualsIgnoreCase,
    /// `*` and `?` are wildcards.
    Like,
    /// Six fields; a wildcard stays in its field.
    Arn,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Char(char),
    Any,
    Star,
    /// `default` stands in when the key has no single value.
    Variable {
        key: Key,
        default: Option<String>,
    },
}

/// How values are put in for variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Insertion {
    /// As data: a wildcard in a value is a character.
    Literal,
    /// As text of the pattern; see [`crate::Profile::variables_are_raw`].
    Raw,
    /// The same in a resource that covers bucket `b` where it covers `b/`; see
    /// [`crate::Profile::keys_cover_bucket`].
    RawOverBucket,
}

/// What a variable stands for while a pattern becomes an automaton.
pub(super) enum Filling {
    Text(String),
    /// Nothing: the pattern fits no text.
    Missing,
    /// Any text: the smallest pattern without variables that fits whatever this one fits.
    Open,
    /// One sign that only itself and a star fit: see [`Template::implies`].
    Sign(char),
    /// Any text that fits a pattern.
    Like(Vec<Piece>),
    /// A text in any spelling: letter case is ignored.
    Folded(String),
}

/// How to make an automaton: what stands for variables, and what `?` takes.
struct Fill<'a> {
    by: &'a dyn Fn(&Key) -> Filling,
    single: Class,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    manner: Manner,
    insertion: Insertion,
}

impl Template {
    /// Reads a text that the parser of policies has accepted.
    pub(super) fn parse(text: &str, manner: Manner, variables: bool) -> Option<Self> {
        let plain = |char| manner.piece(char);
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = variables.then(|| rest.split_once("${")).flatten() {
            pieces.extend(before.chars().map(plain));
            let mut quoted = false;
            let end = after.find(|char| {
                quoted ^= char == '\'';
                char == '}' && !quoted
            })?;
            pieces.push(variable(after.get(..end)?)?);
            rest = after.get(end + 1..)?;
        }
        pieces.extend(rest.chars().map(plain));
        Some(Self { pieces, manner, insertion: Insertion::Literal })
    }

    /// Reads a text whose variables are put in raw: only common keys are variables, and one without a value stays as
    /// the text it is.
    pub(super) fn parse_raw(text: &str, manner: Manner, insertion: Insertion) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            pieces.extend(before.chars().map(|char| manner.piece(char)));
            match after.split_once('}').filter(|(name, _)| raw::is_variable(name)) {
                Some((name, behind)) => {
                    let default = Some(format!("${{{name}}}"));
                    pieces.push(Piece::Variable { key: Key::new(name), default });
                    rest = behind;
                }
                None => {
                    pieces.extend("${".chars().map(|char| manner.piece(char)));
                    rest = after;
                }
            }
        }
        pieces.extend(rest.chars().map(|char| manner.piece(char)));
        Self { pieces, manner, insertion }
    }

    /// The same, and bucket `b` is covered where `b/` is.
    pub(super) fn over_bucket(self) -> Self {
        Self { insertion: Insertion::RawOverBucket, ..self }
    }

    /// Bucket `b` is covered where `b/` is.
    pub(super) fn covers_bucket(&self) -> bool {
        self.insertion == Insertion::RawOverBucket
    }

    pub(super) fn is_raw(&self) -> bool {
        self.insertion != Insertion::Literal
    }

    /// Patterns that together fit `b` where this one, variables filled in or left open, fits `b/`. They may fit more
    /// that has a slash in it.
    pub(super) fn before_slash(&self, fill: impl Fn(&Key) -> Filling) -> Vec<Automaton> {
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            let Piece::Variable { key, default } = piece else {
                pieces.push(piece.clone());
                continue;
            };
            match fill(key) {
                Filling::Open | Filling::Sign(_) | Filling::Like(_) | Filling::Folded(_) => {
                    pieces.push(Piece::Star);
                }
                Filling::Text(text) if !text.is_empty() => {
                    pieces.extend(text.chars().map(|char| self.manner.piece(char)));
                }
                Filling::Text(_) | Filling::Missing => {
                    let text = default.as_deref().unwrap_or_default();
                    pieces.extend(text.chars().map(|char| self.manner.piece(char)));
                }
            }
        }
        let mut found = Vec::new();
        let automaton = |pieces: &[Piece]| {
            Self { pieces: pieces.to_vec(), ..self.clone() }.automaton(|_| Filling::Missing)
        };
        while let Some(last) = pieces.pop() {
            match last {
                // The star takes the slash, and then something in front of it may, too.
                Piece::Star => {
                    let with_star: Vec<_> = pieces.iter().cloned().chain([Piece::Star]).collect();
                    found.push(automaton(&with_star));
                }
                Piece::Any | Piece::Char('/') => {
                    found.push(automaton(&pieces));
                    break;
                }
                _ => break,
            }
        }
        found
    }

    pub(super) fn is_star(&self) -> bool {
        !self.pieces.is_empty() && self.pieces.iter().all(|piece| *piece == Piece::Star)
    }

    /// The keys of its variables, with whether there is a default.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Key, bool)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, default } => Some((key, default.is_some())),
            _ => None,
        })
    }

    pub(super) fn has_variables(&self) -> bool {
        self.keys().next().is_some()
    }

    /// The one text that fits, the one in all its spellings, or a pattern of texts; nothing of a pattern with variables.
    pub(super) fn as_filling(&self) -> Option<Filling> {
        match (self.manner, self.text()) {
            _ if self.has_variables() => None,
            (Manner::Equals | Manner::Like, Some(text)) => Some(Filling::Text(text)),
            (Manner::EqualsIgnoreCase, Some(text)) => {
                let is_one_way = |char: char| char.is_ascii() && !char.is_ascii_alphabetic();
                Some(match text.chars().all(is_one_way) {
                    true => Filling::Text(text),
                    false => Filling::Folded(text),
                })
            }
            (Manner::Like, None) => Some(Filling::Like(self.pieces.clone())),
            (Manner::Equals | Manner::EqualsIgnoreCase, None) | (Manner::Arn, _) => None,
        }
    }

    /// The text of a pattern without wildcards and variables.
    pub(super) fn text(&self) -> Option<String> {
        let char = |piece: &Piece| match piece {
            Piece::Char(char) => Some(*char),
            Piece::Any | Piece::Star | Piece::Variable { .. } => None,
        };
        self.pieces.iter().map(char).collect()
    }

    /// The same text, in any spelling or not.
    pub(super) fn spelled_as(&self, text: &str) -> Automaton {
        let fold = self.ignores_case();
        let class =
            |char| if fold { Class::Fold(crate::condition::fold(char)) } else { Class::Char(char) };
        Automaton::new(text.chars().map(|char| one(class(char))).collect())
    }

    pub(super) fn ignores_case(&self) -> bool {
        self.manner == Manner::EqualsIgnoreCase
    }

    /// Some variable stands in it more than once, so that no automaton is what it fits.
    pub(super) fn repeats(&self) -> bool {
        let keys: Vec<_> = self.keys().map(|(key, _)| key).collect();
        keys.iter().enumerate().any(|(at, key)| keys.iter().skip(at + 1).any(|other| other == key))
    }

    /// All values of its only variable with which it fits a text, each in one spelling where letter case is ignored.
    /// `None` of a pattern with several variables, or a text too long to try all its parts.
    pub(super) fn values_for(&self, text: &str) -> Option<(Key, Vec<String>)> {
        let mut keys = self.keys();
        let (key, has_default) = keys.next()?;
        if has_default || self.is_raw() || key.is_array() || keys.any(|(other, _)| other != key) {
            return None;
        }
        let chars: Vec<char> = text.chars().collect();
        if chars.len() > TRIED_CHARS_MAX {
            return None;
        }
        // Whatever the variable stands for is a part of the text.
        let ends = |from| (from..=chars.len()).filter(move |to| *to > from || from == 0);
        let parts = (0..=chars.len()).flat_map(|from| ends(from).map(move |to| (from, to)));
        let mut values: Vec<String> =
            parts.filter_map(|(from, to)| Some(chars.get(from..to)?.iter().collect())).collect();
        if self.ignores_case() {
            let fold = |value: &String| value.chars().map(crate::condition::fold).collect();
            values = values.iter().map(fold).collect();
        }
        values.sort_unstable();
        values.dedup();
        values.retain(|value| self.automaton(|_| Filling::Text(value.clone())).fits(text));
        Some((key.clone(), values))
    }

    /// Runs of literal text between separators: values worth trying for a variable.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec![String::new()];
        for piece in &self.pieces {
            match (piece, words.last_mut()) {
                (Piece::Char('/' | ':'), _) => words.push(String::new()),
                (Piece::Char(char), Some(word)) => word.push(*char),
                (Piece::Any, Some(word)) => word.push('a'),
                _ => {}
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// Whatever fits this pattern fits the other one, whatever the variables stand for.
    ///
    /// Each variable becomes a sign that no `?` takes. A text of this pattern is a word with the values put in for the
    /// signs; if every such word is one of the other pattern, the text is one too, because a star takes any value.
    /// Sufficient, not necessary.
    pub(super) fn implies(&self, other: &Self) -> bool {
        let folds = |template: &Self| template.manner == Manner::EqualsIgnoreCase;
        // What stands there raw without a value is the same text in both.
        let defaults =
            !self.is_raw() && self.keys().chain(other.keys()).any(|(_, has_default)| has_default);
        let unusual = |piece: &Piece| match piece {
            Piece::Char(char) => *char >= SIGNS,
            Piece::Any => self.manner == Manner::Arn,
            Piece::Star | Piece::Variable { .. } => false,
        };
        if defaults
            || folds(self) && !folds(other)
            || self.insertion != other.insertion
            || self.pieces.iter().chain(&other.pieces).any(unusual)
        {
            return false;
        }
        let keys: Vec<&Key> = self.keys().chain(other.keys()).map(|(key, _)| key).collect();
        let sign = |key: &Key| {
            let at =
                keys.iter().position(|there| *there == key).and_then(|at| u32::try_from(at).ok());
            let sign = at.and_then(|at| char::from_u32(u32::from(SIGNS) + at));
            sign.map_or(Filling::Missing, Filling::Sign)
        };
        // A sign is not one character: `?` must not take it.
        let signed = |template: &Self| template.build(&Fill { by: &sign, single: Class::Plain });
        let (Some(ours), Some(theirs)) = (signed(self), signed(other)) else { return false };
        let Ok(found) = kinds(&[ours, theirs]) else { return false };
        let [ours, theirs] = found.fits.as_slice() else { return false };
        ours.is_subset(theirs)
    }

    /// The automaton, with something in the place of every variable.
    pub(super) fn automaton(&self, fill: impl Fn(&Key) -> Filling) -> Automaton {
        self.build(&Fill { by: &fill, single: Class::Any }).unwrap_or_else(Automaton::never)
    }

    fn build(&self, fill: &Fill<'_>) -> Option<Automaton> {
        let Manner::Arn = self.manner else {
            return Some(Automaton::new(self.steps(&self.pieces, fill, false)?));
        };
        if self.is_star() {
            let field = [many(Class::Not(':')), one(Class::Char(':'))];
            let mut steps: Vec<Step> = "arn:".chars().map(|char| one(Class::Char(char))).collect();
            steps.extend(field.iter().cycle().take(8));
            steps.push(many(Class::Any));
            return Some(Automaton::new(steps));
        }
        let fields: Vec<&[Piece]> =
            self.pieces.splitn(6, |piece| *piece == Piece::Char(':')).collect();
        let [arn, middle @ .., resource] = fields.as_slice() else { return None };
        if fields.len() != 6 || **arn != "arn".chars().map(Piece::Char).collect::<Vec<_>>()[..] {
            return None;
        }
        let mut steps: Vec<Step> = "arn:".chars().map(|char| one(Class::Char(char))).collect();
        for field in middle {
            steps.extend(self.steps(field, fill, true)?);
            steps.push(one(Class::Char(':')));
        }
        steps.extend(self.steps(resource, fill, false)?);
        Some(Automaton::new(steps))
    }

    /// The steps of a text in the place of a variable.
    fn inserted(&self, text: &str, fill: &Fill<'_>, narrow: bool) -> Option<Vec<Step>> {
        let piece = |char| if self.is_raw() { self.manner.piece(char) } else { Piece::Char(char) };
        self.steps(&text.chars().map(piece).collect::<Vec<_>>(), fill, narrow)
    }

    /// `None`: fits nothing. `narrow`: within a field of an ARN, where no colon can be.
    fn steps(&self, pieces: &[Piece], fill: &Fill<'_>, narrow: bool) -> Option<Vec<Step>> {
        let wild = if narrow { Class::Not(':') } else { Class::Any };
        let plain = |char: char| match self.manner {
            Manner::EqualsIgnoreCase => one(Class::Fold(crate::condition::fold(char))),
            _ => one(Class::Char(char)),
        };
        let mut steps = Vec::new();
        for piece in pieces {
            let text = match piece {
                Piece::Char(char) => {
                    steps.push(plain(*char));
                    continue;
                }
                Piece::Any if wild == Class::Any => {
                    steps.push(one(fill.single));
                    continue;
                }
                Piece::Any => {
                    steps.push(one(wild));
                    continue;
                }
                Piece::Star => {
                    steps.push(many(wild));
                    continue;
                }
                Piece::Variable { key, default } => match (fill.by)(key) {
                    Filling::Text(text) if text.is_empty() && self.is_raw() => default.clone()?,
                    Filling::Text(text) => text,
                    Filling::Missing => default.clone()?,
                    Filling::Open => {
                        steps.push(many(wild));
                        continue;
                    }
                    Filling::Sign(sign) => {
                        steps.push(one(Class::Char(sign)));
                        continue;
                    }
                    Filling::Like(like) => {
                        steps.extend(self.steps(&like, fill, narrow)?);
                        continue;
                    }
                    Filling::Folded(text) if narrow && text.contains(':') => return None,
                    Filling::Folded(text) => {
                        let fold = |char| one(Class::Fold(crate::condition::fold(char)));
                        steps.extend(text.chars().map(fold));
                        continue;
                    }
                },
            };
            if narrow && text.contains(':') {
                return None;
            }
            steps.extend(self.inserted(&text, fill, narrow)?);
        }
        Some(steps)
    }
}

impl Manner {
    /// What a character of a pattern is.
    fn piece(self, char: char) -> Piece {
        match (char, self) {
            ('*', Self::Like | Self::Arn) => Piece::Star,
            ('?', Self::Like | Self::Arn) => Piece::Any,
            _ => Piece::Char(char),
        }
    }
}

fn variable(inside: &str) -> Option<Piece> {
    let mut chars = inside.chars();
    if let (Some(char @ ('*' | '?' | '$')), None) = (chars.next(), chars.next()) {
        return Some(Piece::Char(char));
    }
    let (name, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((name, default)) => {
            let quoted = default.trim_start().strip_prefix('\'')?.strip_suffix('\'')?;
            (name, Some(quoted.to_owned()))
        }
    };
    Some(Piece::Variable { key: Key::new(name), default })
}
