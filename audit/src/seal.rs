//! Seals: what a finished segment holds, signed, each naming the one before it.
//!
//! A seal is a C2SP signed note beside its segment. It outlives the segment: the records may be compressed, moved away
//! or, one day, pruned; what they were stays signed. `FORMAT.md`, "Seal", has the bytes.
#![deny(clippy::indexing_slicing)]

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    checkpoint::CheckpointError,
    note::{self, NoteError, Signer, Vkey},
    segment::{Leaves, check, packed},
    stamp,
    tip::Tip,
    tree::{self, Frontier, Hash},
};

/// The first line of a seal; no origin of ours is spelled so, so it cannot be taken for a head.
pub const KIND: &str = "audit-seal/v1";

/// Records between two frames: frames begin at absolute multiples of it, as the tiles of level 0 do.
pub(crate) const FRAME_RECORDS: u64 = 256;

/// What a finished segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// `seq` of the first record.
    pub first: u64,
    /// `seq` after the last one.
    pub end: u64,
    /// Time of the first and of the last record, in microseconds since 1970.
    pub times_us: (u64, u64),
    /// Length of the records, each with a newline.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: Hash,
    /// Number of frames, and SHA-256 of the roots over the records of each.
    pub frames: (u64, Hash),
    /// Root of the log's tree at `end`.
    pub root: Hash,
    /// Chain value before the first record and after the last.
    pub chains: (Hash, Hash),
    /// SHA-256 of the seal before, the whole file; none in the first.
    pub prev: Option<Hash>,
}

impl Seal {
    /// The text that is signed.
    pub fn text(&self, origin: &str) -> String {
        let (begun, ended) = self.times_us;
        let (frames, roots) = &self.frames;
        let (before, after) = &self.chains;
        format!(
            "{KIND}\n{origin}\nsegment {} {}\ntime {} {}\nbytes {} sha256 {}\nframes {frames} sha256 {}\n\
             root {} {}\nchain {} {}\nprev {}\n",
            self.first,
            self.end,
            stamp::string(begun),
            stamp::string(ended),
            self.bytes,
            hex::encode(self.sha256),
            hex::encode(roots),
            self.end,
            STANDARD.encode(self.root),
            hex::encode(before),
            hex::encode(after),
            self.prev.map_or_else(|| "-".to_owned(), hex::encode),
        )
    }

    /// Reads such a text; `None` unless it is exactly what [`Seal::text`] writes.
    pub fn parse(text: &str, origin: &str) -> Option<Self> {
        let mut lines = text.split('\n').skip(2);
        let mut words = |name: &str| {
            let mut words = lines.next()?.split(' ');
            (words.next()? == name).then_some(words)
        };
        let hash =
            |word: Option<&str>| -> Option<Hash> { hex::decode(word?).ok()?.try_into().ok() };
        let mut segment = words("segment")?;
        let (first, end) = (segment.next()?.parse().ok()?, segment.next()?.parse().ok()?);
        let mut time = words("time")?;
        let mut time = || stamp::parse(time.next()?.as_bytes());
        let times_us = (time()?, time()?);
        let mut content = words("bytes")?;
        let (bytes, sha256) = (content.next()?.parse().ok()?, hash(content.nth(1))?);
        let mut frames = words("frames")?;
        let frames = (frames.next()?.parse().ok()?, hash(frames.nth(1))?);
        let root = STANDARD.decode(words("root")?.nth(1)?).ok()?.try_into().ok()?;
        let mut chain = words("chain")?;
        let chains = (hash(chain.next())?, hash(chain.next())?);
        let prev = match words("prev")?.next()? {
            "-" => None,
            digits => Some(hash(Some(digits))?),
        };
        let seal = Self { first, end, times_us, bytes, sha256, frames, root, chains, prev };
        (first < end && seal.text(origin) == text).then_some(seal)
    }

    /// The signed note.
    ///
    /// # Errors
    /// [`NoteError::Vkey`] when the signer's own key text is unusable.
    pub fn sign(&self, origin: &str, signer: &dyn Signer) -> Result<String, NoteError> {
        note::sign(&self.text(origin), signer)
    }

