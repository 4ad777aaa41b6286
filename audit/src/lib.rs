//! A signed, hash-chained audit log in public formats, with its index and its verifier.
//!
//! The leaf of the tree is the exact line of one canonical JSON record; the tree is RFC 6962; heads are C2SP
//! checkpoints in C2SP signed notes. `FORMAT.md` has every byte. Reading order:
//!
//! - [`record`]: what happened, as plain data. [`encode`]: its canonical bytes, with gaps for `seq` and `time`.
//! - [`tree`], [`chain`], [`note`], [`checkpoint`]: the arithmetic of trust, pure.
//! - [`segment`]: batches of records in files. [`durable`]: the file system as the log needs it.
//! - [`seal`]: what a finished segment holds, signed.
//! - [`log`]: one writer thread, group commit, heads signed behind it.
//! - [`trust`]: whose signatures a verifier asks for. [`verify`]: everything again, from the bytes alone.
//! - [`tiles`]: the same log as other people's tools read it.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use audit::{Class, Ed25519Signer, EventId, LocalFiles, Log, Options, Record, SystemClock};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let origin = "audit.example.com/node1";
//! let signer = Arc::new(Ed25519Signer::from_seed(origin, &[7; 32]));
//! let options = Options { origin: origin.to_owned(), ..Options::default() };
//! let files = Arc::new(LocalFiles::new(dir));
//! let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options)?;
//! let record = Record::new(Class::Data, "s3:GetObject", EventId::new(1_767_225_600_000, [0; 10]));
//! let committed = log.append(&record)?.wait()?;
//! assert_eq!(log.durable_size(), committed.end);
//! log.close()?;
//! # Ok(())
//! # }
//! ```

mod archive;
pub mod chain;
pub mod checkpoint;
mod detour;
pub mod durable;
pub mod encode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod index;
pub mod keyring;
mod leaf;
pub mod log;
mod memory;
pub mod note;
pub mod proof;
mod pruned;
mod published;
pub mod query;
pub mod record;
pub mod seal;
pub mod search;
pub mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod stamp;
pub mod tiles;
pub mod tip;
pub mod tree;
pub mod trust;
mod upkeep;
pub mod verify;

pub use archive::{SealedSegment, sealed_segments};
pub use checkpoint::Head;
pub use detour::Detour;
pub use durable::{Copies, CopyEvent, Damage, Files, Lead, LocalFiles, Mirrored};
pub use index::{IndexError, Indexer};
pub use keyring::Keyring;
pub use log::{
    Answers, BlobError, ChangeError, Clock, Committed, Finished, HandClock, Log, LogError,
    Messenger, OpenError, Options, Pending, PruneBounds, PruneError, PrunePlan, Recovery,
    Sha256Hex, SystemClock, Watch, plan_prune, read_blob,
};
pub use memory::{Acceptance, Conflict, Gap, Mark, Marks, Memory, ToldGap, Unfinished, mark_at};
pub use note::{Ed25519Signer, Signer, Signers};
pub use pruned::{Pruned, leaf_hash, pruned};
pub use published::first_head_over;
pub use query::{Query, QueryError};
pub use record::{
    Auth, Class, ErrorInfo, EventId, Kms, Matched, Net, Outcome, Phase, Principal, Record,
    Resource, Sse, Trace, Verdict,
};
pub use search::{
    Answer, Bar, Cell, Coverage, Histogram, Method, NoPolicies, Piece, Policies, Replay, Replayed,
    Row, SearchError, SearchOptions, Searcher, Source, Table, find_event, pieces, read_record,
    records, search, tail,
};
pub use tiles::Tiles;
pub use trust::{Cosignature, TrustError, TrustPolicy};
pub use verify::{
    Fetched, Finding, Remote, RemoteLog, Report, Seen, State, VerifyError, VerifyOptions, verify,
    verify_against,
};
