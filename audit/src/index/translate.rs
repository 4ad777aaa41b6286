//! From a filter to a query of the index that finds at least everything the filter matches.

use std::{net::IpAddr, ops::Bound};

use ipnet::IpNet;
use tantivy::{
    Term,
    query::{BooleanQuery, Query, RangeQuery, RegexQuery, TermQuery, TermSetQuery},
    schema::{Field, IndexRecordOption},
};

use crate::query::{Filter, Pred, Test};

use super::schema::{Fields, mapped};

/// Terms that are walked together; more are a set.
const TERMS_WALKED_MAX: usize = 16;

/// The index's query, or `None` where the index cannot narrow anything down.
pub(super) fn translate(filter: &Filter, fields: &Fields) -> Option<Box<dyn Query>> {
    match filter {
        // Negations would need an exact inner query, and rarely narrow anything.
        Filter::All | Filter::Not(_) => None,
        Filter::And(all) => {
            let mut parts: Vec<_> = all.iter().filter_map(|f| translate(f, fields)).collect();
            match parts.len() {
                0 => None,
                1 => parts.pop(),
                _ => Some(Box::new(BooleanQuery::intersection(parts))),
            }
        }
        Filter::Or(any) => {
            let parts = any.iter().map(|f| translate(f, fields)).collect::<Option<Vec<_>>>()?;
            Some(Box::new(BooleanQuery::union(parts)))
        }
        Filter::Pred(pred) => predicate(pred, fields),
    }
}

fn predicate(pred: &Pred, fields: &Fields) -> Option<Box<dyn Query>> {
    if pred.field == "result.code" {
        return status(&pred.test, fields.status);
    }
    match &pred.test {
        Test::OneOf(values) => {
            let field = fields.word(&pred.field)?;
            Some(one_of(values.iter().map(|value| Term::from_field_text(field, value)).collect()))
        }
        Test::Pattern(regex) => {
            let field = fields.word(&pred.field)?;
            let inner = regex.as_str().strip_prefix("^(?:")?.strip_suffix(")$")?;
            // The index's patterns are anchored by nature; those it cannot express are left to the match.
            RegexQuery::from_pattern(&format!("(?s:{inner})"), field).ok().map(|q| Box::new(q) as _)
        }
        Test::Cidr(net) if pred.field == "net.src" => Some(network(net, fields.ip)),
        _ => None,
    }
}

fn status(test: &Test, field: Field) -> Option<Box<dyn Query>> {
    let Test::OneOf(values) = test else { return None };
    // Text that is no plain number matches nothing either way, but that is for the match to say.
    let codes = values.iter().map(|value| value.parse().ok()).collect::<Option<Vec<u64>>>()?;
    Some(one_of(codes.into_iter().map(|code| Term::from_field_u64(field, code)).collect()))
}

/// A few terms are walked as their lists go, which ends early; a set of them first marks every document.
fn one_of(mut terms: Vec<Term>) -> Box<dyn Query> {
    let single =
        |term| -> Box<dyn Query> { Box::new(TermQuery::new(term, IndexRecordOption::Basic)) };
    match terms.pop() {
        Some(only) if terms.is_empty() => single(only),
        Some(last) if terms.len() < TERMS_WALKED_MAX => {
            terms.push(last);
            Box::new(BooleanQuery::union(terms.into_iter().map(single).collect()))
        }
        last => Box::new(TermSetQuery::new(terms.into_iter().chain(last))),
    }
}

fn network(net: &IpNet, field: Field) -> Box<dyn Query> {
    let bound = |ip: IpAddr| Bound::Included(Term::from_field_ip_addr(field, mapped(ip)));
    Box::new(RangeQuery::new(bound(net.network()), bound(net.broadcast())))
}
