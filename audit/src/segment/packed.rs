//! A sealed segment, compressed: independent zstd frames of the records between two multiples of 256, and tables of them.
//!
//! ```text
//! file      = frame+ directory seek-table
//! frame     = one zstd frame of (leaf LF){1..256}, with its checksum and content size
//! directory = skippable frame: first, end (u64 LE), then per frame: CRC-32C of its bytes (u32 LE), root of its records
//! ```
//! The seek table is that of zstd's seekable format, so other people's readers find frames too, and `zstd -dc` gives the
//! records and nothing else. Every byte of both tables follows from the frames; who reads them writes them again.
#![deny(clippy::indexing_slicing)]

use std::{
    fmt, fs, io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, Decompressor};

use crate::{encode::LEAF_BYTES_MAX, seal::FRAME_RECORDS, tree::Hash};

use super::{Leaves, check};

/// Frames of a server's records, 256 together, are as small at 1 as at 3, and smaller where requests are alike, for two
/// thirds of the time. Level 9 gains a tenth for five times the time.
const LEVEL: i32 = 1;
/// Bytes of one frame, unpacked, at most.
const FRAME_BYTES_MAX: usize = FRAME_RECORDS as usize * (LEAF_BYTES_MAX + 1);

const DIRECTORY_MAGIC: u32 = 0x184D_2A50;
const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Magic number and length of a skippable frame.
const HEAD_BYTES: u64 = 8;
/// Checksum and root.
const DIRECTORY_ENTRY_BYTES: u64 = 36;
/// Compressed and decompressed length.
const SEEK_ENTRY_BYTES: u64 = 8;
/// Count, descriptor, magic number.
const FOOTER_BYTES: u64 = 9;

/// One frame by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Where its bytes begin in the file, and how many there are.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// Where its records begin in the unpacked file, and how long they are.
    pub(crate) start: u64,
    pub(crate) size: u32,
    /// CRC-32C of its bytes.
    pub(crate) crc: u32,
    /// RFC 6962 root over its records.
    pub(crate) root: Hash,
}

impl Packing {
    /// Its bytes in the whole file; none if they are not there.
    pub(crate) fn of<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        let from = usize::try_from(self.offset).unwrap_or(usize::MAX);
        file.get(from..from.saturating_add(self.len as usize)).unwrap_or_default()
    }
}

/// What the two tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Records in the file.
    pub(crate) records: Range<u64>,
    pub(crate) frames: Vec<Packing>,
}

impl Table {
    /// Records of one frame.
    pub(crate) fn records_of(&self, frame: usize) -> Range<u64> {
        let start = (self.records.start / FRAME_RECORDS + frame as u64) * FRAME_RECORDS;
        start.max(self.records.start)..(start + FRAME_RECORDS).min(self.records.end)
    }

    /// The frame that holds a record.
    pub(crate) fn frame_of(&self, seq: u64) -> Option<usize> {
        let frame = seq.checked_div(FRAME_RECORDS)?;
        let frame = frame.checked_sub(self.records.start / FRAME_RECORDS)?;
        self.records.contains(&seq).then(|| usize::try_from(frame).ok()).flatten()
    }

