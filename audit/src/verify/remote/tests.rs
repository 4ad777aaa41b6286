use std::{collections::BTreeMap, sync::Mutex};

use proptest::prelude::*;

use crate::{
    Ed25519Signer, Signer as _, checkpoint, stamp,
    tiles::{self, Kind, TILE_WIDTH, TilePath},
    tree::{self, Frontier, Hash},
};

use super::*;

const ORIGIN: &str = "audit.example.com/node1";
const BEGIN_US: u64 = 1_767_225_600_000_000;
const WIDTH: usize = TILE_WIDTH as usize;

/// A host in memory, which answers whatever it was told to.
#[derive(Clone, Debug, Default)]
struct Host(BTreeMap<String, Fetched>);

impl Remote for Host {
    fn fetch(&self, path: &str) -> io::Result<Fetched> {
        Ok(self.0.get(path).cloned().unwrap_or(Fetched::Absent))
    }
}

impl Host {
    /// A log of these records, as every host has it.
    fn of(leaves: &[Vec<u8>]) -> Self {
        let mut host = Self::default();
        for (index, run) in leaves.chunks(WIDTH).enumerate() {
            let entry = |leaf: &Vec<u8>| [&(leaf.len() as u16).to_be_bytes()[..], leaf].concat();
            let bytes = run.iter().flat_map(entry).collect();
            host.0.insert(path(Kind::Entries, index, run.len()), Fetched::Found(bytes));
        }
        let mut hashes: Vec<Hash> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
        for level in 0.. {
            if hashes.is_empty() {
                break;
            }
            for (index, tile) in hashes.chunks(WIDTH).enumerate() {
                let path = path(Kind::Hashes(level), index, tile.len());
                host.0.insert(path, Fetched::Found(tile.concat()));
            }
            hashes = hashes.as_chunks::<WIDTH>().0.iter().map(|tile| tiles::root(tile)).collect();
        }
        host.sign(&head(leaves));
        host
    }

    fn sign(&mut self, head: &Head) {
        let note = checkpoint::sign(ORIGIN, head, &signer()).unwrap();
        self.0.insert("checkpoint".to_owned(), Fetched::Found(note.into_bytes()));
    }

