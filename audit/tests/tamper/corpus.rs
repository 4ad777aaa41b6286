//! Thousands of generated changes to one log: each is named with its state and its place, and the log itself never alarms.
//!
//! The generators write down what an attacker or a bad disk can do: flip, cut, swap, insert, remove, duplicate, roll
//! back, seal again, sign with another key, sign the future, sign another story.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use audit::{checkpoint, segment::Control, tip::Tip, *};

use super::{BLOCK, ORIGIN, batch_end, copy, files, record, signer};

/// One change to the directory and what has to be said about it.
pub(super) struct Case {
    name: String,
    /// New contents, or none for a file that is taken away.
    changes: Vec<(String, Option<Vec<u8>>)>,
    states: &'static [State],
    /// A finding must name this file, and where given lie in this place and at one of these records.
    file: Option<String>,
    offset: Option<Range<u64>>,
    seqs: Option<Range<u64>>,
    last_seen: Option<Head>,
}

impl Case {
    pub(super) fn new(name: impl Into<String>, states: &'static [State]) -> Self {
        Self {
            name: name.into(),
            changes: Vec::new(),
            states,
            file: None,
            offset: None,
            seqs: None,
            last_seen: None,
        }
    }

    pub(super) fn put(mut self, path: &str, bytes: Vec<u8>) -> Self {
        self.changes.push((path.to_owned(), Some(bytes)));
        self
    }

    pub(super) fn remove(mut self, path: &str) -> Self {
        self.changes.push((path.to_owned(), None));
        self
    }

    pub(super) fn at(
        mut self,
        file: &str,
        offset: Option<Range<u64>>,
        seqs: Option<Range<u64>>,
    ) -> Self {
        (self.file, self.offset, self.seqs) = (Some(file.to_owned()), offset, seqs);
        self
    }

    fn is_named(&self, report: &Report) -> bool {
        let inside = |wanted: &Option<Range<u64>>, found: Option<u64>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|at| wanted.contains(&at)))
        };
        let matches = |finding: &Finding| {
            self.file.as_ref().is_none_or(|file| finding.file == *file)
                && inside(&self.offset, finding.offset)
                && inside(&self.seqs, finding.seq)
        };
        report.findings.iter().any(matches)
    }
}

/// One batch of a segment.
#[derive(Clone)]
struct Batch {
    start: usize,
    end: usize,
    /// Where the control line begins.
    control: usize,
    /// Its records.
    seqs: Range<u64>,
    /// Records with their newlines.
    lines: Vec<Vec<u8>>,
}

/// The log as it should be.
pub(super) struct Original {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    segments: Vec<String>,
    batches: BTreeMap<String, Vec<Batch>>,
    /// Path of the list of heads, and its notes.
    heads: (String, Vec<Vec<u8>>),
    pub(super) newest: Head,
}

fn build(dir: &Path) -> Original {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 12 << 10,
        // What is done here is done to lines; `packed` has the rest.
        finished: Finished::Sealed,
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        ..Options::default()
    };
    let local = Arc::new(LocalFiles::new(dir));
    let (log, _) = Log::open(local, signer(7), Arc::new(SystemClock), options).unwrap();
    for batch in 0..14 {
        let records: Vec<Record> = (0..8).map(|i| record(batch * 8 + i)).collect();
        let committed = log.append_all(&records).unwrap().wait().unwrap();
        // A head over each batch, so that every one can be rolled back to.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while signed_size(dir) < committed.end {
            assert!(std::time::Instant::now() < deadline, "no head was signed");
            std::thread::yield_now();
        }
    }
    log.close().unwrap();
    read(dir)
}

fn signed_size(dir: &Path) -> u64 {
    let vkey = note::Vkey::parse(&Signer::vkey(signer(7).as_ref())).unwrap();
    let note = fs::read(dir.join("checkpoint")).unwrap_or_default();
    checkpoint::open(&note, &vkey).map_or(0, |head| head.size)
}

