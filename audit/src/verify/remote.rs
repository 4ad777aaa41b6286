//! A log of which only its tiles are seen, from a running server or a static host: everything up to its newest head.
//!
//! The hashes of every record are fetched, and the records where they may be read; they must lead to the signed root and
//! to every head that somebody kept. The walk over segments is another one, because a segment carries its own checksums
//! and a tile is judged by the one above it; heads, keys, prunes and the report are the same. Seals, the list of heads,
//! policies and quarantine are not to be seen from outside, which the report says.
//!
//! # Source
//! C2SP tlog-tiles, "Merkle tree" and "Log entries"; beside it `key/NNNN.note` as in `FORMAT.md`, "Keys".
#![deny(clippy::indexing_slicing)]

use std::{fmt, io};

use crate::{
    checkpoint::Head,
    keyring::Keyring,
    note::{NOTE_BYTES_MAX, Vkey},
};

use self::walk::{Records, Walk};
use super::{
    Findings, Report, Seen, State, VerifyError, VerifyOptions, heads::Heads, keys::Changes, signed,
    walk::End,
};

mod above;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod runs;
mod walk;

/// The longest file that a log may have: 256 records of at most 65 535 bytes, each after its length.
pub const FETCH_BYTES_MAX: usize = 256 * (2 + u16::MAX as usize);

/// What came of asking for a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Fetched {
    /// These bytes.
    Found(Vec<u8>),
    /// It is not there.
    Absent,
    /// It was there and was taken away for good.
    Gone,
    /// It is not for us.
    Denied,
    /// The host says that it cannot, in its own words, and asking again does not help.
    Failed(String),
    /// More bytes than any file of a log has.
    TooLong,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(bytes) => write!(f, "Found({} bytes)", bytes.len()),
            Self::Absent => f.write_str("Absent"),
            Self::Gone => f.write_str("Gone"),
            Self::Denied => f.write_str("Denied"),
            Self::Failed(what) => write!(f, "Failed({what})"),
            Self::TooLong => f.write_str("TooLong"),
        }
    }
}

/// Where a log's tiles are. Contract: paths are those of C2SP tlog-tiles below the log's address; several threads ask at
/// once; an answer has at most [`FETCH_BYTES_MAX`] bytes and may be a lie; what is only not there yet is waited for within
/// a bound; every call returns within a bound, and an error ends the verification without a verdict.
pub trait Remote: fmt::Debug + Sync {
    /// Fetches one file.
    ///
    /// # Errors
    /// The host does not answer.
    fn fetch(&self, path: &str) -> io::Result<Fetched>;
}

/// What a remote log says of itself: its newest head, and its keys.
pub struct RemoteLog<'a> {
    remote: &'a dyn Remote,
    first: Vkey,
    changes: Changes,
    checkpoint: Option<Vec<u8>>,
    findings: Findings,
}

