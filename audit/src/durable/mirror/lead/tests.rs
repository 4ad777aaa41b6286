//! Who reads a log by path is led to a copy that is in use and whole.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Class, Ed25519Signer, EventId, Finished, Indexer, Log, LogError, Method, Mirrored, Options,
    Query, Record, Report, SearchOptions, Searcher, State, SystemClock, Tiles, VerifyOptions,
    durable::{Copies, File, Files},
    log::TileRoots,
    note::{Signer as _, Vkey},
    verify,
};

use super::*;

const ORIGIN: &str = "audit.example.com/node1";

fn signer() -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]))
}

fn vkey() -> Vkey {
    Vkey::parse(&signer().vkey()).unwrap()
}

fn options() -> Options {
    Options {
        origin: ORIGIN.to_owned(),
        segment_bytes_max: 16 << 10,
        preallocate_bytes: 0,
        sign_interval: Duration::from_millis(1),
        ..Options::default()
    }
}

fn record(i: u64) -> Record {
    Record::new(Class::Data, "s3:PutObject", EventId::new(i, [i as u8; 10]))
}

fn append(log: &Log, range: std::ops::Range<u64>) -> Result<(), LogError> {
    range.map(record).try_for_each(|record| log.append(&record)?.wait().map(drop))
}

/// A drive that can be pulled out.
#[derive(Clone, Debug)]
struct Drive {
    files: crate::LocalFiles,
    gone: Arc<AtomicBool>,
}

impl Drive {
    fn check(&self) -> io::Result<()> {
        match self.gone.load(Ordering::Acquire) {
            true => Err(io::Error::other("the drive is gone")),
            false => Ok(()),
        }
    }
}

impl Files for Drive {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.files.lock()
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.check()?;
        Ok(Box::new(DriveFile(self.clone(), self.files.create(path)?)))
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.check()?;
        Ok(Box::new(DriveFile(self.clone(), self.files.open(path)?)))
    }
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.check().and_then(|()| self.files.read(path))
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.check().and_then(|()| self.files.replace(path, bytes))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.check().and_then(|()| self.files.remove(path))
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.check().and_then(|()| self.files.list(path))
    }
}

#[derive(Debug)]
struct DriveFile(Drive, Box<dyn File>);

impl File for DriveFile {
    fn size(&self) -> io::Result<u64> {
        self.0.check().and_then(|()| self.1.size())
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.check().and_then(|()| self.1.write_at(offset, bytes))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.check().and_then(|()| self.1.sync())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.check().and_then(|()| self.1.truncate(len))
    }
}

/// A log on local drives, read through a link.
struct Led {
    _scratch: tempfile::TempDir,
    dirs: Vec<PathBuf>,
    drives: Vec<Drive>,
    link: PathBuf,
}

impl Led {
    fn new(copies: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dirs: Vec<_> = (0..copies).map(|i| scratch.path().join(format!("drive{i}"))).collect();
        let link = scratch.path().join("config");
        fs::create_dir(&link).unwrap();
        let link = link.join("audit");
        let drive = |dir| Drive { files: crate::LocalFiles::new(dir), gone: Arc::default() };
        let drives = dirs.iter().map(drive).collect();
        Self { _scratch: scratch, dirs, drives, link }
    }

    fn open(&self) -> Log {
        self.open_with(options())
    }

    fn open_with(&self, options: Options) -> Log {
        let named = self.drives.iter().zip(&self.dirs);
        let named = named.map(|(drive, dir)| -> (String, Arc<dyn Files>) {
            (dir.display().to_string(), Arc::new(drive.clone()))
        });
        let lead = Lead::new(&self.link, &self.dirs).unwrap();
        let mirrored = Mirrored::new(named.collect(), Some(lead)).unwrap();
        Log::open(Arc::new(mirrored), signer(), Arc::new(SystemClock), options).unwrap().0
    }

    fn leads_to(&self) -> PathBuf {
        fs::read_link(&self.link).unwrap()
    }

    fn lose(&self, copy: usize) {
        self.drives[copy].gone.store(true, Ordering::Release);
    }
}

