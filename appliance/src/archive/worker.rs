//! The thread that copies: one segment after the other, as they are finished.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audit::{Class, LocalFiles, Record, SealedSegment, Watch, sealed_segments};
use bytes::Bytes;

use super::bucket::{ArchiveError, Bucket};
use super::cursor::{self, Stored};
use super::{House, Settings};
use crate::recorder::event_id;

/// How long one look may hold the thread; the stop waits for it.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks for finished segments; one is finished each hour at least.
const EVERY: Duration = Duration::from_secs(2);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Segments of one look.
const SEGMENTS_MAX: usize = 16;

/// The running archive. Ownership: its thread alone has the cursor.
#[derive(Debug)]
pub struct Archive {
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Archive {
    /// Goes on where the last run stopped, or with the log's first record where copies go somewhere new.
    ///
    /// # Errors
    /// The cursor or the certificates cannot be used.
    pub fn start(settings: &Settings, house: House) -> anyhow::Result<Self> {
        let files = LocalFiles::new(&house.state_dir);
        let address = settings.address.as_str();
        let stored = cursor::load(&files, &house.origin)?;
        let stored = stored.filter(|stored| stored.address == address);
        let next = stored.map_or(0, |stored| stored.next);
        // From here on nothing is pruned that has no copy there.
        cursor::store(&files, &Stored::new(&house.origin, address, next))?;
        let bucket = Bucket::open(settings, &house.certs_dir)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            watch: house.log.subscribe(),
            settings: settings.clone(),
            house,
            files,
            bucket,
            next,
            stopping: Arc::clone(&stopping),
        };
        let thread = std::thread::Builder::new().name("archive".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self { stopping, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread; what is under way is copied again after the next start.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the archive panicked");
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    settings: Settings,
    house: House,
    files: LocalFiles,
    bucket: Bucket,
    watch: Watch,
    /// Every record before this one has a copy.
    next: u64,
    stopping: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.work()),
            Err(error) => tracing::error!(%error, "the archive could not begin"),
        }
    }

    async fn work(&mut self) {
        while !self.is_stopping() {
            let wait = match self.turn().await {
                Ok(()) => EVERY,
                Err(ArchiveError::Stopping) => return,
                Err(error) => {
                    let why = crate::siem::error_text(&error);
                    tracing::error!(why, "a copy of the log was not made and will be tried again");
                    RETRY
                }
            };
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.is_stopping() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.watch.is_closed()
    }

    /// Copies what is finished.
    async fn turn(&mut self) -> Result<(), ArchiveError> {
        let mut has_lock = None;
        loop {
            let segments = sealed_segments(&self.house.audit_dir, self.next, SEGMENTS_MAX)?;
            if segments.is_empty() {
                return Ok(());
            }
            // Asked once for all of a turn: a bucket that gets or loses its lock is noticed soon enough.
            let has_lock = match has_lock {
                Some(has_lock) => has_lock,
                None => *has_lock.insert(self.bucket.has_lock().await?),
            };
            for segment in segments {
                self.copy(&segment, has_lock).await?;
            }
        }
    }

    async fn copy(&mut self, segment: &SealedSegment, has_lock: bool) -> Result<(), ArchiveError> {
        let lock = self.settings.lock.filter(|_| has_lock);
        let until = lock.and_then(|lock| {
            let us = self.house.clock.now_us() + u64::try_from(lock.as_micros()).unwrap_or(0);
            jiff::Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()
        });
        let mut bytes = 0;
        for path in &segment.files {
            if self.is_stopping() {
                return Err(ArchiveError::Stopping);
            }
            let content = std::fs::read(self.house.audit_dir.join(path))?;
            bytes += content.len();
            let key = format!("{}/{path}", self.house.origin);
            self.bucket.put(&key, Bytes::from(content), until).await?;
        }
        // ORDER: the objects, the record, the cursor.
        let event = event_id(self.house.clock.now_us());
        let mut record = Record::new(Class::Audit, "audit:archive", event);
        record.params = self.facts(segment, bytes, until, has_lock);
        self.house.log.append(&record)?.await?;
        let address = self.settings.address.as_str();
        cursor::store(&self.files, &Stored::new(&self.house.origin, address, segment.end))?;
        self.next = segment.end;
        Ok(())
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
