//! All drives of a store by slot, and how directories become one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Drive;
use super::format::{FORMAT, Format};
use super::lane::{Lane, Threads};
use super::local::LocalDrive;
use crate::blobs::BlobId;
use crate::erasure::layout::Geometry;
use crate::error::OpenError;
use crate::quorum;

/// The drives of a store. The order never changes: slot `n` is the `n`th id of `format.json`.
#[derive(Debug)]
pub struct Array {
    lanes: Vec<Arc<Lane>>,
    geometry: Geometry,
    threads: Mutex<Threads>,
}

/// A drive for a slot, or the path where it should be.
pub(crate) struct Slot {
    pub(crate) path: PathBuf,
    pub(crate) drive: Option<Arc<dyn Drive>>,
}

impl Array {
    /// Opens drive directories, formatting them if none of them has ever been used.
    pub(crate) fn open(
        directories: &[PathBuf],
        deployment: &str,
        parity: Option<u8>,
    ) -> Result<Self, OpenError> {
        check_directories(directories)?;
        let found = directories
            .iter()
            .map(|directory| Format::read(directory))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(known) = found.iter().flatten().next().cloned() else {
            return Self::format(directories, deployment, parity);
        };
        if known.deployment != deployment || known.drives.len() != directories.len() {
            let at = found.iter().position(Option::is_some).unwrap_or_default();
            return Err(OpenError::Foreign { path: directories[at].clone() });
        }
        let slots = Self::known_slots(directories, &found, &known)?;
        Self::over(slots, Some(parity.unwrap_or(known.parity)))
    }

    /// Puts the drives of a known deployment into their slots and finishes an interrupted formatting.
    fn known_slots(
        directories: &[PathBuf],
        found: &[Option<Format>],
        known: &Format,
    ) -> Result<Vec<Slot>, OpenError> {
        let mut slots: Vec<Option<Slot>> = known.drives.iter().map(|_| None).collect();
        let mut unformatted = Vec::new();
        for (path, format) in directories.iter().zip(found) {
            let Some(format) = format else {
                unformatted.push(path.clone());
                continue;
            };
            let same = format.deployment == known.deployment && format.drives == known.drives;
            let slot = format.slot().filter(|_| same);
            let slot = slot.ok_or_else(|| OpenError::Foreign { path: path.clone() })?;
            if slots[slot].is_some() {
                return Err(OpenError::Duplicate { path: path.clone() });
            }
            slots[slot] = Some(Slot { path: path.clone(), drive: Some(open_drive(path)?) });
        }
        let never_used = slots.iter().flatten().all(never_used);
        let mut unformatted = unformatted.into_iter();
        let fill = |(slot, known_slot): (usize, Option<Slot>)| match known_slot {
            Some(slot) => Ok(slot),
            // INVARIANT: there are as many unformatted directories as empty slots, both lists have one length.
            None => {
                let path = unformatted.next().unwrap_or_default();
                if never_used {
                    return format_drive(&path, known, slot);
                }
                tracing::error!(
                    drive = %path.display(),
                    "drive has no format.json and is left out; it may not be mounted"
                );
                Ok(Slot { path, drive: None })
            }
        };
        slots.into_iter().enumerate().map(fill).collect()
    }

    fn format(
        directories: &[PathBuf],
        deployment: &str,
        parity: Option<u8>,
    ) -> Result<Self, OpenError> {
        let parity = parity.unwrap_or_else(|| quorum::default_parity(directories.len()));
        check_parity(parity, directories.len())?;
        let ids = directories.iter().map(|path| drive_id(path)).collect::<Result<Vec<_>, _>>()?;
        let format = Format {
            format: FORMAT,
            deployment: deployment.to_owned(),
            drive: String::new(),
            drives: ids,
            parity,
        };
        let slots = directories
            .iter()
            .enumerate()
            .map(|(slot, path)| format_drive(path, &format, slot))
            .collect::<Result<Vec<_>, _>>()?;
        Self::over(slots, Some(parity))
    }

    /// An array over drives that are already open; their threads are started.
    pub(crate) fn over(slots: Vec<Slot>, parity: Option<u8>) -> Result<Self, OpenError> {
        let drives = slots.len();
        if !(1..=quorum::DRIVES_MAX).contains(&drives) {
            return Err(OpenError::DriveCount { count: drives });
        }
        let parity = parity.unwrap_or_else(|| quorum::default_parity(drives));
        check_parity(parity, drives)?;
        let geometry = Geometry { data: drives - usize::from(parity), parity: usize::from(parity) };
        let available = slots.iter().filter(|slot| slot.drive.is_some()).count();
        if available < geometry.data {
            return Err(OpenError::TooFewDrives { available, needed: geometry.data });
        }
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for (number, slot) in slots.into_iter().enumerate() {
            lanes.push(match slot.drive {
                Some(drive) => {
                    let (lane, more) =
                        Lane::start(number, slot.path, drive).map_err(OpenError::Thread)?;
                    threads.extend(more);
                    lane
                }
                None => Lane::missing(slot.path),
            });
        }
        Ok(Self { lanes, geometry, threads: Mutex::new(threads) })
    }

    /// All slots.
    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// The slots that hold metadata.
    pub(crate) fn replicas(&self) -> &[Arc<Lane>] {
        &self.lanes[..quorum::replicas(self.lanes.len())]
    }

    /// How new blobs are coded.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Lets go of all drives and waits for their threads.
    pub(crate) fn close(&self) {
        for lane in &self.lanes {
            lane.close();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // The last reference may be dropped on one of the threads, which cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        self.close();
    }
}

fn check_directories(directories: &[PathBuf]) -> Result<(), OpenError> {
    let count = directories.len();
    if !(1..=quorum::DRIVES_MAX).contains(&count) {
        return Err(OpenError::DriveCount { count });
    }
    let mut seen = Vec::with_capacity(count);
    for path in directories {
        // What cannot be resolved does not exist yet; its text is compared instead.
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if seen.contains(&resolved) {
            return Err(OpenError::Duplicate { path: path.clone() });
        }
        seen.push(resolved);
    }
    Ok(())
}

fn check_parity(parity: u8, drives: usize) -> Result<(), OpenError> {
    if usize::from(parity) * 2 > drives {
        return Err(OpenError::Parity { parity, drives });
    }
    Ok(())
}

fn drive_id(path: &Path) -> Result<String, OpenError> {
    let random = BlobId::random().map_err(OpenError::Rows)?;
    tracing::debug!(drive = %path.display(), id = %random, "new drive");
    Ok(random.to_string())
}

fn open_drive(path: &Path) -> Result<Arc<dyn Drive>, OpenError> {
    let drive = LocalDrive::open(path)
        .map_err(|source| OpenError::Drive { path: path.to_owned(), source })?;
    Ok(Arc::new(drive))
}

/// Makes a directory the drive of a slot. `format.json` comes last: with it, the drive is complete.
fn format_drive(path: &Path, format: &Format, slot: usize) -> Result<Slot, OpenError> {
    let drive = open_drive(path)?;
    Format { drive: format.drives[slot].clone(), ..format.clone() }
        .write(path)
        .map_err(|source| OpenError::Drive { path: path.to_owned(), source })?;
    Ok(Slot { path: path.to_owned(), drive: Some(drive) })
}

/// Whether nothing was ever committed to a drive: then its deployment is one whose formatting was interrupted.
fn never_used(slot: &Slot) -> bool {
    let version = crate::metadata::version::Version::read;
    slot.drive.as_ref().is_some_and(|drive| matches!(version(&**drive), Ok(None)))
}