    /// Length of all records with their newlines.
    pub(crate) fn size(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.start + u64::from(frame.size))
    }

    /// SHA-256 over the roots, as a seal has it.
    pub(crate) fn roots_digest(&self) -> Hash {
        let mut digest = Sha256::new();
        self.frames.iter().for_each(|frame| digest.update(frame.root));
        digest.finalize().into()
    }

    /// Both tables as they end the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut directory = Vec::new();
        directory.extend_from_slice(&self.records.start.to_le_bytes());
        directory.extend_from_slice(&self.records.end.to_le_bytes());
        for frame in &self.frames {
            directory.extend_from_slice(&frame.crc.to_le_bytes());
            directory.extend_from_slice(&frame.root);
        }
        let mut bytes = skippable(DIRECTORY_MAGIC, &directory);
        let mut seek = Vec::new();
        for frame in &self.frames {
            seek.extend_from_slice(&frame.len.to_le_bytes());
            seek.extend_from_slice(&frame.size.to_le_bytes());
        }
        seek.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        seek.extend_from_slice(&0u32.to_le_bytes());
        seek.extend_from_slice(&(self.frames.len() as u32 + 1).to_le_bytes());
        seek.push(0);
        seek.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&skippable(SEEK_TABLE_MAGIC, &seek));
        bytes
    }

    /// Length of both tables, from the last bytes of a file; `None` if those are no footer.
    fn len(footer: &[u8]) -> Option<u64> {
        let (count, _) = footer.split_first_chunk::<4>()?;
        let frames = u64::from(u32::from_le_bytes(*count)).checked_sub(1)?;
        let directory = HEAD_BYTES + 16 + frames * DIRECTORY_ENTRY_BYTES;
        Some(directory + HEAD_BYTES + (frames + 1) * SEEK_ENTRY_BYTES + FOOTER_BYTES)
    }

    /// Reads the tables of a file of `file_len` bytes; `None` unless they are what [`Table::encode`] writes for some
    /// frames that fill the file before them.
    pub(crate) fn parse(bytes: &[u8], file_len: u64) -> Option<Self> {
        let footer = bytes.len().checked_sub(FOOTER_BYTES as usize)?;
        if Self::len(bytes.get(footer..)?)? != bytes.len() as u64 {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let records = u64_at(8)?..u64_at(16)?;
        let frames = (u32_at(footer)? as usize).checked_sub(1)?;
        let spanned = records.end.checked_sub(1)? / FRAME_RECORDS;
        let expected = spanned.checked_sub(records.start / FRAME_RECORDS)? + 1;
        if records.is_empty() || expected != frames as u64 {
            return None;
        }
        let seek = 24 + frames * DIRECTORY_ENTRY_BYTES as usize + HEAD_BYTES as usize;
        let mut table = Self { records, frames: Vec::with_capacity(frames) };
        let (mut offset, mut start) = (0, 0);
        for frame in 0..frames {
            let entry = 24 + frame * DIRECTORY_ENTRY_BYTES as usize;
            let place = seek + frame * SEEK_ENTRY_BYTES as usize;
            let (len, size) = (u32_at(place)?, u32_at(place + 4)?);
            let root = *bytes.get(entry + 4..)?.first_chunk()?;
            table.frames.push(Packing { offset, len, start, size, crc: u32_at(entry)?, root });
            offset += u64::from(len);
            start += u64::from(size);
        }
        let whole = offset + bytes.len() as u64 == file_len && table.encode() == bytes;
        whole.then_some(table)
    }

    /// The tables at the end of a whole file.
    pub(crate) fn of_file(bytes: &[u8]) -> Option<Self> {
        let footer = bytes.len().checked_sub(FOOTER_BYTES as usize)?;
        let len = usize::try_from(Self::len(bytes.get(footer..)?)?).ok()?;
        Self::parse(bytes.get(bytes.len().checked_sub(len)?..)?, bytes.len() as u64)
    }
}

fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    [&magic.to_le_bytes(), &(content.len() as u32).to_le_bytes(), content].concat()
}

/// Gives the lines of each frame of a whole file to `take`, and then the tables; `None` if something is damaged.
pub(crate) fn each_frame(file: &[u8], take: &mut dyn FnMut(&[u8])) -> Option<Table> {
    let table = Table::of_file(file)?;
    let (mut unpacker, mut lines) = (Unpacker::new().ok()?, Vec::new());
    for packing in &table.frames {
        unpacker.unpack_to(packing.of(file), packing, &mut lines).then_some(())?;
        take(&lines);
    }
    Some(table)
}

