//! The same for sealed and packed segments: frames, tables, seals. The tables are read here by the format's description, not
//! by the crate's code.

use std::{fs, ops::Range, path::Path, sync::Arc, time::Duration};

use audit::*;

use super::{
    ORIGIN, check,
    corpus::{
        BAD_SIGNATURE, Case, MISSING, MODIFIED, Original, REORDERED, UNKNOWN_KEY, judge, read,
        text_of,
    },
    files, record, signer,
};

/// A frame of a packed segment.
#[derive(Clone)]
struct Piece {
    bytes: Vec<u8>,
    size: u32,
    root: [u8; 32],
    /// Its records.
    seqs: Range<u64>,
}

/// A packed segment.
#[derive(Clone)]
struct Segment {
    path: String,
    seqs: Range<u64>,
    frames: Vec<Piece>,
    bytes: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Segment {
    fn read(path: &str, bytes: &[u8]) -> Self {
        let count = u32_at(bytes, bytes.len() - 9) as usize;
        let seek = bytes.len() - 9 - 8 * count;
        let frames = count - 1;
        let directory = seek - 8 - (24 + 36 * frames);
        let seqs = u64_at(bytes, directory + 8)..u64_at(bytes, directory + 16);
        let (mut at, mut seq) = (0, seqs.start);
        let pieces = (0..frames).map(|i| {
            let len = u32_at(bytes, seek + 8 * i) as usize;
            let root = directory + 24 + 36 * i + 4;
            let end = ((seq / 256 + 1) * 256).min(seqs.end);
            let piece = Piece {
                bytes: bytes[at..at + len].to_vec(),
                size: u32_at(bytes, seek + 8 * i + 4),
                root: bytes[root..root + 32].try_into().unwrap(),
                seqs: seq..end,
            };
            (at, seq) = (at + len, end);
            piece
        });
        let segment =
            Self { path: path.to_owned(), frames: pieces.collect(), seqs, bytes: bytes.to_vec() };
        assert!(segment.encode() == bytes, "{path}: the tables follow from the frames");
        segment
    }

    /// The file that these frames make.
    fn encode(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.frames.iter().flat_map(|f| f.bytes.clone()).collect();
        let mut directory = [self.seqs.start.to_le_bytes(), self.seqs.end.to_le_bytes()].concat();
        let mut seek = Vec::new();
        for frame in &self.frames {
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &frame.bytes) as u32;
            directory.extend_from_slice(&crc.to_le_bytes());
            directory.extend_from_slice(&frame.root);
            seek.extend_from_slice(&(frame.bytes.len() as u32).to_le_bytes());
            seek.extend_from_slice(&frame.size.to_le_bytes());
        }
        let skippable = |magic: u32, content: &[u8]| {
            [&magic.to_le_bytes(), &(content.len() as u32).to_le_bytes(), content].concat()
        };
        let directory = skippable(0x184D_2A50, &directory);
        seek.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        seek.extend_from_slice(&0u32.to_le_bytes());
        seek.extend_from_slice(&(self.frames.len() as u32 + 1).to_le_bytes());
        seek.extend_from_slice(&[0, 0xB1, 0xEA, 0x92, 0x8F]);
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(&skippable(0x184D_2A5E, &seek));
        bytes
    }

    /// Where a frame begins in the file.
    fn offset(&self, frame: usize) -> u64 {
        self.frames[..frame].iter().map(|frame| frame.bytes.len() as u64).sum()
    }

    fn seal(&self) -> String {
        self.path.replace(".jsonl.zst", ".seal")
    }

    /// A change that must be named by one frame.
    fn at_frame(&self, case: Case, frame: usize, bytes: Vec<u8>) -> Case {
        let offset = self.offset(frame);
        let seqs = self.frames[frame].seqs.clone();
        case.put(&self.path, bytes).at(&self.path, Some(offset..offset + 1), Some(seqs))
    }

    /// A change that must be named by the file.
    fn in_file(&self, case: Case, bytes: Vec<u8>) -> Case {
        case.put(&self.path, bytes).at(&self.path, None, Some(self.seqs.clone()))
    }
}

fn packed_again(lines: &[u8], level: i32) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
    compressor.include_checksum(true).unwrap();
    compressor.include_contentsize(true).unwrap();
    compressor.compress(lines).unwrap()
}

fn root_of(lines: &[u8]) -> [u8; 32] {
    let mut tip = tip::Tip::default();
    lines.split_inclusive(|b| *b == b'\n').for_each(|l| tip.push(l.strip_suffix(b"\n").unwrap()));
    tip.head().root
}

fn lines_of(frame: &Piece) -> Vec<u8> {
    zstd::stream::decode_all(frame.bytes.as_slice()).unwrap()
}

struct Scene {
    original: Original,
    segments: Vec<Segment>,
}

