//! What stays of records that were pruned: who took them away and when, and the hash of each.
//!
//! A pruned log begins with a later record than the first. Of what is gone it keeps the seals and, as C2SP tiles of
//! level 0, the leaf hashes; so the tree is whole, every proof can still be made, and a record that turns up again can be
//! proven. The file `pruned` says where the log begins now and which record says so. It is a note for readers: `verify`
//! believes the record, and only under a signed head.
#![deny(clippy::indexing_slicing)]

use std::{fmt, fs, io, ops::Range, path::Path};

use crate::{
    seal::Seal,
    segment::{self, start},
    stamp,
    tiles::{Kind, TILE_WIDTH, TilePath, leaves},
    tip::Tip,
    tree::{self, Hash},
};

/// Where a pruned log begins.
pub(crate) const PATH: &str = "pruned";
const WIDTH: u64 = TILE_WIDTH as u64;

/// Reads a file of the log by its path.
pub(crate) type Read<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;
/// Names what is in a directory of the log.
pub(crate) type List<'a> = &'a dyn Fn(&str) -> io::Result<Vec<String>>;

/// Records that are not there any more, and the record that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Records below this one were pruned.
    pub end: u64,
    /// `seq` of the newest `audit:prune`.
    pub record: u64,
    /// Its time in microseconds since 1970.
    pub time_us: u64,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = stamp::string(self.time_us);
        let day = time.get(..10).unwrap_or_default();
        write!(f, "pruned by record {} on {day}", self.record)
    }
}

impl Pruned {
    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let time = stamp::string(self.time_us);
        format!("{{\"end\":{},\"record\":{},\"time\":\"{time}\"}}\n", self.end, self.record)
            .into_bytes()
    }

    /// Reads it; `None` unless it is exactly what [`Pruned::encode`] writes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix("{\"end\":")?;
        let (end, rest) = rest.split_once(",\"record\":")?;
        let (record, rest) = rest.split_once(",\"time\":\"")?;
        let time = rest.strip_suffix("\"}\n")?;
        let pruned = Self {
            end: end.parse().ok()?,
            record: record.parse().ok()?,
            time_us: stamp::parse(time.as_bytes())?,
        };
        (pruned.encode() == bytes).then_some(pruned)
    }

    /// What the file says; `None` where nothing was pruned.
    ///
    /// # Errors
    /// Reading failed; [`io::ErrorKind::InvalidData`] when it is damaged.
    pub(crate) fn read(read: Read<'_>) -> io::Result<Option<Self>> {
        match read(PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => Self::parse(&bytes?).map(Some).ok_or_else(|| {
                let what = "the file `pruned` is damaged; run `audit verify`";
                io::Error::new(io::ErrorKind::InvalidData, what)
            }),
        }
    }
}

/// Which records of the log in `dir` were pruned; `None` where it has them all.
///
/// # Errors
/// Reading failed; [`io::ErrorKind::InvalidData`] when the file is damaged.
pub fn pruned(dir: &Path) -> io::Result<Option<Pruned>> {
    Pruned::read(&|path| fs::read(dir.join(path)))
}

/// The leaf hash of a record of the log in `dir`, which may have been pruned; `None` where the log has no such record.
///
/// # Errors
/// Reading failed.
pub fn leaf_hash(dir: &Path, seq: u64) -> io::Result<Option<Hash>> {
    let mut found = None;
    leaf_hashes(dir, seq..seq.saturating_add(1), &mut |_, hash, _| {
        found = Some(hash);
        Ok(())
    })?;
    Ok(found)
}

/// A tile of kept hashes that is not there, or not a tile.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) path: String,
    pub(crate) error: io::Error,
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        let what = format!("`{}`, the hashes of pruned records: {}", lost.path, lost.error);
        Self::new(lost.error.kind(), what)
    }
}

/// Path of the tile of level 0 with this index, as it is kept for records up to `end`: the last one is partial.
pub(crate) fn tile_path(index: u64, end: u64) -> String {
    let width = (end - (index * WIDTH).min(end)).min(WIDTH);
    let width = u16::try_from(width).unwrap_or(TILE_WIDTH).max(1);
    TilePath { kind: Kind::Hashes(0), index, width }.to_string()
}

/// Gives the kept leaf hashes of `range` to `take`, in order; `end` is where pruned records end.
///
/// # Errors
/// The first tile that is lost, or what `take` refused, with the tile that it was in.
pub(crate) fn kept(
    read: Read<'_>,
    range: Range<u64>,
    end: u64,
    take: &mut dyn FnMut(u64, Hash) -> io::Result<()>,
) -> Result<(), Lost> {
    let mut next = range.start;
    while next < range.end {
        let index = next / WIDTH;
        let (path, hashes) = tile(read, index, end)?;
        for hash in hashes.iter().skip((next % WIDTH) as usize) {
            if next == range.end {
                break;
            }
            take(next, *hash).map_err(|error| Lost { path: path.clone(), error })?;
            next += 1;
        }
    }
    Ok(())
}