/// Packs records as they come, in the memory of what it has packed.
///
/// Each frame is unpacked again at once and compared with the records it was made of, so what comes out gives them back.
pub(crate) struct Packer {
    compressor: Compressor<'static>,
    unpacker: Unpacker,
    /// Records of the frame that is being filled, with their newlines.
    lines: Vec<u8>,
    /// Frames that are packed.
    bytes: Vec<u8>,
    /// The same; their roots come at the end.
    table: Table,
}

impl Packer {
    /// Begins a segment with record `first`.
    ///
    /// # Errors
    /// The library failed.
    pub(crate) fn new(first: u64) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        compressor.include_contentsize(true)?;
        let table = Table { records: first..first, frames: Vec::new() };
        let (lines, bytes) = (Vec::new(), Vec::new());
        Ok(Self { compressor, unpacker: Unpacker::new()?, lines, bytes, table })
    }

    /// Takes in one record, given without its newline.
    ///
    /// # Errors
    /// The library failed, or did not give back what it got.
    pub(crate) fn push(&mut self, leaf: &[u8]) -> io::Result<()> {
        self.lines.extend_from_slice(leaf);
        self.lines.push(b'\n');
        self.table.records.end += 1;
        match self.table.records.end.is_multiple_of(FRAME_RECORDS) {
            true => self.end_frame(),
            false => Ok(()),
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let frame = self.compressor.compress(&self.lines)?;
        let packing = Packing {
            offset: self.bytes.len() as u64,
            len: u32::try_from(frame.len()).map_err(io::Error::other)?,
            start: self.table.size(),
            size: u32::try_from(self.lines.len()).map_err(io::Error::other)?,
            crc: check::crc(&frame),
            root: Hash::default(),
        };
        if self.unpacker.unpack(&frame, &packing).as_ref() != Some(&self.lines) {
            return Err(io::Error::other("a frame does not unpack to its records"));
        }
        self.table.frames.push(packing);
        self.bytes.extend_from_slice(&frame);
        self.lines.clear();
        Ok(())
    }

    /// The file, and its table, with the roots of all frames.
    ///
    /// # Errors
    /// As [`Packer::push`]; there are more or fewer frames than roots, or none.
    pub(crate) fn finish(mut self, roots: &[Hash]) -> io::Result<(Vec<u8>, Table)> {
        if !self.lines.is_empty() {
            self.end_frame()?;
        }
        if roots.is_empty() || self.table.frames.len() != roots.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (frame, root) in self.table.frames.iter_mut().zip(roots) {
            frame.root = *root;
        }
        self.bytes.extend_from_slice(&self.table.encode());
        Ok((self.bytes, self.table))
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("records", &self.table.records).finish_non_exhaustive()
    }
}

/// Packs records that are all there.
#[cfg(test)]
pub(crate) fn pack<'a>(
    first: u64,
    mut leaves: impl Iterator<Item = &'a [u8]>,
    roots: &[Hash],
) -> io::Result<Vec<u8>> {
    let mut packer = Packer::new(first)?;
    leaves.try_for_each(|leaf| packer.push(leaf))?;
    Ok(packer.finish(roots)?.0)
}

/// Unpacks frames, one after the other: making the library's state anew for each would cost a tenth of the work.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// Unpacks the bytes of one frame; `None` if they are not what was packed.
    pub(crate) fn unpack(&mut self, bytes: &[u8], frame: &Packing) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        self.unpack_to(bytes, frame, &mut lines).then_some(lines)
    }

    /// The same into a buffer that was used before: a fresh one costs more than unpacking what is in it. False, and it
    /// means nothing what is in the buffer, if the bytes are not what was packed.
    pub(crate) fn unpack_to(&mut self, bytes: &[u8], frame: &Packing, lines: &mut Vec<u8>) -> bool {
        let size = frame.size as usize;
        if check::crc(bytes) != frame.crc || size > FRAME_BYTES_MAX {
            return false;
        }
        lines.clear();
        lines.reserve_exact(size);
        self.0.decompress_to_buffer(bytes, lines).is_ok() && lines.len() == size
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacker")
    }
}