    fn bytes(&mut self, path: &str) -> &mut Vec<u8> {
        match self.0.get_mut(path) {
            Some(Fetched::Found(bytes)) => bytes,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn put(&mut self, path: &str, answer: Fetched) {
        assert!(self.0.insert(path.to_owned(), answer).is_some(), "{path}");
    }

    fn try_verify(&self, last_seen: Option<Head>) -> Result<Report, VerifyError> {
        let options =
            VerifyOptions { vkey: signer().vkey(), last_seen, strict: false, progress: &|_, _| {} };
        let first = Vkey::parse(&options.vkey)?;
        RemoteLog::open(self, &first)?.verify(&options)
    }

    fn verify(&self) -> Report {
        self.try_verify(None).unwrap()
    }
}

fn path(kind: Kind, index: usize, width: usize) -> String {
    TilePath { kind, index: index as u64, width: width as u16 }.to_string()
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[7; 32])
}

fn leaf(seq: usize, what: &str) -> Vec<u8> {
    let time = stamp::string(BEGIN_US + seq as u64);
    format!("{{\"action\":\"{what}\",\"seq\":{seq},\"time\":\"{time}\",\"v\":1}}").into_bytes()
}

fn leaves(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(|seq| leaf(seq, "s3:GetObject")).collect()
}

fn head(leaves: &[Vec<u8>]) -> Head {
    let mut tree = Frontier::default();
    leaves.iter().for_each(|leaf| tree.push(tree::leaf_hash(leaf)));
    Head { size: tree.size(), root: tree.root() }
}

/// State, file and record of each finding.
fn found(report: &Report) -> Vec<(State, &str, Option<u64>)> {
    report.findings.iter().map(|f| (f.state, f.file.as_str(), f.seq)).collect()
}

#[test]
fn what_was_served_as_it_was_written_is_valid_at_every_size() {
    for size in [0, 1, 255, 256, 257, 511, 512, 700, 65_536] {
        let all = leaves(size);
        let host = Host::of(&all);
        let report = host.verify();
        assert_eq!(report.state, State::TailUnproven, "{size}: {report}");
        assert_eq!(
            (report.size, report.records, report.seen),
            (size as u64, size as u64, Seen::Records)
        );
        assert_eq!(report.root, head(&all).root);
        for before in [size.min(1000), size.min(700) / 2, size.min(256)] {
            let report = host.try_verify(Some(head(&all[..before]))).unwrap();
            assert_eq!(report.state, State::Valid, "{before} of {size}: {report}");
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at] ^= 1;
    type Change<'a> = &'a dyn Fn(&mut Host);
    // Records 700, so two full runs and one of 188; a record has 90 bytes or so with its length.
    let changes: [(&str, Change<'_>, State, &str, Option<u64>); 20] = [
        (
            "a record",
            &|h| flip(h.bytes("tile/entries/000"), 20),
            State::Modified,
            "tile/entries/000",
            Some(0),
        ),
        (
            "a record at the end",
            &|h| flip(h.bytes("tile/entries/002.p/188"), 20),
            State::Modified,
            "tile/entries/002.p/188",
            Some(512),
        ),
        ("a hash", &|h| flip(h.bytes("tile/0/001"), 32), State::Modified, "tile/0/001", Some(257)),
        (
            "a hash at the end",
            &|h| flip(h.bytes("tile/0/002.p/188"), 0),
            State::Modified,
            "tile/0/002.p/188",
            Some(512),
        ),
        (
            "a record and its hash",
            &|h| rewrite(h, "tile/entries/001", "tile/0/001", 300),
            State::Modified,
            "tile/entries/001",
            Some(256),
        ),
        (
            "the same at the end",
            &|h| rewrite(h, "tile/entries/002.p/188", "tile/0/002.p/188", 600),
            State::Modified,
            "tile/entries/002.p/188",
            Some(512),
        ),
        (
            "a hash above",
            &|h| flip(h.bytes("tile/1/000.p/2"), 40),
            State::Modified,
            "tile/1/000.p/2",
            None,
        ),
        (
            "no tile",
            &|h| h.put("tile/0/001", Fetched::Absent),
            State::Missing,
            "tile/0/001",
            Some(256),
        ),
        (
            "no bundle",
            &|h| h.put("tile/entries/001", Fetched::Absent),
            State::Missing,
            "tile/entries/001",
            Some(256),
        ),
        (
            "no tile above",
            &|h| h.put("tile/1/000.p/2", Fetched::Absent),
            State::Missing,
            "tile/1/000.p/2",
            None,
        ),
        (
            "an error",
            &|h| h.put("tile/entries/000", Fetched::Failed("500".into())),
            State::Missing,
            "tile/entries/000",
            Some(0),
        ),
        (
            "an endless tile",
            &|h| h.put("tile/0/000", Fetched::TooLong),
            State::Modified,
            "tile/0/000",
            Some(0),
        ),
        (
            "a short tile",
            &|h| h.bytes("tile/0/000").truncate(8000),
            State::Modified,
            "tile/0/000",
            Some(0),
        ),
        (
            "a short bundle",
            &|h| h.bytes("tile/entries/000").truncate(999),
            State::Modified,
            "tile/entries/000",
            Some(0),
        ),
        (
            "a long bundle",
            &|h| h.bytes("tile/entries/000").push(0),
            State::Modified,
            "tile/entries/000",
            Some(0),
        ),
        (
            "a pruned hash",
            &|h| h.put("tile/0/000", Fetched::Gone),
            State::Missing,
            "tile/0/000",
            Some(0),
        ),
        (
            "pruned without a word",
            &|h| h.put("tile/entries/000", Fetched::Gone),
            State::Missing,
            "tile/entries",
            Some(0),
        ),
        (
            "pruned in the middle",
            &|h| h.put("tile/entries/001", Fetched::Gone),
            State::Missing,
            "tile/entries/001",
            Some(256),
        ),
        (
            "an endless head",
            &|h| h.put("checkpoint", Fetched::TooLong),
            State::Modified,
            "checkpoint",
            None,
        ),
        (
            "another tile in its place",
            &|h| {
                let other = h.bytes("tile/0/000").clone();
                h.put("tile/0/001", Fetched::Found(other));
            },
            State::Modified,
            "tile/0/001",
            Some(256),
        ),
    ];
    let good = Host::of(&leaves(700));
    for (name, change, state, file, seq) in changes {
        let mut host = good.clone();
        change(&mut host);
        let report = host.verify();
        assert_eq!(report.state, state, "{name}: {report}");
        assert!(found(&report).contains(&(state, file, seq)), "{name}: {report}");
        // What is right is not said to be wrong, but for the head that a changed record contradicts.
        let mut others = found(&report).into_iter().filter(|f| f.1 != file && f.1 != "checkpoint");
        assert!(others.all(|_| false), "{name}: {report}");
    }
}

/// Changes a record as somebody does who has the host's disk: its hash follows.
fn rewrite(host: &mut Host, bundle: &str, tile: &str, seq: usize) {
    let was = leaf(seq, "s3:GetObject");
    let is = leaf(seq, "s3:PutObject");
    let bytes = host.bytes(bundle);
    let at = memchr::memmem::find(bytes, &was).unwrap();
    bytes[at..at + is.len()].copy_from_slice(&is);
    let place = seq % WIDTH * 32;
    host.bytes(tile)[place..place + 32].copy_from_slice(&tree::leaf_hash(&is));
}

#[test]
fn one_damaged_place_spoils_no_other() {
    let all = leaves(66_000);
    let mut host = Host::of(&all);
    rewrite(&mut host, "tile/entries/003", "tile/0/003", 800);
    rewrite(&mut host, "tile/entries/200", "tile/0/200", 51_300);
    host.put("tile/0/100", Fetched::Absent);
    host.put("tile/entries/100", Fetched::Absent);
    let report = host.try_verify(Some(head(&all[..60_000]))).unwrap();
    let modified = found(&report).into_iter().filter(|f| f.0 == State::Modified);
    assert_eq!(
        modified.map(|f| (f.1, f.2)).collect::<Vec<_>>(),
        [("tile/entries/003", Some(768)), ("tile/entries/200", Some(51_200))]
    );
    assert_eq!(report.state, State::Missing);
    assert_eq!((report.size, report.root), (66_000, head(&all).root));

    for tile in ["tile/1/000", "tile/2/000.p/1", "tile/1/001.p/1"] {
        let mut host = Host::of(&all);
        host.bytes(tile)[5] ^= 4;
        let report = host.verify();
        assert_eq!(report.state, State::Modified, "{tile}: {report}");
        assert!(report.findings.iter().any(|f| f.file.starts_with("tile/")), "{tile}: {report}");
        assert!(report.findings.iter().all(|f| !f.file.contains("entries")), "{tile}: {report}");
    }
}

#[test]
fn records_in_each_others_places_are_reordered() {
    let mut all = leaves(300);
    all.swap(7, 8);
    let mut host = Host::of(&all);
    let report = host.verify();
    assert_eq!(report.state, State::Reordered, "{report}");
    assert_eq!(report.findings[0].seq, Some(7));
    // A host that swaps what was signed in order.
    host.sign(&head(&leaves(300)));
    assert_eq!(host.verify().state, State::Reordered);
}

#[test]
fn a_head_that_was_kept_tells_of_a_cut_and_of_a_fork() {
    let all = leaves(700);
    let host = Host::of(&all[..300]);
    let report = host.try_verify(Some(head(&all))).unwrap();
    assert_eq!(found(&report), [(State::Truncated, "checkpoint", Some(300))]);
    let mut none = host.clone();
    none.0.remove("checkpoint");
    assert_eq!(none.verify().state, State::TailUnproven);
    assert_eq!(none.try_verify(Some(head(&all))).unwrap().state, State::Truncated);
    let mut other = leaves(300);
    other[100] = leaf(100, "s3:PutObject");
    for size in [101, 256, 257, 300] {
        let report = host.try_verify(Some(head(&other[..size]))).unwrap();
        assert_eq!(report.state, State::Forked, "{size}: {report}");
    }
}

#[test]
fn heads_of_nobody_are_refused() {
    let mut host = Host::of(&leaves(10));
    let stranger = Ed25519Signer::from_seed("audit.example.com/other", &[8; 32]);
    let note = checkpoint::sign("audit.example.com/other", &head(&leaves(10)), &stranger).unwrap();
    host.put("checkpoint", Fetched::Found(note.into_bytes()));
    assert_eq!(host.verify().state, State::UnknownKey);
    let mut host = Host::of(&leaves(10));
    let note = host.bytes("checkpoint");
    let at = memchr::memmem::find(note, b"\n10\n").unwrap();
    note[at + 2] = b'1';
    assert_eq!(host.verify().state, State::BadSignature);
}

#[test]
fn hashes_alone_are_less_and_said_to_be() {
    let all = leaves(700);
    let mut host = Host::of(&all);
    for (path, answer) in &mut host.0 {
        if path.starts_with("tile/entries") {
            *answer = Fetched::Denied;
        }
    }
    let report = host.try_verify(Some(head(&all[..300]))).unwrap();
    assert_eq!((report.state, report.seen, report.records), (State::Valid, Seen::Hashes, 0));
    assert!(report.to_string().contains("the records are not open to us"), "{report}");
    host.bytes("tile/0/001")[9] ^= 1;
    assert_eq!(host.verify().state, State::Modified);
    // Open until something would show is not open.
    let mut host = Host::of(&all);
    host.put("tile/entries/001", Fetched::Denied);
    assert!(matches!(host.try_verify(None), Err(VerifyError::Io { .. })));
    let mut host = Host::of(&all);
    host.put("checkpoint", Fetched::Denied);
    assert!(matches!(host.try_verify(None), Err(VerifyError::Io { .. })));
}

/// A log whose record 650 says that those before 300 were pruned, and a host that does not give them out.
fn pruned(root: Hash) -> (Vec<Vec<u8>>, Host) {
    let mut all = leaves(700);
    let (time, root) = (stamp::string(BEGIN_US + 650), STANDARD.encode(root));
    all[650] = format!(
        "{{\"action\":\"audit:prune\",\"class\":\"audit\",\"params\":[{{\"k\":\"end\",\"v\":\"300\"}},{{\"k\":\"first\",\"v\":\"0\"}},\
         {{\"k\":\"root\",\"v\":\"{root}\"}}],\"seq\":650,\"time\":\"{time}\",\"v\":1}}"
    )
    .into_bytes();
    let mut host = Host::of(&all);
    host.put("tile/entries/000", Fetched::Gone);
    host.put("tile/entries/001", Fetched::Gone);
    (all, host)
}

use base64::{Engine as _, engine::general_purpose::STANDARD};

#[test]
fn pruned_records_are_what_a_signed_record_says() {
    let (all, host) = pruned(head(&leaves(300)).root);
    let report = host.try_verify(Some(head(&all[..200]))).unwrap();
    assert_eq!(report.state, State::Valid, "{report}");
    let said = report.pruned.map(|pruned| (pruned.end, pruned.record));
    assert_eq!((said, report.records), (Some((300, 650)), 700 - 512));
    assert!(report.to_string().contains("records 0 to 299 were pruned by record 650"), "{report}");
    // The hashes are compared all the same.
    let mut changed = host.clone();
    changed.bytes("tile/0/000")[0] ^= 1;
    assert_eq!(changed.verify().state, State::Modified);
    // A record that means others, and one that no head covers.
    let (_, host) = pruned([1; 32]);
    assert_eq!(found(&host.verify()), [(State::Missing, "tile/entries", Some(0))]);
    let (all, mut host) = pruned(head(&leaves(300)).root);
    host.sign(&head(&all[..600]));
    host.put("tile/0/002.p/188", Host::of(&all[..600]).0["tile/0/002.p/88"].clone());
    let rename = |host: &mut Host, from: &str, to: &str| {
        let answer = host.0.remove(from).unwrap();
        host.0.insert(to.to_owned(), answer);
    };
    rename(&mut host, "tile/0/002.p/188", "tile/0/002.p/88");
    let bundle = Host::of(&all[..600]).0["tile/entries/002.p/88"].clone();
    host.0.insert("tile/entries/002.p/88".to_owned(), bundle);
    assert_eq!(found(&host.verify()), [(State::Missing, "tile/entries", Some(0))]);
}

/// A host that prunes while it is read: a newer head covers the record that says so.
#[test]
fn a_prune_under_way_is_no_finding() {
    #[derive(Debug)]
    struct Pruning(Host, Mutex<Option<Vec<u8>>>);
    impl Remote for Pruning {
        fn fetch(&self, path: &str) -> io::Result<Fetched> {
            let older = self.1.lock().unwrap().take_if(|_| path == "checkpoint");
            older.map_or_else(|| self.0.fetch(path), |note| Ok(Fetched::Found(note)))
        }
    }
    let (all, mut host) = pruned(head(&leaves(300)).root);
    let mut before = Host::of(&all[..600]);
    for path in ["tile/0/002.p/88", "tile/entries/002.p/88"] {
        let answer = before.0[path].clone();
        host.0.insert(path.to_owned(), answer);
    }
    let host = Pruning(host, Mutex::new(Some(before.bytes("checkpoint").clone())));
    let options = VerifyOptions {
        vkey: signer().vkey(),
        last_seen: None,
        strict: false,
        progress: &|_, _| {},
    };
    let first = Vkey::parse(&options.vkey).unwrap();
    let report = RemoteLog::open(&host, &first).unwrap().verify(&options).unwrap();
    assert_eq!((report.state, report.size), (State::TailUnproven, 700), "{report}");
    assert!(report.pruned.is_some());
}

/// A log that has grown need not keep the partial tiles of smaller sizes.
#[test]
fn partial_tiles_may_be_replaced_by_full_ones() {
    let all = leaves(800);
    let mut host = Host::of(&all);
    host.sign(&head(&all[..700]));
    host.0.insert("tile/1/000.p/2".to_owned(), Host::of(&all[..700]).0["tile/1/000.p/2"].clone());
    let report = host.verify();
    assert_eq!(
        (report.state, report.size, report.records),
        (State::TailUnproven, 700, 700),
        "{report}"
    );
}

#[test]
fn a_host_that_does_not_answer_gives_no_verdict() {
    #[derive(Debug)]
    struct Silent(Host, &'static str);
    impl Remote for Silent {
        fn fetch(&self, path: &str) -> io::Result<Fetched> {
            match path == self.1 {
                true => Err(io::ErrorKind::TimedOut.into()),
                false => self.0.fetch(path),
            }
        }
    }
    for path in
        ["checkpoint", "key/0001.note", "tile/0/001", "tile/1/000.p/2", "tile/entries/002.p/188"]
    {
        let host = Silent(Host::of(&leaves(700)), path);
        let options = VerifyOptions {
            vkey: signer().vkey(),
            last_seen: None,
            strict: false,
            progress: &|_, _| {},
        };
        let first = Vkey::parse(&options.vkey).unwrap();
        let verified = RemoteLog::open(&host, &first).and_then(|log| log.verify(&options));
        assert!(verified.is_err_and(|error| error.to_string().contains(path)), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is changed of what a head covers, the log is not valid.
    #[test]
    fn no_change_passes(file: prop::sample::Index, at: prop::sample::Index, how in 0..4u8, bit in 0..8u8) {
        static LOG: std::sync::LazyLock<(Host, Head)> = std::sync::LazyLock::new(|| {
            let all = leaves(700);
            (Host::of(&all), head(&all[..650]))
        });
        let (good, kept) = &*LOG;
        let mut host = good.clone();
        let path = file.get(&host.0.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = host.bytes(&path);
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] ^= 1 << bit,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, bit),
            _ => drop(host.0.remove(&path)),
        }
        let report = host.try_verify(Some(*kept)).unwrap();
        prop_assert!(!matches!(report.state, State::Valid | State::TailUnproven), "{path}: {report}");
    }
}
