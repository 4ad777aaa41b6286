//! Who gains and who loses what: principals by actions.

use std::collections::BTreeMap;

use crate::replay::{Class, Outcome};

/// What changes for one principal and one action, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) lost: u64,
    pub(super) gained: u64,
    pub(super) unknown: u64,
}

impl Cell {
    pub(super) fn total(self) -> u64 {
        self.lost + self.gained + self.unknown
    }

    fn add(&mut self, class: Class, count: u64) {
        match class {
            Class::NewlyDenied => self.lost += count,
            Class::NewlyAllowed => self.gained += count,
            Class::Unknown => self.unknown += count,
            Class::ReasonChanged => {}
        }
    }
}

/// The matrix, most changed first, cut to what fits a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) actions: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Principals and actions that did not fit.
    pub(super) principals_cut: usize,
    pub(super) actions_cut: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) principal: String,
    /// In the order of [`Matrix::actions`].
    pub(super) cells: Vec<Cell>,
    /// Over all actions, those that were cut included.
    pub(super) total: Cell,
}

const PRINCIPALS_MAX: usize = 40;
const ACTIONS_MAX: usize = 16;

impl Matrix {
    pub(super) fn new(outcome: &Outcome) -> Self {
        let mut cells: BTreeMap<(&str, &str), Cell> = BTreeMap::new();
        let mut principals: BTreeMap<&str, Cell> = BTreeMap::new();
        let mut actions: BTreeMap<&str, Cell> = BTreeMap::new();
        for group in outcome.groups.iter().filter(|group| group.class != Class::ReasonChanged) {
            let (principal, action) = (group.principal.as_str(), group.action.as_str());
            cells.entry((principal, action)).or_default().add(group.class, group.count);
            principals.entry(principal).or_default().add(group.class, group.count);
            actions.entry(action).or_default().add(group.class, group.count);
        }
        let principals = ordered(principals);
        let actions = ordered(actions);
        let shown: Vec<_> = actions.iter().take(ACTIONS_MAX).map(|(action, _)| *action).collect();
        let row = |&(principal, total): &(&str, Cell)| Row {
            principal: principal.to_owned(),
            cells: shown
                .iter()
                .map(|action| cells.get(&(principal, action)).copied().unwrap_or_default())
                .collect(),
            total,
        };
        Self {
            rows: principals.iter().take(PRINCIPALS_MAX).map(row).collect(),
            principals_cut: principals.len().saturating_sub(PRINCIPALS_MAX),
            actions_cut: actions.len().saturating_sub(ACTIONS_MAX),
            actions: shown.iter().map(|&action| action.to_owned()).collect(),
        }
    }
}

fn ordered(totals: BTreeMap<&str, Cell>) -> Vec<(&str, Cell)> {
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|(name, cell)| (std::cmp::Reverse(cell.total()), *name));
    totals
}
