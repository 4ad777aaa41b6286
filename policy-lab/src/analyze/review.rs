//! What is exactly known of the statements of one document, whatever else is attached beside it.
//!
//! Every remark is of the form "there is no such request", so there are no false ones; each carries the statements or
//! elements that it rests on, taken away one by one until no other can go. A question without a sure answer is counted
//! and remarks nothing.

use std::sync::Arc;

use super::encode::{Asked, Encoder, Sure};
use super::formula::Formula;
use super::prove::{Answer, Question};
use super::statement::{self, Statement};
use super::{Access, Difference, Limit, World, differences};
use crate::{Attached, DocumentError, DocumentKind, Policy, PolicySet, Profile};

/// Statements of a document that is looked at; a longer one costs minutes.
const STATEMENTS_MAX: usize = 100;

/// Statements whose part in a certificate is looked at one by one.
const SHARED_MAX: usize = 32;

/// Questions without a sure answer after which no more are asked: the next would not be easier.
const OPEN_MAX: usize = 3;

/// What is known of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// No request meets it: these elements exclude one another.
    NeverFires { allows: bool, because: Vec<String> },
    /// Every request that it allows is denied by these statements of the same document.
    Shadowed { by: Vec<usize> },
    /// These statements of the same document do everything that it does.
    Covered { by: Vec<usize> },
}

/// A remark, and the statement that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remarked {
    /// From zero.
    pub statement: usize,
    /// From one; the column in characters.
    pub line: usize,
    pub column: usize,
    pub remark: Remark,
}

/// Everything that is remarked of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// In the order of the statements. All statements in it can be taken out together.
    pub remarks: Vec<Remarked>,
    /// Questions without a sure answer, and why the last one had none.
    pub open: usize,
    pub limit: Option<Limit>,
}

/// How the two profiles read one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// The other profile does not accept it.
    Refused(DocumentError),
    /// `gained`: MinIO allows nothing that AWS does not; `lost`: nothing is allowed on AWS that is not on MinIO.
    Read(Box<Difference>),
}

/// Reviews a document under its own profile.
#[must_use]
pub fn review(policy: &Policy) -> Review {
    let Ok(statements) = statement::statements(policy) else {
        return Review { open: 1, limit: Some(Limit::Unread), ..Review::default() };
    };
    if statements.len() > STATEMENTS_MAX {
        return Review { open: 1, limit: Some(Limit::Work), ..Review::default() };
    }
    let is_of_bucket = policy.kind() == DocumentKind::Bucket;
    let mut reviewer = Reviewer { statements: &statements, is_of_bucket, open: 0, limit: None };
    let mut gone = vec![false; statements.len()];
    let mut remarks = Vec::new();
    // The last one first: of two that say the same the later one goes.
    for at in (0..statements.len()).rev() {
        let Some(remark) = reviewer.remark(at, &gone) else { continue };
        if let Some(gone) = gone.get_mut(at) {
            *gone = true;
        }
        let place = u32::try_from(at).ok().and_then(|at| policy.place(at));
        let (line, column) = place.unwrap_or((1, 1));
        remarks.push(Remarked { statement: at, line, column, remark });
    }
    remarks.reverse();
    Review { remarks, open: reviewer.open, limit: reviewer.limit }
}

/// Compares how AWS and MinIO read a document, alone.
#[must_use]
pub fn divergence(policy: &Policy) -> Divergence {
    let read = |profile| Policy::parse_as(policy.source(), policy.kind(), profile).map(access);
    match (read(Profile::AWS), read(Profile::MINIO)) {
        (Err(error), _) | (_, Err(error)) => Divergence::Refused(error),
        (Ok(aws), Ok(minio)) => Divergence::Read(Box::new(differences(&aws, &minio, World::S3))),
    }
}

/// A document with nothing beside it. A limit by itself limits nothing, so it stands for what it would let pass.
pub(super) fn access(policy: Policy) -> Access {
    let is_of_bucket = policy.kind() == DocumentKind::Bucket;
    let attached = Attached { name: Arc::from("policy"), policy: Arc::new(policy) };
    let policies = match is_of_bucket {
        true => PolicySet { bucket: Some(attached), ..PolicySet::default() },
        false => PolicySet { identity: vec![attached], ..PolicySet::default() },
    };
    Access { policies, bucket: None }
}

struct Reviewer<'a> {
    statements: &'a [Statement],
    is_of_bucket: bool,
    open: usize,
    limit: Option<Limit>,
}

