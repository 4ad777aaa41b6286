//! Signed heads against the tree, in step with the walk over the records.
//!
//! The list of heads may be long, so it is streamed; it is ordered by size, as the walk is.

use std::{
    fs,
    io::{self, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    checkpoint::Head,
    durable,
    keyring::Keyring,
    log::heads::{self, TORN_BYTES_MAX},
    note::NOTE_BYTES_MAX,
    segment::{Frame, Leaves},
    tip::Tip,
};

use super::{Findings, State, VerifyError, signed, signed::Checkpoint, walk::End};

/// A head with the place it was read from.
#[derive(Clone, Debug)]
struct Placed {
    file: String,
    offset: u64,
    head: Head,
}

/// One list of heads, being read.
struct List {
    path: String,
    len: u64,
    offset: u64,
    reader: io::Take<BufReader<fs::File>>,
}

/// All signed heads, and how they fared.
pub(super) struct Heads<'a> {
    dir: PathBuf,
    keys: &'a Keyring,
    /// Paths with their lengths when the walk began: what is appended later covers what may not have been read.
    lists: std::vec::IntoIter<(String, u64)>,
    open: Option<List>,
    next: Option<Placed>,
    checkpoint: Option<Checkpoint>,
    checkpoint_listed: bool,
    /// The list of heads is not to be seen.
    unlisted: bool,
    listed: u64,
    /// Heads that are compared when the walk passes them: the checkpoint, the one kept outside, and those that
    /// changes of the key were made at.
    wanted: Vec<Placed>,
    newest: Option<Head>,
    /// Size of the largest head that matched, and the heads that did not.
    matched: Option<u64>,
    mismatched: Vec<Placed>,
    last_size: u64,
}

/// The lists of heads, with their lengths now.
pub(super) fn lists(dir: &Path) -> Result<Vec<(String, u64)>, VerifyError> {
    let paths = heads::paths(&|path| durable::list(&dir.join(path)))
        .map_err(|source| VerifyError::Io { path: "heads".to_owned(), source })?;
    let len = |path: String| {
        let meta = fs::metadata(dir.join(&path)).map_err(io_error(&path))?;
        Ok((path, meta.len()))
    };
    paths.into_iter().map(len).collect()
}

impl<'a> Heads<'a> {
    /// `wanted` are heads that are in no list, with the places they are from.
    pub(super) fn open(
        dir: &Path,
        keys: &'a Keyring,
        checkpoint: Option<Checkpoint>,
        lists: Vec<(String, u64)>,
        wanted: Vec<(String, Head)>,
    ) -> Self {
        let signed = checkpoint.as_ref().map(|c| ("checkpoint".to_owned(), c.head));
        let placed = |(file, head)| Placed { file, offset: 0, head };
        let mut wanted: Vec<_> = signed.into_iter().chain(wanted).map(placed).collect();
        wanted.sort_by_key(|placed| placed.head.size);
        Self {
            dir: dir.to_owned(),
            keys,
            lists: lists.into_iter(),
            open: None,
            next: None,
            newest: checkpoint.as_ref().map(|c| c.head),
            checkpoint,
            checkpoint_listed: false,
            unlisted: false,
            listed: 0,
            wanted,
            matched: None,
            mismatched: Vec::new(),
            last_size: 0,
        }
    }

    /// The same where the list of heads is not to be seen.
    pub(super) fn unlisted(
        keys: &'a Keyring,
        checkpoint: Option<Checkpoint>,
        wanted: Vec<(String, Head)>,
    ) -> Self {
        let heads = Self::open(Path::new(""), keys, checkpoint, Vec::new(), wanted);
        Self { unlisted: true, ..heads }
    }

    /// Records under the largest head that the tree agreed with.
    pub(super) fn matched_size(&self) -> u64 {
        self.matched.unwrap_or(0)
    }

    /// The newest head with a good signature.
    pub(super) fn newest(&self) -> Option<Head> {
        self.newest
    }

    /// The largest size that any head, read so far, promises.
    pub(super) fn known_size(&self) -> u64 {
        let wanted = self.wanted.iter().chain(&self.next).map(|placed| placed.head.size);
        wanted.chain(self.newest.map(|head| head.size)).max().unwrap_or(0)
    }