    /// Checks a note under the log's key, whose name is the origin.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] when the note does not verify, [`CheckpointError::Text`] when its text is no seal.
    pub fn open(note: &[u8], vkey: &Vkey) -> Result<Self, CheckpointError> {
        let text = note::open(note, vkey)?;
        Self::parse(text, vkey.name()).ok_or(CheckpointError::Text)
    }

    /// Reads a note without looking at its signature, where damage is feared and not a forger.
    pub(crate) fn peek(note: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(note).ok()?;
        let end = text.rfind("\n\n")?;
        let text = text.get(..=end)?;
        Self::parse(text, text.split('\n').nth(1)?)
    }

    /// Whether a packed segment, the whole file, gives the records back that were sealed.
    pub(crate) fn fits(&self, file: &[u8]) -> bool {
        let mut content = Sha256::new();
        let table = packed::each_frame(file, &mut |lines| content.update(lines));
        let digest: Hash = content.finalize().into();
        table.is_some_and(|table| {
            table.records == (self.first..self.end)
                && (table.frames.len() as u64, table.roots_digest()) == self.frames
                && digest == self.sha256
        })
    }

    /// Whether this is the tip at the first record of a packed segment that fits.
    pub(crate) fn begins_at(&self, mut tip: Tip, file: &[u8]) -> bool {
        let first = tip.size();
        packed::each_frame(file, &mut |lines| {
            tip.extend(&tree::leaf_hashes(Leaves::new(lines).map(|(_, leaf)| leaf)));
        });
        first == self.first && self.root == tip.frontier.root() && self.chains.1 == tip.chain
    }

    /// Whether the tip is the one after the sealed records.
    pub(crate) fn leads_to(&self, tip: &Tip) -> bool {
        self.end == tip.size()
            && self.root == tip.frontier.root()
            && self.chains.1 == tip.chain
            && self.times_us.1 == tip.time_us
    }
}

/// The digest by which the next seal and the log name a seal.
pub(crate) fn digest(note: &[u8]) -> Hash {
    Sha256::digest(note).into()
}

/// Takes in the records of a segment in order and says what they are.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    first: u64,
    end: u64,
    chain_before: Hash,
    begun_us: Option<u64>,
    bytes: u64,
    content: Sha256,
    frame: Frontier,
    roots: Vec<Hash>,
}

impl Measure {
    /// Begins before the first record.
    pub(crate) fn new(before: &Tip) -> Self {
        Self {
            first: before.size(),
            end: before.size(),
            chain_before: before.chain,
            begun_us: None,
            bytes: 0,
            content: Sha256::new(),
            frame: Frontier::default(),
            roots: Vec::new(),
        }
    }

    /// Takes in records that follow each other: their lines, and their hashes.
    pub(crate) fn push(&mut self, lines: &[u8], hashes: &[Hash]) {
        if self.begun_us.is_none() {
            self.begun_us = Leaves::new(lines).next().and_then(|(_, leaf)| check::time(leaf));
        }
        self.bytes += lines.len() as u64;
        self.content.update(lines);
        let mut rest = hashes;
        while !rest.is_empty() {
            let left = (FRAME_RECORDS - self.end % FRAME_RECORDS) as usize;
            let (frame, after) = rest.split_at(left.min(rest.len()));
            let _ = self.frame.extend(frame);
            self.end += frame.len() as u64;
            if frame.len() == left {
                self.roots.push(std::mem::take(&mut self.frame).root());
            }
            rest = after;
        }
    }

