//! What an auditor asks a running server: queries, single records, and the log as it grows.
//!
//! An auditor's right is an action like any other (`admin:AuditSearch` and its siblings; the canned policy `auditor`
//! has them and nothing else). Each question is decided by the gate, and its text and what it found are in the log
//! before an answer leaves. The paths begin with `/_/`, which no bucket can be called.

mod ask;
mod follow;
pub(crate) mod ndjson;
mod operation;
pub(crate) mod policies;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use audit::{Log, Signer};
use tokio::sync::Semaphore;

use crate::authz::Gate;
use crate::iam::Iam;

pub use self::operation::Operation;
pub use self::serve::serve;

/// Where all calls live.
pub const PREFIX: &str = "/_/audit/v1/";
/// Searches at the same time; each may read the whole log.
const SEARCHES_MAX: usize = 2;
/// Readers that follow the log at the same time.
const FOLLOWERS_MAX: usize = 16;

/// What the calls work on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    log: Arc<Log>,
    /// The log's directory.
    dir: PathBuf,
    /// What is in force, for questions about policies.
    gate: Arc<Gate>,
    iam: Arc<Iam>,
    /// The log's key, for answers that shall hold elsewhere.
    signer: Arc<dyn Signer>,
    searches: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Context {
    #[must_use]
    pub fn new(
        log: Arc<Log>,
        dir: PathBuf,
        (gate, iam): (Arc<Gate>, Arc<Iam>),
        signer: Arc<dyn Signer>,
    ) -> Self {
        let searches = Arc::new(Semaphore::new(SEARCHES_MAX));
        let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self { log, dir, gate, iam, signer, searches, followers }
    }
}

/// Whether [`serve`] answers this path.
#[must_use]
pub fn is_auditor_path(path: &str) -> bool {
    path.starts_with("/_/")
}
