//! A drive that is a directory: one fjall database and shard files.
//!
//! ```text
//! format.json      who this drive is (see `format`)
//! db/              fjall: keyspaces rows, shards, state
//! shards/00…ff/    <blob id in hex>.<shard>; the first byte of the id names the directory
//! staging/         files that are not published; emptied at open
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Drive, DriveError, DriveWrite, KeyRange, Pair, ShardName, StagedShard, Table};
use crate::blobs::BlobId;

/// Block and blob cache of one drive's database. Gets cost 6 to 9 µs with a warm cache and a disk read without.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Flush and compaction threads of one drive's database: one drive cannot write faster than two threads fill it.
const WORKERS: usize = 2;

/// Values from this size on live in the value log of the `shards` keyspace, where compaction does not rewrite them.
const SEPARATION_BYTES: u32 = 1024;

pub(super) const FORMAT_FILE: &str = "format.json";
const DATABASE: &str = "db";
const SHARDS: &str = "shards";
const STAGING: &str = "staging";

/// An opened drive directory. The database is locked: a second process cannot open it.
pub struct LocalDrive {
    directory: PathBuf,
    database: Database,
    rows: Keyspace,
    shards: Keyspace,
    state: Keyspace,
}

impl LocalDrive {
    /// Opens the directory, creating what is missing in it, and empties `staging/`.
    ///
    /// # Errors
    /// When the directory cannot be prepared or the database does not open.
    pub fn open(directory: &Path) -> Result<Self, DriveError> {
        prepare(directory)?;
        let database = Database::builder(directory.join(DATABASE))
            .cache_size(CACHE_BYTES)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()
            .map_err(database("opening the database"))?;
        let plain = KeyspaceCreateOptions::default;
        let separated = || {
            plain().with_kv_separation(Some(
                KvSeparationOptions::default().separation_threshold(SEPARATION_BYTES),
            ))
        };
        let doing = "opening a keyspace";
        Ok(Self {
            rows: database.keyspace("rows", plain).map_err(self::database(doing))?,
            shards: database.keyspace("shards", separated).map_err(self::database(doing))?,
            state: database.keyspace("state", plain).map_err(self::database(doing))?,
            directory: directory.to_owned(),
            database,
        })
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Rows => &self.rows,
            Table::Shards => &self.shards,
            Table::State => &self.state,
        }
    }

    fn shard_path(&self, name: ShardName) -> PathBuf {
        let hex = name.blob.to_string();
        let fan = hex.get(..2).unwrap_or_default();
        self.directory.join(SHARDS).join(fan).join(format!("{hex}.{}", name.shard))
    }
}

/// All 256 directories are made now, so that publishing a shard has only one directory to sync.
fn prepare(directory: &Path) -> Result<(), DriveError> {
    let doing = "preparing the drive directory";
    let shards = directory.join(SHARDS);
    if !shards.join("ff").is_dir() {
        for fan in 0..=255u8 {
            fs::create_dir_all(shards.join(format!("{fan:02x}"))).map_err(DriveError::io(doing))?;
        }
        sync_directory(&shards)?;
    }
    let staging = directory.join(STAGING);
    fs::create_dir_all(&staging).map_err(DriveError::io(doing))?;
    for entry in fs::read_dir(&staging).map_err(DriveError::io(doing))? {
        let path = entry.map_err(DriveError::io(doing))?.path();
        fs::remove_file(path).map_err(DriveError::io("emptying the staging directory"))?;
    }
    sync_directory(directory)
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), DriveError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(DriveError::io("syncing a directory"))
}

fn database(doing: &'static str) -> impl FnOnce(fjall::Error) -> DriveError {
    move |source| DriveError::Database { doing, source: Box::new(source) }
}

impl Drive for LocalDrive {
    fn present(&self) -> Result<(), DriveError> {
        match fs::metadata(self.directory.join(FORMAT_FILE)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DriveError::Gone),
            Err(source) => Err(DriveError::Io { doing: "looking for the drive", source }),
        }
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, DriveError> {
        let value = self.keyspace(table).get(key).map_err(database("reading a value"))?;
        Ok(value.map(Bytes::from_owner))
    }

