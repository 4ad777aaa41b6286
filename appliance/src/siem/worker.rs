//! One destination's thread: carries out what the delivery decides, with the log, the files and the network.
//!
//! It has a runtime of its own, so that a slow receiver takes nothing from the requests, and blocking on the disk or on
//! the log's growth holds up only itself.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::query::Query;
use audit::search::Tail;
use audit::{
    Class, Clock, ErrorInfo, Files, Log, LogError, Mark, Marks, Record, Resource, Row, SearchError,
    Watch,
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::cursor::{Cursor, Identity, Position};
use super::dead_letter::DeadLetter;
use super::delivery::{Answer, Delivery, Item, Rejected, Step, Verdict};
use super::destination::{Destination, Start};
use super::format::time_text;
use super::reading::{Head, batch_id, is_complaint, is_gap, item};
use super::sink::{self, Batch, Sink};
use super::status::{Shared, State};
use super::{About, House, SiemError};
use crate::courier::LOOK;
use crate::recorder::event_id;
use crate::telemetry::DestinationMetrics;

/// Lags that an operator must hear of, once each time they are reached.
const LAG_ALARMS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(15 * 60)];

/// What others want of a worker.
#[derive(Debug)]
pub(super) enum Command {
    Replay { from: u64, reply: oneshot::Sender<Result<u64, SiemError>> },
    Resume { reply: oneshot::Sender<()> },
}

/// Ownership: its thread alone has everything here but `shared`.
#[derive(Debug)]
pub(super) struct Worker {
    destination: Destination,
    about: Arc<About>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    audit_dir: PathBuf,
    certs_dir: PathBuf,
    watch: Watch,
    tail: Tail,
    filter: Option<Query>,
    files: Arc<dyn Files>,
    cursor: Cursor,
    /// What the cursor file knows the log by.
    marks: Marks,
    /// Marks at ends of what was read, which come into the file once everything before them is done with.
    read_marks: VecDeque<Mark>,
    dead_letter: DeadLetter,
    sink: Box<dyn Sink>,
    delivery: Delivery,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    metrics: DestinationMetrics,
    started: Instant,
    /// Time of the newest record that was read.
    read_us: u64,
    alarms: usize,
}

/// Why a worker ends. Only the first two are wanted.
#[derive(Debug)]
enum End {
    Stop,
    LogClosed,
    Failed(SiemError),
}

impl<E: Into<SiemError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Worker {
    pub(super) fn open(
        destination: &Destination,
        house: &House,
        files: Arc<dyn Files>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, SiemError> {
        let name = &destination.name;
        let filter = parse_filter(name, &destination.filter, house.clock.now_us())?;
        let identity = Identity {
            destination: name.clone(),
            encoding: format!("{}/{}", destination.kind.as_str(), destination.format.as_str()),
            filter: destination.filter.clone(),
        };
        let cursor = Cursor::new(&house.siem_dir, &house.about.origin, identity);
        let watch = house.log.subscribe();
        let pruned = audit::pruned(&house.audit_dir)?;
        let begin = pruned.map_or(0, |pruned| pruned.end);
        let (position, marks) = match cursor.load()? {
            Some(stored) => stored,
            None => {
                let next = match destination.start {
                    Start::Beginning => begin,
                    Start::Now => watch.size(),
                };
                let position = Position { next, until: None };
                let mut marks = Marks::default();
                audit::mark_at(&house.audit_dir, next)?.into_iter().for_each(|m| marks.push(m));
                // From here on the destination has a place, also if it never gets anything.
                cursor.store(position, &marks)?;
                (position, marks)
            }
        };
        let sink = sink::open(destination, &house.about, &house.certs_dir)
            .map_err(|source| SiemError::Sink { name: name.clone(), source })?;
        let stood = position.next;
        // A destination that is configured again after a while may have a cursor of then.
        let position = match stood < begin {
            true => Position { next: begin, until: None },
            false => position,
        };
        let mut delivery =
            Delivery::new(position, destination.bounds, destination.retry, seed(house, name));
        if let Some(pruned) = pruned.filter(|_| stood < begin) {
            delivery.pause(format!(
                "the cursor stands at record {stood}, and the records before {begin} were {pruned}; resume to go on with \
                 what is there"
            ));
        }
        if position.next > watch.size() {
            delivery.pause(format!(
                "the cursor stands at record {} and the log ends at {}: it was put back; replay from a position that \
                 it has",
                position.next,
                watch.size()
            ));
        }
        Ok(Self {
            about: Arc::clone(&house.about),
            log: Arc::clone(&house.log),
            clock: Arc::clone(&house.clock),
            tail: audit::tail(&house.audit_dir, position.next.checked_sub(1))
                .with_detour(Some(house.log.detour(&house.audit_dir))),
            audit_dir: house.audit_dir.clone(),
            certs_dir: house.certs_dir.clone(),
            watch,
            filter,
            files,
            cursor,
            marks,
            read_marks: VecDeque::new(),
            dead_letter: DeadLetter::new(name),
            sink,
            delivery,
            shared,
            commands,
            metrics: house.metrics.destination(name),
            started: Instant::now(),
            read_us: 0,
            alarms: 0,
            destination: destination.clone(),
        })
    }

    /// Works until the end.
    pub(super) fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let end = match runtime {
            Ok(runtime) => runtime.block_on(self.work()),
            Err(source) => End::Failed(SiemError::Thread { source }),
        };
        let name = &self.destination.name;
        let why = match end {
            End::Stop => None,
            End::LogClosed => Some("the log was closed".to_owned()),
            End::Failed(error) => {
                let error = error_text(&error);
                tracing::error!(destination = name, error, "SIEM delivery stopped");
                Some(error)
            }
        };
        self.tell();
        self.shared.change(|status| {
            status.state = State::Stopped;
            status.last_error = why.or(status.last_error.take());
        });
    }

