//! Everything again, from the bytes alone.
//!
//! One pass over the directory in constant memory: signatures, every batch, every signed head against the tree, the
//! files beside them. It takes no lock and needs no index, so it works on a running log: the checkpoint is read
//! first, and an unfinished write after the newest head is no finding. It never parses a record unless asked to be
//! strict, so it does not depend on canonical form. Of a log that is elsewhere [`RemoteLog`] verifies what is served.

use std::{fmt, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::Head,
    durable, keyring,
    memory::ToldGap,
    note::{NoteError, Vkey},
    pruned::Pruned,
    tree::Hash,
};

mod ahead;
mod blobs;
mod heads;
mod keys;
mod pinpoint;
pub(crate) mod remote;
mod seals;
mod signed;
mod strict;
mod walk;

pub use remote::{FETCH_BYTES_MAX, Fetched, Remote, RemoteLog};

/// What to verify against.
#[derive(Clone)]
pub struct VerifyOptions<'a> {
    /// The log's verifier key, obtained from somewhere else than the directory.
    pub vkey: String,
    /// A head that somebody outside has kept; without one a cut tail cannot be told from no tail.
    pub last_seen: Option<Head>,
    /// Also check what the records say: canonical form, references, silence.
    pub strict: bool,
    /// Called with bytes done and bytes in all, now and then; of a remote log with records.
    pub progress: &'a dyn Fn(u64, u64),
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("vkey", &self.vkey)
            .field("last_seen", &self.last_seen)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

/// The verdict. Exhaustive: a new one must be handled everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Everything matches and an outside memory confirms it.
    Valid,
    /// Everything matches, but nothing outside says that the end is the end.
    TailUnproven,
    /// Bytes differ from what was hashed and signed.
    Modified,
    /// A file or a run of records is not there.
    Missing,
    /// Records are all there but not in their places, or there twice.
    Reordered,
    /// A signed head covers more records than there are.
    Truncated,
    /// Two signed heads contradict each other.
    Forked,
    /// A signature does not hold.
    BadSignature,
    /// Nothing that is known of the log's keys signed this.
    UnknownKey,
    /// Signed by a key of the log that was not in force for it, or was revoked.
    KeyWindow,
    /// Something that must appear regularly did not.
    Unsealed,
    /// The index differs from the records; never a result of [`verify`].
    IndexMismatch,
}

impl State {
    /// The exit code of `audit verify`; 2 stays for usage and I/O.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::TailUnproven => 3,
            Self::Modified => 10,
            Self::Missing => 11,
            Self::Reordered => 12,
            Self::Truncated => 13,
            Self::Forked => 14,
            Self::BadSignature | Self::UnknownKey | Self::KeyWindow => 15,
            Self::Unsealed => 16,
            Self::IndexMismatch => 17,
        }
    }

    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::TailUnproven => "TAIL-UNPROVEN",
            Self::Modified => "MODIFIED",
            Self::Missing => "MISSING",
            Self::Reordered => "REORDERED",
            Self::Truncated => "TRUNCATED",
            Self::Forked => "FORKED",
            Self::BadSignature => "BAD-SIGNATURE",
            Self::UnknownKey => "UNKNOWN-KEY",
            Self::KeyWindow => "KEY-WINDOW",
            Self::Unsealed => "UNSEALED",
            Self::IndexMismatch => "INDEX-MISMATCH",
        }
    }

    /// Which of several findings names the whole: the one that says most about intent and extent.
    fn weight(self) -> u8 {
        match self {
            Self::Forked => 11,
            Self::BadSignature => 10,
            Self::UnknownKey => 9,
            Self::KeyWindow => 8,
            Self::Reordered => 7,
            Self::Missing => 6,
            Self::Modified => 5,
            Self::Truncated => 4,
            Self::IndexMismatch => 3,
            Self::Unsealed => 2,
            Self::TailUnproven => 1,
            Self::Valid => 0,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub state: State,
    /// Path inside the log's directory.
    pub file: String,
    /// Byte in that file.
    pub offset: Option<u64>,
    /// Record.
    pub seq: Option<u64>,
    /// In words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.state, self.file)?;
        if let Some(offset) = self.offset {
            write!(f, ":{offset}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, " record {seq}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What there was to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The log's directory: everything.
    Directory,
    /// A remote log's hashes and records.
    Records,
    /// A remote log's hashes alone.
    Hashes,
}

impl Seen {
    /// The word that scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Records => "records",
            Self::Hashes => "hashes",
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub state: State,
    /// What it is about.
    pub seen: Seen,
    /// Origin of the log.
    pub origin: String,
    /// Records that follow from the beginning without a gap, or up to where the last readable batch claims to end.
    pub size: u64,
    /// Root over them; meaningful unless something is wrong.
    pub root: Hash,
    /// Records read.
    pub records: u64,
    /// Newest head with a good signature.
    pub head: Option<Head>,
    /// Records that are not there because they were pruned; their hashes were verified in their place.
    pub pruned: Option<Pruned>,
    /// Records that were lost before the log went on: others knew them, and somebody accepted it. What is there is sound
    /// all the same.
    pub gaps: Vec<ToldGap>,
    /// Everything that is wrong, in the order it was met; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Remarks that are no findings, such as an unfinished write at the end.
    pub remarks: Vec<String>,
}

/// Findings listed in a report; more than that is one sentence in the remarks.
pub const FINDINGS_MAX: usize = 1000;

impl Report {
    /// Adds a finding from outside the log's own bytes.
    pub fn find(&mut self, finding: Finding) {
        if self.state.weight() < finding.state.weight() {
            self.state = finding.state;
        }
        self.findings.push(finding);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: log {}", self.state, self.origin)?;
        match self.seen {
            Seen::Hashes => writeln!(f, "hashes of {} records read, no records", self.size)?,
            _ => writeln!(f, "{} records read, size {}", self.records, self.size)?,
        }
        writeln!(f, "root {}", STANDARD.encode(self.root))?;
        match &self.head {
            Some(head) => writeln!(f, "newest signed head covers {} records", head.size)?,
            None => writeln!(f, "no signed head")?,
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "note: {remark}"))
    }
}

/// Why nothing could be said about the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The verifier key is unusable.
    #[error("verifier key: {0}")]
    Key(#[from] NoteError),
    /// Reading failed.
    #[error("reading `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
    remarks: Vec<String>,
    unlisted: u64,
    worst: Option<State>,
}

impl Findings {
    fn add(
        &mut self,
        state: State,
        file: &str,
        at: (Option<u64>, Option<u64>),
        what: impl Into<String>,
    ) {
        if self.worst.is_none_or(|worst| worst.weight() < state.weight()) {
            self.worst = Some(state);
        }
        if self.list.len() == FINDINGS_MAX {
            self.unlisted += 1;
            return;
        }
        let (offset, seq) = at;
        self.list.push(Finding { state, file: file.to_owned(), offset, seq, what: what.into() });
    }

    /// Says how many are not listed.
    fn close(&mut self) {
        let unlisted = std::mem::take(&mut self.unlisted);
        if unlisted > 0 {
            self.remark(format!("{unlisted} more findings are not listed"));
        }
    }

    fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }
}

/// Verifies the log in `dir`.
///
/// # Errors
/// [`VerifyError`] when the key is unusable or reading fails; whatever the bytes say is a [`Report`].
pub fn verify(dir: &Path, options: &VerifyOptions<'_>) -> Result<Report, VerifyError> {
    verify_against(dir, options, &[])
}

/// The same, and compares the log with more heads, each with the place that it is from. They confirm nothing; the log must
/// only agree with them.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(
    dir: &Path,
    options: &VerifyOptions<'_>,
    known: &[(String, Head)],
) -> Result<Report, VerifyError> {
    match verify_now(dir, options, known) {
        // A prune took a segment away that was listed; from now on it is not listed any more.
        Err(VerifyError::Io { source, path })
            if source.kind() == io::ErrorKind::NotFound && path.starts_with("seg/") =>
        {
            verify_now(dir, options, known)
        }
        verified => verified,
    }
}

