//! `policies() minus` and `replay`: what the matches say about policies.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use crate::{
    leaf,
    query::stage::{REPLAY_COLUMNS, Rework},
    search::policies::{Policies, Replay},
};

use super::{Cell, Collect, Deadline, Row, SearchError, TABLE_ROWS_MAX, show, values_of};

/// Where a record names the statements that decided.
pub(in crate::search) const STATEMENT: &str = "auth.by.id";

/// Statements in force that no match names.
pub(in crate::search) struct Unused {
    left: BTreeSet<String>,
}

impl Unused {
    pub(in crate::search) fn new(policies: &dyn Policies) -> Result<Self, SearchError> {
        let left = policies.statements().map_err(SearchError::Policies)?;
        Ok(Self { left: left.into_iter().collect() })
    }

    pub(in crate::search) fn is_named(&mut self, statement: &str) {
        self.left.remove(statement);
    }

    /// Those that were not named.
    pub(in crate::search) fn rows(self) -> Vec<Vec<Cell>> {
        self.left.into_iter().map(|statement| vec![Cell::Text(statement)]).collect()
    }
}

impl Collect for Unused {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        leaf::values(&row.leaf, STATEMENT).iter().for_each(|statement| self.is_named(statement));
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        Ok(self.rows())
    }
}

/// Every decision beside the one that another policy would have made, newest first.
pub(super) struct Replays<'p> {
    replay: Box<dyn Replay + 'p>,
    columns: Vec<String>,
    /// The conditions that come right after: most decisions come out the same, and nobody wants to hold those.
    then: &'p [Rework],
    rows: Vec<Vec<Cell>>,
}

impl<'p> Replays<'p> {
    pub(super) fn new(
        policies: &'p dyn Policies,
        (policy, instead_of): (&str, Option<&str>),
        then: &'p [Rework],
    ) -> Result<Self, SearchError> {
        let replay = policies.replay(policy, instead_of).map_err(SearchError::Policies)?;
        let columns = REPLAY_COLUMNS.map(str::to_owned).to_vec();
        Ok(Self { replay, columns, then, rows: Vec::new() })
    }

    fn is_wanted(&self, row: &[Cell]) -> bool {
        let conditions = self.then.iter().map_while(|step| match step {
            Rework::Where(filter) => Some(filter),
            _ => None,
        });
        conditions.into_iter().all(|filter| {
            filter.holds(&|visit| {
                show(&self.columns, row, visit);
                Some(())
            })
        })
    }
}

impl Collect for Replays<'_> {
    fn take(&mut self, row: &Row) -> Result<(), SearchError> {
        let replayed = self.replay.decide(row.seq, &row.leaf).map_err(|message| {
            SearchError::Policies(format!("record {} cannot be decided again: {message}", row.seq))
        })?;
        let Some(replayed) = replayed else { return Ok(()) };
        let (recorded, _) = REPLAY_COLUMNS.split_at(REPLAY_COLUMNS.len() - 2);
        let mut cells: Vec<Cell> = values_of(&row.leaf, recorded)
            .into_iter()
            .map(|values| Cell::from(values.into_iter().next()))
            .collect();
        cells.extend([Cell::Text(replayed.decision), Cell::Text(replayed.reason)]);
        if self.is_wanted(&cells) {
            if self.rows.len() == TABLE_ROWS_MAX {
                return Err(SearchError::too_many_rows());
            }
            self.rows.push(cells);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Deadline) -> Result<Vec<Vec<Cell>>, SearchError> {
        Ok(self.rows)
    }
}
