//! How long records stay, what keeps them longer, and the two people that it takes to let them go.
//!
//! Nothing is pruned by itself. Somebody proposes: the proposal is a record with the digest of exactly what would go.
//! Somebody else confirms that digest before it expires, and only then whole days go (`audit::Log::prune`). A legal hold,
//! a receiver that is behind, or an archive that is not done keeps every day from the one that it needs.
//!
//! All of this is in the log and nowhere else: `audit:hold`, `audit:release`, `audit:prune-propose`, `audit:prune-refuse`,
//! `audit:prune`. A start reads it back, when it is first asked for. A hold whose record would be pruned is recorded again
//! before that.
//!
//! One period holds for all classes of records, because a segment holds them all: set it to the longest that is owed.

mod book;
mod hold;
mod identity;
mod keeper;
mod limits;

pub use self::book::{Book, Proposal};
pub use self::hold::{Hold, Subject};
pub use self::keeper::{House, Keeper, Proposed, Status};

use std::borrow::Cow;

use audit::{PruneError, SearchError};

use crate::recorder::Unrecorded;

/// Why something about retention was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    #[error("no retention is set; see [audit] retention")]
    Unlimited,
    #[error("nothing can be pruned: {0}")]
    Nothing(String),
    #[error("there is no open proposal `{0}`")]
    NoProposal(String),
    #[error("the proposal expired; propose again")]
    Expired,
    #[error("the digest is not the one that was proposed; `audit prune list` shows it")]
    Digest,
    #[error("`{0}` proposed this prune; somebody else has to confirm it")]
    SamePerson(String),
    #[error("the log is not as it was when this was proposed: {0}; propose again")]
    Changed(String),
    #[error("there is no hold `{0}`")]
    NoHold(String),
    #[error("{0}")]
    Argument(Cow<'static, str>),
    #[error("reading the log")]
    Read(#[from] SearchError),
    #[error("reading `{path}`")]
    Position { path: String, source: anyhow::Error },
    #[error("a record of a hold or a prune cannot be read")]
    Record(#[source] serde_json::Error),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error("writing the log")]
    Log(#[from] Unrecorded),
    #[error("a task of the server ended abnormally")]
    Task,
}

/// Records that speak of holds and proposals, and texts that name a subject. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut book = Book::default();
    for (leaf, seq) in bytes.split(|byte| *byte == b'\n').zip(0..) {
        let _ = book.take(seq, leaf);
    }
    assert!(book.holds().iter().all(|(id, hold)| *id == hold.id), "a hold has one name");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for given in [(Some(text), None), (None, Some(text))] {
        if let Ok(subject) = Subject::parse(given.0, given.1, (None, None)) {
            let params = subject.params();
            let read = Subject::read(&|name| params.get(name).cloned().unwrap_or_default());
            assert_eq!(read, subject, "a hold is read back as it was written");
        }
    }
    if let Ok(subject) = Subject::parse(None, None, (Some(text), Some(text))) {
        assert!(matches!(subject, Subject::Times { since, until } if since == until));
    }
}