pub(super) fn read(dir: &Path) -> Original {
    let name = |path: &Path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    let all: BTreeMap<_, _> =
        files(dir).iter().map(|path| (name(path), fs::read(path).unwrap())).collect();
    let segments: Vec<String> = all.keys().filter(|p| p.ends_with(".jsonl")).cloned().collect();
    let mut batches = BTreeMap::new();
    let mut seq = 0;
    for path in &segments {
        let bytes = &all[path];
        let mut found = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let end = batch_end(bytes, start);
            let lines: Vec<Vec<u8>> = bytes[start..end]
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| !line.starts_with(b"{\"_c\""))
                .map(<[u8]>::to_vec)
                .collect();
            let control = start + lines.iter().map(Vec::len).sum::<usize>();
            let seqs = seq..seq + lines.len() as u64;
            seq = seqs.end;
            found.push(Batch { start, end, control, seqs, lines });
            start = end;
        }
        batches.insert(path.clone(), found);
    }
    let list = all.keys().find(|path| path.starts_with("heads/")).unwrap().clone();
    let mut notes = Vec::new();
    let mut rest = all[&list].as_slice();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (note, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        notes.push(note.to_vec());
        rest = after;
    }
    let newest = head_of(notes.last().unwrap());
    Original { files: all, segments, batches, heads: (list, notes), newest }
}

pub(super) fn text_of(note: &[u8]) -> String {
    let note = String::from_utf8(note.to_vec()).unwrap();
    note.split_once("\n\n").unwrap().0.to_owned() + "\n"
}

fn head_of(note: &[u8]) -> Head {
    checkpoint::parse(&text_of(note), ORIGIN).unwrap()
}

fn framed(notes: &[Vec<u8>]) -> Vec<u8> {
    let frame = |note: &Vec<u8>| [&(note.len() as u32).to_be_bytes()[..], note].concat();
    notes.iter().flat_map(frame).collect()
}

pub(super) const MODIFIED: &[State] = &[State::Modified];
pub(super) const REORDERED: &[State] = &[State::Reordered];
const TRUNCATED: &[State] = &[State::Truncated];
pub(super) const MISSING: &[State] = &[State::Missing];
pub(super) const BAD_SIGNATURE: &[State] = &[State::BadSignature];
pub(super) const UNKNOWN_KEY: &[State] = &[State::UnknownKey];

impl Original {
    fn batches(&self) -> impl Iterator<Item = (&String, &Vec<u8>, &Batch)> {
        self.batches
            .iter()
            .flat_map(move |(path, list)| list.iter().map(move |b| (path, &self.files[path], b)))
    }

    /// The segment with other lines in a batch, its framing kept.
    fn with_lines(&self, path: &str, batch: &Batch, lines: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.files[path].clone();
        let control = String::from_utf8(bytes[batch.control..batch.end].to_vec()).unwrap();
        let mut new = lines.concat();
        new.extend_from_slice(control.trim_end().as_bytes());
        let padded = (new.len() + 1).next_multiple_of(BLOCK);
        new.resize(padded - 1, b' ');
        new.push(b'\n');
        bytes.splice(batch.start..batch.end, new);
        bytes
    }

    fn flips(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (path, bytes, batch) in self.batches() {
            // Some bytes of each record, and places in the control line and its padding.
            for at in (batch.start..batch.control).step_by(8) {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                let lines = bytes[batch.start..at].iter().filter(|b| **b == b'\n').count() as u64;
                let seq = batch.seqs.start + lines;
                let case = Case::new(format!("flip {path} {at}"), MODIFIED).put(path, bytes);
                // Without its last newline a batch runs on into what follows, so no byte but the batch or its end is named.
                let (place, seqs) = match at + 1 == batch.control {
                    true => (batch.start as u64..batch.end as u64 + 1, batch.seqs.clone()),
                    false => (at as u64..at as u64 + 1, seq..seq + 1),
                };
                cases.push(case.at(path, Some(place), Some(seqs)));
            }
            for at in (batch.control..batch.end).step_by(211) {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                let place = batch.start as u64..batch.end as u64;
                let case = Case::new(format!("flip control {path} {at}"), MODIFIED);
                cases.push(case.put(path, bytes).at(path, Some(place), None));
            }
        }
        cases
    }

