//! The log as tiles: other people's reader finds every record under our signed head, and only those.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use audit::{
    checkpoint::Head,
    note::{Signer, Vkey},
    tiles::{self, ExportError, Kind, ProveError, TileError, TilePath},
    tree::Hash,
    *,
};
use tlog_tiles::{HashReader as _, Tile, TileHashReader, TileReader};

use super::{ORIGIN, signer};

/// Enough for three levels: 257 full bundles, one full tile of level 1.
const RECORDS: u64 = 66_000;

fn open(dir: &Path) -> Log {
    let options = Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 4 << 20,
        finished: Finished::Sealed,
        preallocate_bytes: 0,
        ..Options::default()
    };
    let files = Arc::new(LocalFiles::new(dir));
    Log::open(files, Arc::new(signer()), Arc::new(SystemClock), options).unwrap().0
}

fn records(from: u64, count: u64) -> Vec<Record> {
    (from..from + count)
        .map(|i| {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&i.to_be_bytes());
            Record::new(Class::Data, "s3:GetObject", EventId::new(1_767_225_600_000, random))
        })
        .collect()
}

/// A closed log of `count` records and its start and stop.
fn build(dir: &Path, count: u64) -> Head {
    let log = open(dir);
    for chunk in records(0, count).chunks(4000) {
        log.append_all(chunk).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    let note = fs::read(dir.join("checkpoint")).unwrap();
    checkpoint::open(&note, &vkey()).unwrap()
}

fn vkey() -> Vkey {
    Vkey::parse(&signer().vkey()).unwrap()
}

/// The exported directory as the other crate wants it; it names tiles, we know where they are.
struct Directory(PathBuf);

impl TileReader for Directory {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let (index, width) = (tile.level_index(), tile.width() as u16);
            let ours = TilePath { kind: Kind::Hashes(tile.level()), index, width };
            fs::read(self.0.join(ours.to_string())).unwrap_or_else(|e| panic!("{ours}: {e}"))
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The records of all bundles, by C2SP's framing.
fn entries(dir: &Path, size: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = 256.min(size - index * 256) as u16;
        let path = TilePath { kind: Kind::Entries, index, width };
        let bytes = fs::read(dir.join(path.to_string())).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(u16::from_be_bytes(*len).into());
            all.push(entry.to_vec());
            rest = after;
        }
    }
    all
}

#[test]
fn another_reader_finds_every_record_in_the_export() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (scratch.path().join("log"), scratch.path().join("export"));
    let head = build(&dir, RECORDS);
    let exported = tiles::export(&dir, &to, &vkey(), &|_, _| {}).unwrap();
    assert_eq!(exported.head, head);
    assert_eq!(head.size, RECORDS + 2);
    assert_eq!(fs::read(to.join("checkpoint")).unwrap(), fs::read(dir.join("checkpoint")).unwrap());
    let reader = Directory(to.clone());
    let root = tlog_tiles::Hash(head.root);
    let hashes = TileHashReader::new(head.size, root, &reader);
    let entries = entries(&to, head.size);
    assert_eq!(entries.len() as u64, head.size);
    // The reader checks each tile that it touches up to the root.
    for (first, run) in (0..).step_by(5000).zip(entries.chunks(5000)) {
        let places: Vec<u64> = (first..first + run.len() as u64)
            .map(|seq| tlog_tiles::stored_hash_index(0, seq))
            .collect();
        let expected: Vec<_> = run.iter().map(|entry| tlog_tiles::record_hash(entry)).collect();
        assert_eq!(hashes.read_hashes(&places).unwrap(), expected);
    }
    // A second run does not mix with the first, and a changed tile is not believed.
    assert!(matches!(tiles::export(&dir, &to, &vkey(), &|_, _| {}), Err(ExportError::Occupied(_))));
    let path = to.join("tile/0/010");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    // This reader leaves as many tiles unchecked as it shares between the parts of the right edge; others go first.
    let places: Vec<u64> = (0..100)
        .filter(|tile| *tile != 10)
        .chain([10])
        .map(|tile| tlog_tiles::stored_hash_index(0, tile * 256))
        .collect();
    assert!(TileHashReader::new(head.size, root, &reader).read_hashes(&places).is_err());
}

#[test]
fn any_record_is_proven_to_others_and_to_us() {
    let dir = tempfile::tempdir().unwrap();
    let head = build(dir.path(), RECORDS);
    for seq in [0, 1, 255, 256, 4095, 20_000, 65_535, 65_536, RECORDS, RECORDS + 1] {
        let proof = tiles::prove(dir.path(), seq, &vkey(), &|_, _| {}).unwrap();
        assert_eq!(proof.extra, read_record(dir.path(), seq).unwrap(), "{seq}");
        assert_eq!(proof.verify(None, &vkey()), Ok(head));
        let path: Vec<_> = proof.path.iter().map(|hash: &Hash| tlog_tiles::Hash(*hash)).collect();
        let leaf = tlog_tiles::record_hash(proof.extra.as_deref().unwrap());
        let root = tlog_tiles::Hash(head.root);
        tlog_tiles::check_record(&path, head.size, root, seq, leaf).unwrap();
    }
    let beyond = tiles::prove(dir.path(), head.size, &vkey(), &|_, _| {});
    assert!(matches!(beyond, Err(ProveError::NotCovered { .. })), "{beyond:?}");
}

