//! A pattern as it is written: text, wildcards, variables. What stands for a variable is put in later, or left open.

use super::automaton::{Automaton, Class, SIGNS, Step, kinds, many, one};
use super::key::Key;

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

/// What a variable stands for while a pattern becomes an automaton.
pub(super) enum Filling {
    Text(String),
    /// Nothing: the pattern fits no text.
    Missing,
    /// Any text: the smallest pattern without variables that fits whatever this one fits.
    Open,
    /// One sign that only itself and a star fit: see [`Template::implies`].
    Sign(char),
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
}

impl Template {
    /// Reads a text that the parser of policies has accepted.
    pub(super) fn parse(text: &str, manner: Manner, variables: bool) -> Option<Self> {
        let wildcards = matches!(manner, Manner::Like | Manner::Arn);
        let plain = |char| match char {
            '*' if wildcards => Piece::Star,
            '?' if wildcards => Piece::Any,
            char => Piece::Char(char),
        };
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
        Some(Self { pieces, manner })
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
        let defaults = self.keys().chain(other.keys()).any(|(_, has_default)| has_default);
        let unusual = |piece: &Piece| match piece {
            Piece::Char(char) => *char >= SIGNS,
            Piece::Any => self.manner == Manner::Arn,
            Piece::Star | Piece::Variable { .. } => false,
        };
        if defaults
            || folds(self) != folds(other)
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

    /// `None`: fits nothing. `narrow`: within a field of an ARN, where no colon can be.
    fn steps(&self, pieces: &[Piece], fill: &Fill<'_>, narrow: bool) -> Option<Vec<Step>> {
        let wild = if narrow { Class::Not(':') } else { Class::Any };
        let plain = |char: char| match self.manner {
            Manner::EqualsIgnoreCase => one(Class::Fold(super::automaton::fold(char))),
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
                },
            };
            if narrow && text.contains(':') {
                return None;
            }
            steps.extend(text.chars().map(plain));
        }
        Some(steps)
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