/// The records of [`append`].
fn puts(searcher: &Searcher, method: Method) -> Result<crate::Answer, crate::SearchError> {
    let query = Query::parse("action=s3:PutObject", 0).unwrap();
    searcher.search(&query, SearchOptions { method, limit: 1000, ..Default::default() })
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Readers, a tail that was begun before, and the index go on where another copy is; after a start too.
#[test]
fn readers_are_led_to_a_copy_that_is_in_use() {
    let led = Led::new(3);
    let Led { dirs, link, .. } = &led;
    let search = |method| puts(&Searcher::new(link), method).unwrap().coverage;
    let log = led.open();
    assert_eq!(led.leads_to(), dirs[0]);
    let indexer = Indexer::start(link, &log).unwrap();
    append(&log, 0..20).unwrap();
    let mut tail = crate::tail(link, None);
    let mut followed = tail.poll_durable(log.durable_size()).unwrap().len() as u64;
    led.lose(0);
    append(&log, 20..60).unwrap();
    assert_eq!(led.leads_to(), dirs[1]);
    let size = log.durable_size();
    loop {
        match tail.poll_durable(size).unwrap().len() as u64 {
            0 => break,
            more => followed += more,
        }
    }
    assert_eq!(followed, size);
    assert_eq!(search(Method::Scan).matches, 60);
    until("the other copy is not indexed", || search(Method::Auto).indexed_to >= size);
    assert!(indexer.is_running() && dirs[1].join("idx").is_dir());
    assert_eq!(search(Method::Auto).matches, 60);
    indexer.stop();
    log.close().unwrap();
    drop(log);
    // It is still gone when the log is opened again, so it stays behind and nobody is led there.
    let log = led.open();
    assert_eq!(led.leads_to(), dirs[1]);
    assert_eq!(search(Method::Auto).matches, 60);
    log.close().unwrap();
    drop(log);
    // It is back, and made equal to the others before anybody reads it.
    led.drives[0].gone.store(false, Ordering::Release);
    let log = led.open();
    assert_eq!(led.leads_to(), dirs[0]);
    assert_eq!(search(Method::Auto).matches, 60);
    log.close().unwrap();
}

/// Tiles of a copy that is lost are made again on the next one, and proofs hold there.
#[test]
fn tiles_are_made_where_the_log_is_read() {
    let led = Led::new(3);
    let log = led.open();
    let tiles = Tiles::start(&led.link, vkey(), &log).unwrap();
    let many = vec![record(1); crate::segment::BATCH_RECORDS_MAX - 1];
    while log.durable_size() < 70_000 {
        log.append_all(&many).unwrap().wait().unwrap();
    }
    let path = crate::tiles::TilePath { kind: crate::tiles::Kind::Hashes(1), index: 0, width: 256 };
    let stored = |copy: usize| led.dirs[copy].join(path.to_string()).is_file();
    let tile = || tiles.tile(path, log.durable_size()).ok();
    until("no tile", || tile().is_some());
    let first = tile();
    assert!(stored(0) && !stored(1));
    led.lose(0);
    append(&log, 0..2).unwrap();
    assert_eq!(led.leads_to(), led.dirs[1]);
    until("no tile on the other copy", || stored(1) && tile().is_some());
    assert_eq!(tile(), first);
    until("no proof", || tiles.prove(5).is_ok());
    drop(tiles);
    log.close().unwrap();
}

/// A log with one segment.
fn open_long(led: &Led) -> Log {
    led.open_with(Options { segment_bytes_max: 64 << 20, ..options() })
}

fn append_many(log: &Log, records: usize) {
    log.append_all(&vec![record(1); records]).unwrap().wait().unwrap();
}

/// Index and tiles of a log whose records nobody can read now: they are in trouble and say so.
fn troubled(led: &Led, log: &Log) -> (Indexer, Tiles) {
    let indexer = Indexer::start(&led.link, log).unwrap();
    // Without what the writer has made, so that the records are read.
    let tiles = Tiles::start_with(&led.link, vkey(), log, TileRoots::default()).unwrap();
    append_many(log, 300);
    until("nothing is made of the log", || indexer.position() >= 256 && tiles.covered() == 256);
    assert!(indexer.is_running() && tiles.is_running());
    for copy in 0..led.dirs.len() {
        let seg = led.dirs[copy].join("seg");
        fs::rename(&seg, seg.with_extension("away")).unwrap();
    }
    append_many(log, 300);
    until("no trouble", || !indexer.is_running() && !tiles.is_running());
    (indexer, tiles)
}

fn bring_back(led: &Led, copy: usize) {
    let seg = led.dirs[copy].join("seg");
    fs::rename(seg.with_extension("away"), &seg).unwrap();
}

fn are_made_of(log: &Log, indexer: &Indexer, tiles: &Tiles) {
    let size = log.durable_size();
    until("not all is indexed", || indexer.is_running() && indexer.position() >= size);
    until("not all has tiles", || tiles.is_running() && tiles.covered() + 256 > size);
    tiles.prove(400).unwrap();
}

/// The copies fail their readers before the log has noticed that one of them is lost, and nobody can be led elsewhere.
#[test]
fn index_and_tiles_go_on_once_another_copy_is_read() {
    let led = Led::new(3);
    let log = open_long(&led);
    let (indexer, tiles) = troubled(&led, &log);
    assert_eq!(led.leads_to(), led.dirs[0]);
    led.lose(0);
    append_many(&log, 10);
    bring_back(&led, 1);
    are_made_of(&log, &indexer, &tiles);
    assert_eq!(led.leads_to(), led.dirs[1]);
    indexer.stop();
    tiles.stop();
    let coverage = puts(&Searcher::new(&led.link), Method::Auto).unwrap().coverage;
    assert_eq!((coverage.matches, coverage.method), (610, Method::Index));
    log.close().unwrap();
}

/// There is no other copy, and the drive comes back: no record is indexed twice, and none is left out.
#[test]
fn index_and_tiles_go_on_once_an_error_has_passed() {
    let led = Led::new(1);
    let log = open_long(&led);
    let (indexer, tiles) = troubled(&led, &log);
    bring_back(&led, 0);
    are_made_of(&log, &indexer, &tiles);
    indexer.stop();
    tiles.stop();
    let checked = crate::index::check(&led.link, 100).unwrap();
    assert_eq!(checked.indexed, log.durable_size());
    assert!(checked.mismatches.is_empty(), "{:?}", checked.mismatches);
    log.close().unwrap();
}

/// A log of three copies with some finished segments in the given form.
fn with_segments(finished: Finished) -> (Led, Log) {
    let led = Led::new(3);
    let log = led.open_with(Options { finished, ..options() });
    append(&log, 0..40).unwrap();
    let segments = || segments(&led.dirs[0]);
    if finished == Finished::Packed {
        let packed = |path: &String| path.ends_with(".zst");
        until("nothing is packed", || segments().iter().filter(|path| packed(path)).count() > 3);
    }
    (led, log)
}

fn segments(dir: &Path) -> Vec<String> {
    let files = crate::LocalFiles::new(dir);
    let names = crate::segment::names(&|path| files.list(path)).unwrap();
    names.into_iter().map(|name| name.path).collect()
}

/// Changes a byte of the oldest segment on one of the copies, in the record after the first.
fn rot(led: &Led, copy: usize) {
    let path = led.dirs[copy].join(&segments(&led.dirs[copy])[0]);
    let mut bytes = fs::read(&path).unwrap();
    let is_packed = path.extension().is_some_and(|extension| extension == "zst");
    // A batch begins with each block, and a packed segment of this length is one frame.
    let at = if is_packed { 100 } else { crate::segment::BLOCK_BYTES + 100 };
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn verdict(led: &Led, copy: usize) -> Report {
    let vkey = signer().vkey();
    let options = VerifyOptions { vkey, last_seen: None, strict: false, progress: &|_, _| {} };
    verify(&led.dirs[copy], &options).unwrap()
}

/// What `audit:copy` records say.
fn told(led: &Led) -> Vec<String> {
    let query = Query::parse("action=audit:copy", 0).unwrap();
    let rows = Searcher::new(&led.link).search(&query, SearchOptions::default()).unwrap().rows;
    rows.into_iter().map(|row| String::from_utf8(row.leaf).unwrap()).collect()
}

/// Reads all there is now by a tail from the beginning. The copy that is read may be a moment behind.
fn followed(led: &Led, log: &Log) -> Result<(), crate::SearchError> {
    let size = log.durable_size();
    let mut tail = crate::tail(&led.link, None).with_detour(Some(log.detour(&led.link)));
    let mut failed = None;
    until("the tail does not get to the end", || {
        failed = tail.poll_durable(size).err();
        failed.is_some() || tail.position() == size
    });
    failed.map_or(Ok(()), Err)
}

/// Every kind of reader, each as the first one to meet the damage, in both forms of a segment.
#[test]
fn damage_in_the_copy_that_is_read_is_read_around() {
    type Reader = fn(&Led, &Log, &Searcher, &Tiles);
    let readers: [(&str, Reader); 6] = [
        ("scan", |_, _, searcher, _| {
            assert_eq!(puts(searcher, Method::Scan).unwrap().rows.len(), 40);
        }),
        ("event", |_, _, searcher, _| {
            let event = EventId::new(0, [0; 10]).to_string();
            assert!(searcher.find_event(&event).unwrap().is_some());
        }),
        ("tail", |led, log, _, _| followed(led, log).unwrap()),
        ("proof", |_, log, _, tiles| {
            until("no head", || {
                tiles.head().is_ok_and(|(head, _)| head.size >= log.durable_size())
            });
            tiles.prove(1).unwrap();
        }),
        ("bundle", |_, log, _, tiles| {
            let kind = crate::tiles::Kind::Entries;
            let path = crate::tiles::TilePath { kind, index: 0, width: 30 };
            let bundle = tiles.tile(path, log.durable_size());
            // Written records carry no checksum of their own, and this tile is not full.
            assert!(bundle.is_ok());
        }),
        ("index", |led, log, _, _| {
            let indexer = Indexer::start(&led.link, log).unwrap();
            until("not all is indexed", || indexer.position() >= log.durable_size());
            assert!(indexer.is_running());
        }),
    ];
    for finished in [Finished::Packed, Finished::Left] {
        for (name, read) in readers {
            if name == "bundle" && finished == Finished::Left {
                continue;
            }
            let (led, log) = with_segments(finished);
            let searcher = Searcher::of(&log, &led.link);
            let tiles = Tiles::start(&led.link, vkey(), &log).unwrap();
            rot(&led, 0);
            read(&led, &log, &searcher, &tiles);
            assert_eq!(led.leads_to(), led.dirs[1], "{name}");
            until("nothing is recorded", || !told(&led).is_empty());
            // Once, and everybody else goes on there.
            assert_eq!(puts(&searcher, Method::Scan).unwrap().rows.len(), 40, "{name}");
            followed(&led, &log).unwrap();
            let [told] = told(&led).try_into().unwrap();
            assert!(told.contains("drive0") && told.contains("damaged"), "{name}: {told}");
            drop(tiles);
            log.close().unwrap();
            // It was written to all the same, and is as it was found.
            assert_eq!(verdict(&led, 1).state, State::TailUnproven, "{}", verdict(&led, 1));
            let report = verdict(&led, 0);
            assert_eq!((report.state, report.size), (State::Modified, verdict(&led, 1).size));
        }
    }
}

#[test]
fn a_copy_that_is_damaged_in_the_same_place_is_no_way_round() {
    let (led, log) = with_segments(Finished::Packed);
    let searcher = Searcher::of(&log, &led.link);
    rot(&led, 0);
    rot(&led, 1);
    assert_eq!(puts(&searcher, Method::Scan).unwrap().rows.len(), 40);
    assert_eq!(led.leads_to(), led.dirs[2]);
    assert_eq!(log.copies(), Copies { whole: 1, damaged: 2, lost: 0 });
    // Nobody is better: the error stays, and nobody is sent to and fro.
    rot(&led, 2);
    assert!(puts(&searcher, Method::Scan).is_err());
    assert!(followed(&led, &log).is_err());
    assert_eq!(led.leads_to(), led.dirs[2]);
    // It is lost, and a damaged one is better than none.
    led.lose(2);
    append(&log, 40..42).unwrap();
    assert_eq!(led.leads_to(), led.dirs[0]);
    assert_eq!(log.copies(), Copies { whole: 0, damaged: 2, lost: 1 });
    // Changed back, so that what was recorded can be read.
    rot(&led, 0);
    assert_eq!(told(&led).len(), 3, "{:?}", told(&led));
    log.close().unwrap();
}

/// The record is not where it was, and no other copy can help: nobody is accused.
#[test]
fn an_error_that_no_copy_has_moves_nobody() {
    let (led, log) = with_segments(Finished::Packed);
    let detour = log.detour(&led.link);
    let mut tries = 0;
    let read: Result<(), io::Error> = detour.read(
        |_| Some(0..1),
        || {
            tries += 1;
            Err(io::ErrorKind::InvalidData.into())
        },
    );
    assert!(read.is_err() && tries == 1);
    assert_eq!(led.leads_to(), led.dirs[0]);
    log.close().unwrap();
}

/// A segment is sealed from a copy that has it whole.
#[test]
fn a_segment_that_is_damaged_where_it_is_read_is_sealed_from_another_copy() {
    let led = Led::new(3);
    let log = led.open_with(Options { segment_bytes_max: 64 << 10, ..options() });
    append(&log, 0..3).unwrap();
    rot(&led, 0);
    append(&log, 3..40).unwrap();
    until("it is not packed", || segments(&led.dirs[1])[0].ends_with(".zst"));
    until("nothing is recorded", || !told(&led).is_empty());
    assert_eq!(led.leads_to(), led.dirs[1]);
    log.close().unwrap();
    for copy in 0..3 {
        let report = verdict(&led, copy);
        assert_eq!(report.state, State::TailUnproven, "{report}");
    }
}
