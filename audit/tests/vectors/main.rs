//! Golden values of `FORMAT.md`, and the opinion of other people's verifiers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod ct_merkle;
mod tiles;

use std::sync::Arc;

use audit::{
    chain,
    checkpoint::{self, Head},
    keyring::Change,
    note::{Signer, Vkey},
    proof::{self, ProofFile},
    segment::Control,
    tree::{self, Frontier, Hash},
    *,
};
use sha2::{Digest, Sha256};

const ORIGIN: &str = "audit.example.com/node1";
const VKEY: &str = "audit.example.com/node1+50a5011a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const SECOND_VKEY: &str =
    "audit.example.com/node1+e6d16294+ASmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";
const ROTATE: &str = "6b2d9ee5569f3d98b9da61f8af2dc30f7f1185a2fec542907e43df195ee91dee";
const REVOKE: &str = "a900f49b47acff6bc1b30f26aeea7d3cc3583f76ec466c1c99e9562d03773620";
const NOTE: &str = "audit.example.com/node1\n5\nO3r1m67sUO8CBNasHlB2zoc6nFtkbfWGwN5k60utDso=\n\n\u{2014} audit.example.com/node1 UKUBGuCsFVzQW4NK8fjGBbKwFuemGTjSfU9OZPR6hrnIM3PbLB5ONKgKM+VPNsC6pV6Skc/Ze39lIZv3b3zctc+WLQs=\n";
const LEAVES: [&str; 5] = [
    "4374eed8458da730b3e5c001467059755cf6b0df02851898953ceed0d0b746bf",
    "e6c9d4e4d91420451e90ccbda36942a1ba407aefcad5a7866251dd4ee7dd0d0a",
    "f0d5846d865ed58bebaead74883b75f7eeef4ac43cc4be01649a50d0466192df",
    "af74c225c7f57656eaed3153853724142f6d0e8e16b1a9b2fadf99b16459b222",
    "4613fe24fb835fb21411294d1dc0894ad6ec0bb9f3f7048499c107facedab875",
];
const ROOTS: [&str; 6] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    LEAVES[0],
    "aff3f939878ad896a4dfce3b8d0ccce1aa89dce66887e45f3f878ad98aa5be0b",
    "d6f5e15c6628e7f50739668d038aa4a79a4d72a9b40d24c01c5f2804b9c9d539",
    "0cf1013d632ccc50aeb0cc851a676c2c4f687a6b978533b92eaa3263b077c16b",
    "3b7af59baeec50ef0204d6ac1e5076ce873a9c5b646df586c0de64eb4bad0eca",
];
const CHAIN: [&str; 5] = [
    "652f35fca764f051bc9f4a26889b165efe28fb759bcdbe11528366e89a84ad16",
    "bffd7c14c1828847d87953cd1f348a8a4ab9fe5f07821a76582a5b4d30246217",
    "72067b5249577c4fbe67d183b2109abeca7a5f3d35be221e22a72fd451d93089",
    "a86020b2bf91c4ff191d5c2ca6b00f1bca50ca4a79c095160d712182130553bd",
    "62e7b339211d5346acce3a33636505dff5cd29b466e64e83280ce031d54f9692",
];
const SAMPLE: &str = r#"{"action":"s3:GetObject","auth":{"by":[{"id":"pol-7f","sid":"AllowRead","ver":"v3"}],"decision":"allow","digest":"sha256:8f3b2c1d9e0a4b5c","reason":"identity-allow","us":41},"class":"data","event":"01JGG3ZQ0M8T5T3X6Z1Y2W3V4U","net":{"src":"10.1.2.3","tls":"1.3/TLS_AES_128_GCM_SHA256","ua":"aws-cli/2.17.1"},"node":"n1","phase":"single","principal":{"access_key":"AKIAEXAMPLE","account":"123456789012","arn":"arn:aws:iam::123456789012:user/alice","sig":"v4","type":"IAMUser"},"request":"17CDC1F4D7E69123","resources":[{"bucket":"reports","key":"q1/été.pdf","version":"null"}],"result":{"bytes_in":0,"bytes_out":40960,"code":200,"us":3120},"seq":4711,"sse":{"key":"arn:aws:kms:us-east-1:123456789012:key/k1","type":"aws:kms"},"time":"2026-01-01T00:00:00.123456Z","v":1}"#;

