//! The pass over all segments.

use std::{collections::HashSet, fs, io, ops::Range, path::Path};

use crate::{
    durable,
    memory::ToldGap,
    segment::{
        self, Control, Form, Frame, Leaves, Name, Reader, Tail,
        check::{self, Fault, Known, What},
        resync::{self, After},
        start,
    },
    tip::Tip,
};

use super::{
    Findings, State, VerifyError, VerifyOptions,
    ahead::{Ahead, Hashes, Pool},
    blobs::Named,
    heads::Heads,
    keys::Changes,
    pinpoint, read_optional,
    seals::{Content, Seals},
    strict::Strict,
};

mod packed;
mod pruned;

pub(super) use pruned::{Front, Said};

/// First bytes of the records that are the log's own.
const OWN_RECORD: &[u8] = br#"{"action":"audit:"#;

/// Where the walk ended.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) tip: Tip,
    pub(super) records: u64,
    pub(super) file: Option<String>,
    pub(super) offset: Option<u64>,
    /// The last thing read was damaged, so fewer records than promised are no further finding.
    pub(super) damaged_tail: bool,
    pub(super) front: Front,
    /// Records that are lost, as others say.
    pub(super) gaps: Vec<ToldGap>,
}

/// The walk's state.
struct Walk<'a, 'b> {
    dir: &'a Path,
    options: &'a VerifyOptions<'a>,
    heads: &'a mut Heads<'b>,
    seals: &'a mut Seals<'b>,
    changes: &'a mut Changes,
    /// What the segment held so far.
    content: Content,
    findings: &'a mut Findings,
    pool: &'a Pool,
    hashes: &'a Hashes,
    named: Named,
    strict: Strict,
    front: Front,
    end: End,
    /// What the tip is worth; damage takes away, and only a seal gives back.
    known: Known,
    /// The last record was `audit:stop`, so nothing unfinished may follow.
    closed: bool,
    bytes: (u64, u64),
}

/// Reads every segment in order.
pub(super) fn segments<'b>(
    dir: &Path,
    options: &VerifyOptions<'_>,
    (heads, seals, changes): (&mut Heads<'b>, &mut Seals<'b>, &mut Changes),
    pool: &Pool,
    findings: &mut Findings,
) -> Result<End, VerifyError> {
    // ORDER: pull the first heads in before the list of segments, so that what they cover is on disk.
    heads.skip(0, findings)?;
    let names = segment::names(&|path| durable::list(&dir.join(path))).map_err(io_error("seg"))?;
    let total = bytes_of(dir, &names);
    let mut walk = Walk {
        dir,
        options,
        heads,
        seals,
        changes,
        content: Content::default(),
        findings,
        pool,
        hashes: &Hashes::default(),
        named: Named::new(dir),
        strict: Strict::default(),
        front: Front::default(),
        end: End::default(),
        known: Known::Tree,
        closed: false,
        bytes: (0, total),
    };
    if let Some(oldest) = names.first() {
        walk.front(oldest)?;
    }
    for name in &names {
        walk.segment(name, Some(name) == names.last())?;
    }
    (options.progress)(total, total);
    Ok(End { front: walk.front, ..walk.end })
}

/// Bytes of the log's segments now.
///
/// # Errors
/// Listing them failed.
pub(super) fn bytes(dir: &Path) -> Result<u64, VerifyError> {
    let names = segment::names(&|path| durable::list(&dir.join(path))).map_err(io_error("seg"))?;
    Ok(bytes_of(dir, &names))
}

fn bytes_of(dir: &Path, names: &[Name]) -> u64 {
    names.iter().filter_map(|name| Some(fs::metadata(dir.join(&name.path)).ok()?.len())).sum()
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> VerifyError + '_ {
    move |source| VerifyError::Io { path: path.to_owned(), source }
}