    fn lines(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (path, _, batch) in self.batches() {
            let count = batch.lines.len();
            let case = |name: String, states, lines: &[Vec<u8>]| {
                let bytes = self.with_lines(path, batch, lines);
                let seqs = batch.seqs.start..batch.seqs.end + 1;
                Case::new(format!("{name} {path}"), states).put(path, bytes).at(
                    path,
                    None,
                    Some(seqs),
                )
            };
            for i in 0..count {
                for j in 0..count {
                    let mut lines = batch.lines.clone();
                    if i < j {
                        lines.swap(i, j);
                        cases.push(case(format!("swap {i} {j}"), REORDERED, &lines));
                    }
                    let mut lines = batch.lines.clone();
                    lines.insert(j, batch.lines[i].clone());
                    cases.push(case(format!("duplicate {i} at {j}"), REORDERED, &lines));
                }
                let mut lines = batch.lines.clone();
                let text = String::from_utf8(lines[i].clone()).unwrap();
                let forged = text.replace("\"phase\":\"single\"", "\"phase\":\"forged\"");
                lines[i] = forged.clone().into_bytes();
                cases.push(case(format!("rewrite {i}"), MODIFIED, &lines));
                let mut lines = batch.lines.clone();
                lines.insert(i, forged.into_bytes());
                let states = &[State::Modified, State::Reordered];
                cases.push(case(format!("insert at {i}"), states, &lines));
                if count > 1 {
                    let mut lines = batch.lines.clone();
                    lines.remove(i);
                    let states = &[State::Modified, State::Missing];
                    cases.push(case(format!("remove {i}"), states, &lines));
                }
            }
        }
        cases
    }

    /// Whole batches, in and between segments.
    fn batch_moves(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let all: Vec<_> = self.batches().collect();
        for (i, (path, bytes, one)) in all.iter().enumerate() {
            let mut without = (*bytes).clone();
            without.drain(one.start..one.end);
            let last = i + 1 == all.len();
            let states = if last { TRUNCATED } else { MISSING };
            cases.push(Case::new(format!("batch {i} gone"), states).put(path, without));
            let mut twice = (*bytes).clone();
            twice.splice(one.end..one.end, bytes[one.start..one.end].to_vec());
            cases.push(Case::new(format!("batch {i} twice"), REORDERED).put(path, twice));
            for (j, (other_path, other_bytes, other)) in all.iter().enumerate().skip(i + 1) {
                let case = Case::new(format!("batches {i} and {j} swapped"), REORDERED);
                let (a, b) = (&bytes[one.start..one.end], &other_bytes[other.start..other.end]);
                if path == other_path {
                    let mut swapped = (*bytes).clone();
                    swapped.splice(other.start..other.end, a.to_vec());
                    swapped.splice(one.start..one.end, b.to_vec());
                    cases.push(case.put(path, swapped));
                } else {
                    let mut first = (*bytes).clone();
                    first.splice(one.start..one.end, b.to_vec());
                    let mut second = (*other_bytes).clone();
                    second.splice(other.start..other.end, a.to_vec());
                    cases.push(case.put(path, first).put(other_path, second));
                }
            }
        }
        cases
    }

