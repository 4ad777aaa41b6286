//! Delivery of the log to other people's systems: in order, at least once, with ids that are equal on redelivery.
//!
//! The promise, per destination: for every record before its cursor that its filter wants, the destination has confirmed
//! it at the guarantee of its kind, or a `delivery:reject` record of the log names it and the dead-letter file holds it.
//! A cursor moves back only by a replay, which is a record too. There is no buffer between: each destination reads the
//! log itself, only what is durable.
//!
//! The records of class `delivery` are `reject`, `pause`, `resume`, `replay` and `test`; progress is none, because it
//! would have to be delivered too.
//!
//! Reading order: [`delivery`] decides, [`cursor`] remembers, [`sink`] speaks, [`format`](mod@format) shapes, `worker`
//! joins them on one thread per destination.

mod cursor;
mod dead_letter;
mod delivery;
mod destination;
mod format;
mod probe;
mod reading;
mod record;
mod sink;
mod status;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::{Clock, Files, LocalFiles, Log, SearchError};
use tokio::sync::oneshot;

pub(crate) use self::cursor::{Stored, file as cursor_file};
pub use self::delivery::{Bounds, Retry};
pub use self::destination::{ClientTls, Destination, Endpoint, Guarantee, Kind, Secret, Start};
pub use self::format::{About, Format};
pub(crate) use self::reading::time_of;
pub use self::sink::SinkError;
pub use self::status::{State, Status};
pub(crate) use self::worker::error_text;
use self::worker::{Command, Worker};
pub use crate::cursor::CursorError;
use crate::telemetry::Metrics;

/// How long a worker may take to carry out a command: it is between two system calls, or in an exchange that it drops.
const COMMAND_WITHIN: Duration = Duration::from_secs(20);

const DAY_US: u64 = 86_400_000_000;

/// What all destinations of one server share.
#[derive(Clone, Debug)]
pub struct House {
    pub log: Arc<Log>,
    pub clock: Arc<dyn Clock>,
    pub about: Arc<About>,
    pub audit_dir: PathBuf,
    /// Holds one directory per destination.
    pub siem_dir: PathBuf,
    pub certs_dir: PathBuf,
    pub metrics: Arc<Metrics>,
}

/// The running destinations of one server.
///
/// Ownership: the app has it; each worker thread has its destination's cursor, sink and files alone.
#[derive(Debug, Default)]
pub struct Deliveries {
    running: Vec<Running>,
    house: Option<House>,
}

#[derive(Debug)]
struct Running {
    destination: Destination,
    shared: Arc<status::Shared>,
    commands: tokio::sync::mpsc::Sender<Command>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Deliveries {
    /// Starts one worker per destination.
    ///
    /// # Errors
    /// A destination's cursor, certificates or secret cannot be used. Nothing is left running.
    pub fn start(destinations: &[Destination], house: House) -> Result<Self, SiemError> {
        let files: Arc<dyn Files> = Arc::new(LocalFiles::new(&house.siem_dir));
        let mut deliveries = Self { running: Vec::new(), house: None };
        for destination in destinations {
            match Running::start(destination, &house, &files) {
                Ok(running) => deliveries.running.push(running),
                Err(error) => {
                    deliveries.stop();
                    return Err(error);
                }
            }
        }
        deliveries.house = Some(house);
        Ok(deliveries)
    }

    /// How every destination stands, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.running.iter().map(|running| running.shared.status()).collect()
    }

    /// Sends everything from a position on again; returns the position from which it goes on.
    ///
    /// # Errors
    /// No such destination, no such position, or the worker could not make it durable.
    pub async fn replay(&self, name: &str, from: ReplayFrom) -> Result<u64, SiemError> {
        let running = self.find(name)?;
        let (reply, answered) = oneshot::channel();
        self.command(running, Command::Replay { from: self.position(from).await?, reply }).await?;
        answered.await.map_err(|_| SiemError::Stopped { name: name.to_owned() })?
    }

    /// Ends a pause, or a wait between two attempts.
    ///
    /// # Errors
    /// No such destination, or its worker has ended.
    pub async fn resume(&self, name: &str) -> Result<(), SiemError> {
        let running = self.find(name)?;
        let (reply, answered) = oneshot::channel();
        self.command(running, Command::Resume { reply }).await?;
        answered.await.map_err(|_| SiemError::Stopped { name: name.to_owned() })
    }

    /// Writes a `delivery:test` record and sends it to one destination at once, ahead of what waits; it comes again in
    /// its place, with the same id. The answer is the destination's own.
    ///
    /// # Errors
    /// No such destination, or the log did not take the record.
    pub async fn test(&self, name: &str) -> Result<Tested, SiemError> {
        let running = self.find(name)?;
        let house = self.house.as_ref().ok_or_else(|| SiemError::unknown(name))?;
        probe::test(&running.destination, house).await
    }

