//! Opening a log: identity, what was promised, what is there, what was torn.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use crate::{
    checkpoint::{CheckpointError, Head},
    durable::{Files, read_optional},
    keyring::{Change, FollowError, Keyring},
    memory::{self, Acceptance, Gap, Settled},
    note::{KeyId, NoteError, Signer, Signers, Vkey},
    segment::{self, Recovered, recover::RecoverError},
    tip::Tip,
};

use super::{
    Clock, Finished, LockGuard, Log, Options, Recovery, Sha256Hex, Shared, TileRoots, Watch,
    heads::{self, Heads},
    identity,
    keys::{self, Signing},
    prune::{self, PruneError},
    queue::{Pace, Queue},
    sealer::{Bell, Sealer},
    signer::{Mailbox, SignerThread},
    writer::Writer,
};

/// Why a log was not opened. Nothing was written, except after [`OpenError::Start`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Reading or writing failed.
    #[error("opening the audit log, `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the audit log is in use by another process")]
    Locked,
    /// The directory holds another log.
    #[error("the directory holds the log `{found}`, not `{expected}`")]
    Origin {
        /// Name on disk.
        found: String,
        /// Name in the options.
        expected: String,
    },
    /// Written by a newer release.
    #[error("the audit log has format {found}; this release reads format {}", identity::FORMAT)]
    Format {
        /// Number on disk.
        found: u64,
    },
    /// The signing key is not the one that this log was created with.
    #[error("`{path}` does not verify under the configured key: {source}")]
    Key {
        /// Which file.
        path: String,
        /// Why.
        source: CheckpointError,
    },
    /// A file that must be there is not.
    #[error("the audit log has records but no `{path}`; restore it from a copy")]
    Absent {
        /// Which file.
        path: String,
    },
    /// Signed heads know more records than the segments hold.
    #[error(
        "the segments hold {local} records but a signed head covers {known}: records are lost; \
         restore the missing segments from a copy"
    )]
    Truncated {
        /// Records found.
        local: u64,
        /// Records promised.
        known: u64,
    },
    /// Signed heads and segments tell different stories.
    #[error("the records do not match the signed head of size {size}; run `audit verify`")]
    Mismatch {
        /// Size of the head.
        size: u64,
    },
    /// Others know records that the log does not have.
    #[error(
        "{gap}. Put the log back from a copy that has them; if there is none, `audit accept-gap {digest}` says in the log \
         that they are lost and lets it go on"
    )]
    Gap {
        /// [`Gap::digest`], by which it can be accepted.
        digest: Sha256Hex,
        /// Who knows what.
        gap: Box<Gap>,
    },
    /// Somebody accepted that records are lost, and none are.
    #[error(
        "nobody knows more of the audit log than its {size} records, so there is nothing to accept"
    )]
    NoGap {
        /// Records of the log.
        size: u64,
    },
    /// The copies of a log on several drives cannot be brought together.
    #[error("{0}")]
    Copies(String),
    /// A segment is damaged where no crash can have damaged it.
    #[error("{0}; run `audit verify`")]
    Damaged(String),
    /// The log's keys are not known.
    #[error("the log's keys: {0}; restore the file from a copy")]
    Keys(#[from] FollowError),
    /// The secret of the key that signs now was not given.
    #[error(
        "the log is signed by key {current} now, and its secret is not there; restore it from a backup"
    )]
    NotInForce {
        /// The key in force.
        current: KeyId,
    },
    /// The options cannot be used.
    #[error("{0}")]
    Options(&'static str),
    /// The first records of this start could not be written.
    #[error("starting the audit log: {0}")]
    Start(String),
}