    /// A file that ends too early, at every sector; and segments taken away in every combination.
    fn cuts(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let last = self.segments.last().unwrap();
        for path in &self.segments {
            let bytes = &self.files[path];
            for at in (0..bytes.len()).step_by(512) {
                let states: &[State] = match path == last {
                    true => TRUNCATED,
                    false => &[State::Missing, State::Modified],
                };
                let case = Case::new(format!("cut {path} at {at}"), states);
                cases.push(case.put(path, bytes[..at].to_vec()));
            }
        }
        for subset in 1u32..1 << self.segments.len() {
            let gone = |i: usize| subset >> i & 1 == 1;
            let count = self.segments.len();
            let tail = (0..count).rev().take_while(|i| gone(*i)).count();
            let only_tail = subset.count_ones() as usize == tail;
            let states = if only_tail { TRUNCATED } else { MISSING };
            let mut case = Case::new(format!("segments gone {subset:b}"), states);
            for (i, path) in self.segments.iter().enumerate().filter(|(i, _)| gone(*i)) {
                case = case.remove(path);
                if i % 2 == 0 {
                    case = case.remove(&path.replace(".jsonl", ".start"));
                }
            }
            cases.push(case);
        }
        cases
    }

    pub(super) fn signatures(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let (list, notes) = &self.heads;
        let sign = |text: &str, seed| note::sign(text, signer(seed).as_ref()).unwrap().into_bytes();
        let with = |at: usize, note: Vec<u8>| {
            let mut notes = notes.clone();
            notes[at] = note;
            framed(&notes)
        };
        for path in ["log.json", "checkpoint"] {
            let forged = sign(&text_of(&self.files[path]), 9);
            let case = Case::new(format!("wrong key {path}"), UNKNOWN_KEY);
            cases.push(case.put(path, forged).at(path, None, None));
        }
        for (i, note) in notes.iter().enumerate() {
            let text = text_of(note);
            let case = Case::new(format!("wrong key head {i}"), UNKNOWN_KEY);
            cases.push(case.put(list, with(i, sign(&text, 9))).at(list, None, None));
            for (j, other) in notes.iter().enumerate().filter(|(j, _)| *j != i) {
                let whole = String::from_utf8(other.clone()).unwrap();
                let signature = whole.split_once("\n\n").unwrap().1;
                let swapped = format!("{text}\n{signature}").into_bytes();
                let case = Case::new(format!("head {i} with the signature of {j}"), BAD_SIGNATURE);
                cases.push(case.put(list, with(i, swapped)).at(list, None, None));
            }
            // Another story, signed by the right key: for the newest head only an outside memory could tell more.
            let other = Head { root: [i as u8; 32], ..head_of(note) };
            let forged = sign(&checkpoint::text(ORIGIN, &other), 7);
            let states: &[State] = &[State::Forked, State::Modified];
            let case = Case::new(format!("forked head {i}"), states);
            cases.push(case.put(list, with(i, forged)).at(list, None, None));
        }
        // Heads of a log that is longer than this one.
        for more in 1..40 {
            let future = Head { size: self.newest.size + more, root: [3; 32] };
            let note = sign(&checkpoint::text(ORIGIN, &future), 7);
            let mut longer = notes.clone();
            longer.push(note.clone());
            let case = Case::new(format!("future head {more}"), TRUNCATED);
            cases.push(case.put(list, framed(&longer)).put("checkpoint", note));
        }
        cases
    }

    /// The log as it was under each older head, whole in itself: only somebody outside can tell.
    fn rollbacks(&self) -> Vec<Case> {
        let (list, notes) = &self.heads;
        let mut cases = Vec::new();
        for (i, note) in notes.iter().enumerate().take(notes.len() - 1) {
            let size = head_of(note).size;
            let mut case = Case::new(format!("rolled back to {size}"), TRUNCATED);
            case.last_seen = Some(self.newest);
            case = case.put(list, framed(&notes[..=i])).put("checkpoint", note.clone());
            for (path, batches) in &self.batches {
                let end = batches.iter().rfind(|batch| batch.seqs.end <= size).map_or(0, |b| b.end);
                case = match end {
                    0 => case.remove(path).remove(&path.replace(".jsonl", ".start")),
                    end => case.put(path, self.files[path][..end].to_vec()),
                };
            }
            cases.push(case);
        }
        cases
    }

