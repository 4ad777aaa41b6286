//! The writer thread.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    encode::{self, Encoded},
    segment::{self, BATCH_RECORDS_MAX, Batch},
    stamp,
    tip::Tip,
};

use super::{
    Clock, Committed, LogError, Options, Shared, own,
    queue::{Job, Next, Pace},
};

/// A clock this far behind the log's own time is worth a record; less is ordinary correction.
const CLOCK_STEP_US: u64 = 1_000_000;

/// Ahead of the threads that serve requests: a sync that ends while they have the processors is noticed late otherwise.
const NICENESS: i32 = -10;

/// Everything that only the writer thread touches.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) tip: Tip,
    pub(super) segment: segment::Writer,
    pub(super) batch: Batch,
    pub(super) last_heartbeat: Instant,
    pub(super) clock_reported: bool,
    pub(super) pace: Pace,
}

impl Writer {
    /// Serves the queue until the log is closed or fails.
    pub(super) fn run(mut self) {
        // Every request waits for this thread. Without the right to it, it stays as it is.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        loop {
            let done = match self.shared.queue.take(self.until_heartbeat(), self.pace) {
                Next::Jobs(jobs) => self.commit(jobs),
                Next::Idle => self.commit(Vec::new()),
                Next::Closing => {
                    self.stop();
                    return;
                }
                Next::Stopped => return,
            };
            if let Err(error) = done.and_then(|()| self.record_copies()) {
                self.shared.poison(&error);
                return;
            }
        }
    }

    /// Writes the log's own record, durable on return; used before the thread starts, too.
    pub(super) fn commit_own(
        &mut self,
        action: &str,
        params: &[(&str, String)],
    ) -> Result<(), String> {
        let record = own::record(action, &self.tip, self.clock.now_us(), params);
        let encoded = encode::encode(&record, &self.options.node).map_err(|e| e.to_string())?;
        self.write(&[&encoded]).map_err(|error| format!("writing `{action}`: {error}"))
    }

    /// Records what happened to copies of the log; such a record may lead to another one, if it loses a copy itself.
    pub(super) fn record_copies(&mut self) -> Result<(), String> {
        let files = Arc::clone(&self.shared.files);
        for event in files.take_events() {
            self.commit_own("audit:copy", &[("copy", event.copy), ("what", event.what)])?;
        }
        Ok(())
    }

    fn until_heartbeat(&self) -> Duration {
        self.options.heartbeat.saturating_sub(self.last_heartbeat.elapsed())
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        // What is due waits for the next batch where this one is full: no reader takes more records than that for one.
        let held: usize = jobs.iter().map(|job| job.records.len()).sum();
        let own = if held < BATCH_RECORDS_MAX { self.due() } else { None };
        if jobs.is_empty() && own.is_none() {
            return Ok(());
        }
        let began = Instant::now();
        let mut first = self.tip.size();
        let records: Vec<&Encoded> =
            jobs.iter().flat_map(|job| &job.records).chain(own.as_ref()).collect();
        let written = self.write(&records).map_err(|error| format!("writing the log: {error}"));
        if let Err(reason) = &written {
            // ORDER: the queue refuses before the first caller hears of it, so nobody can slip in between.
            self.shared.poison(reason);
        }
        // Read before anybody is answered, so that nobody who comes back is counted twice.
        let answered = jobs.iter().filter(|job| job.is_awaited()).count();
        let callers = answered + self.shared.queue.awaited();
        for job in jobs {
            let committed = Committed { first, end: first + job.records.len() as u64 };
            first = committed.end;
            let reason = written.as_ref().err();
            job.answer(match reason {
                None => Ok(committed),
                Some(reason) => Err(LogError::Poisoned { reason: reason.as_str().into() }),
            });
        }
        self.pace = Pace::after(callers, began);
        written
    }

    /// One batch: stamp, hash, write, sync, publish.
    fn write(&mut self, records: &[&Encoded]) -> io::Result<()> {
        let now_us = self.clock.now_us();
        let full = self.segment.len() >= self.options.segment_bytes_max;
        let old = self.segment.age(now_us) >= self.options.segment_age_max
            || !self.segment.is_of_day(now_us.max(self.tip.time_us));
        if full || self.segment.len() > 0 && old {
            self.segment.rotate(&self.tip, now_us)?;
            self.shared.to_seal.ring();
        }
        let mut after = self.tip.clone();
        self.batch.clear();
        for record in records {
            self.batch.push(record, now_us, &mut after);
        }
        self.segment.append(self.batch.seal(&self.tip, &after))?;
        // ORDER: only durable records become the tip, the published size and the signer's next head.
        self.tip = after;
        self.shared.publish(self.tip.head());
        Ok(())
    }

    /// The record that the log itself owes now: a heartbeat, or a clock that stepped back.
    fn due(&mut self) -> Option<Encoded> {
        let now_us = self.clock.now_us();
        let stepped_back = now_us + CLOCK_STEP_US < self.tip.time_us;
        let record = if stepped_back && !self.clock_reported {
            let log = stamp::string(self.tip.time_us);
            let params = [("clock", stamp::string(now_us)), ("log", log)];
            own::record("audit:clock", &self.tip, now_us, &params)
        } else if self.until_heartbeat().is_zero() {
            self.last_heartbeat = Instant::now();
            let params = [("size", self.tip.size().to_string())];
            own::record("audit:heartbeat", &self.tip, now_us, &params)
        } else {
            self.clock_reported = stepped_back;
            return None;
        };
        self.clock_reported = stepped_back;
        encode::encode(&record, &self.options.node).ok()
    }

    /// The end: the last record, the file cut to its records, the signer told to finish.
    fn stop(&mut self) {
        let size = self.tip.size().to_string();
        let stopped = self.commit_own("audit:stop", &[("size", size)]).and_then(|()| {
            self.segment.finish().map_err(|error| format!("closing the segment: {error}"))
        });
        match stopped {
            Ok(()) => {
                self.shared.to_sign.close();
                self.shared.durable.close();
            }
            Err(reason) => self.shared.poison(&reason),
        }
    }
}