fn hash(hex: &str) -> Hash {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &std::array::from_fn(|i| i as u8))
}

#[test]
fn leaves_roots_and_chain() {
    let mut frontier = Frontier::default();
    let mut link = chain::START;
    assert_eq!(frontier.root(), hash(ROOTS[0]));
    for i in 0..5 {
        let leaf = tree::leaf_hash(format!(r#"{{"a":"x","n":{i}}}"#).as_bytes());
        assert_eq!(leaf, hash(LEAVES[i]));
        frontier.push(leaf);
        assert_eq!(frontier.root(), hash(ROOTS[i + 1]), "root {}", i + 1);
        link = chain::step(&link, &leaf);
        assert_eq!(link, hash(CHAIN[i]), "chain {i}");
    }
}

#[test]
fn seventy_thousand_leaves() {
    let mut frontier = Frontier::default();
    (0..70_000).for_each(|n| frontier.push(tree::leaf_hash(format!(r#"{{"n":{n}}}"#).as_bytes())));
    let root = hash("060bfef3a2680a0345df6fd2c1c998b4f265d652926cc843a1174363051b1547");
    assert_eq!(frontier.root(), root);
}

#[test]
fn sample_record() {
    assert_eq!(SAMPLE.len(), 770);
    let expected = hash("78044283e92459a5cbac06ed4ad635f853b3b10fed535c4bf9bc562860508dbc");
    assert_eq!(tree::leaf_hash(SAMPLE.as_bytes()), expected);
    let value: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(serde_json_canonicalizer::to_string(&value).unwrap(), SAMPLE);
}

/// The notes of `FORMAT.md`, "Golden vectors"; OpenSSL made their signatures.
#[test]
fn changes_of_the_key() {
    let rotate = include_bytes!("../../../fixtures/data/corpus/audit/key/rotate.note");
    let revoke = include_bytes!("../../../fixtures/data/corpus/audit/key/revoke.note");
    assert_eq!(hex::encode(Sha256::digest(rotate)), ROTATE);
    assert_eq!(hex::encode(Sha256::digest(revoke)), REVOKE);
    let second = Ed25519Signer::from_seed(ORIGIN, &std::array::from_fn(|i| i as u8 + 32));
    assert_eq!(second.vkey(), SECOND_VKEY);
    let root = hash(ROOTS[5]);
    let vkey = second.verifier().clone();
    let change = Change::Rotate { vkey, after: Head { size: 5, root } };
    let note = change.sign(ORIGIN, &signer(), Some(&second)).unwrap();
    assert_eq!(note.as_bytes(), rotate);
    let mut keys = Keyring::from(Vkey::parse(VKEY).unwrap());
    assert!(keys.follow(revoke).is_err(), "nothing is revoked before it was rotated");
    assert_eq!(keys.follow(rotate), Ok(&change));
    let key = signer().verifier().id();
    let change = Change::Revoke { key, good: 4, after: Head { size: 7, root } };
    assert_eq!(change.sign(ORIGIN, &second, None).unwrap().as_bytes(), revoke);
    assert_eq!(keys.follow(revoke), Ok(&change));
    let known: Vec<_> =
        keys.keys().map(|key| (key.vkey.to_string(), key.from, key.until, key.good)).collect();
    let expected =
        [(VKEY.to_owned(), 0, Some(5), Some(4)), (SECOND_VKEY.to_owned(), 6, None, None)];
    assert_eq!(known, expected);
}

/// The record of `FORMAT.md`, made from our own types.
#[test]
fn sample_record_as_we_write_it() {
    let mut record =
        Record::new(Class::Data, "s3:GetObject", "01JGG3ZQ0M8T5T3X6Z1Y2W3V4V".parse().unwrap());
    record.request = Some("17CDC1F4D7E69123".into());
    record.auth = Some(Auth {
        decision: Verdict::Allow,
        reason: "identity-allow".into(),
        by: vec![Matched {
            id: "pol-7f".into(),
            sid: Some("AllowRead".into()),
            ver: Some("v3".into()),
        }],
        digest: "sha256:8f3b2c1d9e0a4b5c".into(),
        ctx: Default::default(),
        implied: false,
        us: 41,
    });
    record.net = Some(Arc::new(Net {
        src: "10.1.2.3".into(),
        tls: Some("1.3/TLS_AES_128_GCM_SHA256".into()),
        ua: Some("aws-cli/2.17.1".into()),
        ..Default::default()
    }));
    record.principal = Some(Arc::new(Principal {
        kind: "IAMUser".into(),
        access_key: Some("AKIAEXAMPLE".into()),
        account: Some("123456789012".into()),
        arn: Some("arn:aws:iam::123456789012:user/alice".into()),
        sig: "v4".into(),
        ..Default::default()
    }));
    record.resources = vec![Resource {
        bucket: Some("reports".into()),
        key: Some("q1/été.pdf".into()),
        version: Some("null".into()),
        ..Default::default()
    }];
    record.outcome = Some(Outcome { code: 200, bytes_out: 40960, us: 3120, ..Default::default() });
    record.sse = Some(Sse {
        kind: "aws:kms".into(),
        key: Some("arn:aws:kms:us-east-1:123456789012:key/k1".into()),
        bucket_key: false,
    });
    let mut leaf = Vec::new();
    let time = stamp::text(1_767_225_600_123_456);
    encode::encode(&record, "n1").unwrap().splice(4711, &time, &mut leaf);
    // The published sample's event ends in U, which is not in the alphabet of a ULID.
    let published = SAMPLE.replace("W3V4U", "W3V4V");
    assert_eq!(String::from_utf8(leaf).unwrap(), published);
}

#[test]
fn checkpoint_note() {
    assert_eq!(signer().vkey(), VKEY);
    let head = Head { size: 5, root: hash(ROOTS[5]) };
    assert_eq!(checkpoint::sign(ORIGIN, &head, &signer()).unwrap(), NOTE);
    let vkey = Vkey::parse(VKEY).unwrap();
    assert_eq!(vkey.to_string(), VKEY);
    assert_eq!(checkpoint::open(NOTE.as_bytes(), &vkey), Ok(head));
    // A line of a witness that we do not know is ignored, whoever it is.
    let witness = "\u{2014} witness.example.com/w1 gSKlqwAAAABpVbkAHgYma/6zD2Pv8/BTK3ShCLT9exJC+s1PI8wymtRtpcOQwAre7vNvRWPEWJ9zVkbqgiSA8NViJag70SVouSuSAw==\n";
    assert_eq!(checkpoint::open(format!("{NOTE}{witness}").as_bytes(), &vkey), Ok(head));
    for at in 0..NOTE.len() {
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(checkpoint::open(&bytes, &vkey).is_err(), "byte {at}");
    }
    let empty = checkpoint::text(ORIGIN, &Head { size: 0, root: tree::empty_root() });
    assert!(empty.ends_with("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"));
}

#[test]
fn proofs() {
    let leaves: Vec<Hash> = LEAVES.iter().map(|hex| hash(hex)).collect();
    let mut subtrees = leaves.as_slice();
    let Ok(path) = proof::inclusion(2, 5, &mut subtrees);
    assert_eq!(path, [hash(LEAVES[3]), hash(ROOTS[2]), hash(LEAVES[4])]);
    let Ok(consistency) = proof::consistency(3, 5, &mut subtrees);
    assert_eq!(consistency, [LEAVES[2], LEAVES[3], ROOTS[2], LEAVES[4]].map(hash));
    let file = ProofFile { extra: None, index: 2, path, checkpoint: NOTE.to_owned() };
    let text = "c2sp.org/tlog-proof@v1\nindex 2\nr3TCJcf1dlbq7TFThTckFC9tDo4Wsamy+t+ZsWRZsiI=\n\
        r/P5OYeK2Jak3847jQzM4aqJ3OZoh+RfP4eK2Yqlvgs=\nRhP+JPuDX7IUESlNHcCJStbsC7nz9wSEmcEH+s7auHU=\n\n"
        .to_owned()
        + NOTE;
    assert_eq!(file.encode(), text);
    assert_eq!(ProofFile::parse(&text).unwrap(), file);
    let vkey = Vkey::parse(VKEY).unwrap();
    let record = br#"{"a":"x","n":2}"#;
    assert_eq!(file.verify(Some(record), &vkey).unwrap().size, 5);
    assert!(file.verify(None, &vkey).is_err());
    let carried = ProofFile { extra: Some(record.to_vec()), ..file };
    let carried = ProofFile::parse(&carried.encode()).unwrap();
    assert!(carried.verify(None, &vkey).is_ok());
    assert!(carried.verify(Some(br#"{"a":"x","n":3}"#), &vkey).is_err());
}

#[test]
fn control_line() {
    let control = Control {
        chain: hash(CHAIN[4]),
        crc: 0x0102_0a0b,
        n: 5,
        root: hash(ROOTS[5]),
        size: 5,
        time_us: 1_767_225_600_123_456,
    };
    let line = control.line(80);
    let text = r#"{"_c":{"chain":"62e7b339211d5346acce3a33636505dff5cd29b466e64e83280ce031d54f9692","crc":"01020a0b","n":5,"root":"O3r1m67sUO8CBNasHlB2zoc6nFtkbfWGwN5k60utDso=","size":5,"t":"2026-01-01T00:00:00.123456Z"}}"#;
    assert_eq!(line.len() + 80, 4096);
    assert_eq!(String::from_utf8(line.clone()).unwrap().trim_end(), text);
    assert_eq!(Control::parse(&line), Some(control));
}

/// Other authors' note, checkpoint and proof code accepts what a running log wrote.
#[test]
fn third_parties_accept_our_heads_and_proofs() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { origin: ORIGIN.to_owned(), ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir.path()));
    let (log, _) = Log::open(files, Arc::new(signer()), Arc::new(SystemClock), options).unwrap();
    for i in 0..20 {
        let record = Record::new(Class::Data, "s3:GetObject", EventId::new(i, [i as u8; 10]));
        log.append(&record).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    let bytes = std::fs::read(dir.path().join("checkpoint")).unwrap();
    let note = signed_note::Note::from_bytes(&bytes).unwrap();
    let verifier = signed_note::StandardVerifier::new(VKEY).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let (verified, _) = note.verify(&known).unwrap();
    assert_eq!(verified.len(), 1);
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), (ORIGIN, 22));
    let leaves: Vec<Vec<u8>> = records(dir.path()).map(|record| record.unwrap().1).collect();
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
    let path = |path: Vec<Hash>| path.into_iter().map(tlog_tiles::Hash).collect::<Vec<_>>();
    for (i, leaf) in leaves.iter().enumerate() {
        let Ok(ours) = proof::inclusion(i as u64, 22, &mut hashes.as_slice());
        let leaf = tlog_tiles::record_hash(leaf);
        tlog_tiles::check_record(&path(ours), 22, *theirs.hash(), i as u64, leaf).unwrap();
    }
    for old in 1..22 {
        let Ok(ours) = proof::consistency(old, 22, &mut hashes.as_slice());
        let mut frontier = Frontier::default();
        hashes.iter().take(old as usize).for_each(|leaf| frontier.push(*leaf));
        let root = tlog_tiles::Hash(frontier.root());
        tlog_tiles::check_tree(&path(ours), 22, *theirs.hash(), old, root).unwrap();
    }
}
