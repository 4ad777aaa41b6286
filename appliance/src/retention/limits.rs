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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use audit::{
        Class, Clock, Ed25519Signer, EventId, HandClock, LocalFiles, Log, Options, Record,
        SystemClock,
    };

    use super::*;

    const ORIGIN: &str = "audit.example.com/node1";
    const DAY_US: u64 = 86_400_000_000;
    const RECORDS: u64 = 10;

    /// Three days of some records and the beginning of a fourth; gives where the second and the third begin.
    fn written(dir: &Path) -> (u64, u64) {
        let clock = Arc::new(HandClock::at(1_767_225_600_000_000));
        let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
        let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
        let (log, _) =
            Log::open(Arc::new(LocalFiles::new(dir)), signer, clock.clone(), options).unwrap();
        let mut begins = Vec::new();
        for day in 0..4 {
            for i in 0..RECORDS {
                let event = EventId::new(1_767_225_600_000 + day, [i as u8; 10]);
                let record = Record::new(Class::Data, "s3:GetObject", event);
                let committed = log.append(&record).unwrap().wait().unwrap();
                if i == 0 {
                    begins.push(committed.first);
                }
            }
            clock.pass(DAY_US);
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let bounds = PruneBounds { before_us: u64::MAX, below: u64::MAX };
        while plan_prune(dir, bounds).unwrap().is_none_or(|plan| plan.days.len() < 3) {
            assert!(Instant::now() < deadline, "three days are sealed");
            std::thread::yield_now();
        }
        log.close().unwrap();
        (begins[1], begins[2])
    }

    #[test]
    fn whoever_has_not_read_the_records_yet_keeps_their_days() {
        let dir = tempfile::tempdir().unwrap();
        let (second, third) = written(dir.path());
        let limit = |below| Limit { below, why: format!("somebody stands at {below}") };
        let ask = |before_us, limits: Vec<Limit>| {
            let possible = possible(dir.path(), before_us, limits, &Book::default()).unwrap();
            (possible.plan.map_or(0, |plan| plan.days.len()), possible.because)
        };
        let ever = SystemClock.now_us();
        assert_eq!(ask(ever, Vec::new()), (3, Vec::new()));
        // In the middle of the third day, so that day stays; and who is further on keeps nothing.
        let (slow, fast) = (third + 2, 4 * RECORDS + 100);
        let because = vec![format!("somebody stands at {slow}")];
        assert_eq!(ask(ever, vec![limit(slow), limit(fast)]), (2, because));
        // The slowest one counts, and all who keep something are named.
        let because = [slow, second + 1].map(|at| format!("somebody stands at {at}"));
        assert_eq!(ask(ever, vec![limit(slow), limit(second + 1)]), (1, because.to_vec()));
        assert_eq!(ask(ever, vec![limit(0)]), (0, vec!["somebody stands at 0".to_owned()]));
        // The retention alone: nothing is told to stay that it keeps anyway.
        assert_eq!(ask(1_767_225_600_000_000, vec![limit(fast)]), (0, Vec::new()));
    }
}
