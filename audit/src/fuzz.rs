//! Every parser of foreign bytes in this crate, as functions of bytes.
//!
//! A target must not panic, and asserts whatever else holds for all inputs. `cargo test` walks around the committed
//! seeds; `./test fuzz` lets libFuzzer search.

use crate::{
    checkpoint,
    encode::encode,
    keyring::{Change, Keyring},
    leaf,
    log::{
        heads::{self, Notes},
        identity,
        prune::Intent,
    },
    note::{self, Ed25519Signer, Signer, Vkey},
    proof::ProofFile,
    pruned::Pruned,
    query::Query,
    record::{Class, EventId, Record},
    seal::Seal,
    segment::{
        Control, Leaves, Packed, Reader,
        check::{self, Known},
        start,
    },
    stamp,
    tip::Tip,
    tree,
    trust::TrustPolicy,
    verify,
};

/// Name and function; the name is also that of the seeds' directory.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("audit/bundle", bundle),
    ("audit/heads", list_of_heads),
    ("audit/key", key),
    ("audit/note", note),
    ("audit/packed", packed),
    ("audit/proof", proof),
    ("audit/pruned", pruned_file),
    ("audit/query", query),
    ("audit/record", record),
    ("audit/seal", seal),
    ("audit/segment", segment),
    ("audit/start", start_file),
    ("audit/trust", trust),
];

/// The log that the seeds speak of.
const ORIGIN: &str = "audit.example.com/node1";
/// 2026-01-01T00:00:00Z.
const NOW_US: u64 = 1_767_225_600_000_000;

fn vkey() -> Option<Vkey> {
    Vkey::parse(&Ed25519Signer::from_seed(ORIGIN, &[7; 32]).vkey()).ok()
}

/// Policies of trust, and a checkpoint after them whose witnesses they name.
fn trust(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (policy, checkpoint) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Ok(policy) = TrustPolicy::parse(policy) else { return };
    if let Ok(cosignatures) = policy.cosignatures(checkpoint.as_bytes()) {
        let enough = policy.is_satisfied_by(&cosignatures);
        assert!(enough || policy.asks_witnesses(), "who asks for none is satisfied");
    }
}

/// What a host gives for the records of a remote log.
fn bundle(bytes: &[u8]) {
    verify::remote::fuzz::bundle(bytes);
}

/// Signed notes: heads, the log's own description, and the text of keys.
fn note(bytes: &[u8]) {
    let Some(vkey) = vkey() else { return };
    if let Ok(text) = note::open(bytes, &vkey) {
        assert!(bytes.starts_with(text.as_bytes()), "the text is a part of the note");
    }
    if let Ok(head) = checkpoint::open(bytes, &vkey) {
        assert!(bytes.starts_with(checkpoint::text(ORIGIN, &head).as_bytes()));
    }
    let _ = identity::peek(bytes);
    let _ = identity::open(bytes, &vkey);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(head) = checkpoint::parse(text, ORIGIN) {
        assert_eq!(checkpoint::text(ORIGIN, &head), text, "one head has one text");
    }
    if let Ok(key) = Vkey::parse(text) {
        assert!(
            Vkey::parse(&key.to_string()).is_ok_and(|again| again.to_string() == key.to_string())
        );
    }
}

/// Lists of heads, as a crash may leave them.
fn list_of_heads(bytes: &[u8]) {
    let Some(keys) = vkey().map(Keyring::from) else { return };
    let notes = Notes::new(bytes);
    assert!(notes.map(|(_, note)| 4 + note.len()).sum::<usize>() <= bytes.len());
    if let Ok(found) = heads::ending(bytes, &keys) {
        assert!(found.at <= bytes.len() && found.head.is_some() == (found.at > 0));
        let cut = bytes.get(..found.at).unwrap_or_default();
        assert_eq!(heads::ending(cut, &keys), Ok(found), "the cut is made once");
    }
}

