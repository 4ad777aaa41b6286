//! Whether a formula can be true, by case distinction with look-ahead.
//!
//! Each literal confines one dimension, so a conjunction of literals can be met exactly if it can be met in every
//! dimension by itself. What is left are the alternatives: those that what was chosen already decides are taken out
//! first, forced ones are followed, and of the rest the one with the fewest ways is tried way by way.

use super::Limit;
use super::domain::{Domain, Region};
use super::formula::Formula;

/// Formulas looked at in one search at most.
const LOOKS_MAX: u64 = 30_000_000;

/// A literal: a dimension confined to a region.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    pub(super) dimension: usize,
    pub(super) region: Region,
}

/// Formulas over literals whose negations are literals of their own.
pub(super) type Ground = Formula<usize>;

/// What became of an alternative.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Impossible,
    Open,
    Sure,
}

/// Finds domains in which every point makes the formula true; `None`: there is no such request.
pub(super) fn search(
    literals: &[Literal],
    domains: Vec<Domain>,
    formula: &Ground,
) -> Result<Option<Vec<Domain>>, Limit> {
    let mut search = Search { literals, looks: 0, found: None };
    let mut case = Case { domains, open: Vec::new() };
    if case.domains.iter().any(Domain::is_empty) || !search.assert(&mut case, formula) {
        return Ok(None);
    }
    search.solve(case)
}

struct Search<'a> {
    literals: &'a [Literal],
    looks: u64,
    found: Option<Vec<Domain>>,
}

/// A part of the requests, and the alternatives that are not decided in it.
#[derive(Clone)]
struct Case<'f> {
    domains: Vec<Domain>,
    open: Vec<&'f [Ground]>,
}

impl Search<'_> {
    fn solve<'f>(&mut self, mut case: Case<'f>) -> Result<Option<Vec<Domain>>, Limit> {
        loop {
            let Some((ways, at)) = self.propagate(&mut case)? else { return Ok(None) };
            if case.open.is_empty() {
                return Ok(Some(case.domains));
            }
            let chosen = case.open.swap_remove(at);
            if !self.choose(&mut case, chosen, ways)? {
                return Ok(self.found.take());
            }
        }
    }

    /// Tries the ways of one alternative but the last, each with all that follows. True: the case is confined to the
    /// last one and goes on. False: the search of this case is over, with or without a find.
    fn choose<'f>(
        &mut self,
        case: &mut Case<'f>,
        ways: &'f [Ground],
        mut left: usize,
    ) -> Result<bool, Limit> {
        for way in ways {
            match self.standing(case, way) {
                Standing::Impossible => continue,
                Standing::Sure => return Ok(true),
                Standing::Open => {}
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(self.assert(case, way));
            }
            let mut branch = case.clone();
            if self.assert(&mut branch, way) {
                self.found = self.solve(branch)?;
                if self.found.is_some() {
                    return Ok(false);
                }
            }
            // From here on this way is out.
            if !self.deny(case, way) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Follows what is forced. `None`: impossible. Otherwise the alternative with the fewest ways: their number, and
    /// its place.
    fn propagate(&mut self, case: &mut Case<'_>) -> Result<Option<(usize, usize)>, Limit> {
        loop {
            let mut best: Option<(usize, usize)> = None;
            let mut forced = false;
            let mut at = 0;
            while let Some(ways) = case.open.get(at).copied() {
                if self.looks > LOOKS_MAX {
                    return Err(Limit::Work);
                }
                let mut open = 0;
                let mut last = None;
                let mut sure = false;
                for way in ways {
                    match self.standing(case, way) {
                        Standing::Impossible => {}
                        Standing::Open => {
                            open += 1;
                            last = Some(way);
                        }
                        Standing::Sure => {
                            sure = true;
                            break;
                        }
                    }
                }
                match (sure, open, last) {
                    (true, ..) => drop(case.open.swap_remove(at)),
                    (_, 1, Some(way)) => {
                        case.open.swap_remove(at);
                        if !self.assert(case, way) {
                            return Ok(None);
                        }
                        forced = true;
                    }
                    (_, 0, _) => return Ok(None),
                    _ => {
                        if best.is_none_or(|(fewest, _)| open < fewest) {
                            best = Some((open, at));
                        }
                        at += 1;
                    }
                }
            }
            if !forced {
                // INVARIANT: without a forced way nothing was taken out behind `best` was found, or `best` is still
                // in place: taking out swaps the last one in, which is looked at next.
                return Ok(Some(best.unwrap_or((0, 0))));
            }
        }
    }

    fn standing(&mut self, case: &Case<'_>, formula: &Ground) -> Standing {
        self.looks += 1;
        match formula {
            Formula::Is(literal) => match self.literals.get(*literal) {
                Some(literal) => stands(case, literal),
                None => Standing::Impossible,
            },
            // Negations were made literals.
            Formula::Not(_) => Standing::Impossible,
            Formula::All(parts) => {
                let mut all = Standing::Sure;
                for part in parts {
                    match self.standing(case, part) {
                        Standing::Impossible => return Standing::Impossible,
                        Standing::Open => all = Standing::Open,
                        Standing::Sure => {}
                    }
                }
                all
            }
            Formula::Any(parts) => {
                let mut any = Standing::Impossible;
                for part in parts {
                    match self.standing(case, part) {
                        Standing::Sure => return Standing::Sure,
                        Standing::Open => any = Standing::Open,
                        Standing::Impossible => {}
                    }
                }
                any
            }
        }
    }

    /// Confines the case to where the formula is true; false when nothing is left.
    fn assert<'f>(&mut self, case: &mut Case<'f>, formula: &'f Ground) -> bool {
        match formula {
            Formula::Is(literal) => {
                self.literals.get(*literal).is_some_and(|literal| confine(case, literal))
            }
            Formula::Not(_) => false,
            Formula::All(parts) => parts.iter().all(|part| self.assert(case, part)),
            Formula::Any(ways) => {
                case.open.push(ways);
                true
            }
        }
    }

    /// Confines the case to where a literal is false; other formulas are left as they are.
    fn deny(&mut self, case: &mut Case<'_>, formula: &Ground) -> bool {
        let Formula::Is(literal) = formula else { return true };
        // Literals come in pairs: each beside its negation.
        self.literals.get(literal ^ 1).is_none_or(|literal| confine(case, literal))
    }
}

fn stands(case: &Case<'_>, literal: &Literal) -> Standing {
    match case.domains.get(literal.dimension) {
        Some(domain) if domain.is_within(&literal.region) => Standing::Sure,
        Some(domain) if domain.meets(&literal.region) => Standing::Open,
        _ => Standing::Impossible,
    }
}

fn confine(case: &mut Case<'_>, literal: &Literal) -> bool {
    let Some(domain) = case.domains.get_mut(literal.dimension) else { return false };
    domain.narrow(&literal.region);
    !domain.is_empty()
}
