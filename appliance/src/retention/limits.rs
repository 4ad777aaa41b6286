//! How far a prune may go: the retention, whoever has not read the records yet, and holds.

use std::path::Path;

use audit::{PruneBounds, PrunePlan, plan_prune};

use super::RetentionError;
use super::book::Book;
use super::hold::first_held;

/// One reason why records stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// First record that stays.
    pub(super) below: u64,
    pub(super) why: String,
}

/// What may go, and what keeps the rest.
#[derive(Debug)]
pub(super) struct Possible {
    pub(super) plan: Option<PrunePlan>,
    pub(super) because: Vec<String>,
}

/// The longest plan that retention, readers and holds allow. Reads all records that would go, if there is a hold.
///
/// # Errors
/// The log cannot be read.
pub(super) fn possible(
    dir: &Path,
    before_us: u64,
    mut limits: Vec<Limit>,
    book: &Book,
) -> Result<Possible, RetentionError> {
    let plan = |limits: &[Limit]| {
        let below = limits.iter().map(|limit| limit.below).min().unwrap_or(u64::MAX);
        plan_prune(dir, PruneBounds { before_us, below })
    };
    let unlimited = plan(&[])?.map_or(0, |plan| plan.end);
    let mut planned = plan(&limits)?;
    // What a hold keeps is searched for in what would go without it. A shorter plan ends before the first such record.
    if let Some(longest) = &planned
        && let Some((seq, hold)) = first_held(dir, longest.end, book.holds().values())?
    {
        let why = format!("hold {} keeps record {seq}: {}", hold.id, hold.reason);
        limits.push(Limit { below: seq, why });
        planned = plan(&limits)?;
    }
    let end = planned.as_ref().map_or(0, |plan| plan.end);
    let because = limits.into_iter().filter(|limit| end < unlimited && limit.below < unlimited);
    Ok(Possible { plan: planned, because: because.map(|limit| limit.why).collect() })
}