    async fn work(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// One step, with a look at commands before it.
    async fn turn(&mut self) -> Result<(), End> {
        if self.shared.is_stopping() {
            return self.stop();
        }
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command).await?;
        }
        self.delivery.log_has(self.watch.size());
        let now_ms = self.now_ms();
        let step = self.delivery.step(now_ms);
        self.tell();
        match step {
            Step::Read => self.read().await,
            Step::Persist(position) => self.persist(position),
            Step::Send(items) => self.send(items).await,
            Step::SetAside(rejected) => self.set_aside(rejected).await,
            Step::RestUntil(until_ms) => {
                let rest = Duration::from_millis(until_ms.saturating_sub(now_ms));
                self.rest(tokio::time::sleep(rest)).await
            }
            // Also a paused destination tells how far it is behind.
            Step::Paused => self.rest(tokio::time::sleep(Duration::from_secs(1))).await,
        }
    }

    /// Takes in what is durable; without anything new, waits for it a moment.
    async fn read(&mut self) -> Result<(), End> {
        // Connections live on this runtime, and get their turn here.
        tokio::task::yield_now().await;
        if self.delivery.read_to() >= self.watch.size() && self.watch.is_closed() {
            return Err(End::LogClosed);
        }
        let rows = match self.tail.follow(&self.watch, LOOK) {
            Ok(rows) => rows,
            Err(error) => return self.unreadable(&error).await,
        };
        // One mark for each look: a hash of every record would cost a tenth of delivery.
        self.read_marks.extend(rows.last().map(|row| Mark::of(row.seq, &row.leaf)));
        for row in rows {
            let seq = row.seq;
            let item = self.item(row)?;
            self.delivery.read(seq, item);
        }
        Ok(())
    }

    /// A disk that does not answer, or no file descriptor left: it may pass, and nothing is skipped meanwhile.
    async fn unreadable(&mut self, error: &SearchError) -> Result<(), End> {
        let (why, now) = (error.to_string(), time_text(self.clock.now_us()));
        tracing::error!(
            destination = self.destination.name,
            why,
            "SIEM delivery cannot read the log"
        );
        self.shared.change(|status| {
            status.last_error = Some(why);
            status.last_error_time = Some(now);
        });
        self.read_from(self.delivery.read_to());
        self.rest(tokio::time::sleep(Duration::from_secs(1))).await
    }

    fn read_from(&mut self, next: u64) {
        let detour = self.log.detour(&self.audit_dir);
        self.tail = audit::tail(&self.audit_dir, next.checked_sub(1)).with_detour(Some(detour));
    }

    fn item(&mut self, row: Row) -> Result<Option<Item>, SiemError> {
        let leaf = Bytes::from(row.leaf);
        let head = Head::of(&leaf)?;
        self.read_us = head.time_us();
        if self.filter.as_ref().is_some_and(|f| !f.matches(&leaf)) && !is_gap(&leaf) {
            return Ok(None);
        }
        item(&self.destination, &self.about, row.seq, &head, &leaf).map(Some)
    }

    fn persist(&mut self, position: Position) -> Result<(), End> {
        while let Some(mark) = self.read_marks.pop_front_if(|mark| mark.size <= position.next) {
            self.marks.push(mark);
        }
        self.cursor.store(position, &self.marks)?;
        self.delivery.persisted(position, self.now_ms());
        Ok(())
    }

    async fn send(&mut self, items: Vec<Item>) -> Result<(), End> {
        if self.delivery.failures() > 0 {
            self.reopen();
        }
        let batch = Batch { id: batch_id(&self.about, &self.destination, &items), items };
        let answer = tokio::select! {
            answer = self.sink.send(&batch) => answer,
            () = self.shared.stopped() => return self.stop(),
            Some(command) = self.commands.recv() => {
                // The exchange is given up; its batch comes again, unless the command moved the cursor.
                return self.obey(command).await;
            }
        };
        self.note(&answer);
        let was_paused = self.delivery.paused().is_some();
        self.delivery.answered(answer, self.now_ms());
        if !was_paused && let Some(why) = self.delivery.paused().cloned() {
            self.alarm(&why).await?;
        }
        Ok(())
    }

    /// ORDER: the dead-letter file, then the log, then the cursor: whatever a crash leaves, the record is somewhere.
    async fn set_aside(&mut self, rejected: Vec<Rejected>) -> Result<(), End> {
        let time = time_text(self.clock.now_us());
        self.dead_letter.keep(self.files.as_ref(), &rejected, &time)?;
        for Rejected { item, answer } in &rejected {
            tracing::error!(
                destination = self.destination.name,
                seq = item.seq,
                answer,
                "a record was refused by a SIEM destination and set aside"
            );
            // A complaint about a refused complaint would go on for ever; its record is in the file.
            if !is_complaint(&item.leaf) {
                let mut record = self.record("delivery:reject");
                record.err = Some(ErrorInfo { code: "Refused".into(), msg: answer.clone() });
                record.params.insert("seq".into(), item.seq.to_string());
                record.params.insert("event".into(), item.event.clone());
                append(&self.log, &record).await?;
            }
        }
        self.metrics.rejected(rejected.len() as u64);
        self.shared.change(|status| status.rejected += rejected.len() as u64);
        let was_paused = self.delivery.paused().is_some();
        self.delivery.set_aside();
        if !was_paused && let Some(why) = self.delivery.paused().cloned() {
            self.alarm(&why).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Resume { reply } => {
                append(&self.log, &self.record("delivery:resume")).await?;
                self.delivery.resume();
                self.reopen();
                let _ = reply.send(());
            }
            Command::Replay { from, reply } => {
                let size = self.watch.size();
                if from > size {
                    let _ = reply.send(Err(SiemError::BeyondLog { from, size }));
                    return Ok(());
                }
                // Who asks hears of it; delivery from where it stands goes on.
                let refusal = match audit::pruned(&self.audit_dir) {
                    Ok(Some(pruned)) if from < pruned.end => {
                        Some(SiemError::Pruned { from, pruned })
                    }
                    Ok(_) => None,
                    Err(error) => Some(SiemError::Read(error.to_string())),
                };
                if let Some(refusal) = refusal {
                    let _ = reply.send(Err(refusal));
                    return Ok(());
                }
                let mut record = self.record("delivery:replay");
                record.params.insert("from".into(), from.to_string());
                record.params.insert("was".into(), self.delivery.next().to_string());
                append(&self.log, &record).await?;
                self.delivery.replay(from);
                self.read_marks.clear();
                self.read_from(from);
                self.persist(Position { next: from, until: None })?;
                let _ = reply.send(Ok(from));
            }
        }
        Ok(())
    }

    /// Takes over certificates that were replaced on disk; ones that cannot be used leave those that were.
    fn reopen(&mut self) {
        match sink::open(&self.destination, &self.about, &self.certs_dir) {
            Ok(sink) => self.sink = sink,
            Err(error) => tracing::warn!(
                destination = self.destination.name,
                %error,
                "the certificates of a SIEM destination cannot be read again"
            ),
        }
    }

    /// Waits, unless somebody wants something.
    async fn rest(&mut self, sleep: tokio::time::Sleep) -> Result<(), End> {
        tokio::select! {
            () = sleep => Ok(()),
            () = self.shared.stopped() => self.stop(),
            Some(command) = self.commands.recv() => self.obey(command).await,
        }
    }

    /// Writes down the newest position, so that a clean stop repeats nothing.
    fn stop(&mut self) -> Result<(), End> {
        let position = self.delivery.position();
        self.persist(position)?;
        Err(End::Stop)
    }

    async fn alarm(&mut self, why: &str) -> Result<(), End> {
        tracing::error!(
            destination = self.destination.name,
            why,
            "SIEM delivery is paused until `appliance siem resume`"
        );
        let mut record = self.record("delivery:pause");
        record.err = Some(ErrorInfo { code: "Paused".into(), msg: why.to_owned() });
        append(&self.log, &record).await?;
        Ok(())
    }

    /// A record about this destination.
    fn record(&self, action: &str) -> Record {
        let mut record = Record::new(Class::Delivery, action, event_id(self.clock.now_us()));
        let arn = format!("arn:appliance:siem:::{}", self.destination.name);
        record.resources = vec![Resource { arn: Some(arn), ..Resource::default() }];
        record.params.insert("destination".into(), self.destination.name.clone());
        record.params.insert("next".into(), self.delivery.next().to_string());
        record
    }

    /// Keeps what went wrong for `siem status`.
    fn note(&self, answer: &Answer) {
        let why = match answer {
            Answer::Confirmed => None,
            Answer::Each(verdicts) => verdicts.iter().find_map(|verdict| match verdict {
                Verdict::Stored => None,
                Verdict::Refused(why) | Verdict::Later(why) => Some(why.clone()),
            }),
            Answer::Refused(why) | Answer::Halt(why) | Answer::Later { why, .. } => {
                Some(why.clone())
            }
        };
        let now = time_text(self.clock.now_us());
        let Some(why) = why else {
            self.shared.change(|status| status.last_confirmed = Some(now));
            return;
        };
        tracing::debug!(
            destination = self.destination.name,
            why,
            "a SIEM batch did not go through"
        );
        self.metrics.failed();
        self.shared.change(|status| {
            status.failed_attempts += 1;
            status.last_error = Some(why);
            status.last_error_time = Some(now);
        });
    }

    /// Tells the world how the destination stands.
    fn tell(&mut self) {
        let (next, size) = (self.delivery.next(), self.watch.size());
        let lag_records = size.saturating_sub(next);
        let oldest_us = self.delivery.oldest_us().unwrap_or(self.read_us);
        let lag_us = match lag_records {
            0 => 0,
            _ if oldest_us == 0 => 0,
            _ => self.clock.now_us().saturating_sub(oldest_us),
        };
        let lag_seconds = lag_us / 1_000_000;
        let state = match self.delivery.paused() {
            Some(_) => State::Paused,
            None if self.delivery.failures() > 0 => State::Retrying,
            None => State::Delivering,
        };
        let paused = self.delivery.paused().cloned();
        let delivered = self.delivery.confirmed();
        self.metrics.stands(lag_records, lag_seconds, state == State::Paused, delivered);
        self.shared.change(|status| {
            (status.next, status.log_size) = (next, size);
            (status.lag_records, status.lag_seconds) = (lag_records, lag_seconds);
            (status.state, status.delivered) = (state, delivered);
            status.last_error = paused.or(status.last_error.take());
        });
        let lag = Duration::from_secs(lag_seconds);
        let alarms = LAG_ALARMS.iter().filter(|limit| lag >= **limit).count();
        if alarms > self.alarms {
            let name = &self.destination.name;
            tracing::warn!(destination = name, lag_seconds, lag_records, "SIEM delivery is late");
        }
        self.alarms = alarms;
    }

    fn now_ms(&self) -> u64 {
        // Beyond zero: zero stands for never.
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(10_000)
    }
}

/// A filter without stages; `None` wants everything.
pub(super) fn parse_filter(
    name: &str,
    text: &str,
    now_us: u64,
) -> Result<Option<Query>, SiemError> {
    let problem = |problem: String| SiemError::Filter { name: name.to_owned(), problem };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let query = Query::parse(text, now_us).map_err(|error| problem(error.to_string()))?;
    let shaped = query.fields().is_some() || query.sort().is_some() || query.limit().is_some();
    if shaped || !query.is_filter() {
        return Err(problem("a filter has no stages".into()));
    }
    Ok(Some(query))
}

/// Appends and waits until it is durable. A log that cannot keep up is asked again; delivery has time.
pub(super) async fn append(log: &Log, record: &Record) -> Result<u64, LogError> {
    loop {
        match log.append(record) {
            Ok(pending) => return pending.await.map(|committed| committed.first),
            Err(LogError::Full { .. } | LogError::NoSpace { .. }) => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Two destinations, and two servers, do not retry in step.
fn seed(house: &House, name: &str) -> u64 {
    let bytes = house.about.origin.bytes().chain(name.bytes());
    bytes.fold(house.clock.now_us(), |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// An error with its causes, because the first line of many says only that something failed.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