    /// The seal over everything taken in, with the roots of its frames; `None` if that was nothing. `after` is the tip
    /// that the records led to: whoever has checked them has it.
    pub(crate) fn finish(mut self, after: &Tip, prev: Option<Hash>) -> Option<(Seal, Vec<Hash>)> {
        debug_assert_eq!(self.end, after.size(), "the tip is that of another record");
        if self.frame.size() > 0 {
            self.roots.push(self.frame.root());
        }
        let seal = Seal {
            first: self.first,
            end: self.end,
            times_us: (self.begun_us?, after.time_us),
            bytes: self.bytes,
            sha256: self.content.finalize().into(),
            frames: (self.roots.len() as u64, Sha256::digest(self.roots.concat()).into()),
            root: after.frontier.root(),
            chains: (self.chain_before, after.chain),
            prev,
        };
        Some((seal, self.roots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Ed25519Signer;

    const ORIGIN: &str = "audit.example.com/node1";

    fn leaf(seq: u64) -> String {
        let time = stamp::string(1_767_225_600_000_000 + seq);
        format!(r#"{{"action":"x","seq":{seq},"time":"{time}","v":1}}"#)
    }

    fn sealed(records: std::ops::Range<u64>) -> (Seal, Vec<Hash>) {
        let mut tip = Tip::default();
        (0..records.start).for_each(|seq| tip.push(leaf(seq).as_bytes()));
        let mut measure = Measure::new(&tip);
        for seq in records {
            let leaf = leaf(seq);
            tip.push(leaf.as_bytes());
            tip.time_us = check::time(leaf.as_bytes()).unwrap();
            measure.push((leaf.clone() + "\n").as_bytes(), &[tree::leaf_hash(leaf.as_bytes())]);
        }
        measure.finish(&tip, Some([5; 32])).unwrap()
    }

    /// The text is what other people's tools read, so it is compared as it stands.
    #[test]
    fn the_text_says_what_the_records_are() {
        let (seal, roots) = sealed(250..600);
        assert_eq!(roots.len(), 3, "250..256, 256..512, 512..600");
        let content: String = (250..600).map(|seq| leaf(seq) + "\n").collect();
        assert_eq!(seal.bytes, content.len() as u64);
        assert_eq!(seal.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
        let mut tile = Frontier::default();
        (256..512).for_each(|seq| tile.push(tree::leaf_hash(leaf(seq).as_bytes())));
        assert_eq!(roots[1], tile.root());
        let text = seal.text(ORIGIN);
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines[..3], ["audit-seal/v1", ORIGIN, "segment 250 600"]);
        assert_eq!(lines[3], "time 2026-01-01T00:00:00.000250Z 2026-01-01T00:00:00.000599Z");
        let digest = hex::encode(Sha256::digest(&content));
        assert_eq!(lines[4], format!("bytes {} sha256 {digest}", content.len()));
        let digest = hex::encode(Sha256::digest(roots.concat()));
        assert_eq!(lines[5], format!("frames 3 sha256 {digest}"));
        let mut whole = Frontier::default();
        (0..600).for_each(|seq| whole.push(tree::leaf_hash(leaf(seq).as_bytes())));
        assert_eq!(lines[6], format!("root 600 {}", STANDARD.encode(whole.root())));
        assert_eq!(lines[8..], [format!("prev {}", "05".repeat(32)), String::new()]);
    }

    #[test]
    fn only_what_is_written_is_read() {
        let (seal, _) = sealed(0..3);
        let seal = Seal { prev: None, ..seal };
        let text = seal.text(ORIGIN);
        assert_eq!(Seal::parse(&text, ORIGIN), Some(seal.clone()));
        assert_eq!(Seal::parse(&text, "audit.example.com/node2"), None);
        for (from, to) in [
            ("segment 0 3", "segment 0 03"),
            ("segment 0 3", "segment 3 3"),
            ("segment 0 3", "segment 0 4"),
            ("prev -", "prev "),
            ("audit-seal/v1", "audit-seal/v2"),
            ("frames 1", "frames +1"),
            ("\nprev", "\n\nprev"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_eq!(Seal::parse(&changed, ORIGIN), None, "{changed}");
        }
        let signer = Ed25519Signer::from_seed(ORIGIN, &[7; 32]);
        let note = seal.sign(ORIGIN, &signer).unwrap();
        let vkey = Vkey::parse(&signer.vkey()).unwrap();
        assert_eq!(Seal::open(note.as_bytes(), &vkey), Ok(seal.clone()));
        assert_eq!(Seal::peek(note.as_bytes()), Some(seal));
        let other = Vkey::parse(&Ed25519Signer::from_seed(ORIGIN, &[8; 32]).vkey()).unwrap();
        assert!(Seal::open(note.as_bytes(), &other).is_err());
    }
}