impl Log {
    /// Opens the log under `files`, or creates it where there is none, and records the start.
    ///
    /// # Errors
    /// See [`OpenError`]. A log whose heads know more than its segments, or with damage that is not a torn tail, is
    /// never opened.
    pub fn open(
        files: Arc<dyn Files>,
        signers: impl Into<Signers>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, Recovery), OpenError> {
        let signers = signers.into();
        let signer = signers.first().ok_or(OpenError::Options("a log needs a signing key"))?;
        let vkey = key_of(signer.as_ref(), &options)?;
        let lock = files.lock().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked,
            _ => OpenError::Io { path: "LOCK".to_owned(), source },
        })?;
        files.reconcile().map_err(|error| OpenError::Copies(error.to_string()))?;
        let first =
            check_identity(files.as_ref(), signer.as_ref(), &vkey, clock.as_ref(), &options)?;
        let created = first.is_none();
        let keys = keys_of(files.as_ref(), &first.unwrap_or(vkey), &signers)?;
        let in_force = OpenError::NotInForce { current: keys.current().id() };
        let signer = Arc::clone(signers.of(keys.current()).ok_or(in_force)?);
        let (known, torn_head) = newest_head(files.as_ref(), &keys)?;
        let recovered = recover(files.as_ref(), known.as_ref())?;
        let settled = memory::settle(files.as_ref(), &recovered.tip, &options)?;
        let clean = torn_head.is_none() && is_clean(known.as_ref(), &recovered);
        // ORDER: repairs come after every reason to refuse.
        if let Some(torn) = &torn_head {
            repair_heads(files.as_ref(), torn).map_err(io_error("heads"))?;
        }
        let covered = known.as_ref().map_or(0, |head| head.size);
        let begun = prune::resume(files.as_ref(), covered).map_err(unfinished)?;
        let (segment, torn) = active_segment(&files, &recovered, clock.as_ref(), &options)
            .map_err(io_error("seg"))?;
        let torn: Vec<Torn> = torn.into_iter().chain(torn_head).collect();
        let discarded_bytes = torn.iter().map(|torn| torn.bytes.len() as u64).sum();
        let Settled { gap, unfinished } = settled;
        let size = recovered.tip.size();
        let recovery = Recovery { size, clean, created, discarded_bytes, gap, unfinished };
        let shared = Arc::new(Shared {
            files: files.clone(),
            queue: Queue::new(options.queue_bytes_max),
            durable: Watch::new(recovered.tip.size()),
            to_sign: Mailbox::default(),
            to_seal: Bell::default(),
            tiles: TileRoots::default(),
            signed: Watch::new(covered),
            segments: Mutex::new(()),
            signing: Mutex::new(Signing::new(keys.clone(), signer)),
            lock: Mutex::new(Some(LockGuard(lock))),
        });
        let mut writer = Writer {
            shared: shared.clone(),
            clock: clock.clone(),
            options: options.clone(),
            tip: recovered.tip,
            segment,
            batch: segment::Batch::default(),
            last_heartbeat: Instant::now(),
            clock_reported: false,
            pace: Pace::default(),
            looked: None,
            unsaid: None,
            events: VecDeque::new(),
        };
        if let Some((gap, accepted)) = recovery.gap.as_ref().zip(options.accepted.as_ref()) {
            record_gap(&mut writer, gap, accepted).map_err(OpenError::Start)?;
        }
        let unrecorded = keys::unrecorded(&keys, known.as_ref());
        record_start(&mut writer, &recovery, &torn, unrecorded).map_err(OpenError::Start)?;
        let sealing = Sealer {
            shared: shared.clone(),
            clock: clock.clone(),
            origin: options.origin.clone(),
            node: options.node.clone(),
            finished: options.finished,
        };
        let signing = SignerThread {
            shared: shared.clone(),
            clock: clock.clone(),
            heads: Heads::new(files),
            interval: options.sign_interval,
        };
        let mut threads = vec![
            spawn("audit-writer", move || writer.run())?,
            spawn("audit-signer", move || signing.run())?,
        ];
        if options.finished != Finished::Left {
            threads.push(spawn("audit-sealer", move || sealing.run())?);
        }
        if let Some(begun) = begun {
            let shared = shared.clone();
            threads.push(spawn("audit-pruner", move || prune::finish(&shared, &begun))?);
        }
        let log = Self {
            shared,
            clock,
            node: options.node,
            threads: Mutex::new(threads),
            blobs_known: Mutex::new(HashSet::new()),
        };
        Ok((log, recovery))
    }
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> OpenError + '_ {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

/// A prune that was begun cannot be finished.
fn unfinished(error: PruneError) -> OpenError {
    match error {
        PruneError::Io { path, source } => OpenError::Io { path, source },
        other => OpenError::Damaged(other.to_string()),
    }
}

fn key_of(signer: &dyn Signer, options: &Options) -> Result<Vkey, OpenError> {
    let path = identity::PATH.to_owned();
    let vkey = Vkey::parse(&signer.vkey())
        .map_err(|source| OpenError::Key { path, source: source.into() })?;
    if vkey.name() != options.origin {
        return Err(OpenError::Options("the signing key's name must be the log's origin"));
    }
    if options.segment_bytes_max == 0 {
        return Err(OpenError::Options("a segment needs room for a batch"));
    }
    Ok(vkey)
}

