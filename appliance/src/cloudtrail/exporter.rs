//! The export at work: one thread that reads what is durable, fills files, and closes periods.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audit::search::Tail;
use audit::{Mark, Marks, Row, Watch};
use bytes::Bytes;

use super::chain::{Digest, Link, period_end};
use super::cursor::{self, Position};
use super::desk::{Desk, DeskError};
use super::file::{Draft, Listed, gzip};
use super::key::{KeyError, SigningKey};
use super::names::Names;
use super::{House, Settings};
use crate::courier::{Courier, LOOK, Stop};
use crate::cursor::{Cursor, CursorError};
use crate::siem::{Format, time_of};

/// After a failure.
const RETRY: Duration = Duration::from_secs(5);
/// Empty periods in a row that get a digest each. More, as after a month of standing still, share one: it says the same.
const EMPTY_PERIODS_MAX: u64 = 24;

/// How the export stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// Second of the first period.
    pub(super) since_s: u64,
    /// When the newest log file and the newest digest were stored, in microseconds.
    pub(super) delivered_us: Option<u64>,
    pub(super) digested_us: Option<u64>,
    pub(super) error: Option<String>,
}

/// The running export. Ownership: its thread alone has cursor, tail and files.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<Shared>,
    courier: Courier,
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Status>,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Why a turn of the export came to nothing; all but the first are tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ExportError {
    #[error("the server stops")]
    Stopping,
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("storing a file")]
    Desk(#[from] DeskError),
    #[error("signing a digest")]
    Key(#[from] KeyError),
    #[error("reading the log")]
    Log(#[from] audit::SearchError),
    #[error("record {0} of the log is not one")]
    Record(u64),
    #[error("writing")]
    Io(#[from] std::io::Error),
}

impl Exporter {
    /// Takes up the chain where the last run left it, or begins one with this second.
    pub(super) fn start(
        settings: &Settings,
        house: &House,
        names: &Names,
        key: Arc<SigningKey>,
    ) -> Result<Self, ExportError> {
        let cursor = cursor::file(&house.state_dir, &house.about.origin);
        let watch = house.log.subscribe();
        let (position, marks) = match cursor.load()? {
            Some(stored) => stored,
            None => {
                let now_s = house.clock.now_us() / 1_000_000;
                let position =
                    Position { next: watch.size(), from_s: now_s, since_s: now_s, previous: None };
                let mut marks = Marks::default();
                let mark = audit::mark_at(house.searcher.dir(), position.next)?;
                mark.into_iter().for_each(|mark| marks.push(mark));
                // From here on the chain has a beginning, also if this run ends before its first period does.
                cursor.store(&position, &marks)?;
                (position, marks)
            }
        };
        let shared = Arc::new(Shared::default());
        shared.change(|status| status.since_s = position.since_s);
        let worker = Worker {
            desk: Desk::new(house.clone(), settings.bucket.clone()),
            bucket: settings.bucket.as_str().to_owned(),
            period_s: settings.period.as_secs().max(1),
            house: house.clone(),
            names: names.clone(),
            key,
            tail: tail(house, position.next),
            cursor,
            watch,
            position,
            marks,
            last: None,
            draft: None,
            listed: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let courier = Courier::start("cloudtrail", |stop| worker.work(stop))?;
        Ok(Self { shared, courier })
    }

    pub(super) fn status(&self) -> Status {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the thread; what it has of the period under way is made again after the next start.
    pub fn stop(&self) {
        self.courier.stop();
    }
}

/// What the thread has.
struct Worker {
    house: House,
    names: Names,
    key: Arc<SigningKey>,
    desk: Desk,
    bucket: String,
    period_s: u64,
    cursor: Cursor,
    watch: Watch,
    tail: Tail,
    position: Position,
    /// What the cursor file knows the log by.
    marks: Marks,
    /// The record before the one that is being taken in.
    last: Option<Row>,
    /// The file being filled.
    draft: Option<Draft>,
    /// Files of this period that are stored.
    listed: Vec<Listed>,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(mut self, stop: Stop) {
        let mut has_bucket = false;
        while !stop.is_set() {
            let turn = match has_bucket {
                true => self.turn(&stop).await,
                false => self.desk.create_bucket().await.map_err(ExportError::from),
            };
            match turn {
                Ok(()) => has_bucket = true,
                Err(ExportError::Stopping) => return,
                Err(error) => {
                    self.start_over(&error);
                    stop.rest(RETRY).await;
                }
            }
        }
    }

    /// Takes in what is durable; without anything new, waits for it a moment.
    async fn turn(&mut self, stop: &Stop) -> Result<(), ExportError> {
        if self.tail.position() >= self.watch.size() && self.watch.is_closed() {
            return Err(ExportError::Stopping);
        }
        for row in self.tail.follow(&self.watch, LOOK)? {
            // Storing a file may take long; what was not stored comes again.
            if stop.is_set() {
                return Err(ExportError::Stopping);
            }
            self.take(&row).await?;
            self.last = Some(row);
        }
        Ok(())
    }

    async fn take(&mut self, row: &Row) -> Result<(), ExportError> {
        let unreadable = || ExportError::Record(row.seq);
        let time_us = time_of(&row.leaf).ok_or_else(unreadable)?;
        let second = time_us / 1_000_000;
        // Times in the log never step back, so a record of a later period ends every one before it.
        while second >= period_end(self.position.from_s, self.period_s) {
            self.close(self.closing(second), row.seq).await?;
        }
        let leaf = Bytes::copy_from_slice(&row.leaf);
        let record = Format::CloudTrail.encode(&self.house.about, &leaf);
        let begin = || Draft::new((row.seq, audit::tree::leaf_hash(&row.leaf)));
        let draft = self.draft.get_or_insert_with(begin);
        draft.push(&record.map_err(|_| unreadable())?, time_us);
        if draft.is_full() {
            self.deliver(period_end(self.position.from_s, self.period_s)).await?;
        }
        Ok(())
    }

    /// Where the digest ends that is due when the log has reached this second.
    fn closing(&self, second: u64) -> u64 {
        let end = period_end(self.position.from_s, self.period_s);
        let is_empty = self.draft.is_none() && self.listed.is_empty();
        let reached = second / self.period_s * self.period_s;
        match is_empty && reached > end + EMPTY_PERIODS_MAX * self.period_s {
            true => reached,
            false => end,
        }
    }

    /// Stores the file under way.
    async fn deliver(&mut self, until_s: u64) -> Result<(), ExportError> {
        let Some(draft) = self.draft.take() else { return Ok(()) };
        let (first, leaf) = draft.first;
        let key = self.names.log_file(until_s, first, &leaf);
        let file = draft.finish(key)?;
        self.put(&file.listed.key, file.gzip, BTreeMap::new()).await?;
        self.listed.push(file.listed);
        let now_us = self.house.clock.now_us();
        self.shared.change(|status| status.delivered_us = Some(now_us));
        Ok(())
    }

    /// Ends a period: the last file, the digest, the cursor. `next` is the first record after it.
    async fn close(&mut self, until_s: u64, next: u64) -> Result<(), ExportError> {
        self.deliver(until_s).await?;
        let digest = Digest {
            bucket: &self.bucket,
            from_s: self.position.from_s,
            until_s,
            files: &self.listed,
            previous: self.position.previous.as_ref(),
        };
        let body = digest.body(&self.names, &self.key.fingerprint());
        let signature = self.key.sign(digest.to_sign(&self.names, &body).as_bytes())?;
        let key = self.names.digest(until_s);
        let algorithm = "SHA256withRSA".to_owned();
        let user = [("signature", signature.clone()), ("signature-algorithm", algorithm)];
        let user = user.map(|(name, value)| (name.to_owned(), value)).into();
        self.put(&key, gzip(&body)?, user).await?;
        let sha256 = sha256_hex(&body);
        let previous = Some(Link { bucket: self.bucket.clone(), key, sha256, signature });
        let position = Position { next, from_s: until_s, previous, ..self.position.clone() };
        let last = self.last.as_ref().filter(|last| last.seq + 1 == next);
        last.into_iter().for_each(|last| self.marks.push(Mark::of(last.seq, &last.leaf)));
        // ORDER: the digest is there before the cursor says so; in between, a crash makes the same digest again.
        self.cursor.store(&position, &self.marks)?;
        self.position = position;
        self.listed.clear();
        let now_us = self.house.clock.now_us();
        self.shared.change(|status| {
            status.digested_us = Some(now_us);
            status.error = None;
        });
        Ok(())
    }

    async fn put(
        &self,
        key: &str,
        gzip: Vec<u8>,
        user: BTreeMap<String, String>,
    ) -> Result<(), ExportError> {
        Ok(self.desk.put(key, gzip, user).await?)
    }

    /// After a failure: the period from its beginning. Nothing is skipped.
    fn start_over(&mut self, error: &ExportError) {
        let why = crate::siem::error_text(error);
        tracing::error!(why, "the CloudTrail export failed and will be tried again");
        self.shared.change(|status| status.error = Some(why));
        self.draft = None;
        self.listed.clear();
        self.last = None;
        self.tail = tail(&self.house, self.position.next);
    }
}

/// The log from record `next` on.
fn tail(house: &House, next: u64) -> Tail {
    let dir = house.searcher.dir();
    audit::tail(dir, next.checked_sub(1)).with_detour(Some(house.log.detour(dir)))
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(bytes))
}