fn build(dir: &Path) -> Scene {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 96 << 10,
        preallocate_bytes: 0,
        sign_interval: Duration::ZERO,
        ..Options::default()
    };
    let open = |finished| {
        let options = Options { finished, ..options.clone() };
        let local = Arc::new(LocalFiles::new(dir));
        Log::open(local, signer(7), Arc::new(SystemClock), options).unwrap().0
    };
    let log = open(Finished::Packed);
    for batch in 0..26 {
        let records: Vec<Record> = (0..64).map(|i| record(batch * 64 + i)).collect();
        log.append_all(&records).unwrap().wait().unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let count =
        |ending: &str| files(dir).iter().filter(|p| p.to_string_lossy().ends_with(ending)).count();
    while count(".zst") < 3 || count(".jsonl") > 1 {
        assert!(std::time::Instant::now() < deadline, "not packed");
        std::thread::sleep(Duration::from_millis(1));
    }
    log.close().unwrap();
    let original = read(dir);
    let packed = original.files.iter().filter(|(path, _)| path.ends_with(".zst"));
    let segments: Vec<Segment> = packed.map(|(path, bytes)| Segment::read(path, bytes)).collect();
    assert!(segments.iter().any(|segment| segment.frames.len() > 2));
    Scene { original, segments }
}

impl Scene {
    /// One bit of a frame, or of the tables.
    fn flips(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for segment in &self.segments {
            let tables = segment.offset(segment.frames.len()) as usize;
            for at in (0..tables).step_by(5).chain(tables..segment.bytes.len()) {
                let mut bytes = segment.bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                let case = Case::new(format!("flip {} {at}", segment.path), MODIFIED);
                let hit = (0..segment.frames.len())
                    .rfind(|frame| at < tables && segment.offset(*frame) <= at as u64);
                cases.push(match hit {
                    Some(frame) => segment.at_frame(case, frame, bytes),
                    None => segment.in_file(case, bytes),
                });
            }
        }
        cases
    }

    /// Frames swapped, doubled, dropped, packed again, by somebody who writes the tables anew.
    fn frames(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for segment in &self.segments {
            let path = &segment.path;
            let count = segment.frames.len();
            for i in 0..count {
                for j in 0..count {
                    if i == j {
                        continue;
                    }
                    let mut moved = segment.clone();
                    let other = segment.frames[j].clone();
                    let Piece { root, seqs, .. } = segment.frames[i].clone();
                    moved.frames[i] = Piece { root, seqs, ..other.clone() };
                    let case = Case::new(format!("{path}: frame {j} in place of {i}"), MODIFIED);
                    cases.push(moved.at_frame(case, i, moved.encode()));
                    moved.frames[i].root = other.root;
                    let case = Case::new(format!("{path}: {j} with its root for {i}"), MODIFIED);
                    cases.push(moved.in_file(case, moved.encode()));
                    if i < j {
                        let mut swapped = segment.clone();
                        swapped.frames.swap(i, j);
                        let case = Case::new(format!("{path}: {i} and {j} swapped"), MODIFIED);
                        cases.push(swapped.in_file(case, swapped.encode()));
                    }
                }
                let mut without = segment.clone();
                without.frames.remove(i);
                let case = Case::new(format!("{path}: frame {i} gone"), MODIFIED);
                cases.push(without.in_file(case, without.encode()));
                // The end told differently, as a shorter segment has it.
                without.seqs.end = segment.frames[count - 1].seqs.start;
                if without.seqs.is_empty() {
                    continue;
                }
                // Where it was the last, nothing but its records is missing.
                let states: &[State] = &[State::Modified, State::Missing];
                let case = Case::new(format!("{path}: frame {i} gone, shorter"), states);
                cases.push(without.in_file(case, without.encode()));
            }
            cases.extend(self.rewritten(segment));
        }
        cases
    }