    /// Records rewritten by somebody who has everything but the key: every seal from there on is made anew.
    fn resealed(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let all: Vec<_> = self.batches().collect();
        for (victim, _) in all.iter().enumerate() {
            let mut case = Case::new(format!("resealed from batch {victim}"), MODIFIED);
            let mut tip = Tip::default();
            for path in &self.segments {
                let mut bytes = Vec::new();
                for batch in &self.batches[path] {
                    let rewrite = batch.seqs == all[victim].2.seqs;
                    let lines: Vec<Vec<u8>> = batch
                        .lines
                        .iter()
                        .map(|line| {
                            let text = String::from_utf8(line.clone()).unwrap();
                            let from = if rewrite { "\"phase\":\"single\"" } else { "\0" };
                            text.replace(from, "\"phase\":\"forged\"").into_bytes()
                        })
                        .collect();
                    lines.iter().for_each(|line| tip.push(line.strip_suffix(b"\n").unwrap()));
                    let leaves = lines.concat();
                    let old = Control::parse(&self.files[path][batch.control..batch.end]).unwrap();
                    let crc =
                        crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &leaves) as u32;
                    let head = tip.head();
                    let new = Control { chain: tip.chain, crc, root: head.root, ..old };
                    bytes.extend_from_slice(&leaves);
                    bytes.extend_from_slice(&new.line(leaves.len()));
                }
                case = case.put(path, bytes).remove(&path.replace(".jsonl", ".start"));
            }
            cases.push(case);
        }
        cases
    }
}

fn verify_at(dir: &Path, last_seen: Option<Head>) -> Report {
    let vkey = Signer::vkey(signer(7).as_ref());
    let options = VerifyOptions { vkey, last_seen, strict: false, progress: &|_, _| {} };
    verify(dir, &options).unwrap()
}

/// Applies the case to a copy of the log, asks, and puts everything back.
fn run(original: &Original, dir: &Path, case: &Case) -> Result<(), String> {
    for (path, bytes) in &case.changes {
        match bytes {
            Some(bytes) => fs::write(dir.join(path), bytes).unwrap(),
            None => drop(fs::remove_file(dir.join(path))),
        }
    }
    let report = verify_at(dir, case.last_seen);
    for (path, _) in &case.changes {
        match original.files.get(path) {
            Some(bytes) => fs::write(dir.join(path), bytes).unwrap(),
            None => fs::remove_file(dir.join(path)).unwrap(),
        }
    }
    match case.states.contains(&report.state) && case.is_named(&report) {
        true => Ok(()),
        false => Err(format!(
            "{}: wanted {:?} in {:?} at {:?} record {:?}\n{report}",
            case.name, case.states, case.file, case.offset, case.seqs
        )),
    }
}

#[test]
fn every_generated_change_is_named_with_its_state_and_place() {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let original = build(&log);
    let cases: Vec<Case> = [
        original.flips(),
        original.lines(),
        original.batch_moves(),
        original.cuts(),
        original.signatures(),
        original.rollbacks(),
        original.resealed(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 5000, "only {} cases", cases.len());
    judge(scratch.path(), &original, &cases);
}

/// Tries the cases on copies of `log` below a directory.
pub(super) fn judge(scratch: &Path, original: &Original, cases: &[Case]) {
    // A sample in the fast lane; all of them where somebody asks, which takes minutes.
    let stride = if std::env::var_os("APPLIANCE_TEST_CORPUS").is_some() { 1 } else { 25 };
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, wrong) = (&next, &wrong);
            let dir = scratch.join(format!("copy{worker}"));
            copy(&scratch.join("log"), &dir);
            scope.spawn(move || {
                while let Some(case) = cases.get(next.fetch_add(stride, Ordering::Relaxed)) {
                    if let Err(said) = run(original, &dir, case) {
                        wrong.lock().unwrap().push(said);
                    }
                }
                // The clean log never alarms, after all of it neither.
                assert_eq!(verify_at(&dir, None).state, State::TailUnproven);
                assert_eq!(verify_at(&dir, Some(original.newest)).state, State::Valid);
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let shown: Vec<_> = wrong.iter().take(10).cloned().collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), shown.join("\n"));
}
