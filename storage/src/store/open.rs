//! Opening: choose the replica that is right, bring the others up to it, collect what a crash left behind, start the threads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::reclaim::{Garbage, Readers, Reclaimer};
use super::record::{ObjectRow, PartRow};
use super::turns::Turns;
use super::{Inner, Store, StoreConfig};
use crate::blobs::local::{LocalBlobs, parse_inline_key};
use crate::blobs::{BlobId, BlobRef, Blobs};
use crate::commit::Committer;
use crate::drive::array::{Array, Slot};
use crate::drive::{Drive, DriveError, DriveWrite, KeyRange, Pair, Table};
use crate::error::{Error, OpenError};
use crate::metadata::codec::{RowKey, Seal};
use crate::metadata::replicated::ReplicatedRows;
use crate::metadata::version::{self, Choice, Version};
use crate::metadata::{Metadata, table};
use crate::quorum;
use crate::sse::stream::Backend;

/// Rows that are copied or looked at together.
const PAGE_ROWS: usize = 1000;

impl Store {
    /// Opens a store, formatting drives that have never been used. Blocks.
    ///
    /// A drive that is missing, or whose directory is empty although others are formatted, is left out: the store works
    /// without it as long as quorums hold. It is not formatted anew, because an empty directory is also what an unmounted
    /// disk looks like.
    ///
    /// # Errors
    /// See [`OpenError`]: drives of another deployment, a newer format, more drives missing than there is parity.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let StoreConfig { drives, deployment, row_key, parity } = config;
        Self::assemble(Array::open(&drives, &deployment, parity)?, &deployment, row_key)
    }

    /// Opens a store over drives that are already open, for tests of faults. `None` is a drive that is missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[doc(hidden)]
    pub fn over(
        drives: Vec<Option<Arc<dyn Drive>>>,
        deployment: &str,
        row_key: RowKey,
        parity: Option<u8>,
    ) -> Result<Self, OpenError> {
        let slot = |(slot, drive)| Slot { path: PathBuf::from(format!("drive{slot}")), drive };
        let slots = drives.into_iter().enumerate().map(slot).collect();
        Self::assemble(Array::over(slots, parity)?, deployment, row_key)
    }

    fn assemble(array: Array, deployment: &str, row_key: RowKey) -> Result<Self, OpenError> {
        let array = Arc::new(array);
        let seal = Seal::new(row_key);
        let choice = choose_replicas(&array)?;
        let current = choice.in_sync.first().and_then(|slot| array.lanes()[*slot].drive().ok());
        let Some(current) = current else {
            return Err(OpenError::TooFewDrives { available: 0, needed: 1 });
        };
        check_row_key(&*current, &seal)?;
        catch_up(&array, &choice, &*current);
        collect_orphans(&array, &*current);
        if !choice.stale.is_empty() {
            collect_inline_orphans(&array, &choice.stale, &*current, &seal)?;
        }
        let garbage = find_garbage(&*current, &seal)?;
        drop(current);

        let lineage = random_lineage().map_err(OpenError::Rows)?;
        let committer = Committer::start(Arc::clone(&array), choice.version, lineage)
            .map_err(OpenError::Thread)?;
        let rows = Arc::new(ReplicatedRows::new(Arc::clone(&array), committer));
        let blobs = LocalBlobs::new(Arc::clone(&array), deployment, true);
        let store = Self::start(array, rows, Arc::new(blobs.map_err(OpenError::Rows)?), seal)?;
        for garbage in garbage {
            store.reclaim(Some(garbage));
        }
        futures::executor::block_on(store.abort_stranded()).map_err(OpenError::Rows)?;
        Ok(store)
    }

    fn start(
        array: Arc<Array>,
        rows: Arc<ReplicatedRows>,
        blobs: Arc<dyn Blobs>,
        seal: Seal,
    ) -> Result<Self, OpenError> {
        let metadata: Arc<dyn Metadata> = rows.clone();
        let readers = Arc::new(Readers::default());
        let weak_rows: Weak<dyn Metadata> = Arc::downgrade(&metadata);
        let reclaimer = Reclaimer::start(Arc::clone(&readers), weak_rows, Arc::downgrade(&blobs))
            .map_err(OpenError::Thread)?;
        let inner = Inner {
            metadata,
            blobs,
            seal,
            backend: Backend::default(),
            readers,
            reclaimer,
            turns: Turns::new(),
            array,
            committer: rows,
            closed: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Reads all versions and refuses to go on with fewer replicas than surely include the newest.
fn choose_replicas(array: &Array) -> Result<Choice, OpenError> {
    let mut versions = Vec::new();
    for (slot, lane) in array.replicas().iter().enumerate() {
        let Ok(drive) = lane.drive() else { continue };
        match Version::read(&*drive) {
            Ok(version) => versions.push((slot, version)),
            Err(error) => lane.fail(&error),
        }
    }
    let needed = quorum::open_replicas(array.replicas().len());
    if versions.len() < needed {
        return Err(OpenError::TooFewDrives { available: versions.len(), needed });
    }
    version::choose(&versions).map_err(|_| OpenError::Diverged)
}

/// Opens one row, so that a wrong row key is an error now and not at every request.
fn check_row_key(current: &dyn Drive, seal: &Seal) -> Result<(), OpenError> {
    let everything = KeyRange { start: Vec::new(), end: vec![0xff] };
    let first = current.scan(Table::Rows, &everything, 1);
    for (key, sealed) in first.map_err(|error| OpenError::Rows(error.into()))? {
        seal.open(&key, &sealed).map_err(OpenError::Rows)?;
    }
    Ok(())
}

/// Copies all rows to each replica that is behind. One that cannot be copied to stays out of use.
fn catch_up(array: &Array, choice: &Choice, current: &dyn Drive) {
    for slot in &choice.stale {
        let lane = &array.lanes()[*slot];
        let copied = lane.drive().and_then(|drive| copy_rows(current, &*drive, choice.version));
        match copied {
            Ok(rows) => {
                tracing::warn!(drive = %lane.path().display(), rows, "replica caught up");
            }
            Err(error) => lane.fail(&error),
        }
    }
}

/// Replaces all rows. The version is written last: a copy that was interrupted is behind still.
fn copy_rows(
    from: &dyn Drive,
    to: &dyn Drive,
    version: Option<Version>,
) -> Result<u64, DriveError> {
    each_page(to, Table::Rows, |page| {
        to.apply(&page.iter().map(|(key, _)| row(key, None)).collect::<Vec<_>>())
    })?;
    let mut rows = 0;
    each_page(from, Table::Rows, |page| {
        rows += page.len() as u64;
        let copies = page.iter().map(|(key, value)| row(key, Some(value.clone())));
        to.apply(&copies.collect::<Vec<_>>())
    })?;
    if let Some(version) = version {
        to.apply(&[version.write()])?;
    }
    Ok(rows)
}

fn row(key: &Bytes, value: Option<Bytes>) -> DriveWrite {
    DriveWrite { table: Table::Rows, key: key.clone(), value }
}

fn each_page(
    drive: &dyn Drive,
    table: Table,
    mut work: impl FnMut(&[Pair]) -> Result<(), DriveError>,
) -> Result<(), DriveError> {
    let mut range = KeyRange { start: Vec::new(), end: vec![0xff; 32] };
    loop {
        let page = drive.scan(table, &range, PAGE_ROWS)?;
        if let Some((last, _)) = page.last() {
            range.start = [last, &b"\0"[..]].concat();
            work(&page)?;
        } else {
            return Ok(());
        }
    }
}

/// Removes shard files that no row wants: staged and published, but their commit never came.
fn collect_orphans(array: &Array, current: &dyn Drive) {
    for lane in array.lanes() {
        let Ok(drive) = lane.drive() else { continue };
        let collect = || -> Result<u64, DriveError> {
            let mut orphans = 0;
            for name in drive.shard_files()? {
                if current.get(Table::Rows, &table::file(name.blob))?.is_none() {
                    drive.remove(name)?;
                    orphans += 1;
                }
            }
            Ok(orphans)
        };
        match collect() {
            Ok(0) => {}
            Ok(orphans) => {
                tracing::info!(drive = %lane.path().display(), orphans, "orphans collected");
            }
            // Orphans cost space only; the next open tries again.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(drive = %lane.path().display(), error, "collecting orphans");
            }
        }
    }
}

/// Removes small shards from replicas that were behind: what was deleted while they were away is still on them.
fn collect_inline_orphans(
    array: &Array,
    slots: &[usize],
    current: &dyn Drive,
    seal: &Seal,
) -> Result<(), OpenError> {
    let mut wanted: BTreeSet<BlobId> = BTreeSet::new();
    let mut note = |blobs: Vec<BlobRef>| wanted.extend(blobs.iter().map(|blob| blob.id));
    read_rows(current, table::prefix(b"o"), |key, sealed| {
        note(seal.decode::<ObjectRow>(key, sealed)?.blobs());
        Ok(())
    })?;
    read_rows(current, table::all_parts(), |key, sealed| {
        note(vec![seal.decode::<PartRow>(key, sealed)?.blob]);
        Ok(())
    })?;
    read_rows(current, table::all_garbage(), |key, sealed| {
        note(seal.decode(key, sealed)?);
        Ok(())
    })?;
    for slot in slots {
        let lane = &array.lanes()[*slot];
        let Ok(drive) = lane.drive() else { continue };
        let unwanted =
            |key: &Bytes| parse_inline_key(key).is_none_or(|name| !wanted.contains(&name.blob));
        let removed = each_page(&*drive, Table::Shards, |page| {
            let remove = page.iter().filter(|(key, _)| unwanted(key));
            let remove = remove.map(|(key, _)| DriveWrite {
                table: Table::Shards,
                key: key.clone(),
                value: None,
            });
            drive.apply(&remove.collect::<Vec<_>>())
        });
        if let Err(error) = removed {
            lane.fail(&error);
        }
    }
    Ok(())
}

/// Garbage whose removal was not finished.
fn find_garbage(current: &dyn Drive, seal: &Seal) -> Result<Vec<Garbage>, OpenError> {
    let mut found = Vec::new();
    read_rows(current, table::all_garbage(), |key, sealed| {
        found.push(Garbage::new(seal.decode(key, sealed)?));
        Ok(())
    })?;
    Ok(found)
}

fn read_rows(
    drive: &dyn Drive,
    mut range: KeyRange,
    mut work: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), OpenError> {
    loop {
        let page = drive
            .scan(Table::Rows, &range, PAGE_ROWS)
            .map_err(|error| OpenError::Rows(error.into()))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        range.start = [last, &b"\0"[..]].concat();
        for (key, sealed) in &page {
            work(key, sealed).map_err(OpenError::Rows)?;
        }
    }
}

fn random_lineage() -> Result<u64, Error> {
    let BlobId(bytes) = BlobId::random()?;
    Ok(bytes.iter().take(8).fold(0, |lineage, byte| lineage << 8 | u64::from(*byte)))
}