    /// One record changed and everything but the seal made to fit.
    fn rewritten(&self, segment: &Segment) -> Vec<Case> {
        let path = &segment.path;
        let mut cases = Vec::new();
        for (i, frame) in segment.frames.iter().enumerate() {
            let lines = lines_of(frame);
            let all: Vec<Vec<u8>> =
                lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            for victim in (0..all.len()).step_by(16) {
                let text = String::from_utf8(all[victim].clone()).unwrap();
                let forged = text.replace("\"phase\":\"single\"", "\"phase\":\"forged\"");
                let with = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
                    let mut lines = all.clone();
                    edit(&mut lines);
                    lines.concat()
                };
                let next = (victim + 1) % all.len();
                for (name, lines) in [
                    ("rewritten", with(&|lines| lines[victim] = forged.clone().into_bytes())),
                    ("removed", with(&|lines| drop(lines.remove(victim)))),
                    ("doubled", with(&|lines| lines.insert(victim, all[victim].clone()))),
                    ("swapped", with(&|lines| lines.swap(victim, next))),
                ] {
                    if lines == all.concat() {
                        continue;
                    }
                    let bytes = packed_again(&lines, 3);
                    let mut changed = segment.clone();
                    let old = Piece { bytes, size: lines.len() as u32, ..frame.clone() };
                    changed.frames[i] = old;
                    let case = Case::new(format!("{path}: {name} {victim} of {i}"), MODIFIED);
                    cases.push(changed.at_frame(case, i, changed.encode()));
                    changed.frames[i].root = root_of(&lines);
                    let case = Case::new(format!("{path}: {name} {victim} of {i}, root"), MODIFIED);
                    cases.push(changed.in_file(case, changed.encode()));
                }
            }
        }
        cases
    }

    /// Whole files: cut, swapped, taken away, in place of one another.
    fn whole(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (i, segment) in self.segments.iter().enumerate() {
            let path = &segment.path;
            for at in (0..segment.bytes.len()).step_by(97) {
                let case = Case::new(format!("cut {path} at {at}"), MODIFIED);
                cases.push(segment.in_file(case, segment.bytes[..at].to_vec()));
            }
            let mut longer = segment.bytes.clone();
            longer.extend_from_slice(b"\0\0\0\0");
            cases.push(segment.in_file(Case::new(format!("longer {path}"), MODIFIED), longer));
            for (j, other) in self.segments.iter().enumerate().filter(|(j, _)| *j != i) {
                let case = Case::new(format!("{j} in place of {path}"), MODIFIED);
                cases.push(segment.in_file(case, other.bytes.clone()));
                let case = Case::new(format!("{path} and {j} swapped"), MODIFIED);
                cases.push(
                    segment
                        .in_file(case.put(&other.path, segment.bytes.clone()), other.bytes.clone()),
                );
            }
        }
        for subset in 1u32..1 << self.segments.len() {
            let mut case = Case::new(format!("packed segments gone {subset:b}"), MISSING);
            for (i, segment) in self.segments.iter().enumerate() {
                if subset >> i & 1 == 1 {
                    case = case.remove(&segment.path);
                }
            }
            cases.push(case);
        }
        cases
    }

    /// Seals replaced, moved, signed by somebody else, or by the key itself over something else.
    fn seals(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let sign = |text: &str, seed| note::sign(text, signer(seed).as_ref()).unwrap().into_bytes();
        for (i, segment) in self.segments.iter().enumerate() {
            let path = segment.seal();
            let note = &self.original.files[&path];
            let text = text_of(note);
            let first = segment.seqs.start;
            let named = |case: Case, bytes: Vec<u8>| {
                case.put(&path, bytes).at(&path, None, Some(first..first + 1))
            };
            for at in 0..note.len() {
                let mut bytes = note.clone();
                bytes[at] ^= 1 << (at % 8);
                let states: &[State] = &[State::BadSignature, State::UnknownKey, State::Modified];
                cases.push(named(Case::new(format!("flip {path} {at}"), states), bytes));
            }
            cases.push(named(Case::new(format!("wrong key {path}"), UNKNOWN_KEY), sign(&text, 9)));
            // The one after it says that one is missing, too.
            let states: &[State] = &[State::Unsealed, State::Missing];
            let gone = Case::new(format!("{path} gone"), states);
            cases.push(gone.remove(&path));
            for (j, other) in self.segments.iter().enumerate().filter(|(j, _)| *j != i) {
                let other = &self.original.files[&other.seal()];
                let case = Case::new(format!("seal {j} in place of {path}"), REORDERED);
                cases.push(named(case, other.clone()));
                // The right text with another seal's signature.
                let whole = String::from_utf8(other.clone()).unwrap();
                let forged = format!("{text}\n{}", whole.split_once("\n\n").unwrap().1);
                let case = Case::new(format!("{path} with the signature of {j}"), BAD_SIGNATURE);
                cases.push(named(case, forged.into_bytes()));
            }
            // Every digit of what is signed, under the right key.
            for (at, old) in text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()) {
                let line = text.split_at(at).0.matches('\n').count();
                if line < 2 {
                    continue;
                }
                let new = if old == '1' { '2' } else { '1' };
                let mut changed = text.clone();
                changed.replace_range(at..=at, &new.to_string());
                let states: &[State] = &[State::Modified, State::BadSignature, State::Reordered];
                let case = Case::new(format!("{path} says {new} for {old} at {at}"), states);
                cases.push(named(case, sign(&changed, 7)));
            }
        }
        cases
    }
}

#[test]
fn every_change_to_what_is_packed_is_named_with_its_state_and_place() {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let scene = build(&log);
    let cases: Vec<Case> =
        [scene.flips(), scene.frames(), scene.whole(), scene.seals(), scene.original.signatures()]
            .into_iter()
            .flatten()
            .collect();
    assert!(cases.len() >= 5000, "only {} cases", cases.len());
    judge(scratch.path(), &scene.original, &cases);
}

/// Which bytes a compressor makes is nobody's business: the same records packed otherwise are the same segment.
#[test]
fn other_bytes_for_the_same_records_are_no_change() {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let scene = build(&log);
    for mut segment in scene.segments {
        for frame in &mut segment.frames {
            frame.bytes = packed_again(&lines_of(frame), 19);
        }
        assert!(segment.encode() != segment.bytes);
        fs::write(log.join(&segment.path), segment.encode()).unwrap();
    }
    assert_eq!(check(&log, Some(scene.original.newest)).state, State::Valid);
}
