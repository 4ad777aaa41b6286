//! Processor time of the thread: what a thing costs, also on a machine that others use.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

pub(crate) struct ThreadTime(WallTime);

impl ThreadTime {
    pub(crate) fn new() -> Self {
        Self(WallTime)
    }
}

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(now.tv_sec).expect("not negative");
        Duration::new(seconds, u32::try_from(now.tv_nsec).expect("below a second"))
    }

    fn end(&self, started: Duration) -> Duration {
        self.start() - started
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}
