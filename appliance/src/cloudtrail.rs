//! The log for tools that read AWS CloudTrail: log files and signed digest files in a bucket of our own, and the calls by
//! which `aws cloudtrail validate-logs` and its like find them.
//!
//! A thread that reads the durable log cuts it into periods by the records' own times. When a record of a later period is
//! there, the period before is closed: its records are written as log files, and a digest file that names their hashes
//! and the digest before it is signed. Names, bytes and signatures follow from the records and the cursor alone, so a
//! period that is written again after a crash is written with the same bytes: the chain has no gap and no fork.
//!
//! What this exit cannot show is that the newest digest is missing: the chain ends one link earlier and still holds.
//! `appliance audit verify --since` shows it of the log itself.
//!
//! # Source
//! AWS CloudTrail user guide, "CloudTrail log file names", "CloudTrail digest file structure", "Custom implementations
//! of CloudTrail log file integrity validation"; AWS CloudTrail API reference.

mod chain;
mod cursor;
mod desk;
mod exporter;
mod file;
mod key;
mod lookup;
mod names;
mod operation;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::{Clock, Log, Searcher};
use storage::BucketName;

pub(crate) use self::cursor::{Position, file as cursor_file};
pub use self::exporter::Exporter;
use self::key::SigningKey;
use self::names::Names;
pub use self::operation::Operation;
pub use self::serve::{is_cloudtrail_request, serve};
use crate::authz::Gate;
use crate::iam::Iam;
use crate::recorder::Recorder;
use crate::s3::auth::{Policy, Verifier};
use crate::siem::About;

/// Where the files go, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub bucket: BucketName,
    /// Whole seconds from one digest to the next.
    pub period: Duration,
}

/// What the exit needs of the server.
#[derive(Clone)]
pub struct House {
    pub gate: Arc<Gate>,
    pub iam: Arc<Iam>,
    pub log: Arc<Log>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Arc<Recorder>,
    pub about: Arc<About>,
    pub owner_id: String,
    pub searcher: Arc<Searcher>,
    /// Where the cursor lives.
    pub state_dir: PathBuf,
    /// Where the signing key lives.
    pub keys_dir: PathBuf,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House").field("about", &self.about).finish_non_exhaustive()
    }
}

/// What the calls work on.
#[derive(Debug)]
pub struct Context {
    verifier: Verifier,
    about: Arc<About>,
    searcher: Arc<Searcher>,
    names: Names,
    /// Absent where no bucket is configured.
    trail: Option<Trail>,
}

/// The one trail.
#[derive(Debug)]
struct Trail {
    settings: Settings,
    key: Arc<SigningKey>,
    exporter: Exporter,
}

impl Context {
    /// Starts to follow the log, if a bucket is configured.
    ///
    /// # Errors
    /// The signing key or the cursor cannot be used.
    pub fn start(settings: Option<Settings>, house: &House) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let about = Arc::clone(&house.about);
        let names = Names { account: about.account.clone(), region: about.region.clone() };
        let trail = match settings {
            None => None,
            Some(settings) => {
                let key = SigningKey::open_or_make(&house.keys_dir, house.clock.now_us());
                let key = Arc::new(key.context("opening the key that signs CloudTrail digests")?);
                let exporter = Exporter::start(&settings, house, &names, Arc::clone(&key));
                let exporter = exporter.context("starting the CloudTrail export")?;
                Some(Trail { settings, key, exporter })
            }
        };
        let verifier = Verifier::new(Policy::cloudtrail(vec![about.region.clone()]));
        Ok(Self { verifier, about, searcher: Arc::clone(&house.searcher), names, trail })
    }

    /// Ends the export; the period under way is written after the next start.
    pub fn stop(&self) {
        if let Some(trail) = &self.trail {
            trail.exporter.stop();
        }
    }
}

/// The first record that no stored digest covers, by the cursor in a directory; none before the export has begun.
///
/// # Errors
/// The cursor cannot be read.
pub(crate) fn next_record(
    state_dir: &std::path::Path,
    origin: &str,
) -> anyhow::Result<Option<u64>> {
    let stored = cursor::file(state_dir, origin).load::<Position>()?;
    Ok(stored.map(|(position, _)| position.next))
}

/// The body of `LookupEvents`, and the name of a call. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    crate::cursor::fuzz::<Position>(bytes);
    lookup::fuzz(bytes);
    let operation = std::str::from_utf8(bytes).ok().and_then(Operation::of);
    assert!(operation.is_none_or(|operation| operation.target().as_bytes() == bytes));
}
