//! Finds the end of the log after any kind of stop.
//!
//! A batch that is complete and valid is kept, acknowledged or not. What follows the last one is a torn write that
//! nobody was told about, unless a valid batch comes after it or a signed head knows more records: then something
//! else happened, and the log must not be opened.
#![deny(clippy::indexing_slicing)]

use std::io;

use crate::{
    checkpoint::Head,
    durable::{Files, read_optional},
    log::prune,
    pruned::Pruned,
    tip::Tip,
    tree::{self, Hash},
};

use crate::seal::Seal;

use super::{
    BLOCK_BYTES, Control, Form, Frame, Leaves, Name, Packed, Reader, Tail,
    check::{self, Fault, Known},
    names, start,
};

/// The end of the log.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Tip after the last valid batch.
    pub(crate) tip: Tip,
    /// The newest segment, where its valid batches end, and the bytes after that which are not zero. None if it is packed:
    /// then a new one follows.
    pub(crate) active: Option<(Name, u64, Vec<u8>)>,
    /// Root at the size that was asked for, if the walk passed it.
    pub(crate) root_at_known: Option<Hash>,
}

/// Why the end cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something in the middle is damaged.
    #[error("`{file}` is damaged at byte {} (record {})", fault.offset, fault.seq)]
    Damaged { file: String, fault: Fault },
    /// A segment is not where the one before it ends.
    #[error("records {expected} to {found} are missing before `{file}`")]
    Missing { file: String, expected: u64, found: u64 },
}

/// Walks the newest segment, or all of them where the file beside it does not help.
///
/// # Errors
/// [`RecoverError`]; nothing is written in any case.
pub(crate) fn recover(files: &dyn Files, known: Option<&Head>) -> Result<Recovered, RecoverError> {
    let mut segments = names(&|path| files.list(path))?;
    // What a prune has not removed yet is not there any more.
    let begin = Pruned::read(&|path| files.read(path))?.map_or(0, |pruned| pruned.end);
    segments.retain(|name| name.first >= begin);
    let (mut tip, todo) = match shortcut(files, &segments, known)? {
        Some((from, tip)) => (tip, segments.get(from..).unwrap_or_default()),
        None => (prune::front(files, begin)?, segments.as_slice()),
    };
    let mut root_at_known = None;
    let mut active = None;
    for name in todo {
        if name.first != tip.size() {
            let (expected, found) = (tip.size(), name.first);
            return Err(RecoverError::Missing { file: name.path.clone(), expected, found });
        }
        let bytes = files.read(&name.path)?;
        if name.form == Form::Packed {
            walk_packed(bytes, name, &mut tip, known, &mut root_at_known)?;
            active = None;
            continue;
        }
        let walked = walk(&bytes, &mut tip, known, &mut root_at_known)?;
        let rest = bytes.get(walked.end..).unwrap_or_default();
        let is_newest = Some(name) == segments.last();
        if let Some(fault) = walked.fault
            && (!is_newest || later_batch(rest, tip.size()))
        {
            return Err(RecoverError::Damaged { file: name.path.clone(), fault });
        }
        let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let torn = rest.get(..torn).unwrap_or_default().to_vec();
        active = Some((name.clone(), walked.end as u64, torn));
    }
    Ok(Recovered { tip, active, root_at_known })
}

struct Walked {
    end: usize,
    fault: Option<Fault>,
}

/// Takes in every valid batch from the start of `bytes`.
fn walk(
    bytes: &[u8],
    tip: &mut Tip,
    known: Option<&Head>,
    root_at_known: &mut Option<Hash>,
) -> io::Result<Walked> {
    let mut reader = Reader::new(bytes, 0);
    let mut end = 0;
    let seq = |tip: &Tip| tip.size();
    loop {
        match reader.next()? {
            Ok(frame) => {
                match check::batch(&frame, tip, Known::Tree, &|_, leaf| tree::leaf_hash(leaf)) {
                    Ok(after) => {
                        note_known(&frame, tip, &after, known, root_at_known);
                        *tip = after;
                        end = frame.offset as usize + frame.leaves.len() + frame.control.len();
                    }
                    Err(fault) => return Ok(Walked { end, fault: Some(fault) }),
                }
            }
            Err(Tail::Clean(_)) => return Ok(Walked { end, fault: None }),
            Err(Tail::Broken { at, .. }) => {
                let fault = Fault { offset: at, seq: seq(tip), what: check::What::Record };
                return Ok(Walked { end, fault: Some(fault) });
            }
        }
    }
}