    fn scan(&self, table: Table, range: &KeyRange, limit: usize) -> Result<Vec<Pair>, DriveError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let bounds = range.start.as_slice()..range.end.as_slice();
        let mut pairs = Vec::new();
        for guard in self.keyspace(table).range(bounds).take(limit) {
            let (key, value) = guard.into_inner().map_err(database("scanning values"))?;
            pairs.push((Bytes::from_owner(key), Bytes::from_owner(value)));
        }
        Ok(pairs)
    }

    fn apply(&self, writes: &[DriveWrite]) -> Result<(), DriveError> {
        // ORDER: present, write and sync, present. A directory that was unlinked keeps taking writes into the void, so the
        // answer is only good if the drive is still there afterwards.
        self.present()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for write in writes {
            let keyspace = self.keyspace(write.table);
            match &write.value {
                Some(value) => batch.insert(keyspace, &write.key[..], &value[..]),
                None => batch.remove(keyspace, &write.key[..]),
            }
        }
        batch.commit().map_err(database("committing a batch"))?;
        self.present()
    }

    fn stage(&self, name: ShardName) -> Result<Box<dyn StagedShard>, DriveError> {
        let staged = self.directory.join(STAGING).join(format!("{}.{}", name.blob, name.shard));
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&staged)
            .map_err(DriveError::io("creating a shard"))?;
        Ok(Box::new(Staged { file, staged, path: self.shard_path(name), published: false }))
    }

    fn read(
        &self,
        name: ShardName,
        offset: u64,
        bytes: usize,
    ) -> Result<Option<Bytes>, DriveError> {
        let file = match File::open(self.shard_path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(DriveError::Io { doing: "opening a shard", source }),
        };
        let mut buffer = BytesMut::zeroed(bytes);
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(DriveError::Io { doing: "reading a shard", source }),
            }
        }
        buffer.truncate(filled);
        Ok(Some(buffer.freeze()))
    }

    fn remove(&self, name: ShardName) -> Result<(), DriveError> {
        match fs::remove_file(self.shard_path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(DriveError::io("removing a shard")),
        }
    }

    fn shard_files(&self) -> Result<Vec<ShardName>, DriveError> {
        let doing = "listing shards";
        let mut names = Vec::new();
        for fan in fs::read_dir(self.directory.join(SHARDS)).map_err(DriveError::io(doing))? {
            let fan = fan.map_err(DriveError::io(doing))?;
            for file in fs::read_dir(fan.path()).map_err(DriveError::io(doing))? {
                let file = file.map_err(DriveError::io(doing))?;
                // What is not called like a shard was not put there by us and is left alone.
                names.extend(file.file_name().to_str().and_then(parse_shard_name));
            }
        }
        Ok(names)
    }
}

fn parse_shard_name(name: &str) -> Option<ShardName> {
    let (blob, shard) = name.split_once('.')?;
    Some(ShardName { blob: BlobId::parse(blob)?, shard: shard.parse().ok()? })
}

impl std::fmt::Debug for LocalDrive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalDrive").field(&self.directory).finish()
    }
}

#[derive(Debug)]
struct Staged {
    file: File,
    staged: PathBuf,
    path: PathBuf,
    published: bool,
}

impl StagedShard for Staged {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        self.file.write_all(bytes).map_err(DriveError::io("writing a shard"))
    }

    fn publish(mut self: Box<Self>) -> Result<(), DriveError> {
        // ORDER: bytes before name, name before the directory entry counts as durable.
        self.file.sync_data().map_err(DriveError::io("syncing a shard"))?;
        fs::rename(&self.staged, &self.path).map_err(DriveError::io("publishing a shard"))?;
        self.published = true;
        match self.path.parent() {
            Some(directory) => sync_directory(directory),
            None => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed at the next open.
            let _ = fs::remove_file(&self.staged);
        }
    }
}