impl<'a> Reviewer<'a> {
    fn remark(&mut self, at: usize, gone: &[bool]) -> Option<Remark> {
        let statements = self.statements;
        let statement = statements.get(at)?;
        if self.is_impossible(&[statement], &|me, encoder| me.fires(encoder, statement)) {
            let because = self.core(statement);
            return Some(Remark::NeverFires { allows: statement.allows, because });
        }
        let others = |allows: bool| -> Vec<usize> {
            let here = |other: &usize| {
                *other != at && gone.get(*other) == Some(&false) && {
                    statements.get(*other).is_some_and(|other| other.allows == allows)
                }
            };
            (0..statements.len()).filter(here).collect()
        };
        if let Some(by) = self.covering(statement, others(statement.allows)) {
            return Some(Remark::Covered { by });
        }
        let by = statement.allows.then(|| self.covering(statement, others(false))).flatten()?;
        Some(Remark::Shadowed { by })
    }

    /// The fewest of these statements, taken away one by one, that fire whenever this one does.
    fn covering(&mut self, statement: &'a Statement, mut by: Vec<usize>) -> Option<Vec<usize>> {
        if by.is_empty() || !self.is_covered(statement, &by) {
            return None;
        }
        for other in by.clone().into_iter().rev().take(SHARED_MAX) {
            let fewer: Vec<usize> = by.iter().copied().filter(|kept| *kept != other).collect();
            if !fewer.is_empty() && self.is_covered(statement, &fewer) {
                by = fewer;
            }
        }
        Some(by)
    }

    fn is_covered(&mut self, statement: &'a Statement, by: &[usize]) -> bool {
        let others: Vec<_> = by.iter().filter_map(|other| self.statements.get(*other)).collect();
        let all: Vec<_> = others.iter().copied().chain([statement]).collect();
        self.is_impossible(&all, &|me, encoder| {
            let others: Vec<_> = others.iter().map(|other| me.fires(encoder, other)).collect();
            me.fires(encoder, statement).and(Formula::any(others).not())
        })
    }

    /// The statement takes effect.
    fn fires(&self, encoder: &mut Encoder<'_>, statement: &Statement) -> Asked {
        let sure = if statement.allows { Sure::Yes } else { Sure::NotNo };
        let applies = encoder.applies(statement, sure);
        if self.is_of_bucket { applies.and(encoder.speaks(statement)) } else { applies }
    }

    /// Elements that are impossible together, none of which can go.
    fn core(&mut self, statement: &Statement) -> Vec<String> {
        let mut kept = statement.clone();
        let mut named = Vec::new();
        let mut without_caller = !self.is_of_bucket;
        if self.is_of_bucket {
            let applies = |_: &Self, encoder: &mut Encoder<'_>| {
                let sure = if statement.allows { Sure::Yes } else { Sure::NotNo };
                encoder.applies(statement, sure)
            };
            without_caller = self.is_impossible(&[statement], &applies);
            if !without_caller {
                named.push("Principal".to_owned());
            }
        }
        let fires = |kept: &Statement, me: &mut Self| {
            me.is_impossible(&[kept], &|_, encoder| {
                let sure = if kept.allows { Sure::Yes } else { Sure::NotNo };
                let applies = encoder.applies(kept, sure);
                if without_caller { applies } else { applies.and(encoder.speaks(kept)) }
            })
        };
        let mut at = 0;
        while let Some(clause) = kept.clauses.get(at).cloned() {
            let mut fewer = kept.clone();
            fewer.clauses.remove(at);
            if fires(&fewer, self) {
                kept = fewer;
            } else {
                named.push(format!("Condition {}", clause.name));
                at += 1;
            }
        }
        let mut anywhere = kept.clone();
        anywhere.resources = None;
        if kept.resources.is_some() && !fires(&anywhere, self) {
            named.push(if kept.resources.as_ref().is_some_and(|it| it.inverted) {
                "NotResource".to_owned()
            } else {
                "Resource".to_owned()
            });
        } else {
            kept = anywhere;
        }
        let mut anything = kept;
        (anything.actions, anything.actions_inverted) = (Vec::new(), true);
        if !fires(&anything, self) {
            named.push(if statement.actions_inverted { "NotAction" } else { "Action" }.to_owned());
        }
        named.sort_unstable();
        named
    }

    /// Whether there is surely no request of which the formula is true.
    fn is_impossible(
        &mut self,
        statements: &[&Statement],
        ask: &dyn Fn(&Self, &mut Encoder<'_>) -> Asked,
    ) -> bool {
        if self.open >= OPEN_MAX {
            return false;
        }
        let question = Question {
            statements: statements.to_vec(),
            world: World::S3,
            asker: None,
            ask: &|encoder| ask(self, encoder),
            // Only a "no" counts, so nothing needs to be confirmed.
            confirm: &|_| true,
        };
        match question.answer() {
            Answer::None => true,
            Answer::Found(_) => false,
            Answer::Unknown(limit) => {
                self.open += 1;
                self.limit = Some(limit);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