    /// Compares all heads whose size lies in the batch that leads from `before` to `after`.
    pub(super) fn pass(
        &mut self,
        frame: &Frame<'_>,
        before: &Tip,
        after: &Tip,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        while let Some(placed) = self.due(after.size(), findings)? {
            let root = match placed.head.size {
                size if size == after.size() => after.frontier.root(),
                size if size >= before.size() => root_inside(frame, before, size),
                // The walk jumped over a gap, which is a finding already.
                _ => continue,
            };
            if root == placed.head.root {
                self.matched = self.matched.max(Some(placed.head.size));
            } else {
                self.mismatched.push(placed);
            }
        }
        Ok(())
    }

    /// Compares all heads of exactly the tip's size.
    pub(super) fn reach(&mut self, tip: &Tip, findings: &mut Findings) -> Result<(), VerifyError> {
        while let Some(placed) = self.due(tip.size(), findings)? {
            match placed.head.size == tip.size() {
                true if placed.head.root == tip.frontier.root() => {
                    self.matched = self.matched.max(Some(placed.head.size));
                }
                true => self.mismatched.push(placed),
                // The walk jumped over a gap, which is a finding already.
                false => {}
            }
        }
        Ok(())
    }

    /// Skips the heads up to `size`: the tree is lost, nothing can be compared.
    pub(super) fn skip(&mut self, size: u64, findings: &mut Findings) -> Result<(), VerifyError> {
        while self.due(size, findings)?.is_some() {}
        Ok(())
    }

    /// Whether there is a head to compare before `size`.
    pub(super) fn any_before(
        &mut self,
        size: u64,
        findings: &mut Findings,
    ) -> Result<bool, VerifyError> {
        if self.next.is_none() {
            self.next = self.read(findings)?;
        }
        let next = self.wanted.first().into_iter().chain(&self.next);
        Ok(next.map(|placed| placed.head.size).any(|next| next < size))
    }

    /// The next head of at most `size` from anywhere.
    fn due(&mut self, size: u64, findings: &mut Findings) -> Result<Option<Placed>, VerifyError> {
        if self.wanted.first().is_some_and(|placed| placed.head.size <= size) {
            return Ok(Some(self.wanted.remove(0)));
        }
        if self.next.is_none() {
            self.next = self.read(findings)?;
        }
        Ok(self.next.take_if(|placed| placed.head.size <= size))
    }

