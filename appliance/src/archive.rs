//! A copy of finished segments in a bucket somewhere else, before anybody may prune them.
//!
//! Each sealed and packed segment goes there with its seal, under its path in the log's directory: whoever puts the files
//! back where they lay has the records again, and `appliance audit verify` reads them like any other. Where the bucket has
//! object lock, the copies are locked; the record of each copy (`audit:archive`) says whether they are.
//!
//! The objects are there first, then the record is durable, then the cursor moves: after a crash a segment may be put and
//! recorded twice, and never not at all. The bucket may be one of this appliance; then its address is asked like any other.

mod bucket;
mod cursor;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::{Clock, Log};

pub use self::bucket::{Address, ArchiveError};
pub(crate) use self::cursor::{Stored, file as cursor_file};
pub use self::worker::Archive;
use crate::siem::Secret;

/// Where copies go.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    pub region: String,
    pub access_key: String,
    pub secret_key: Secret,
    /// The only authorities to trust; those of the system and of `CAs/` otherwise.
    pub ca: Option<PathBuf>,
    /// How long a copy is locked, where the bucket can.
    pub lock: Option<Duration>,
}

/// What the archive needs of the server.
#[derive(Clone, Debug)]
pub struct House {
    pub log: Arc<Log>,
    pub clock: Arc<dyn Clock>,
    pub origin: String,
    /// The log's directory.
    pub audit_dir: PathBuf,
    /// Where the cursor lives.
    pub state_dir: PathBuf,
    pub certs_dir: PathBuf,
}

/// The first record that has no copy, by the cursor in a directory; the first of all before there is one.
///
/// # Errors
/// The cursor cannot be read.
pub(crate) fn next_record(state_dir: &std::path::Path, origin: &str) -> anyhow::Result<u64> {
    let stored = cursor::file(state_dir, origin).load::<Stored>()?;
    Ok(stored.map_or(0, |(stored, _)| stored.next))
}

/// Addresses and cursors. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    crate::cursor::fuzz::<Stored>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = Address::parse(text) {
        assert!(address.url("a/b").starts_with(text.trim_end_matches('/')), "{text}");
    }
    let _ = bucket::is_locked(text);
}
