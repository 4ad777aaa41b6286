//! A drive that fails on demand, and the two seams over drives of the caller's choice.
//!
//! # The faults that the store survives
//! - any drive failing at any call, before or after the call had its effect: what was acknowledged stays readable as long as
//!   no more drives are lost than there is parity, and an unacknowledged write is there wholly or not at all;
//! - a failed sync: the drive is out of use until it is opened again, and is then brought up to date;
//! - a drive that is away, for a while or for good;
//! - shards that are missing, cut, rotten or in the wrong place: found, counted, and read around;
//! - the end of the process between any two calls.
//!
//! # The faults that it does not survive
//! - more drives lost than there is parity, or a majority of metadata replicas;
//! - rows that rot inside a drive's database without its checksums noticing: found when the row is opened, not repaired;
//! - drives that acknowledge a sync and lose the data, beyond the number of drives that may be lost.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::blobs::Blobs;
use crate::blobs::local::LocalBlobs;
use crate::commit::Committer;
use crate::drive::array::{Array, Slot};
use crate::drive::{Drive, DriveError, DriveWrite, KeyRange, Pair, ShardName, StagedShard, Table};
use crate::error::OpenError;
use crate::metadata::Metadata;
use crate::metadata::replicated::ReplicatedRows;

/// A step that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// [`Drive::present`], which every batch asks.
    Present,
    /// [`Drive::apply`]: the batch of a group and its sync.
    Apply,
    /// [`Drive::stage`].
    Stage,
    /// [`StagedShard::append`].
    Append,
    /// [`StagedShard::publish`]: sync and rename of a shard file.
    Publish,
    /// [`Drive::read`] of a shard file.
    Read,
    /// [`Drive::get`] and [`Drive::scan`].
    Get,
    /// [`Drive::remove`].
    Remove,
}

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// Whether the call has its effect before it fails.
    pub persisted: bool,
}

/// Passes all calls on to another drive, but for the step that is broken.
#[derive(Clone, Debug)]
pub struct FaultyDrive {
    inner: Arc<dyn Drive>,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl FaultyDrive {
    /// A drive that works, for now.
    pub fn new(inner: Arc<dyn Drive>) -> Self {
        Self { inner, fault: Arc::default() }
    }

    /// Breaks a step, or repairs all.
    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Does a call at a step that may be broken.
    fn at<T>(
        &self,
        at: At,
        name: &'static str,
        call: impl FnOnce() -> Result<T, DriveError>,
    ) -> Result<T, DriveError> {
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.filter(|fault| fault.at == at) {
            None => call(),
            Some(fault) => {
                if fault.persisted {
                    call()?;
                }
                Err(DriveError::Injected(name))
            }
        }
    }
}

impl Drive for FaultyDrive {
    fn present(&self) -> Result<(), DriveError> {
        self.at(At::Present, "present", || self.inner.present())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, DriveError> {
        self.at(At::Get, "get", || self.inner.get(table, key))
    }

    fn scan(&self, table: Table, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, DriveError> {
        self.at(At::Get, "scan", || self.inner.scan(table, range, limit))
    }

    fn apply(&self, writes: &[DriveWrite]) -> Result<(), DriveError> {
        self.present()?;
        self.at(At::Apply, "apply", || self.inner.apply(writes))
    }

    fn stage(&self, name: ShardName) -> Result<Box<dyn StagedShard>, DriveError> {
        let inner = self.at(At::Stage, "stage", || self.inner.stage(name))?;
        Ok(Box::new(FaultyShard { inner, drive: self.clone() }))
    }

    fn read(
        &self,
        name: ShardName,
        offset: u64,
        bytes: usize,
    ) -> Result<Option<Bytes>, DriveError> {
        self.at(At::Read, "read", || self.inner.read(name, offset, bytes))
    }

    fn remove(&self, name: ShardName) -> Result<(), DriveError> {
        self.at(At::Remove, "remove", || self.inner.remove(name))
    }

    fn shard_files(&self) -> Result<Vec<ShardName>, DriveError> {
        self.at(At::Read, "list", || self.inner.shard_files())
    }
}

#[derive(Debug)]
struct FaultyShard {
    inner: Box<dyn StagedShard>,
    drive: FaultyDrive,
}

impl StagedShard for FaultyShard {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        let Self { inner, drive } = self;
        drive.at(At::Append, "append", || inner.append(bytes))
    }

    fn publish(self: Box<Self>) -> Result<(), DriveError> {
        let Self { inner, drive } = *self;
        drive.at(At::Publish, "publish", || inner.publish())
    }
}

/// Rows and blobs.
pub type Seams = (Arc<dyn Metadata>, Arc<dyn Blobs>);

/// Rows and blobs over new, empty drives, for the conformance suites. Without `inline` the blobs need no rows.
///
/// # Errors
/// As [`crate::Store::open`].
pub fn seams_over(drives: Vec<Arc<dyn Drive>>, inline: bool) -> Result<Seams, OpenError> {
    let slot =
        |(slot, drive)| Slot { path: PathBuf::from(format!("drive{slot}")), drive: Some(drive) };
    let slots = drives.into_iter().enumerate().map(slot).collect();
    let array = Arc::new(Array::over(slots, None)?);
    let committer = Committer::start(Arc::clone(&array), None, 1).map_err(OpenError::Thread)?;
    let blobs = LocalBlobs::new(Arc::clone(&array), "simulated", inline);
    let rows = ReplicatedRows::new(array, committer);
    Ok((Arc::new(rows), Arc::new(blobs.map_err(OpenError::Rows)?)))
}