/// The tile with as many hashes as are kept of it; a whole one where a later prune has made it whole.
fn tile(read: Read<'_>, index: u64, end: u64) -> Result<(String, Vec<Hash>), Lost> {
    let (mut path, mut width) = (tile_path(index, u64::MAX), WIDTH);
    let mut bytes = read(&path);
    if bytes.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        (path, width) = (tile_path(index, end), (end - (index * WIDTH).min(end)).min(WIDTH));
        bytes = if width < WIDTH { read(&path) } else { bytes };
    }
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return Err(Lost { path, error }),
    };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() as u64 != width || !rest.is_empty() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "not a tile of this width");
        return Err(Lost { path, error });
    }
    Ok((path, hashes.to_vec()))
}

/// Takes a record's position, its hash, and the record where it is still there.
type TakeLeaf<'a> = dyn FnMut(u64, Hash, Option<&[u8]>) -> io::Result<()> + 'a;

/// Gives the leaf hash of every record of `range` to `take`, in order, with the record where it is still there. Returns
/// how many there were: fewer than asked for when the log ends or a record is not in its place.
///
/// # Errors
/// Reading failed, or `take` did.
pub(crate) fn leaf_hashes(
    dir: &Path,
    range: Range<u64>,
    take: &mut TakeLeaf<'_>,
) -> io::Result<u64> {
    let end = pruned(dir)?.map_or(0, |pruned| pruned.end);
    let middle = range.start.max(end.min(range.end));
    if range.start < middle {
        let read = |path: &str| fs::read(dir.join(path));
        kept(&read, range.start..middle, end, &mut |seq, hash| take(seq, hash, None))?;
    }
    let read = leaves::read(dir, middle..range.end, &mut |seq, leaf| {
        take(seq, tree::leaf_hash(leaf), Some(leaf))
    })?;
    Ok(middle - range.start + read)
}

/// Root and chain over the first `size` records, which were pruned.
///
/// # Errors
/// A tile is lost.
pub(crate) fn tip_of_kept(read: Read<'_>, size: u64, end: u64) -> Result<Tip, Lost> {
    let mut tip = Tip::default();
    kept(read, 0..size, end, &mut |_, hash| {
        tip.push_hash(hash);
        Ok(())
    })?;
    Ok(tip)
}

/// The tip where pruned records end: from the file beside the segment that follows, or from the kept hashes; either must be
/// what the last seal says.
///
/// # Errors
/// Reading failed; [`io::ErrorKind::InvalidData`] when nothing leads to the seal.
pub(crate) fn tip_at(read: Read<'_>, list: List<'_>, end: u64) -> io::Result<Tip> {
    if end == 0 {
        return Ok(Tip::default());
    }
    let lost = || {
        let what = format!("what is left of the records before {end} does not lead to their seal");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let (seal, _) = seal_before(read, list, end)?.ok_or_else(lost)?;
    let beside = format!("/{end:016}.start");
    let path = segment::files(list)?.into_iter().find(|path| path.ends_with(&beside));
    let stored = path.and_then(|path| start::parse(&read(&path).ok()?));
    if let Some(tip) = stored.filter(|tip| seal.leads_to(tip)) {
        return Ok(tip);
    }
    let mut tip = tip_of_kept(read, end, end)?;
    tip.time_us = seal.times_us.1;
    Some(tip).filter(|tip| seal.leads_to(tip)).ok_or_else(lost)
}

/// The seal that ends at a record, and the note that it is.
pub(crate) fn seal_before(
    read: Read<'_>,
    list: List<'_>,
    end: u64,
) -> io::Result<Option<(Seal, Vec<u8>)>> {
    let paths = segment::seals(list)?;
    let first = |path: &str| -> Option<u64> {
        path.rsplit('/').next()?.strip_suffix(".seal")?.parse().ok()
    };
    let path = paths.iter().rfind(|path| first(path).is_some_and(|first| first < end));
    let Some(path) = path else { return Ok(None) };
    let note = read(path)?;
    Ok(Seal::peek(&note).filter(|seal| seal.end == end).map(|seal| (seal, note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        let pruned = Pruned { end: 4711, record: 9000, time_us: 1_767_225_600_000_000 };
        let text = String::from_utf8(pruned.encode()).unwrap();
        assert_eq!(
            text,
            "{\"end\":4711,\"record\":9000,\"time\":\"2026-01-01T00:00:00.000000Z\"}\n"
        );
        assert_eq!(Pruned::parse(text.as_bytes()), Some(pruned));
        assert_eq!(pruned.to_string(), "pruned by record 9000 on 2026-01-01");
        for (from, to) in
            [("4711", "04711"), ("4711", "-1"), ("\n", ""), ("record", "recorD"), ("2026", "2O26")]
        {
            assert_eq!(Pruned::parse(text.replacen(from, to, 1).as_bytes()), None, "{from}");
        }
    }

    #[test]
    fn the_last_tile_is_partial() {
        assert_eq!(tile_path(0, 600), "tile/0/000");
        assert_eq!(tile_path(2, 600), "tile/0/002.p/88");
        assert_eq!(tile_path(1, 512), "tile/0/001");
    }
}
