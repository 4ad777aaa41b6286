//! A signed answer: what a query found among which records of which tree, so that a stranger who has the records can
//! find it again.
//!
//! ```text
//! audit-query/v1
//! <origin>
//! query sha256:<hex of the query's text>
//! now <time from which -24h counts>
//! range <from> <to>
//! root <size> <base64>
//! matches <n> sha256:<hex over the leaf hashes of the matches, in order of seq>
//! method index+tail | scan
//! ```
//! The text is signed by the log's key as a C2SP note. It cannot be taken for a checkpoint, whose first line is the
//! origin.
#![deny(clippy::indexing_slicing)]

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    checkpoint::Head,
    note::{self, NoteError, Signer},
    query::Query,
    stamp,
    tree::{Hash, leaf_hash},
};

use super::{Coverage, Method, SearchError, SearchOptions, Searcher, plan::Walk};

/// Matches that a claim may be about; each is held as its hash.
const MATCHES_MAX: usize = 10_000_000;

/// What can be said about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Number of matches in the answer's range.
    pub matches: u64,
    /// SHA-256 over the leaf hashes of the matches, in order of `seq`.
    pub sha256: Hash,
    coverage: Coverage,
    head: Head,
    now_us: u64,
}

/// As [`Searcher::claim`].
pub(super) fn claim(
    searcher: &Searcher,
    query: &Query,
    coverage: &Coverage,
    head: Head,
    within: Option<std::time::Duration>,
) -> Result<Claim, SearchError> {
    if coverage.to > head.size {
        return Err(SearchError::TooMuch("the answer has records that no head covers yet"));
    }
    let method = coverage.method;
    let options = SearchOptions { limit: 0, after: Some(coverage.to), method, within };
    let mut hashes = Vec::new();
    Walk::of(searcher, query, options)?.newest_first(&mut |row| {
        if row.seq < coverage.from {
            return Ok(false);
        }
        if hashes.len() == MATCHES_MAX {
            return Err(SearchError::TooMuch("a claim is about ten million records at most"));
        }
        hashes.push(leaf_hash(&row.leaf));
        Ok(true)
    })?;
    let mut digest = Sha256::new();
    for hash in hashes.iter().rev() {
        digest.update(hash);
    }
    Ok(Claim {
        matches: hashes.len() as u64,
        sha256: digest.finalize().into(),
        coverage: *coverage,
        head,
        now_us: query.now_us,
    })
}

impl Claim {
    /// The text that is signed.
    pub fn text(&self, origin: &str, query: &str) -> String {
        let method = match self.coverage.method {
            Method::Scan => "scan",
            Method::Auto | Method::Index => "index+tail",
        };
        format!(
            "audit-query/v1\n{origin}\nquery sha256:{}\nnow {}\nrange {} {}\nroot {} {}\nmatches {} sha256:{}\n\
             method {method}\n",
            hex::encode(Sha256::digest(query)),
            stamp::string(self.now_us),
            self.coverage.from,
            self.coverage.to,
            self.head.size,
            STANDARD.encode(self.head.root),
            self.matches,
            hex::encode(self.sha256),
        )
    }

    /// The text as a signed note.
    ///
    /// # Errors
    /// [`NoteError::Vkey`] when the signer's own key text is unusable.
    pub fn sign(&self, query: &str, signer: &dyn Signer) -> Result<String, NoteError> {
        let vkey = note::Vkey::parse(&signer.vkey())?;
        note::sign(&self.text(vkey.name(), query), signer)
    }
}
