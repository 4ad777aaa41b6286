//! Days of the index, open between searches.
//!
//! Opening a day reads and maps a few files for each of its segments, which costs more than most searches. What a commit
//! or a merge changes is seen in the day's list of segments; as long as that is the same, so is the day.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tantivy::{DocId, ReloadPolicy, Searcher, SegmentReader, columnar::ColumnValues};

use super::{
    Candidates, Found, IndexError, Wanted,
    partition::{self, Position},
    root,
    schema::{OFFSET, SEQ, SUM, TIME_US},
};

/// Days that are kept open, the newest ones that were asked for: each holds memory for its dictionaries.
const DAYS_MAX: usize = 32;
/// Where a day lists its segments.
const SEGMENTS_FILE: &str = "meta.json";

/// The index of the log in one directory, for search after search.
pub(crate) struct Days {
    dir: PathBuf,
    open: Mutex<BTreeMap<String, Arc<Day>>>,
}

/// One day as it was last committed.
pub(super) struct Day {
    /// The list of segments before it was opened. A commit in between makes the next search open it again.
    segments: Vec<u8>,
    pub(super) position: Position,
    pub(super) searcher: Searcher,
    pub(super) parts: Vec<Part>,
}

/// One segment of a day's index, with what every search reads of it.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) segment: SegmentReader,
    pub(super) seqs: Arc<dyn ColumnValues<u64>>,
    pub(super) times: Arc<dyn ColumnValues<u64>>,
    offsets: Arc<dyn ColumnValues<u64>>,
    sums: Arc<dyn ColumnValues<u64>>,
}

impl Part {
    fn open(segment: &SegmentReader) -> Result<Self, IndexError> {
        let columns = segment.fast_fields();
        Ok(Self {
            segment: segment.clone(),
            seqs: columns.column_first_or_default(SEQ)?,
            times: columns.column_first_or_default(TIME_US)?,
            offsets: columns.column_first_or_default(OFFSET)?,
            sums: columns.column_first_or_default(SUM)?,
        })
    }

    /// Positions and times descend, so the documents that are wanted lie together, and both ends are found by halving.
    pub(super) fn wanted(&self, wanted: &Wanted) -> Range<DocId> {
        let Self { seqs, times, .. } = self;
        let begins = self.first(|doc| {
            seqs.get_val(doc) >= wanted.seqs.end || times.get_val(doc) > *wanted.times.end()
        });
        let ends = self.first(|doc| {
            seqs.get_val(doc) >= wanted.seqs.start && times.get_val(doc) >= *wanted.times.start()
        });
        begins..ends
    }

    /// The first document that is not `before`.
    fn first(&self, before: impl Fn(DocId) -> bool) -> DocId {
        let (mut low, mut high) = (0, self.segment.max_doc());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }

    pub(super) fn found(&self, doc: DocId) -> Found {
        let Self { seqs, offsets, sums, .. } = self;
        Found { seq: seqs.get_val(doc), offset: offsets.get_val(doc), sum: sums.get_val(doc) }
    }
}

impl fmt::Debug for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Days").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Days {
    /// Opens nothing yet.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: Mutex::default() }
    }

    /// The index as it is now; `None` if there is none.
    pub(crate) fn candidates(&self) -> Result<Option<Candidates<'_>>, IndexError> {
        let mut names = partition::days(&self.dir)?;
        self.lock().retain(|day, _| names.contains(day));
        while let Some(name) = names.pop() {
            // The newest day that was committed goes furthest: the days before it were complete when it was begun.
            if let Some(newest) = self.day(&name)? {
                return Ok(Some(Candidates::new(self, names, (name, newest))));
            }
        }
        Ok(None)
    }

    /// A day; `None` before its first commit, and where another version of this program made it.
    pub(super) fn day(&self, name: &str) -> Result<Option<Arc<Day>>, IndexError> {
        // ORDER: what is compared is read first, so that a day is never taken for newer than it is.
        let path = root(&self.dir).join(name).join(SEGMENTS_FILE);
        let segments = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IndexError::Io { path: format!("idx/{name}"), source }),
        };
        if let Some(day) = self.lock().get(name)
            && day.segments == segments
        {
            return Ok(Some(Arc::clone(day)));
        }
        let Some((index, position)) = partition::open(&self.dir, name)? else { return Ok(None) };
        let reader: tantivy::IndexReader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let parts = searcher.segment_readers().iter().map(Part::open).collect::<Result<_, _>>()?;
        let day = Arc::new(Day { segments, position, searcher, parts });
        let mut open = self.lock();
        open.insert(name.to_owned(), Arc::clone(&day));
        while open.len() > DAYS_MAX {
            open.pop_first();
        }
        Ok(Some(day))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Day>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