    /// Ends all workers; what is under way is given up, and comes again after the next start.
    pub fn stop(&self) {
        for running in &self.running {
            running.shared.stop();
        }
        for running in &self.running {
            let thread = running.thread.lock().ok().and_then(|mut thread| thread.take());
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!(destination = running.destination.name, "the SIEM worker panicked");
            }
        }
    }

    fn find(&self, name: &str) -> Result<&Running, SiemError> {
        let found = self.running.iter().find(|running| running.destination.name == name);
        found.ok_or_else(|| SiemError::unknown(name))
    }

    async fn command(&self, running: &Running, command: Command) -> Result<(), SiemError> {
        let name = || running.destination.name.clone();
        let sent = tokio::time::timeout(COMMAND_WITHIN, running.commands.send(command)).await;
        sent.map_err(|_| SiemError::Busy { name: name() })?
            .map_err(|_| SiemError::Stopped { name: name() })
    }

    async fn position(&self, from: ReplayFrom) -> Result<u64, SiemError> {
        let time_us = match from {
            ReplayFrom::Seq(seq) => return Ok(seq),
            ReplayFrom::Time(time_us) => time_us,
        };
        let Some(house) = &self.house else { return Ok(0) };
        let (dir, size) = (house.audit_dir.clone(), house.log.durable_size());
        let found = tokio::task::spawn_blocking(move || first_since(&dir, size, time_us)).await;
        found.map_err(|error| SiemError::Read(error.to_string()))?
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(
        destination: &Destination,
        house: &House,
        files: &Arc<dyn Files>,
    ) -> Result<Self, SiemError> {
        let (commands, receiver) = tokio::sync::mpsc::channel(4);
        let shared = Arc::new(status::Shared::new(destination));
        let worker =
            Worker::open(destination, house, Arc::clone(files), Arc::clone(&shared), receiver)?;
        let thread = std::thread::Builder::new()
            .name(format!("siem-{}", destination.name))
            .spawn(move || worker.run())
            .map_err(|source| SiemError::Thread { source })?;
        Ok(Self {
            destination: destination.clone(),
            shared,
            commands,
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }
}

/// Where a replay begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// With this record.
    Seq(u64),
    /// With the first record that is not older, in microseconds since 1970.
    Time(u64),
}

/// What a destination said to a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    pub seq: u64,
    pub event: String,
    /// `Err` is the destination's answer, or what the network said.
    pub answer: Result<(), String>,
}

/// Whether a text is a filter of the query language without stages.
///
/// # Errors
/// What is wrong, and where.
pub fn check_filter(text: &str) -> Result<(), String> {
    match worker::parse_filter("", text, 0) {
        Ok(_) => Ok(()),
        Err(SiemError::Filter { problem, .. }) => Err(problem),
        Err(error) => Err(error.to_string()),
    }
}

/// Records of any content in every format, and answers of any receiver. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    crate::cursor::fuzz::<Stored>(bytes);
    format::fuzz(bytes);
    sink::fuzz(bytes);
}

/// The first record that is not older than a time. Times in the log never step back, so its half is always known.
fn first_since(dir: &Path, size: u64, time_us: u64) -> Result<u64, SiemError> {
    let pruned = audit::pruned(dir)?;
    let begin = pruned.map_or(0, |pruned| pruned.end);
    let time_at = |seq: u64| {
        let leaf = audit::read_record(dir, seq)?
            .ok_or_else(|| SiemError::Read(format!("record {seq} is not there")))?;
        time_of(&leaf).ok_or_else(|| SiemError::Read(format!("record {seq} has no time")))
    };
    if let Some(pruned) = pruned
        && let begins_us = time_at(begin)?
        // Whole days go, so of the day that the log begins on now nothing did.
        && time_us < begins_us - begins_us % DAY_US
    {
        let begins = audit::stamp::string(begins_us);
        return Err(SiemError::PrunedSince { pruned, begins });
    }
    let (mut low, mut high) = (begin, size);
    while low < high {
        let middle = low + (high - low) / 2;
        match time_at(middle)? < time_us {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

/// Why delivery, or a command to it, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiemError {
    #[error("the destination `{name}`")]
    Sink { name: String, source: SinkError },
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("the filter of destination `{name}`: {problem}")]
    Filter { name: String, problem: String },
    #[error("starting a SIEM worker")]
    Thread { source: std::io::Error },
    #[error("there is no SIEM destination `{name}`")]
    Unknown { name: String },
    #[error("the worker of the SIEM destination `{name}` has stopped")]
    Stopped { name: String },
    #[error("the worker of the SIEM destination `{name}` is busy")]
    Busy { name: String },
    #[error("the log ends at record {size}; there is no record {from} to replay from")]
    BeyondLog { from: u64, size: u64 },
    #[error("record {from} was {pruned}; the log begins with record {}", pruned.end)]
    Pruned { from: u64, pruned: audit::Pruned },
    #[error(
        "records since then were {pruned}; the log begins with record {} of {begins}, from which a replay can begin",
        pruned.end
    )]
    PrunedSince { pruned: audit::Pruned, begins: String },
    #[error("reading the log: {0}")]
    Read(String),
    #[error("writing the log")]
    Log(#[from] audit::LogError),
    #[error("writing the SIEM state")]
    Write(#[from] std::io::Error),
}

impl SiemError {
    fn unknown(name: &str) -> Self {
        Self::Unknown { name: name.to_owned() }
    }
}

impl From<SearchError> for SiemError {
    fn from(error: SearchError) -> Self {
        Self::Read(error.to_string())
    }
}