fn verify_now(
    dir: &Path,
    options: &VerifyOptions<'_>,
    known: &[(String, Head)],
) -> Result<Report, VerifyError> {
    let first = Vkey::parse(&options.vkey)?;
    let mut findings = Findings::default();
    // ORDER: on a running log each of these may grow; what is signed is read before what it covers, and before the
    // changes of the key that it may be signed by.
    signed::identity(dir, &first, &mut findings)?;
    let checkpoint = read_optional(dir, "checkpoint")?;
    let lists = heads::lists(dir)?;
    let read = |path: &str| read_optional(dir, path);
    let count = keyring::paths(&|path| durable::list(&dir.join(path)))
        .map_err(|source| VerifyError::Io { path: "key".to_owned(), source })?
        .len();
    let mut changes = keys::Changes::open(&read, Some(count), &first, &mut findings)?;
    let keys = changes.keys().clone();
    let checkpoint = signed::checkpoint(checkpoint, &keys, &mut findings);
    let mut wanted: Vec<_> = changes.heads();
    wanted.extend(known.iter().cloned());
    wanted.extend(options.last_seen.map(|head| ("the head kept outside".to_owned(), head)));
    let mut heads = heads::Heads::open(dir, &keys, checkpoint, lists, wanted);
    let mut seals = seals::Seals::open(dir, &keys)?;
    let mut end = ahead::Pool::with(walk::bytes(dir)?, |pool| {
        let signed = (&mut heads, &mut seals, &mut changes);
        walk::segments(dir, options, signed, pool, &mut findings)
    })?;
    heads.finish(&end, &mut findings);
    let front = std::mem::take(&mut end.front);
    let pruned = front.finish(dir, &heads, &seals, &mut findings)?;
    changes.finish(pruned.as_ref().map_or(0, |pruned| pruned.end), &read, &mut findings)?;
    seals.finish(&end, &mut findings)?;
    blobs::check(dir, "blob", &mut findings)?;
    blobs::check(dir, "quarantine", &mut findings)?;
    let gaps = std::mem::take(&mut end.gaps);
    gaps.iter().for_each(|gap| findings.remark(gap.to_string()));
    findings.close();
    let sound = if options.last_seen.is_some() { State::Valid } else { State::TailUnproven };
    Ok(Report {
        state: findings.worst.unwrap_or(sound),
        seen: Seen::Directory,
        origin: first.name().to_owned(),
        size: end.tip.size(),
        root: end.tip.frontier.root(),
        records: end.records,
        head: heads.newest(),
        pruned,
        gaps,
        findings: findings.list,
        remarks: findings.remarks,
    })
}

/// Reads a file that may be absent.
fn read_optional(dir: &Path, path: &str) -> Result<Option<Vec<u8>>, VerifyError> {
    match std::fs::read(dir.join(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Io { path: path.to_owned(), source }),
    }
}
