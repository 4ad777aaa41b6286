//! What an auditor asks a running server: queries, single records, and the log as it grows.
//!
//! An auditor's right is an action like any other (`admin:AuditSearch` and its siblings; the canned policy `auditor`
//! has them and nothing else). Each question is decided by the gate, and its text and what it found are in the log
//! before an answer leaves. The paths begin with `/_/`, which no bucket can be called.

mod ask;
mod bundle;
mod follow;
mod log;
pub(crate) mod ndjson;
mod operation;
pub(crate) mod policies;
mod serve;

use std::sync::Arc;

use audit::{Log, Searcher, Tiles};
use tokio::sync::Semaphore;

pub use self::operation::Operation;
pub use self::serve::serve;
use crate::authz::Gate;
use crate::config::AuditOpen;
use crate::iam::Iam;

/// Where the calls with an answer of our own live.
pub const PREFIX: &str = "/_/audit/v1/";
/// Where the log itself lives, as C2SP tlog-tiles; its origin follows.
pub const LOG_PREFIX: &str = "/_/log/";
/// Searches at the same time; each may read the whole log.
const SEARCHES_MAX: usize = 2;
/// Readers that follow the log at the same time.
const FOLLOWERS_MAX: usize = 16;
/// Tiles and proofs that are made at the same time; each reads 256 records at most.
const TILES_MAX: usize = 8;

/// What the calls work on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    log: Arc<Log>,
    searcher: Arc<Searcher>,
    /// What is in force, for questions about policies.
    gate: Arc<Gate>,
    iam: Arc<Iam>,
    open: AuditOpen,
    tiles: Arc<Tiles>,
    searches: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    tile_reads: Arc<Semaphore>,
}

impl Context {
    #[must_use]
    pub fn new(
        log: Arc<Log>,
        searcher: Arc<Searcher>,
        (gate, iam): (Arc<Gate>, Arc<Iam>),
        (tiles, open): (Arc<Tiles>, AuditOpen),
    ) -> Self {
        Self {
            log,
            searcher,
            gate,
            iam,
            open,
            tiles,
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            tile_reads: Arc::new(Semaphore::new(TILES_MAX)),
        }
    }
}

/// Whether [`serve`] answers this path.
#[must_use]
pub fn is_auditor_path(path: &str) -> bool {
    path.starts_with("/_/")
}

/// The path and the body of a call. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    bundle::fuzz(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for method in [http::Method::GET, http::Method::POST] {
        if let Ok((operation, id)) = Operation::of(&method, text, "audit.example.com/node1") {
            assert_eq!(operation.method(), method, "an operation has one method");
            assert!(text.ends_with(id), "an id is what the path ends with");
        }
    }
}
