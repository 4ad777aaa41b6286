//! A signed answer can be found again by somebody who has nothing but the records and the log's public key.

use audit::{checkpoint, note, search::records, *};

use crate::scene::{self, NOW_US};

const SEED: [u8; 32] = [7; 32];
const ORIGIN: &str = "audit.example.com/node1";

#[test]
fn a_stranger_finds_what_the_note_says() {
    let dir = tempfile::tempdir().unwrap();
    scene::write(dir.path());
    let signer = Ed25519Signer::from_seed(ORIGIN, &SEED);
    let vkey = note::Vkey::parse(&signer.vkey()).unwrap();
    let head = std::fs::read(dir.path().join("checkpoint")).unwrap();
    let head = checkpoint::open(&head, &vkey).unwrap();
    let searcher = Searcher::new(dir.path());
    let text = "denied | limit 5";
    let query = Query::parse(text, NOW_US).unwrap();
    let mut notes = Vec::new();
    for method in [Method::Index, Method::Scan] {
        let options = SearchOptions { method, ..SearchOptions::default() };
        let answer = searcher.search(&query, options).unwrap();
        let claim = searcher.claim(&query, &answer.coverage, head, None).unwrap();
        assert_eq!(claim.matches, 5);
        notes.push((claim.sha256, claim.sign(text, &signer).unwrap()));
    }
    assert_eq!(notes[0].0, notes[1].0, "index and scan claim the same");
    let signed = note::open(notes[1].1.as_bytes(), &vkey).unwrap();
    let line = |name: &str| {
        let found = signed.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no `{name}` in {signed}")).to_owned()
    };
    // The stranger: no index, no query engine, but the same reading of `denied`.
    let range: Vec<u64> = line("range ").split(' ').map(|n| n.parse().unwrap()).collect();
    let mut hashes = Vec::new();
    for record in records(dir.path()) {
        let (seq, leaf) = record.unwrap();
        let denied = std::str::from_utf8(&leaf).unwrap().contains("\"decision\":\"deny\"");
        if denied && (range[0]..range[1]).contains(&seq) {
            hashes.extend(tree::leaf_hash(&leaf));
        }
    }
    let found = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&hashes));
    assert_eq!(line("matches "), format!("5 sha256:{found}"));
    assert_eq!(line("root ").split(' ').next().unwrap(), head.size.to_string());
    assert_eq!(signed.lines().nth(1), Some(ORIGIN));
    // A note is no head, and no claim goes beyond one.
    assert!(checkpoint::open(notes[1].1.as_bytes(), &vkey).is_err());
    let early = Head { size: 3, root: head.root };
    let answer = searcher.search(&query, SearchOptions::default()).unwrap();
    assert!(searcher.claim(&query, &answer.coverage, early, None).is_err());
}