#[test]
fn a_wrong_helper_file_costs_time_and_a_wrong_record_the_proof() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("log");
    let head = build(&dir, 40_000);
    let mut segments = Vec::new();
    segment_files(&dir.join("seg"), &mut segments);
    segments.sort();
    assert!(segments.len() >= 2, "{segments:?}");
    // Another segment's helper file under the last one's name: the proof is made without it.
    let starts: Vec<_> = segments.iter().map(|path| path.with_extension("start")).collect();
    let right = fs::read(starts.last().unwrap()).unwrap();
    let text = String::from_utf8(right.clone()).unwrap();
    let digit = text.find("frontier\":[\"").unwrap() + 12;
    let mut wrong = right.clone();
    wrong[digit] = if wrong[digit] == b'0' { b'1' } else { b'0' };
    fs::write(starts.last().unwrap(), wrong).unwrap();
    let proof = tiles::prove(&dir, head.size - 5, &vkey(), &|_, _| {}).unwrap();
    assert_eq!(proof.verify(None, &vkey()), Ok(head));
    // One letter in a record of the first segment.
    let mut bytes = fs::read(&segments[0]).unwrap();
    let at = bytes.windows(9).position(|window| window == b"GetObject").unwrap();
    bytes[at] = b'P';
    fs::write(&segments[0], bytes).unwrap();
    let refused = tiles::prove(&dir, 7, &vkey(), &|_, _| {});
    assert!(matches!(refused, Err(ProveError::Mismatch { .. })), "{refused:?}");
    let to = scratch.path().join("export");
    let refused = tiles::export(&dir, &to, &vkey(), &|_, _| {});
    assert!(matches!(refused, Err(ExportError::Mismatch { .. })), "{refused:?}");
    assert!(!to.join("checkpoint").exists());
}

#[test]
fn what_is_served_is_what_is_exported() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (scratch.path().join("log"), scratch.path().join("export"));
    let head = build(&dir, RECORDS);
    tiles::export(&dir, &to, &vkey(), &|_, _| {}).unwrap();
    let mut files = Vec::new();
    tile_files(&to.join("tile"), &mut files);
    assert!(files.len() > 500, "{}", files.len());
    // From nothing, from what the first run kept, and after somebody damaged that.
    for run in ["first", "again", "damaged", "cut"] {
        let kept = dir.join("tile/1/000");
        match run {
            "first" => assert!(!kept.exists()),
            "damaged" => {
                let mut bytes = fs::read(&kept).unwrap();
                bytes[100] ^= 1;
                fs::write(&kept, bytes).unwrap();
            }
            "cut" => fs::write(&kept, b"").unwrap(),
            _ => assert_eq!(fs::read(&kept).unwrap(), fs::read(to.join("tile/1/000")).unwrap()),
        }
        let log = open(&dir);
        let served = Tiles::start(&dir, vkey(), &log).unwrap();
        until(|| served.covered() >= RECORDS / 256 * 256);
        until(|| served.prove(0).is_ok());
        for path in &files {
            let name = path.strip_prefix(&to).unwrap().to_str().unwrap();
            let tile = TilePath::parse(name).unwrap();
            assert_eq!(served.tile(tile, head.size).unwrap(), fs::read(path).unwrap(), "{name}");
        }
        for seq in [0, 255, 256, 65_535, 65_536, RECORDS - 1] {
            let note = fs::read(to.join("checkpoint")).unwrap();
            let proof = served.prove_under(seq, &head, &note).unwrap();
            assert_eq!(proof.verify(None, &vkey()), Ok(head), "{run}: {seq}");
        }
        let beyond = TilePath { kind: Kind::Hashes(0), index: head.size / 256, width: 256 };
        assert!(matches!(served.tile(beyond, head.size), Err(TileError::Absent)));
        served.stop();
        log.close().unwrap();
    }
}

#[test]
fn tiles_grow_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let served = Tiles::start(dir.path(), vkey(), &log).unwrap();
    let mut frontier = tree::Frontier::default();
    for (round, count) in [100u64, 200, 700, 3].into_iter().enumerate() {
        log.append_all(&records(round as u64 * 10_000, count)).unwrap().wait().unwrap();
        let durable = log.durable_size();
        until(|| served.covered() == durable / 256 * 256);
        for seq in frontier.size()..durable {
            let leaf = read_record(dir.path(), seq).unwrap().unwrap();
            frontier.push(tree::leaf_hash(&leaf));
        }
        until(|| served.head().is_ok_and(|(head, _)| head.size == durable));
        let (head, _) = served.head().unwrap();
        assert_eq!(head.root, frontier.root());
        for seq in [0, durable / 2, durable - 1] {
            served.prove(seq).unwrap();
        }
        assert!(matches!(served.prove(durable), Err(ProveError::NotCovered { .. })));
    }
}

/// Polls, with a deadline.
fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never came to be so");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn tile_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => tile_files(&path, found),
            false => found.push(path),
        }
    }
}

fn segment_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => segment_files(&path, found),
            false if path.extension().is_some_and(|e| e == "jsonl") => found.push(path),
            false => {}
        }
    }
}
