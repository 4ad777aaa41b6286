//! The writer thread.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    durable::CopyEvent,
    encode::{self, Encoded},
    segment::{self, BATCH_RECORDS_MAX, Batch, Room},
    stamp,
    tip::Tip,
};

use super::{
    Clock, Committed, LogError, Options, Shared,
    answers::Answers,
    own,
    queue::{Job, Next, Pace},
};

/// A clock this far behind the log's own time is worth a record; less is ordinary correction.
const CLOCK_STEP_US: u64 = 1_000_000;

/// Between two looks at the file system while nothing comes, at least.
const LOOK_MIN: Duration = Duration::from_millis(10);

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
    /// When the file system was looked at; never before the first batch of the thread.
    pub(super) looked: Option<Instant>,
    /// Bytes that were free when the disk was found full, until that is on record.
    pub(super) unsaid: Option<u64>,
    /// What happened to copies and is not on record yet.
    pub(super) events: VecDeque<CopyEvent>,
}

impl Writer {
    /// Serves the queue until the log is closed or fails.
    pub(super) fn run(mut self) {
        loop {
            let done = match self.shared.queue.take(self.until_due(), self.pace) {
                Next::Jobs(jobs) => self.serve(jobs),
                Next::Idle => self.serve(Vec::new()),
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

    fn serve(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        if let Err(reason) = self.look() {
            // ORDER: the queue refuses before the first caller hears of it, so nobody can slip in between.
            self.shared.poison(&reason);
            let error = LogError::Poisoned { reason: reason.as_str().into() };
            jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
            return Err(reason);
        }
        self.commit(jobs)
    }

    /// Looks, not too often, whether the file is where it was and the file system has room. What is written to a file that
    /// somebody removed goes nowhere, and a disk that is nearly full should not be found out by a write.
    fn look(&mut self) -> Result<(), String> {
        if self.looked.is_some_and(|looked| looked.elapsed() < self.options.look_interval) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let failed = |error: io::Error| format!("looking at the log's files: {error}");
        if !self.segment.is_in_place().map_err(failed)? {
            return Err("the segment was removed or replaced under the log".to_owned());
        }
        let free_bytes = self.shared.files.free_bytes().map_err(failed)?;
        let enough = self.options.free_bytes_min;
        match self.shared.queue.is_full() {
            false if free_bytes < enough => self.refuse(free_bytes),
            // Twice as much, so that it does not go to and fro.
            true if free_bytes >= enough.saturating_mul(2) => self.accept(free_bytes),
            _ => Ok(()),
        }
    }

    /// Takes records again.
    fn accept(&mut self, free_bytes: u64) -> Result<(), String> {
        self.say_full()?;
        let params = [("free_bytes", free_bytes.to_string())];
        if self.unsaid.is_none() && self.commit_if_room("audit:room", &params)? {
            tracing::warn!(free_bytes, "the audit log has room again");
            self.shared.queue.accept();
        }
        Ok(())
    }

    /// Takes no records from now on, and says so in what is kept for that.
    fn refuse(&mut self, free_bytes: u64) -> Result<(), String> {
        tracing::error!(free_bytes, "the disk of the audit log is full; no records are taken");
        // ORDER: nobody is told that there is no room before nobody else is let in.
        self.shared.queue.refuse(free_bytes);
        self.unsaid = Some(free_bytes);
        self.say_full()
    }

    fn say_full(&mut self) -> Result<(), String> {
        let Some(free_bytes) = self.unsaid else { return Ok(()) };
        let enough = self.options.free_bytes_min.to_string();
        let params = [("free_bytes", free_bytes.to_string()), ("free_bytes_min", enough)];
        if self.commit_if_room("audit:full", &params)? {
            self.unsaid = None;
        }
        Ok(())
    }

    /// The log's own record, unless there is no room even for that; false then.
    fn commit_if_room(&mut self, action: &str, params: &[(&str, String)]) -> Result<bool, String> {
        match self.write_own(action, params) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(format!("writing `{action}`: {error}")),
        }
    }

    /// Writes the log's own record, durable on return; used before the thread starts, too.
    pub(super) fn commit_own(
        &mut self,
        action: &str,
        params: &[(&str, String)],
    ) -> Result<(), String> {
        self.write_own(action, params).map_err(|error| format!("writing `{action}`: {error}"))
    }

    fn write_own(&mut self, action: &str, params: &[(&str, String)]) -> io::Result<()> {
        let record = own::record(action, &self.tip, self.clock.now_us(), params);
        let encoded = encode::encode(&record, &self.options.node).map_err(io::Error::other)?;
        self.write(&[&encoded], Room::Reserved)
    }

    /// Records what happened to copies of the log; such a record may lead to another one, if it loses a copy itself.
    pub(super) fn record_copies(&mut self) -> Result<(), String> {
        self.events.extend(self.shared.files.take_events());
        while let Some(event) = self.events.front().cloned() {
            if !self.commit_if_room("audit:copy", &[("copy", event.copy), ("what", event.what)])? {
                break;
            }
            self.events.pop_front();
        }
        Ok(())
    }

    fn until_heartbeat(&self) -> Duration {
        self.options.heartbeat.saturating_sub(self.last_heartbeat.elapsed())
    }

    /// When there is something to do without jobs.
    fn until_due(&self) -> Duration {
        self.until_heartbeat().min(self.options.look_interval.max(LOOK_MIN))
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        if self.shared.queue.is_full() {
            // They were taken before the disk was found full.
            let free_bytes = self.shared.files.free_bytes().unwrap_or(0);
            self.shared.queue.give_up(jobs, free_bytes);
            let own = if self.segment.has_reserve() { self.due() } else { None };
            return match own.map_or(Ok(()), |own| self.write(&[&own], Room::Reserved)) {
                Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                    Err(format!("writing the log: {error}"))
                }
                _ => Ok(()),
            };
        }
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
        let written = match self.write(&records, Room::Ordinary) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let free_bytes = self.shared.files.free_bytes().unwrap_or(0);
                let refused = self.refuse(free_bytes);
                if refused.is_ok() {
                    self.shared.queue.give_up(jobs, free_bytes);
                    return Ok(());
                }
                refused
            }
            written => written.map_err(|error| format!("writing the log: {error}")),
        };
        if let Err(reason) = &written {
            // ORDER: the queue refuses before the first caller hears of it, so nobody can slip in between.
            self.shared.poison(reason);
        }
        // Read before anybody is answered, so that nobody who comes back is counted twice.
        let answered = jobs.iter().filter(|job| job.is_awaited()).count();
        let callers = answered + self.shared.queue.awaited();
        let mut answers = Answers::default();
        for job in jobs {
            let committed = Committed { first, end: first + job.records.len() as u64 };
            first = committed.end;
            let answer = match written.as_ref().err() {
                None => Ok(committed),
                Some(reason) => Err(LogError::Poisoned { reason: reason.as_str().into() }),
            };
            answers.add(job, answer);
        }
        answers.send();
        self.pace = Pace::after(callers, began);
        written
    }

    /// One batch: stamp, hash, write, sync, publish.
    ///
    /// # Errors
    /// After [`io::ErrorKind::StorageFull`] nothing of it happened. After any other error the log must stop.
    fn write(&mut self, records: &[&Encoded], room: Room) -> io::Result<()> {
        let now_us = self.clock.now_us();
        let full = self.segment.len() >= self.options.segment_bytes_max;
        let old = self.segment.age(now_us) >= self.options.segment_age_max
            || !self.segment.is_of_day(now_us.max(self.tip.time_us));
        // What is kept for the log's own records lies at the end of this segment.
        let stays = room == Room::Reserved && self.shared.queue.is_full();
        if !stays && (full || self.segment.len() > 0 && old) {
            self.segment.rotate(&self.tip, now_us)?;
            self.shared.to_seal.ring();
        }
        let led = self.batch.fill(records, now_us, &self.tip);
        self.segment.append(self.batch.bytes(), room)?;
        // ORDER: only durable records become the tip, the published size and the signer's next head.
        self.tip = led.tip;
        self.shared.publish(led.head, &led.tiles);
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
        let mut params = vec![("size", self.tip.size().to_string())];
        // On a full disk only; nobody waited for them, so nobody was told.
        let unwritten = self.shared.queue.records();
        if unwritten > 0 {
            tracing::error!(
                unwritten,
                "the audit log stops with records that its disk has no room for"
            );
            params.push(("unwritten", unwritten.to_string()));
        }
        let stopped = self.commit_own("audit:stop", &params).and_then(|()| {
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