/// Takes in every record of a packed segment.
fn walk_packed(
    bytes: Vec<u8>,
    name: &Name,
    tip: &mut Tip,
    known: Option<&Head>,
    root_at_known: &mut Option<Hash>,
) -> Result<(), RecoverError> {
    let damaged = |offset, seq| {
        let fault = Fault { offset, seq, what: check::What::Record };
        RecoverError::Damaged { file: name.path.clone(), fault }
    };
    let packed = Packed::of_bytes(bytes, name.first).map_err(|_| damaged(0, name.first))?;
    for (i, frame) in packed.table().frames.iter().enumerate() {
        let lines = packed.frame(i).ok().flatten().ok_or(damaged(frame.offset, tip.size()))?;
        for (_, leaf) in Leaves::new(&lines) {
            let time_us = check::time(leaf).filter(|time| *time > tip.time_us);
            let in_place = check::seq(leaf) == Some(tip.size());
            tip.time_us = time_us.filter(|_| in_place).ok_or(damaged(frame.offset, tip.size()))?;
            tip.push(leaf);
            if known.is_some_and(|known| known.size == tip.size()) {
                *root_at_known = Some(tip.frontier.root());
            }
        }
    }
    match tip.size() == packed.table().records.end {
        true => Ok(()),
        false => Err(damaged(0, tip.size())),
    }
}

/// Remembers the root at the size of the newest signed head when a batch passes it.
fn note_known(
    frame: &Frame<'_>,
    before: &Tip,
    after: &Tip,
    known: Option<&Head>,
    root: &mut Option<Hash>,
) {
    let Some(known) = known.filter(|k| before.size() < k.size && k.size <= after.size()) else {
        return;
    };
    let mut tip = before.clone();
    for (_, leaf) in Leaves::new(frame.leaves).take((known.size - before.size()) as usize) {
        tip.push(leaf);
    }
    *root = Some(tip.frontier.root());
}

/// Whether any aligned place after the damage begins a batch that is newer than `size` and whole in itself.
fn later_batch(rest: &[u8], size: u64) -> bool {
    rest.chunks(BLOCK_BYTES).enumerate().skip(1).any(|(i, block)| {
        if !block.starts_with(b"{") {
            return false;
        }
        let at = i * BLOCK_BYTES;
        let mut reader = Reader::new(rest.get(at..).unwrap_or_default(), 0);
        let Ok(Ok(frame)) = reader.next() else { return false };
        Control::parse(frame.control)
            .is_some_and(|c| c.crc == check::crc(frame.leaves) && c.size > size)
    })
}

/// The newest segment that no head lies before, and the tip at its start, if the file beside it agrees with how the
/// segment before it ends.
fn shortcut(
    files: &dyn Files,
    segments: &[Name],
    known: Option<&Head>,
) -> io::Result<Option<(usize, Tip)>> {
    // A head inside an older segment can only be compared by walking from there.
    let reached = |name: &Name| known.is_none_or(|known| known.size >= name.first);
    let Some(at) = segments.iter().rposition(reached).filter(|at| *at > 0) else { return Ok(None) };
    let (Some(before), Some(name)) = (segments.get(at - 1), segments.get(at)) else {
        return Ok(None);
    };
    let Some(tip) = read_optional(files, &name.start_path())?.and_then(|b| start::parse(&b)) else {
        return Ok(None);
    };
    let agrees = tip.size() == name.first
        && match before.form {
            Form::Written => last_control(&files.read(&before.path)?).is_some_and(|control| {
                control.size == tip.size()
                    && control.chain == tip.chain
                    && control.root == tip.frontier.root()
                    && control.time_us == tip.time_us
            }),
            Form::Packed => read_optional(files, &before.seal_path())?
                .and_then(|note| Seal::peek(&note))
                .is_some_and(|seal| seal.leads_to(&tip)),
        };
    let known_agrees = known.is_none_or(|k| k.size != tip.size() || k.root == tip.frontier.root());
    Ok((agrees && known_agrees).then_some((at, tip)))
}

/// The control line that ends a finished segment.
fn last_control(bytes: &[u8]) -> Option<Control> {
    let end = bytes.strip_suffix(b"\n")?;
    let at = memchr::memrchr(b'\n', end).map_or(0, |newline| newline + 1);
    Control::parse(end.get(at..)?)
}
