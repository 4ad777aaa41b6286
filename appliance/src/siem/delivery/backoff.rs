//! How long to wait after a failure: twice as long each time, capped, and never two destinations in step.

use std::time::Duration;

/// Longest wait that a receiver may ask for; one that asks for more is asked again after an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Waits between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub min: Duration,
    pub max: Duration,
}

impl Default for Retry {
    /// Why these numbers: a restart of a receiver takes seconds; one attempt in five minutes harms nobody for days.
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(5 * 60) }
    }
}

#[derive(Debug)]
pub(super) struct Backoff {
    retry: Retry,
    failures: u32,
    /// State of an xorshift generator: spread is wanted, not secrecy.
    random: u64,
}

impl Backoff {
    pub(super) fn new(retry: Retry, seed: u64) -> Self {
        Self { retry, failures: 0, random: seed | 1 }
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// One more failure: how long to wait now, and not less than `asked`.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.retry.min.saturating_mul(1_u32 << self.failures.min(31));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(self.retry.max);
        let spread = u64::try_from(whole.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        let jittered = whole / 2 + Duration::from_millis(self.next_random() % spread);
        jittered.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
    }

    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_half_up_to_the_cap() {
        let retry = Retry { min: Duration::from_secs(1), max: Duration::from_secs(300) };
        for seed in 0..50 {
            let mut backoff = Backoff::new(retry, seed);
            for failure in 0..40_u32 {
                let whole = Duration::from_secs(1 << failure.min(9)).min(retry.max);
                let wait = backoff.failed(None);
                assert!(wait >= whole / 2 && wait <= whole, "failure {failure}: {wait:?}");
            }
            backoff.reset();
            assert!(backoff.failed(None) <= Duration::from_secs(1));
        }
    }

    #[test]
    fn a_receiver_may_ask_for_more_but_not_for_ever() {
        let mut backoff = Backoff::new(Retry::default(), 7);
        assert_eq!(backoff.failed(Some(Duration::from_secs(120))), Duration::from_secs(120));
        assert_eq!(backoff.failed(Some(Duration::from_secs(1 << 30))), RETRY_AFTER_MAX);
        assert!(backoff.failed(Some(Duration::ZERO)) >= Duration::from_secs(2));
    }
}
