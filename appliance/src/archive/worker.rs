//! The thread that copies: one segment after the other, as they are finished.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use audit::{Class, Marks, Record, SealedSegment, Watch, sealed_segments};
use bytes::Bytes;

use super::bucket::{ArchiveError, Bucket};
use super::cursor::{self, Stored};
use super::{House, Settings};
use crate::courier::{Courier, Stop};
use crate::cursor::Cursor;
use crate::recorder::event_id;

/// Between two looks for finished segments; one is finished each hour at least.
const EVERY: Duration = Duration::from_secs(2);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Segments of one look.
const SEGMENTS_MAX: usize = 16;

/// The running archive. Ownership: its thread alone has the cursor.
#[derive(Debug)]
pub struct Archive {
    courier: Courier,
}

impl Archive {
    /// Goes on where the last run stopped, or with the log's first record where copies go somewhere new.
    ///
    /// # Errors
    /// The cursor or the certificates cannot be used.
    pub fn start(settings: &Settings, house: House) -> anyhow::Result<Self> {
        let cursor = cursor::file(&house.state_dir, &house.origin);
        let address = settings.address.as_str().to_owned();
        // The log is remembered also where copies go somewhere else now.
        let (stored, marks) = cursor.load::<Stored>()?.unzip();
        let stored = stored.filter(|stored| stored.address == address);
        let stored = stored.unwrap_or(Stored { address, next: 0 });
        let marks = marks.unwrap_or_default();
        // From here on nothing is pruned that has no copy there.
        cursor.store(&stored, &marks)?;
        let bucket = Bucket::open(settings, &house.certs_dir)?;
        let worker = Worker {
            watch: house.log.subscribe(),
            settings: settings.clone(),
            house,
            cursor,
            bucket,
            stored,
            marks,
        };
        Ok(Self { courier: Courier::start("archive", |stop| worker.work(stop))? })
    }

    /// Ends the thread; what is under way is copied again after the next start.
    pub fn stop(&self) {
        self.courier.stop();
    }
}

struct Worker {
    settings: Settings,
    house: House,
    cursor: Cursor,
    bucket: Bucket,
    watch: Watch,
    /// What the cursor file says.
    stored: Stored,
    marks: Marks,
}

impl Worker {
    async fn work(mut self, stop: Stop) {
        while !stop.is_set() && !self.watch.is_closed() {
            let wait = match self.turn(&stop).await {
                Ok(()) => EVERY,
                Err(ArchiveError::Stopping) => return,
                Err(error) => {
                    let why = crate::siem::error_text(&error);
                    tracing::error!(why, "a copy of the log was not made and will be tried again");
                    RETRY
                }
            };
            stop.rest(wait).await;
        }
    }

    /// Copies what is finished.
    async fn turn(&mut self, stop: &Stop) -> Result<(), ArchiveError> {
        let mut has_lock = None;
        loop {
            let segments = sealed_segments(&self.house.audit_dir, self.stored.next, SEGMENTS_MAX)?;
            if segments.is_empty() {
                return Ok(());
            }
            // Asked once for all of a turn: a bucket that gets or loses its lock is noticed soon enough.
            let has_lock = match has_lock {
                Some(has_lock) => has_lock,
                None => *has_lock.insert(self.bucket.has_lock().await?),
            };
            for segment in segments {
                self.copy(&segment, has_lock, stop).await?;
            }
        }
    }

    async fn copy(
        &mut self,
        segment: &SealedSegment,
        has_lock: bool,
        stop: &Stop,
    ) -> Result<(), ArchiveError> {
        let lock = self.settings.lock.filter(|_| has_lock);
        let until = lock.and_then(|lock| {
            let us = self.house.clock.now_us() + u64::try_from(lock.as_micros()).unwrap_or(0);
            jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()
        });
        let mut bytes = 0;
        for (path, content) in self.read(segment)? {
            if stop.is_set() {
                return Err(ArchiveError::Stopping);
            }
            bytes += content.len();
            let key = format!("{}/{path}", self.house.origin);
            self.bucket.put(&key, Bytes::from(content), until).await?;
        }
        // ORDER: the objects, the record, the cursor.
        let event = event_id(self.house.clock.now_us());
        let mut record = Record::new(Class::Audit, "audit:archive", event);
        record.params = self.facts(segment, bytes, until, has_lock);
        self.house.log.append(&record)?.await?;
        let mark = audit::mark_at(&self.house.audit_dir, segment.end)?;
        mark.into_iter().for_each(|mark| self.marks.push(mark));
        self.stored.next = segment.end;
        self.cursor.store(&self.stored, &self.marks)?;
        Ok(())
    }

    /// The segment's files, from a copy of the log in which they are what was sealed.
    fn read(&self, segment: &SealedSegment) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let dir = &self.house.audit_dir;
        let damaged = |error: &std::io::Error| {
            (error.kind() == ErrorKind::InvalidData).then_some(segment.first..segment.end)
        };
        self.house.log.detour(dir).read(damaged, || segment.read(dir))
    }

    fn facts(
        &self,
        segment: &SealedSegment,
        bytes: usize,
        until: Option<jiff::Timestamp>,
        has_lock: bool,
    ) -> BTreeMap<String, String> {
        let lock = match (has_lock, until) {
            (true, Some(until)) => format!("COMPLIANCE until {until}"),
            (true, None) => "none asked for".to_owned(),
            (false, _) => "the bucket has none".to_owned(),
        };
        [
            ("first", segment.first.to_string()),
            ("end", segment.end.to_string()),
            ("seal", segment.seal.to_string()),
            ("address", self.settings.address.as_str().to_owned()),
            ("files", segment.files.len().to_string()),
            ("bytes", bytes.to_string()),
            ("lock", lock),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