/// Compares `log.json` with what is expected and returns the log's first key; or writes it into an empty directory, and
/// returns none.
fn check_identity(
    files: &dyn Files,
    signer: &dyn Signer,
    vkey: &Vkey,
    clock: &dyn Clock,
    options: &Options,
) -> Result<Option<Vkey>, OpenError> {
    let path = identity::PATH;
    let Some(bytes) = read_optional(files, path).map_err(io_error(path))? else {
        let records = segment::names(&|p| files.list(p)).map_err(io_error("seg"))?;
        let heads = read_optional(files, "checkpoint").map_err(io_error("checkpoint"))?;
        if !records.is_empty() || heads.is_some() {
            return Err(OpenError::Absent { path: path.to_owned() });
        }
        // A log that others know does not begin again without a word.
        memory::settle(files, &Tip::default(), options)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| OpenError::Start(e.to_string()))?;
        let note = identity::create(vkey.name(), signer, clock.now_us(), &random)
            .map_err(|e| OpenError::Start(e.to_string()))?;
        files.replace(path, note.as_bytes()).map_err(io_error(path))?;
        return Ok(None);
    };
    let key = |source: NoteError| OpenError::Key { path: path.to_owned(), source: source.into() };
    let peeked = identity::peek(&bytes).ok_or(key(NoteError::Malformed))?;
    if peeked.format > identity::FORMAT {
        return Err(OpenError::Format { found: peeked.format });
    }
    if peeked.origin != vkey.name() {
        return Err(OpenError::Origin { found: peeked.origin, expected: vkey.name().to_owned() });
    }
    // The first key may be gone, so `log.json` is only checked to be its own. That it is the start of ours follows from
    // the changes that lead from it to a key whose secret we have; without changes it must be ours.
    let first = peeked.vkeys.first().ok_or(key(NoteError::Malformed))?;
    let first = Vkey::parse(first).map_err(key)?;
    identity::open(&bytes, &first).map_err(key)?;
    Ok(Some(first))
}

/// The log's keys from `first` on. A key that was never the log's is told from one that is not in force any more.
fn keys_of(files: &dyn Files, first: &Vkey, signers: &Signers) -> Result<Keyring, OpenError> {
    let keys = Keyring::of_files(first, files)?;
    if keys.keys().any(|key| signers.of(&key.vkey).is_some()) {
        return Ok(keys);
    }
    let path = identity::PATH.to_owned();
    Err(OpenError::Key { path, source: NoteError::UnknownKey.into() })
}

/// A write that a crash tore: its file, where it begins there, and its bytes.
pub(crate) struct Torn {
    path: String,
    at: u64,
    bytes: Vec<u8>,
}

/// The largest signed head in `checkpoint` and the newest list of heads, and what a torn write left in that list.
pub(crate) fn newest_head(
    files: &dyn Files,
    keys: &Keyring,
) -> Result<(Option<Head>, Option<Torn>), OpenError> {
    let key = |path: &str, source| OpenError::Key { path: path.to_owned(), source };
    let checkpoint = read_optional(files, "checkpoint").map_err(io_error("checkpoint"))?;
    let checkpoint = checkpoint.map(|bytes| keys.head_to_compare(&bytes)).transpose();
    let checkpoint = checkpoint.map_err(|error| key("checkpoint", error))?;
    let lists = heads::paths(&|path| files.list(path)).map_err(io_error("heads"))?;
    let (mut listed, mut torn) = (None, None::<Torn>);
    // A list that was created just before a crash may hold no head; then the one before it has the last.
    for path in lists.iter().rev() {
        let bytes = files.read(path).map_err(io_error(path))?;
        let ending = heads::ending(&bytes, keys).map_err(|error| key(path, error))?;
        if let Some(rest) = bytes.get(ending.at..).filter(|rest| !rest.is_empty()) {
            if let Some(later) = &torn {
                return Err(torn_elsewhere(path, ending.at as u64, &later.path));
            }
            torn = Some(Torn { path: path.clone(), at: ending.at as u64, bytes: rest.to_vec() });
        }
        listed = ending.head;
        if listed.is_some() {
            break;
        }
    }
    let ahead = checkpoint.filter(|c| listed.is_none_or(|head| head.size < c.size));
    // The list is durable before the checkpoint is written, so what a crash tore is newer than the checkpoint.
    match (ahead, torn) {
        (Some(_), Some(torn)) => Err(torn_elsewhere(&torn.path, torn.at, "checkpoint")),
        (ahead, torn) => Ok((ahead.or(listed), torn)),
    }
}