/// Changes of a log's key, and what they leave of it.
fn key(bytes: &[u8]) {
    // The key that the seeds are signed by, and one that nobody has.
    for seed in [std::array::from_fn(|i| i as u8), [7; 32]] {
        let signer = Ed25519Signer::from_seed(ORIGIN, &seed);
        let mut keys = Keyring::from(signer.verifier().clone());
        let before = keys.clone();
        match keys.follow(bytes).cloned() {
            Ok(change) => {
                assert!(bytes.starts_with(change.text(ORIGIN).as_bytes()), "the text is signed");
                assert!(keys.follow(bytes).is_err(), "no change counts twice");
            }
            Err(_) => assert_eq!(keys, before, "a change that is refused changes nothing"),
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(change) = Change::parse(text, ORIGIN) {
        assert_eq!(change.text(ORIGIN), text, "one change has one text");
    }
}

/// The two files that say what was pruned and what is about to be.
fn pruned_file(bytes: &[u8]) {
    if let Some(pruned) = Pruned::parse(bytes) {
        assert_eq!(pruned.encode(), bytes, "one state has one text");
    }
    if let Some(intent) = Intent::parse(bytes) {
        assert_eq!(intent.encode(), bytes, "one intent has one text");
    }
}

/// Proof files that somebody sends to an auditor.
fn proof(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(file) = ProofFile::parse(text) else { return };
    assert_eq!(ProofFile::parse(&file.encode()).ok().as_ref(), Some(&file));
    if let Some(vkey) = vkey() {
        let _ = file.verify(None, &vkey);
    }
}

/// Queries, and a record that they are asked about.
fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(query) = Query::parse(text, NOW_US) else { return };
    let mut record = Record::new(Class::Data, "s3:GetObject", EventId::new(NOW_US / 1000, [7; 10]));
    record.request = Some("4442587FB7D0A2F9".to_owned());
    let mut line = Vec::new();
    if let Ok(encoded) = encode(&record, "node1") {
        encoded.splice(3, &stamp::text(NOW_US), &mut line);
    }
    let _ = query.matches(&line);
    let _ = query.project(&line);
}

/// Lines that ought to be records.
fn record(bytes: &[u8]) {
    let mut paths = Vec::new();
    let whole = leaf::visit(bytes, &mut |path, value| {
        paths.push(path.to_owned());
        let _ = value.as_text();
    });
    // A reader of one column finds what a reader of everything finds.
    if whole.is_some() {
        assert!(paths.iter().all(|path| !leaf::values(bytes, path).is_empty()));
    }
    let _ = check::seq(bytes);
    if let Some(us) = check::time(bytes) {
        assert_eq!(stamp::parse(&stamp::text(us)), Some(us));
    }
}

/// Packed segments.
fn packed(bytes: &[u8]) {
    // The file is one of a directory in which its name says with which record it begins.
    for first in [0, 250] {
        let Ok(packed) = Packed::of_bytes(bytes.to_vec(), first) else { continue };
        let records = packed.table().records.clone();
        for frame in 0..packed.table().frames.len() {
            let _ = packed.frame(frame);
        }
        let _ = packed.record(records.end - 1);
        let mut buffer = [0; 64];
        assert!(packed.read_at(&mut buffer, packed.table().size()).is_ok_and(|read| read == 0));
        assert!(bytes.ends_with(&packed.table().encode()), "one table has one form");
    }
}

/// Seals of finished segments.
fn seal(bytes: &[u8]) {
    let Some(vkey) = vkey() else { return };
    if let Ok(seal) = Seal::open(bytes, &vkey) {
        assert!(bytes.starts_with(seal.text(ORIGIN).as_bytes()), "the text is a part of the note");
        assert_eq!(Seal::peek(bytes), Some(seal));
    }
    if let Some(seal) = std::str::from_utf8(bytes).ok().and_then(|text| Seal::parse(text, ORIGIN)) {
        assert_eq!(seal.text(ORIGIN).as_bytes(), bytes, "one seal has one text");
    }
}

/// Segment files, read as an auditor does who knows everything before, and as one who knows nothing.
fn segment(bytes: &[u8]) {
    for known in [Known::Tree, Known::Chain, Known::Nothing] {
        let mut reader = Reader::new(bytes, 0);
        let mut tip = Tip::default();
        // What is read advances by whole blocks, so this ends.
        while let Ok(Ok(frame)) = reader.next() {
            let records = Leaves::new(frame.leaves).count() as u64;
            let hash = |_, leaf: &[u8]| tree::leaf_hash(leaf);
            match check::batch(&frame, &tip, known, &hash) {
                Ok(next) => {
                    assert!(known == Known::Nothing || next.size() == tip.size() + records);
                    tip = next;
                }
                Err(fault) => {
                    assert!(fault.offset <= bytes.len() as u64, "a fault lies within the file");
                    break;
                }
            }
        }
    }
    if let Some(control) = Control::parse(bytes) {
        assert_eq!(Control::parse(&control.line(0)), Some(control));
    }
}

/// The file beside a segment.
fn start_file(bytes: &[u8]) {
    if let Some(tip) = start::parse(bytes) {
        assert_eq!(start::encode(&tip), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_neighbour_of_a_seed_breaks_a_parser() {
        for (target, run) in TARGETS {
            // A segment is kilobytes long and is read three times.
            let rounds = if *target == "audit/segment" { 300 } else { 2000 };
            fixtures::corpus::replay(target, *run, rounds);
        }
    }

    #[test]
    fn seeds_are_understood() {
        for seed in fixtures::corpus::seeds("audit/query") {
            let text = std::str::from_utf8(&seed).unwrap();
            assert!(Query::parse(text, NOW_US).is_ok(), "{text}: {:?}", Query::parse(text, NOW_US));
        }
        for seed in fixtures::corpus::seeds("audit/record") {
            assert!(leaf::visit(&seed, &mut |_, _| {}).is_some());
        }
        for seed in fixtures::corpus::seeds("audit/seal") {
            let text = std::str::from_utf8(&seed).unwrap();
            assert!(Seal::parse(text, ORIGIN).or(Seal::peek(&seed)).is_some(), "{text}");
        }
        for seed in fixtures::corpus::seeds("audit/heads") {
            let one = heads::ending(&seed, &vkey().unwrap().into()).unwrap();
            assert_eq!(one.head.map(|head| head.size), Some(5));
        }
        let keys = fixtures::corpus::seeds("audit/key");
        let texts: Vec<_> = keys.iter().map(|seed| std::str::from_utf8(seed).unwrap()).collect();
        assert_eq!(texts.iter().filter_map(|text| Change::parse(text, ORIGIN)).count(), 2);
        let first = Ed25519Signer::from_seed(ORIGIN, &std::array::from_fn(|i| i as u8));
        let follows =
            |seed: &&Vec<u8>| Keyring::from(first.verifier().clone()).follow(seed).is_ok();
        assert_eq!(keys.iter().filter(follows).count(), 1);
        for seed in fixtures::corpus::seeds("audit/proof") {
            let file = ProofFile::parse(std::str::from_utf8(&seed).unwrap()).unwrap();
            file.verify(None, &vkey().unwrap()).unwrap();
        }
    }
}
