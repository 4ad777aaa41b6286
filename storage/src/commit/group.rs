//! A group of batches on its way to one sync: what each drive will write, and what later checks must see of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::Quorum;
use crate::blobs::Attachment;
use crate::blobs::local::inline_key;
use crate::drive::lane::Lane;
use crate::drive::{DriveWrite, KeyRange, Table};
use crate::metadata::{Batch, Check, CommitError, replicated};

/// The writes of a group.
#[derive(Debug)]
pub(super) struct Group {
    /// For each replica.
    pub(super) rows: Vec<DriveWrite>,
    /// For each slot, its own small shards.
    pub(super) shards: Vec<Vec<DriveWrite>>,
    /// The rows as the group leaves them.
    overlay: BTreeMap<Bytes, Option<Bytes>>,
}

/// Which slots take the small shards of a blob, and how many of them must.
#[derive(Debug)]
pub(super) struct AttachedShards {
    slots: Vec<usize>,
    needed: usize,
}

impl AttachedShards {
    pub(super) fn of(attachment: &Attachment) -> Self {
        let slots = attachment.shards.iter().map(|(slot, _, _)| *slot).collect();
        Self { slots, needed: attachment.needed }
    }

    pub(super) fn quorum(&self, good: impl Fn(usize) -> bool) -> Quorum {
        let available = self.slots.iter().filter(|slot| good(**slot)).count();
        Quorum { available, needed: self.needed }
    }
}

/// Roughly what a batch adds to the journal of one drive.
pub(super) fn batch_bytes(batch: &Batch) -> usize {
    let value = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let rows: usize = batch.writes.iter().map(|w| w.key.len() + value(&w.value)).sum();
    let shards: usize = batch
        .attached
        .iter()
        .flat_map(|a| a.shards.iter().map(|(_, _, b)| b.len()))
        .max()
        .unwrap_or(0);
    rows + shards
}

impl Group {
    pub(super) fn new(slots: usize) -> Self {
        Self { rows: Vec::new(), shards: vec![Vec::new(); slots], overlay: BTreeMap::new() }
    }

    /// Evaluates checks over the replicas and what the group has changed so far.
    pub(super) fn check(
        &self,
        replicas: &[Arc<Lane>],
        checks: &[Check],
    ) -> Result<(), CommitError> {
        for (number, check) in checks.iter().enumerate() {
            let holds = match check {
                Check::Is(key, value) => self.get(replicas, key)? == *value,
                Check::Present(key) => self.get(replicas, key)?.is_some(),
                Check::Empty(range) => self.empty(replicas, range)?,
            };
            if !holds {
                return Err(CommitError::Check(number));
            }
        }
        Ok(())
    }

    fn get(&self, replicas: &[Arc<Lane>], key: &Bytes) -> Result<Option<Bytes>, CommitError> {
        match self.overlay.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(replicated::get(replicas, key)?),
        }
    }

    fn empty(&self, replicas: &[Arc<Lane>], range: &KeyRange) -> Result<bool, CommitError> {
        if range.start >= range.end {
            return Ok(true);
        }
        let bounds = (Bound::Included(&range.start[..]), Bound::Excluded(&range.end[..]));
        let mut removed = 0;
        for (_, value) in self.overlay.range::<[u8], _>(bounds) {
            if value.is_some() {
                return Ok(false);
            }
            removed += 1;
        }
        // One more than the group removed: if all of them are among the removed, nothing else is left.
        let rows = replicated::scan(replicas, range, removed + 1)?;
        Ok(rows.iter().all(|(key, _)| self.overlay.contains_key(key)))
    }

    /// Takes the writes of a batch whose checks held.
    pub(super) fn add(&mut self, batch: Batch) {
        for write in batch.writes {
            self.overlay.insert(write.key.clone(), write.value.clone());
            self.rows.push(DriveWrite { table: Table::Rows, key: write.key, value: write.value });
        }
        for attachment in batch.attached {
            for (slot, name, bytes) in attachment.shards {
                self.shard(slot, inline_key(name), Some(bytes));
            }
        }
        for detachment in batch.detached {
            for (slot, name) in detachment.shards {
                self.shard(slot, inline_key(name), None);
            }
        }
    }

    fn shard(&mut self, slot: usize, key: Bytes, value: Option<Bytes>) {
        if let Some(writes) = self.shards.get_mut(slot) {
            writes.push(DriveWrite { table: Table::Shards, key, value });
        }
    }
}
