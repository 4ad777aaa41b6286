//! How long one evaluation may take.
//!
//! The limit is there for the rule that does not end, and it is the rule's own time that is limited: the processor time of
//! its thread. On a busy machine a rule waits for its turn, and a limit of wall-clock time alone would deny requests that
//! nothing is wrong with. The library measures wall-clock time only, so that a rule gets the limit as wall-clock time first.
//! If it runs out while the thread had the processor for less, the rule is begun anew with twice the time, and again, up to
//! [`TRIES_MAX`] times: a rule is a function of its input, so nothing is done twice that shows. A request therefore waits
//! at most 15 times the limit, and a rule without end takes at most 11 times of it from the processor, on a machine that
//! has something else to do half of the time; on an idle machine it takes the limit.
//!
//! The clock is read at each step: an overrun is noticed one step late at most, and what a step can take is bounded
//! ([`super`]). To read it every 4, 16 or 64 steps was no faster: a step takes many times as long.

use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use rustix::time::{ClockId, clock_gettime};

/// Times that a rule is begun.
const TRIES_MAX: u32 = 4;

/// Processor time of one evaluation of a package at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeLimit(Duration);

/// One try of an evaluation.
pub(super) struct Try {
    /// The engine is stopped behind it.
    pub(super) wall: Duration,
    limit: Duration,
    began: Duration,
}

impl TimeLimit {
    pub(super) fn new(limit: Duration) -> Self {
        Self(limit)
    }

    /// The tries, one after the other; the clock of each runs from when it is asked for.
    pub(super) fn tries(self) -> impl Iterator<Item = Try> {
        let Self(limit) = self;
        let walls = (0..TRIES_MAX).map(move |number| limit.saturating_mul(1 << number));
        walls.map(move |wall| Try { wall, limit, began: processor_time() })
    }

    /// What the engine is given for the first try.
    pub(super) fn timer(self) -> ExecutionTimerConfig {
        timer(self.0)
    }
}

impl Try {
    pub(super) fn is_first(&self) -> bool {
        self.wall == self.limit
    }

    pub(super) fn timer(&self) -> ExecutionTimerConfig {
        timer(self.wall)
    }

    /// The rule itself took the time, and not what else the machine does.
    pub(super) fn is_used_up(&self) -> bool {
        processor_time().saturating_sub(self.began) >= self.limit
    }
}

fn timer(limit: Duration) -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit, check_interval: NonZeroU32::MIN }
}

/// Of this thread.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::TimeLimit;

    #[test]
    fn who_waits_for_the_processor_has_not_used_it() {
        let limit = TimeLimit::new(Duration::from_millis(20));
        let mut tries = limit.tries();
        let waiting = tries.next().expect("a first try");
        // Blocks: wall-clock time goes by, processor time does not.
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        let began = Instant::now();
        receiver.recv_timeout(waiting.wall).expect_err("nobody sends");
        assert!(began.elapsed() >= waiting.wall && !waiting.is_used_up());
        let working = tries.next().expect("another");
        assert!(waiting.is_first() && !working.is_first());
        assert_eq!(working.wall, Duration::from_millis(40));
        // Ends when the processor time is used up, however long that takes.
        let mut sum = 0_u64;
        while !working.is_used_up() {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(limit.tries().map(|one| one.wall).sum::<Duration>(), Duration::from_millis(300));
    }
}