    /// Reads on in the list of heads, past everything that is not a good head.
    fn read(&mut self, findings: &mut Findings) -> Result<Option<Placed>, VerifyError> {
        loop {
            if self.open.is_none() {
                let Some((path, len)) = self.lists.next() else { return Ok(None) };
                let file = fs::File::open(self.dir.join(&path)).map_err(io_error(&path))?;
                let reader = BufReader::new(file).take(len);
                self.open = Some(List { path, len, offset: 0, reader });
            }
            let Some(list) = &mut self.open else { return Ok(None) };
            let (file, at) = (list.path.clone(), list.offset);
            let len = list.len;
            let note = read_note(&mut list.reader).map_err(io_error(&file))?;
            list.offset += note.as_ref().map_or(0, |note| 4 + note.len() as u64);
            // Of a torn note a crash may have kept any sectors, and the others are zeros.
            let holed = |note: &Vec<u8>| note.is_empty() || note.contains(&0);
            if note.as_ref().is_none_or(holed) && len != at && self.is_one_write(&file, at..len)? {
                self.torn(&file, at, findings);
                self.open = None;
                continue;
            }
            let Some(note) = note else {
                if len != at {
                    let what = "the list of heads cannot be read from here on";
                    findings.add(State::Modified, &file, (Some(at), None), what);
                }
                self.open = None;
                continue;
            };
            self.listed += 1;
            if self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.note == note) {
                self.checkpoint_listed = true;
            }
            match self.keys.head_to_compare(&note) {
                Err(error) => {
                    let state = signed::head_state(error);
                    findings.add(state, &file, (Some(at), None), error.to_string());
                }
                Ok(head) if head.size < self.last_size => {
                    let what = "a head is listed after a larger one";
                    findings.add(State::Reordered, &file, (Some(at), None), what);
                }
                Ok(head) => {
                    self.last_size = head.size;
                    self.newest = self.newest.filter(|n| n.size > head.size).or(Some(head));
                    return Ok(Some(Placed { file, offset: at, head }));
                }
            }
        }
    }

    /// Whether a range at the end of a list can be what one write left.
    fn is_one_write(&self, file: &str, range: Range<u64>) -> Result<bool, VerifyError> {
        let len = range.end - range.start;
        if len > TORN_BYTES_MAX as u64 {
            return Ok(false);
        }
        let mut bytes = vec![0; len as usize];
        fs::File::open(self.dir.join(file))
            .and_then(|list| list.read_exact_at(&mut bytes, range.start))
            .map_err(io_error(file))?;
        Ok(!heads::holds_head(&bytes, self.keys))
    }

    /// A list ends in a note that is not whole.
    fn torn(&mut self, file: &str, at: u64, findings: &mut Findings) {
        // The list is written before the checkpoint, so a note that a crash tore, or that is just being written, is the
        // last of all and not the checkpoint's.
        let last = self.lists.as_slice().is_empty();
        if last && (self.checkpoint.is_none() || self.checkpoint_listed) {
            findings.remark(format!("`{file}` ends in an unfinished note at byte {at}"));
        } else {
            let what = "the list of heads cannot be read from here on";
            findings.add(State::Modified, file, (Some(at), None), what);
        }
    }

    /// What is left once the walk is over.
    pub(super) fn finish(&mut self, end: &End, findings: &mut Findings) {
        let size = end.tip.size();
        let mut beyond = Vec::new();
        while let Ok(Some(placed)) = self.due(u64::MAX, findings) {
            beyond.push(placed);
        }
        beyond.retain(|placed| placed.head.size > size);
        if let Some(most) = beyond.iter().max_by_key(|placed| placed.head.size)
            && !end.damaged_tail
        {
            let known = most.head.size;
            let what = format!(
                "there are {size} records here, but the signed head in `{}` covers {known}",
                most.file
            );
            let file = end.file.as_deref().unwrap_or("seg");
            findings.add(State::Truncated, file, (end.offset, Some(size)), what);
        }
        self.judge_mismatches(findings);
        match &self.checkpoint {
            _ if self.unlisted => {}
            Some(_) if !self.checkpoint_listed => {
                let what = "the checkpoint's head is not in the list of heads";
                let state = if self.listed > 0 { State::Modified } else { State::Missing };
                findings.add(state, "heads", (None, None), what);
            }
            None if self.listed > 0 => {
                let unread = findings.list.iter().any(|finding| finding.file == "checkpoint");
                // The first head of all is in the list a moment before it is the checkpoint, so that is looked for again.
                let begun = self.listed == 1 || self.dir.join("checkpoint").is_file();
                if begun && !unread {
                    findings.remark("the first head was published while this was read");
                } else if !unread {
                    let what = "heads were signed but the file is not there";
                    findings.add(State::Missing, "checkpoint", (None, None), what);
                }
            }
            None if size > 0 => findings.remark("no head was signed yet"),
            _ => {}
        }
    }

    /// A good signature over another root: the records were rewritten, or the log told two stories.
    fn judge_mismatches(&mut self, findings: &mut Findings) {
        for placed in std::mem::take(&mut self.mismatched) {
            let size = placed.head.size;
            let forked = self.matched.is_some_and(|matched| matched >= size);
            let (state, what) = if forked {
                let what = "another signed head contradicts this one, which covers";
                (State::Forked, what)
            } else {
                (State::Modified, "the records are not the ones that were signed, by the head of")
            };
            let at = (Some(placed.offset), None);
            findings.add(state, &placed.file, at, format!("{what} {size} records"));
        }
    }
}

fn io_error(path: &str) -> impl FnOnce(io::Error) -> VerifyError + '_ {
    move |source| VerifyError::Io { path: path.to_owned(), source }
}

/// One framed note; `None` at the end, whole or not.
fn read_note(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut note = Vec::new();
    reader.take(4).read_to_end(&mut note)?;
    let Ok(len) = <[u8; 4]>::try_from(note.as_slice()) else { return Ok(None) };
    let len = u32::from_be_bytes(len) as usize;
    if len > NOTE_BYTES_MAX {
        return Ok(None);
    }
    note.clear();
    reader.take(len as u64).read_to_end(&mut note)?;
    Ok((note.len() == len).then_some(note))
}

/// Root at a size inside a batch.
fn root_inside(frame: &Frame<'_>, before: &Tip, size: u64) -> crate::tree::Hash {
    let mut tip = before.clone();
    for (_, leaf) in Leaves::new(frame.leaves).take((size - before.size()) as usize) {
        tip.push(leaf);
    }
    tip.frontier.root()
}
