//! The log's idea of time.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Microseconds since 1970. Contract: may step back; the log then keeps its own time monotone and says so.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now_us(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
    }
}

/// A clock that is moved by hand, for simulations and for tests: of days that pass at once, and of time that steps back.
#[derive(Debug)]
pub struct HandClock {
    us: AtomicU64,
    /// Two's complement, so that it may go back.
    step_us: u64,
}

impl HandClock {
    /// Shows this time, and one microsecond more at each look.
    #[must_use]
    pub const fn at(us: u64) -> Self {
        Self { us: AtomicU64::new(us), step_us: 1 }
    }

    /// The same, which moves by this much at each look: 0 stands, and less goes back.
    #[must_use]
    pub const fn stepping(self, us: i64) -> Self {
        Self { step_us: us.cast_unsigned(), ..self }
    }

    /// Moves it on.
    pub fn pass(&self, us: u64) {
        self.us.fetch_add(us, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, us: u64) {
        self.us.store(us, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now_us(&self) -> u64 {
        self.us.fetch_add(self.step_us, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_it_was_set_to_and_steps_at_each_look() {
        let clock = HandClock::at(10);
        clock.pass(5);
        assert_eq!([clock.now_us(), clock.now_us()], [15, 16]);
        clock.set(3);
        assert_eq!(clock.now_us(), 3);
        let back = HandClock::at(10).stepping(-4);
        assert_eq!([back.now_us(), back.now_us()], [10, 6]);
        let still = HandClock::at(10).stepping(0);
        assert_eq!([still.now_us(), still.now_us()], [10, 10]);
    }
}