/// Where the bytes of a packed segment are.
#[derive(Debug)]
enum Source {
    File(fs::File),
    Bytes(Vec<u8>),
}

impl Source {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let (at, len) = (usize::try_from(offset), usize::try_from(len));
        let (at, len) = (at.map_err(io::Error::other)?, len.map_err(io::Error::other)?);
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
            Self::Bytes(bytes) => {
                let end = at.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(bytes.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
            }
        }
    }
}

/// A packed segment, open for reading anywhere. Keeps the frame that it unpacked last.
#[derive(Debug)]
pub(crate) struct Packed {
    source: Source,
    table: Table,
    last: Mutex<Option<(usize, Vec<u8>)>>,
    unpacker: Mutex<Unpacker>,
}

impl Packed {
    /// A file that begins with record `first`.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] when its tables are damaged.
    pub(crate) fn open(file: fs::File, first: u64) -> io::Result<Self> {
        Self::new(Source::File(file), first)
    }

    /// The same over bytes that were read already.
    ///
    /// # Errors
    /// As [`Packed::open`].
    pub(crate) fn of_bytes(bytes: Vec<u8>, first: u64) -> io::Result<Self> {
        Self::new(Source::Bytes(bytes), first)
    }

    fn new(source: Source, first: u64) -> io::Result<Self> {
        let damaged = || damaged("the tables of the packed segment are damaged");
        let len = source.len()?;
        let footer =
            source.read(len.checked_sub(FOOTER_BYTES).ok_or_else(damaged)?, FOOTER_BYTES)?;
        let tables = Table::len(&footer).filter(|tables| *tables <= len).ok_or_else(damaged)?;
        let tables = source.read(len - tables, tables)?;
        let table = Table::parse(&tables, len).filter(|table| table.records.start == first);
        let unpacker = Mutex::new(Unpacker::new()?);
        Ok(Self { source, table: table.ok_or_else(damaged)?, last: Mutex::new(None), unpacker })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The records of a frame with their newlines; `None` after the last frame.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] when the frame is damaged.
    pub(crate) fn frame(&self, frame: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(packing) = self.table.frames.get(frame) else { return Ok(None) };
        let bytes = self.source.read(packing.offset, packing.len.into())?;
        let mut unpacker = self.unpacker.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = unpacker
            .unpack(&bytes, packing)
            .ok_or_else(|| damaged(&format!("frame {frame} of the packed segment is damaged")))?;
        Ok(Some(lines))
    }

