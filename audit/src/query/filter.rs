//! The filter as a tree of predicates, and its truth for one record.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::{leaf, leaf::Scalar, stamp};

use super::lexer::Op;

/// A condition on a record.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// Always true.
    All,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Pred(Pred),
}

/// A condition on the values of one field.
#[derive(Clone, Debug)]
pub(crate) struct Pred {
    /// Canonical name; empty for any field.
    pub(crate) field: String,
    pub(crate) test: Test,
}

/// What one value must be.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Exists,
    OneOf(Vec<String>),
    Cidr(IpNet),
    Number(Op, i128),
    /// Fixed-width times compare as text.
    Time(Op, [u8; stamp::LEN]),
    Text(Op, String),
    Pattern(Regex),
    /// A whole word, without regard to ASCII case.
    Has(String),
    /// Anywhere in the value, without regard to ASCII case; lower case here.
    Contains(String),
    /// An action that changes nothing.
    ReadOnly,
    /// A value of the other field.
    SameAs(String),
}

impl Filter {
    /// Whether a record's bytes match; bytes that are no record match nothing.
    pub(crate) fn matches(&self, leaf: &[u8]) -> bool {
        if let Self::All = self {
            return true;
        }
        let mut preds = Vec::new();
        self.collect(&mut preds);
        let mut hits = vec![false; preds.len()];
        let visited = leaf::visit(leaf, &mut |path, value| {
            for (pred, hit) in preds.iter().zip(&mut hits) {
                *hit = *hit || pred.hit(path, value);
            }
        });
        if visited.is_none() {
            return false;
        }
        for (pred, hit) in preds.iter().zip(&mut hits) {
            if let Test::SameAs(other) = &pred.test {
                let others = leaf::values(leaf, other);
                *hit = leaf::values(leaf, &pred.field).iter().any(|value| others.contains(value));
            }
        }
        self.truth(&mut hits.into_iter())
    }

    /// The predicates in order of the tree.
    pub(crate) fn collect<'a>(&'a self, preds: &mut Vec<&'a Pred>) {
        match self {
            Self::All => {}
            Self::And(all) | Self::Or(all) => all.iter().for_each(|filter| filter.collect(preds)),
            Self::Not(inner) => inner.collect(preds),
            Self::Pred(pred) => preds.push(pred),
        }
    }

    /// The tree's truth, given its predicates' in the same order; takes every one, so the order holds.
    fn truth(&self, hits: &mut impl Iterator<Item = bool>) -> bool {
        match self {
            Self::All => true,
            Self::And(all) => all.iter().fold(true, |so_far, filter| filter.truth(hits) & so_far),
            Self::Or(any) => any.iter().fold(false, |so_far, filter| filter.truth(hits) | so_far),
            Self::Not(inner) => !inner.truth(hits),
            Self::Pred(_) => hits.next().unwrap_or(false),
        }
    }

    /// What must hold for every match: the predicates that are joined by `and` at the top.
    pub(crate) fn conjuncts(&self) -> Vec<&Pred> {
        match self {
            Self::Pred(pred) => vec![pred],
            Self::And(all) => all.iter().flat_map(Self::conjuncts).collect(),
            _ => Vec::new(),
        }
    }
}

impl Pred {
    fn hit(&self, path: &str, value: &Scalar<'_>) -> bool {
        if let Test::Exists = self.test {
            let below = path.strip_prefix(&self.field);
            return below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        }
        (self.field.is_empty() || path == self.field) && self.test.hit(value)
    }
}

impl Test {
    fn hit(&self, value: &Scalar<'_>) -> bool {
        let text = value.as_text();
        match self {
            Self::Exists => true,
            Self::OneOf(values) => values.iter().any(|wanted| wanted == text),
            Self::Cidr(net) => {
                text.parse::<IpAddr>().is_ok_and(|ip| net.contains(&ip.to_canonical()))
            }
            Self::Number(op, wanted) => {
                text.parse::<i128>().is_ok_and(|found| op.holds(&found, wanted))
            }
            Self::Time(op, wanted) => op.holds(&text.as_bytes(), &wanted.as_slice()),
            Self::Text(op, wanted) => op.holds(&text, &wanted.as_str()),
            Self::Pattern(regex) => regex.is_match(text),
            Self::Has(word) => text
                .split(|c: char| !c.is_alphanumeric())
                .any(|token| token.eq_ignore_ascii_case(word)),
            Self::Contains(part) => {
                matches!(value, Scalar::Text(_))
                    && text.to_ascii_lowercase().contains(part.as_str())
            }
            Self::ReadOnly => is_read_only(text),
            Self::SameAs(_) => false,
        }
    }
}

impl Op {
    /// Whether what holds is not below the bound.
    pub(crate) fn is_lower_bound(self) -> bool {
        matches!(self, Self::Equal | Self::Greater | Self::GreaterEqual)
    }

    /// Whether what holds is not above the bound.
    pub(crate) fn is_upper_bound(self) -> bool {
        matches!(self, Self::Equal | Self::Less | Self::LessEqual)
    }

    fn holds<T: PartialOrd>(self, found: &T, wanted: &T) -> bool {
        match self {
            Self::Equal | Self::Glob | Self::Regex => found == wanted,
            Self::NotEqual => found != wanted,
            Self::Less => found < wanted,
            Self::LessEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterEqual => found >= wanted,
        }
    }
}

/// Actions whose verb only looks. KMS calls that use a key change nothing, but they are uses, not looks.
fn is_read_only(action: &str) -> bool {
    let verb = action.split_once(':').map_or(action, |(_, verb)| verb);
    ["Get", "Head", "List", "Describe", "Select"].iter().any(|look| verb.starts_with(look))
}