impl fmt::Debug for RemoteLog<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLog").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl<'a> RemoteLog<'a> {
    /// Fetches the newest head, and after it the changes of the key that lead from `first` to the one that signed it.
    ///
    /// # Errors
    /// The host does not answer, or not to us.
    pub fn open(remote: &'a dyn Remote, first: &Vkey) -> Result<Self, VerifyError> {
        let mut findings = Findings::default();
        let path = "checkpoint";
        let nowhere = (None, None);
        let checkpoint = match get(remote, path)? {
            Fetched::Found(note) if note.len() <= NOTE_BYTES_MAX => Some(note),
            Fetched::Found(_) | Fetched::TooLong => {
                findings.add(State::Modified, path, nowhere, "it is longer than any signed head");
                None
            }
            Fetched::Absent | Fetched::Gone => None,
            Fetched::Denied => return Err(denied(path)),
            Fetched::Failed(what) => {
                let what = format!("the newest head is not to be had: {what}");
                findings.add(State::Missing, path, nowhere, what);
                None
            }
        };
        // ORDER: after the head, so that they are at least as new. A host that has only tiles says nothing of keys.
        let read = |path: &str| note(remote, path);
        let changes = Changes::open(&read, None, first, &mut findings)?;
        Ok(Self { remote, first: first.clone(), changes, checkpoint, findings })
    }

    /// The log's keys, as far as they follow from the first one.
    pub fn keys(&self) -> &Keyring {
        self.changes.keys()
    }

    /// The newest head as it was fetched.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.checkpoint.as_deref()
    }

    /// Fetches everything that the newest head covers and compares it. `progress` of the options is called with records
    /// done and records in all.
    ///
    /// # Errors
    /// [`VerifyError`] when the host does not answer; whatever it answers is a [`Report`].
    pub fn verify(self, options: &VerifyOptions<'_>) -> Result<Report, VerifyError> {
        let (remote, first, before) = (self.remote, self.first.clone(), self.checkpoint.clone());
        let (report, unexplained) = self.verify_once(options)?;
        if !unexplained {
            return Ok(report);
        }
        // Records were taken away while this was read: a newer head may cover the record that says so.
        let again = Self::open(remote, &first)?;
        if again.checkpoint == before {
            return Ok(report);
        }
        again.verify_once(options).map(|(report, _)| report)
    }

    /// The report, and whether records are gone without a word why.
    fn verify_once(self, options: &VerifyOptions<'_>) -> Result<(Report, bool), VerifyError> {
        let Self { remote, mut changes, checkpoint, mut findings, .. } = self;
        let keys = changes.keys().clone();
        let checkpoint = signed::checkpoint(checkpoint, &keys, &mut findings);
        let head = checkpoint.as_ref().map(|checkpoint| checkpoint.head);
        let mut wanted = changes.heads();
        wanted.extend(options.last_seen.map(|head| ("the head kept outside".to_owned(), head)));
        let mut heads = Heads::unlisted(&keys, checkpoint, wanted);
        let mut walk = Walk::new(remote, options, &mut heads, &mut changes, &mut findings);
        match head {
            Some(head) => walk.follow(head)?,
            None if walk.is_sound() => walk.remark("no head was signed yet"),
            None => {}
        }
        let (end, records, front) = walk.into_parts();
        heads.finish(&end, &mut findings);
        let (pruned, unexplained) = front.finish(&heads, &mut findings);
        if records.seen == Seen::Records {
            let begin = pruned.map_or(0, |pruned| pruned.end);
            changes.finish(begin, &|path| note(remote, path), &mut findings)?;
        }
        let report = report(&keys, options, head, &end, records, findings);
        Ok((Report { pruned, ..report }, unexplained))
    }
}

fn report(
    keys: &Keyring,
    options: &VerifyOptions<'_>,
    head: Option<Head>,
    end: &End,
    records: Records,
    mut findings: Findings,
) -> Report {
    end.gaps.iter().for_each(|gap| findings.remark(gap.to_string()));
    findings.close();
    if records.seen == Seen::Hashes {
        findings.remark(
            "the records are not open to us: their hashes lead to the signed head, and what they say was not read",
        );
    }
    findings.remark(
        "seals, the list of heads, policies and time-stamps are not served; `verify` over the log's directory checks them",
    );
    let sound = if options.last_seen.is_some() { State::Valid } else { State::TailUnproven };
    Report {
        state: findings.worst.unwrap_or(sound),
        seen: records.seen,
        origin: keys.origin().to_owned(),
        size: end.tip.size(),
        root: end.tip.frontier.root(),
        records: records.read,
        head,
        pruned: None,
        gaps: end.gaps.clone(),
        findings: findings.list,
        remarks: findings.remarks,
    }
}

fn get(remote: &dyn Remote, path: &str) -> Result<Fetched, VerifyError> {
    remote.fetch(path).map_err(|source| VerifyError::Io { path: path.to_owned(), source })
}

fn denied(path: &str) -> VerifyError {
    let source = io::Error::new(io::ErrorKind::PermissionDenied, "it is not open to us");
    VerifyError::Io { path: path.to_owned(), source }
}

/// A change of the key, if the host has it.
fn note(remote: &dyn Remote, path: &str) -> Result<Option<Vec<u8>>, VerifyError> {
    Ok(match get(remote, path)? {
        Fetched::Found(note) => Some(note),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