    fn with<T>(&self, frame: usize, give: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(kept, _)| *kept != frame) {
            let Some(lines) = self.frame(frame)? else { return Ok(None) };
            *last = Some((frame, lines));
        }
        Ok(last.as_ref().map(|(_, lines)| give(lines)))
    }

    /// One record without its newline.
    ///
    /// # Errors
    /// As [`Packed::frame`].
    pub(crate) fn record(&self, seq: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(frame) = self.table.frame_of(seq) else { return Ok(None) };
        let skip = seq - self.table.records_of(frame).start;
        let nth = |lines: &[u8]| Some(Leaves::new(lines).nth(skip as usize)?.1.to_vec());
        Ok(self.with(frame, nth)?.flatten().filter(|leaf| check::seq(leaf) == Some(seq)))
    }

    /// Where the frame of a record begins in the unpacked file.
    pub(crate) fn start_of(&self, seq: u64) -> u64 {
        let frame = self.table.frame_of(seq).and_then(|frame| self.table.frames.get(frame));
        frame.map_or(self.table.size(), |frame| frame.start)
    }

    /// Reads from the unpacked file, at most to the end of a frame; 0 at its end.
    ///
    /// # Errors
    /// As [`Packed::frame`].
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let after = self.table.frames.partition_point(|frame| frame.start <= offset);
        let frame = after.checked_sub(1).filter(|_| offset < self.table.size());
        let Some(frame) = frame else { return Ok(0) };
        let start = self.table.frames.get(frame).map_or(0, |frame| frame.start);
        let copied = self.with(frame, |lines| {
            let lines = lines.get((offset - start) as usize..).unwrap_or_default();
            let len = lines.len().min(buffer.len());
            buffer.iter_mut().zip(lines).for_each(|(to, from)| *to = *from);
            len
        })?;
        Ok(copied.unwrap_or(0))
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{stamp, tree};

    fn leaf(seq: u64) -> Vec<u8> {
        let time = stamp::string(1_767_225_600_000_000 + seq);
        format!(r#"{{"action":"s3:GetObject","seq":{seq},"time":"{time}","v":1}}"#).into_bytes()
    }

    fn packed(records: Range<u64>) -> (Vec<u8>, Vec<Vec<u8>>) {
        let leaves: Vec<Vec<u8>> = records.clone().map(leaf).collect();
        let mut roots = Vec::new();
        for seq in records.clone() {
            if roots.is_empty() || seq.is_multiple_of(FRAME_RECORDS) {
                roots.push(tree::Frontier::default());
            }
            roots.last_mut().unwrap().push(tree::leaf_hash(&leaf(seq)));
        }
        let roots: Vec<Hash> = roots.iter().map(tree::Frontier::root).collect();
        (pack(records.start, leaves.iter().map(Vec::as_slice), &roots).unwrap(), leaves)
    }

    /// Any decompressor gives the records, because tables are skippable frames.
    #[test]
    fn a_stock_decoder_gives_the_records_and_nothing_else() {
        let (bytes, leaves) = packed(200..900);
        let all = zstd::stream::decode_all(bytes.as_slice()).unwrap();
        assert_eq!(all, leaves.iter().flat_map(|l| [l, &b"\n"[..]].concat()).collect::<Vec<u8>>());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let (bytes, _) = packed(250..600);
        let table = Table::of_file(&bytes).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let hit = table.frames.iter().position(|frame| {
                (frame.offset..frame.offset + u64::from(frame.len)).contains(&(at as u64))
            });
            match Packed::of_bytes(changed, 250) {
                Err(error) => assert!(hit.is_none() && error.kind() == io::ErrorKind::InvalidData),
                Ok(packed) => {
                    let bad: Vec<usize> = (0..3).filter(|i| packed.frame(*i).is_err()).collect();
                    // In the tables it is a checksum, or a root or the end, which the seal knows.
                    let roots = packed.table().roots_digest() != table.roots_digest()
                        || packed.table().records != table.records;
                    match hit {
                        Some(frame) => assert_eq!(bad, [frame], "byte {at}"),
                        None => assert!(bad.len() == 1 || roots, "byte {at}"),
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn records_are_where_they_were(first in 0u64..2000, count in 1u64..1200, near in 0u64..1300) {
            let (bytes, leaves) = packed(first..first + count);
            let packed = Packed::of_bytes(bytes, first).unwrap();
            let seq = (first + near).saturating_sub(50);
            let expected = seq.checked_sub(first).and_then(|i| leaves.get(i as usize)).cloned();
            prop_assert_eq!(packed.record(seq).unwrap(), expected);
            // Read in odd pieces, the unpacked file is the lines.
            let (mut all, mut buffer) = (Vec::new(), [0; 777]);
            loop {
                match packed.read_at(&mut buffer, all.len() as u64).unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&buffer[..read]),
                }
            }
            prop_assert_eq!(all.len() as u64, packed.table().size());
            prop_assert_eq!(all, leaves.iter().flat_map(|l| [l, &b"\n"[..]].concat()).collect::<Vec<u8>>());
        }
    }
}
