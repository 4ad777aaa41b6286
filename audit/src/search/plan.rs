//! From a query to an answer: which way, how far, in which order.

use std::{cmp::Ordering, path::Path};

use crate::{
    leaf,
    query::{Order, Query, Sort},
};

use super::{
    Answer, Coverage, Method, Row, SORTED_ROWS_MAX, SearchError, SearchOptions, indexed, scan,
};

pub(super) fn answer(
    dir: &Path,
    query: &Query,
    options: SearchOptions,
) -> Result<Answer, SearchError> {
    let limit = query.limit().unwrap_or(usize::MAX).min(options.limit);
    let size = scan::size(dir)?;
    let to = options.after.map_or(size, |after| after.min(size));
    // Newest first is the order of the walk; any other order needs every match.
    let sort = query.sort().filter(|sort| !is_newest_first(sort));
    let keep = if sort.is_some() { SORTED_ROWS_MAX } else { limit };
    let mut rows = Vec::new();
    let mut full = false;
    let mut take = |row| {
        if rows.len() == keep {
            if sort.is_some() {
                return Err(SearchError::TooManyToSort);
            }
            full = true;
            return Ok(false);
        }
        rows.push(row);
        Ok(true)
    };
    let index = indexed::choose(dir, query, options.method)?;
    let (indexed_to, method) = match &index {
        Some(index) => (index.size, Method::Index),
        None => (0, Method::Scan),
    };
    // The newest records may not be indexed yet; they are few.
    let stopped = scan::newest_first(dir, query, indexed_to..to, &mut take)?;
    if let Some(index) = index
        && !stopped
    {
        indexed::newest_first(dir, index, query, to, &mut take)?;
    }
    let mut from = if full { rows.last().map_or(to, |row: &Row| row.seq) } else { 0 };
    let mut matches = rows.len() as u64;
    if let Some(sort) = sort {
        sort_rows(&mut rows, sort);
        if rows.len() > limit {
            // The claim is about all that matched; only some are shown.
            rows.truncate(limit);
        }
    } else if limit == 0 {
        (from, matches) = (to, 0);
    }
    Ok(Answer { rows, coverage: Coverage { from, to, indexed_to, matches, method } })
}

fn is_newest_first(sort: &Sort) -> bool {
    matches!(sort.field.as_str(), "time" | "seq") && sort.order == Order::Descending
}

fn sort_rows(rows: &mut Vec<Row>, sort: &Sort) {
    let mut keyed: Vec<(Option<Key>, Row)> = std::mem::take(rows)
        .into_iter()
        .map(|row| (leaf::values(&row.leaf, &sort.field).into_iter().next().map(Key::new), row))
        .collect();
    keyed.sort_by(|(a, x), (b, y)| {
        let by_key = match (a, b) {
            (Some(a), Some(b)) if sort.order == Order::Ascending => a.cmp(b),
            (Some(a), Some(b)) => b.cmp(a),
            // Rows without the field come last either way.
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        by_key.then(y.seq.cmp(&x.seq))
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// Numbers sort as numbers, before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i128),
    Text(String),
}

impl Key {
    fn new(text: String) -> Self {
        text.parse().map_or(Self::Text(text), Self::Number)
    }
}
