//! The filter as a tree of predicates, and its truth for one record.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::{leaf, leaf::Scalar, stamp};

use super::{lexer::Op, stage};

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
    /// A number from the first to the second, both included.
    Between(i128, i128),
    /// The hour of a time, in UTC.
    Hour(Box<Self>),
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
    /// Whether the fields share a value; false where one of them has none.
    SameAs(String),
    /// Whether both fields have values and share none.
    Differs(String),
}

/// Calls a visitor with every field and value; `None` when there is nothing to read.
pub(crate) type Source<'a> = &'a dyn Fn(&mut dyn FnMut(&str, &Scalar<'_>)) -> Option<()>;

fn values_of(source: Source<'_>, field: &str) -> Vec<String> {
    let mut found = Vec::new();
    source(&mut |path, value| {
        if path == field {
            found.push(value.as_text().to_owned());
        }
    });
    found
}

impl Filter {
    /// Whether a record's bytes match; bytes that are no record match nothing.
    pub(crate) fn matches(&self, leaf: &[u8]) -> bool {
        self.holds(&|visit| leaf::visit(leaf, visit))
    }

    /// Whether the filter holds for the values that `source` shows, each with its field's name.
    pub(crate) fn holds(&self, source: Source<'_>) -> bool {
        if let Self::All = self {
            return true;
        }
        let mut preds = Vec::new();
        self.collect(&mut preds);
        let mut hits = vec![false; preds.len()];
        let visited = source(&mut |path, value| {
            for (pred, hit) in preds.iter().zip(&mut hits) {
                *hit = *hit || pred.hit(path, value);
            }
        });
        if visited.is_none() {
            return false;
        }
        for (pred, hit) in preds.iter().zip(&mut hits) {
            if let Test::SameAs(other) | Test::Differs(other) = &pred.test {
                *hit = pred.compare(&values_of(source, other), &values_of(source, &pred.field));
            }
        }
        self.truth(&mut hits.into_iter())
    }

    /// The same conditions on the hour of `time`.
    pub(super) fn on_hour(self) -> Self {
        let many = |all: Vec<Self>| all.into_iter().map(Self::on_hour).collect();
        match self {
            Self::All => Self::All,
            Self::And(all) => Self::And(many(all)),
            Self::Or(any) => Self::Or(many(any)),
            Self::Not(inner) => Self::Not(Box::new(inner.on_hour())),
            Self::Pred(pred) => {
                let test = Test::Hour(Box::new(pred.test));
                Self::Pred(Pred { field: "time".to_owned(), test })
            }
        }
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

    fn compare(&self, these: &[String], others: &[String]) -> bool {
        let shared = these.iter().any(|value| others.contains(value));
        match self.test {
            Test::Differs(_) => !shared && !these.is_empty() && !others.is_empty(),
            _ => shared,
        }
    }
}

impl Test {
    pub(crate) fn hit(&self, value: &Scalar<'_>) -> bool {
        let text = value.as_text();
        match self {
            Self::Exists => true,
            Self::OneOf(values) => values.iter().any(|wanted| wanted == text),
            Self::Cidr(net) => {
                text.parse::<IpAddr>().is_ok_and(|ip| net.contains(&ip.to_canonical()))
            }
            Self::Number(op, wanted) => number_holds(text, *op, *wanted),
            Self::Between(low, high) => {
                text.parse::<i128>().is_ok_and(|found| (*low..=*high).contains(&found))
            }
            Self::Hour(inner) => {
                stage::hour(text).is_some_and(|hour| inner.hit(&Scalar::Number(&hour.to_string())))
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
            Self::SameAs(_) | Self::Differs(_) => false,
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

    pub(crate) fn holds<T: PartialOrd>(self, found: &T, wanted: &T) -> bool {
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

/// Records hold integers; an average in a table may have decimals.
fn number_holds(text: &str, op: Op, wanted: i128) -> bool {
    match text.parse::<i128>() {
        Ok(found) => op.holds(&found, &wanted),
        #[expect(clippy::cast_precision_loss, reason = "beside a value with decimals")]
        Err(_) => text.parse::<f64>().is_ok_and(|found| op.holds(&found, &(wanted as f64))),
    }
}

/// Actions whose verb only looks. KMS calls that use a key change nothing, but they are uses, not looks.
fn is_read_only(action: &str) -> bool {
    let verb = action.split_once(':').map_or(action, |(_, verb)| verb);
    ["Get", "Head", "List", "Describe", "Select"].iter().any(|look| verb.starts_with(look))
}
