//! A drive in memory: for tests of everything above the drive, and the disk under the fault simulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Drive, DriveError, DriveWrite, KeyRange, Pair, ShardName, StagedShard, Table};
use crate::blobs::local::{inline_key, parse_inline_key};

/// A drive whose contents live as long as one of its clones.
#[derive(Clone, Debug, Default)]
pub struct MemoryDrive {
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    tables: BTreeMap<(Table, Bytes), Bytes>,
    files: BTreeMap<ShardName, Bytes>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values, {} files", self.tables.len(), self.files.len())
    }
}

impl MemoryDrive {
    /// An empty drive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the bytes of one stored shard, inline or in a file, as rot would. Says whether there was one.
    pub fn rot(&self, name: ShardName, change: impl Fn(&mut Vec<u8>)) -> bool {
        let mut contents = self.contents();
        let key = (Table::Shards, inline_key(name));
        let rotten = |bytes: &mut Bytes| {
            let mut changed = bytes.to_vec();
            change(&mut changed);
            *bytes = changed.into();
        };
        let inline = contents.tables.get_mut(&key).map(rotten).is_some();
        inline | contents.files.get_mut(&name).map(rotten).is_some()
    }

    /// All shards, inline or in files.
    pub fn shards(&self) -> Vec<ShardName> {
        let contents = self.contents();
        let inline = contents.tables.keys().filter(|(table, _)| *table == Table::Shards);
        let inline = inline.filter_map(|(_, key)| parse_inline_key(key));
        contents.files.keys().copied().chain(inline).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drive for MemoryDrive {
    fn present(&self) -> Result<(), DriveError> {
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, DriveError> {
        Ok(self.contents().tables.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, table: Table, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, DriveError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let start = (table, Bytes::copy_from_slice(&range.start));
        let end = (table, Bytes::copy_from_slice(&range.end));
        let contents = self.contents();
        let pairs = contents.tables.range(start..end).take(limit);
        Ok(pairs.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, writes: &[DriveWrite]) -> Result<(), DriveError> {
        let mut contents = self.contents();
        for write in writes {
            let key = (write.table, write.key.clone());
            match &write.value {
                Some(value) => contents.tables.insert(key, value.clone()),
                None => contents.tables.remove(&key),
            };
        }
        Ok(())
    }

    fn stage(&self, name: ShardName) -> Result<Box<dyn StagedShard>, DriveError> {
        Ok(Box::new(Staged { drive: self.clone(), name, bytes: Vec::new() }))
    }

    fn read(
        &self,
        name: ShardName,
        offset: u64,
        bytes: usize,
    ) -> Result<Option<Bytes>, DriveError> {
        let contents = self.contents();
        let Some(file) = contents.files.get(&name) else { return Ok(None) };
        let start = (offset as usize).min(file.len());
        Ok(Some(file.slice(start..file.len().min(start + bytes))))
    }

    fn remove(&self, name: ShardName) -> Result<(), DriveError> {
        self.contents().files.remove(&name);
        Ok(())
    }

    fn shard_files(&self) -> Result<Vec<ShardName>, DriveError> {
        Ok(self.contents().files.keys().copied().collect())
    }
}

#[derive(Debug)]
struct Staged {
    drive: MemoryDrive,
    name: ShardName,
    bytes: Vec<u8>,
}

impl StagedShard for Staged {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>) -> Result<(), DriveError> {
        self.drive.contents().files.insert(self.name, self.bytes.into());
        Ok(())
    }
}