fn torn_elsewhere(path: &str, at: u64, newer: &str) -> OpenError {
    OpenError::Damaged(format!("`{path}` is damaged at byte {at}, and `{newer}` is newer"))
}

/// Moves what a torn write left in a list of heads to `quarantine/`.
fn repair_heads(files: &dyn Files, torn: &Torn) -> io::Result<()> {
    files.replace(&format!("quarantine/{}", Sha256Hex::of(&torn.bytes)), &torn.bytes)?;
    files.open(&torn.path)?.truncate(torn.at)
}

/// Finds the end of the records and compares it with the newest head.
fn recover(files: &dyn Files, known: Option<&Head>) -> Result<Recovered, OpenError> {
    let recovered = segment::recover(files, known).map_err(|error| match error {
        RecoverError::Io(source) => OpenError::Io { path: "seg".to_owned(), source },
        other => OpenError::Damaged(other.to_string()),
    })?;
    let local = recovered.tip.size();
    match known {
        Some(known) if known.size > local => Err(OpenError::Truncated { local, known: known.size }),
        Some(known) if recovered.root_at_known.is_some_and(|root| root != known.root) => {
            Err(OpenError::Mismatch { size: known.size })
        }
        _ => Ok(recovered),
    }
}

/// A proper close signs the last record; anything else leaves records or bytes after the newest head.
fn is_clean(known: Option<&Head>, recovered: &Recovered) -> bool {
    let torn = recovered.active.as_ref().is_some_and(|(_, _, torn)| !torn.is_empty());
    !torn && known.map_or(0, |head| head.size) == recovered.tip.size()
}

/// The segment to append to; a torn tail is copied to `quarantine/` before it is cut.
fn active_segment(
    files: &Arc<dyn Files>,
    recovered: &Recovered,
    clock: &dyn Clock,
    options: &Options,
) -> io::Result<(segment::Writer, Option<Torn>)> {
    let ahead = options.preallocate_bytes;
    let Some((name, end, torn)) = &recovered.active else {
        let writer = segment::Writer::create(files.clone(), &recovered.tip, clock.now_us(), ahead)?;
        return Ok((writer, None));
    };
    let torn =
        (!torn.is_empty()).then(|| Torn { path: name.path.clone(), at: *end, bytes: torn.clone() });
    if let Some(torn) = &torn {
        files.replace(&format!("quarantine/{}", Sha256Hex::of(&torn.bytes)), &torn.bytes)?;
    }
    let writer = segment::Writer::reopen(files.clone(), name.clone(), *end, clock.now_us(), ahead)?;
    Ok((writer, torn))
}

/// ORDER: before everything else, so that the gap is the first thing after it.
fn record_gap(writer: &mut Writer, gap: &Gap, accepted: &Acceptance) -> Result<(), String> {
    let params = gap.params(accepted);
    let params: Vec<_> =
        params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    tracing::warn!(%gap, by = accepted.by, "the audit log goes on behind a gap");
    writer.commit_own("audit:gap", &params)
}

fn record_start(
    writer: &mut Writer,
    recovery: &Recovery,
    torn: &[Torn],
    unrecorded: Option<(&Change, &[u8])>,
) -> Result<(), String> {
    let size = recovery.size.to_string();
    for torn in torn {
        let params = [
            ("discarded_bytes", torn.bytes.len().to_string()),
            ("file", torn.path.clone()),
            ("sha256", Sha256Hex::of(&torn.bytes).into()),
            ("size", size.clone()),
        ];
        writer.commit_own("audit:recovery", &params)?;
    }
    let params = [
        ("clean", recovery.clean.to_string()),
        ("previous_size", size),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    writer.commit_own("audit:start", &params)?;
    if let Some((change, note)) = unrecorded {
        let (action, params) = change.record(&String::from_utf8_lossy(note));
        writer.commit_own(action, &params)?;
    }
    writer.record_copies()
}

fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, OpenError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Io { path: format!("thread {name}"), source })
}