impl Walk<'_, '_> {
    fn segment(&mut self, name: &Name, newest: bool) -> Result<(), VerifyError> {
        self.position(name)?;
        let before = self.end.tip.clone();
        self.content = Content::new(self.options.strict);
        self.end.file = Some(name.path.clone());
        if name.form == Form::Packed {
            return self.packed(name, &before);
        }
        let io_error = || io_error(&name.path);
        let file = match fs::File::open(self.dir.join(&name.path)) {
            // It was packed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = name.path_as(Form::Packed);
                let name = Name { path, form: Form::Packed, ..name.clone() };
                return self.packed(&name, &before);
            }
            opened => opened.map_err(io_error())?,
        };
        let (mut from, mut looked_again) = (0, None);
        loop {
            let stop = self.batches(name, &file, from)?;
            self.end.offset = Some(stop.batch);
            if let Some(at) = stop.broken {
                match resync::after(&file, stop.batch).map_err(io_error())? {
                    // A batch is written after the one before it was, so what was half there is whole by now.
                    After::Batch(_) if newest && looked_again != Some(stop.batch) => {
                        from = stop.batch;
                        looked_again = Some(from);
                        continue;
                    }
                    After::Batch(next) => {
                        self.damaged(name, at);
                        from = next;
                        continue;
                    }
                    after => self.broken_tail(name, newest, stop.batch, at, after),
                }
            } else if !newest && file.metadata().map_err(io_error())?.len() != stop.batch {
                let at = (Some(stop.batch), None);
                let what = "bytes after the last batch of a finished segment";
                self.findings.add(State::Modified, &name.path, at, what);
            }
            self.bytes.0 += stop.batch;
            if self.known == Known::Tree {
                let content = std::mem::take(&mut self.content);
                self.seals.compare(&before, &self.end.tip, content, self.findings);
            }
            return Ok(());
        }
    }

    /// Compares where a segment begins with where the one before it ended.
    fn position(&mut self, name: &Name) -> Result<(), VerifyError> {
        let size = self.end.tip.size();
        if name.first != size && !self.end.damaged_tail {
            let (state, what) = if name.first > size {
                (State::Missing, format!("records {size} to {} are not there", name.first - 1))
            } else {
                (State::Reordered, format!("the segment begins again at record {}", name.first))
            };
            self.findings.add(state, &name.path, (Some(0), Some(size)), what);
        }
        let path = name.start_path();
        let stored = read_optional(self.dir, &path)?;
        let tip = stored.as_deref().and_then(start::parse).filter(|t| t.size() == name.first);
        if self.known != Known::Tree && self.seals.vouch_for(name.first, tip.as_ref()) {
            // A seal gives back what damage before it took.
            self.known = Known::Tree;
            self.end.tip = tip.unwrap_or_default();
        } else if name.first != size {
            // The file beside the segment, if it is one, carries the walk over the gap.
            self.known = if tip.is_some() { Known::Tree } else { Known::Nothing };
            self.end.tip = tip.unwrap_or_else(|| Tip::unknown(name.first, 0));
        } else if self.known == Known::Tree {
            match stored {
                Some(bytes) if bytes != start::encode(&self.end.tip) => {
                    let what = "the file does not hold the state at its segment's start";
                    self.findings.add(State::Modified, &path, (Some(0), Some(size)), what);
                }
                Some(_) => {}
                None => self.findings.remark(format!("`{path}` is not there; it can be rebuilt")),
            }
        }
        self.end.damaged_tail = false;
        Ok(())
    }

    /// Checks batches from `from` until something else comes.
    fn batches(&mut self, name: &Name, file: &fs::File, from: u64) -> Result<Stop, VerifyError> {
        let (pool, hashes) = (self.pool, self.hashes);
        let mut reader = Reader::new(Ahead::new(file, from, pool, hashes), from);
        loop {
            match reader.next().map_err(io_error(&name.path))? {
                Ok(frame) => match self.check(&frame) {
                    Ok(after) => self.sound(name, &frame, after)?,
                    // A damaged last batch that nothing covers may be a write in progress, so the caller decides.
                    Err(fault) if self.is_explained(name, &frame, &fault)? => {}
                    Err(fault) => {
                        return Ok(Stop { batch: frame.offset, broken: Some(fault.offset) });
                    }
                },
                Err(Tail::Clean(batch)) => return Ok(Stop { batch, broken: None }),
                Err(Tail::Broken { batch, at }) => return Ok(Stop { batch, broken: Some(at) }),
            }
        }
    }

    fn check(&self, frame: &Frame<'_>) -> Result<Tip, Fault> {
        let hash = |offset, leaf: &[u8]| self.hashes.of(offset, leaf);
        check::batch(frame, &self.end.tip, self.known, &hash)
    }

    fn sound(&mut self, name: &Name, frame: &Frame<'_>, after: Tip) -> Result<(), VerifyError> {
        match self.known {
            Known::Tree => self.heads.pass(frame, &self.end.tip, &after, self.findings)?,
            Known::Chain | Known::Nothing => self.heads.skip(after.size(), self.findings)?,
        }
        let first = match self.known {
            Known::Nothing => after.size() - count(frame),
            Known::Tree | Known::Chain => self.end.tip.size(),
        };
        if self.known == Known::Nothing {
            self.known = Known::Chain;
        }
        self.records(name, frame, first..after.size())?;
        self.end.tip = after;
        self.end.damaged_tail = false;
        (self.options.progress)(self.bytes.0 + frame.offset, self.bytes.1);
        Ok(())
    }

    /// Looks at what sound records say.
    fn records(
        &mut self,
        name: &Name,
        frame: &Frame<'_>,
        seqs: Range<u64>,
    ) -> Result<(), VerifyError> {
        self.content.take(frame.leaves);
        let mut last = &[][..];
        for ((at, leaf), seq) in Leaves::new(frame.leaves).zip(seqs.clone()) {
            last = leaf;
            self.named.record(seq, leaf, self.findings)?;
            if leaf.starts_with(OWN_RECORD) {
                self.own_record(seq, leaf);
            }
            if self.options.strict {
                self.strict.record(&name.path, frame.offset + at as u64, leaf, self.findings);
            }
        }
        self.closed = last.starts_with(br#"{"action":"audit:stop","class":"audit","#);
        self.end.records += seqs.end - seqs.start;
        Ok(())
    }

    /// What the log says about itself.
    fn own_record(&mut self, seq: u64, leaf: &[u8]) {
        self.seals.record(seq, leaf);
        if self.known == Known::Tree {
            self.front.record(seq, leaf);
            self.end.gaps.extend(ToldGap::of(seq, leaf));
        }
        self.changes.record(seq, leaf);
    }

    /// A batch that is framed but wrong: named, and the walk goes on behind it. False when it lies beyond every
    /// signed head, is not whole in itself, and so may be a write in progress.
    fn is_explained(
        &mut self,
        name: &Name,
        frame: &Frame<'_>,
        fault: &Fault,
    ) -> Result<bool, VerifyError> {
        let claim = Control::parse(frame.control);
        let size = self.end.tip.size();
        let whole = claim.is_some_and(|claim| claim.crc == check::crc(frame.leaves));
        if !whole && self.is_one_byte(name, frame, claim)? {
            return Ok(true);
        }
        if !whole && self.heads.known_size() <= size {
            return Ok(false);
        }
        let first = claim.map_or(size, |claim| claim.size.saturating_sub(claim.n));
        let at = (Some(fault.offset), Some(fault.seq));
        let (state, what) = match fault.what {
            What::Seq { found } if whole && first > size && found == first => {
                (State::Missing, format!("records {size} to {} are not there", first - 1))
            }
            What::Seq { found } if whole && first < size && found == first => {
                (State::Reordered, format!("the batch of record {first} is out of place"))
            }
            What::Seq { found } if misplaced(frame, size) => {
                (State::Reordered, format!("record {found} stands here"))
            }
            What::Seq { found } => (State::Modified, format!("the record names itself {found}")),
            What::Record => (State::Modified, "not a record of this place and time".to_owned()),
            What::Checksum => (
                State::Modified,
                format!("a record of the {} here was changed", claim.map_or(0, |c| c.n)),
            ),
            What::Control => {
                (State::Modified, "the control line is not the one of these records".to_owned())
            }
        };
        self.findings.add(state, &name.path, at, what);
        if state == State::Missing {
            // Look at the same batch again from where it says it is.
            self.known = Known::Nothing;
            if let Ok(after) = self.check(frame) {
                self.sound(name, frame, after)?;
                return Ok(true);
            }
        }
        self.go_on(claim, first < size && whole, frame);
        Ok(true)
    }

    /// Whether a single byte explains the damage; then it is named, and the walk goes on over the records as they were.
    fn is_one_byte(
        &mut self,
        name: &Name,
        frame: &Frame<'_>,
        claim: Option<Control>,
    ) -> Result<bool, VerifyError> {
        let Some(claim) = claim.filter(|_| self.known == Known::Tree) else { return Ok(false) };
        let Some(found) = pinpoint::one_byte(frame, &claim, &self.end.tip) else {
            return Ok(false);
        };
        let lines = found.leaves.iter().take(found.at).filter(|byte| **byte == b'\n').count();
        let at = (Some(frame.offset + found.at as u64), Some(self.end.tip.size() + lines as u64));
        let what = format!("one byte was changed, from {:#04x} to {:#04x}", found.was, found.is);
        self.findings.add(State::Modified, &name.path, at, what);
        let repaired = Frame { leaves: &found.leaves, ..*frame };
        self.sound(name, &repaired, found.after)?;
        Ok(true)
    }

    /// Takes the control line's word for where the log is after a damaged batch.
    fn go_on(&mut self, claim: Option<Control>, repeated: bool, frame: &Frame<'_>) {
        self.end.records += count(frame);
        self.end.damaged_tail = true;
        if repeated {
            return;
        }
        let lines = count(frame);
        let size = self.end.tip.size();
        // A claim far from what was read is damage itself.
        let claim = claim.filter(|c| c.size >= size && c.size - size <= 2 * lines + 2);
        self.known = if claim.is_some() { Known::Chain } else { Known::Nothing };
        let mut tip = Tip::unknown(claim.map_or(size + lines, |c| c.size), self.end.tip.time_us);
        if let Some(claim) = claim {
            tip.chain = claim.chain;
            tip.time_us = claim.time_us.max(tip.time_us);
        }
        self.end.tip = tip;
    }

    /// Bytes without a frame, with sound batches after them.
    fn damaged(&mut self, name: &Name, at: u64) {
        let seq = self.end.tip.size();
        let what = "this is no batch, and more batches follow";
        self.findings.add(State::Modified, &name.path, (Some(at), Some(seq)), what);
        self.known = Known::Nothing;
    }

    /// Bytes without a frame at the end of a segment.
    fn broken_tail(&mut self, name: &Name, newest: bool, batch: u64, at: u64, after: After) {
        let size = self.end.tip.size();
        let covered = self.heads.known_size() > size;
        let place = (Some(at), Some(size));
        if !newest || self.closed && !covered || covered && after == After::Ended {
            let what = "bytes that are no batch";
            self.findings.add(State::Modified, &name.path, place, what);
            self.end.damaged_tail = true;
        } else if !covered {
            let what = format!("`{}` ends in an unfinished write at byte {batch}", name.path);
            self.findings.remark(what);
        }
        // Otherwise a signed head covers more and the bytes stop short: `Heads::finish` says truncated.
    }
}

/// Where a run of batches ended.
struct Stop {
    batch: u64,
    broken: Option<u64>,
}

fn count(frame: &Frame<'_>) -> u64 {
    memchr::memchr_iter(b'\n', frame.leaves).count() as u64
}

/// Whether a batch's records are the right ones in the wrong order, or one is there twice, or is an older one.
fn misplaced(frame: &Frame<'_>, first: u64) -> bool {
    let lines: Vec<&[u8]> = Leaves::new(frame.leaves).map(|(_, leaf)| leaf).collect();
    let distinct: HashSet<&[u8]> = lines.iter().copied().collect();
    let mut seqs: Vec<_> = lines.iter().filter_map(|leaf| check::seq(leaf)).collect();
    let older = seqs.iter().any(|seq| *seq < first);
    seqs.sort_unstable();
    let permuted = seqs.iter().copied().eq(first..first + lines.len() as u64);
    distinct.len() < lines.len() || older || permuted
}
