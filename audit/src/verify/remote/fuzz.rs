//! A host that answers the question for a bundle with anything. See `crate::fuzz`.

use std::io;

use crate::{
    checkpoint::{self, Head},
    note::{Ed25519Signer, Signer as _, Vkey},
    tree::{self, Frontier},
    verify::{State, VerifyOptions},
};

use super::{Fetched, Remote, RemoteLog};

const ORIGIN: &str = "audit.example.com/node1";

#[derive(Debug)]
struct Host<'a> {
    checkpoint: String,
    tile: Vec<u8>,
    bundle: &'a [u8],
}

impl Remote for Host<'_> {
    fn fetch(&self, path: &str) -> io::Result<Fetched> {
        Ok(match path {
            "checkpoint" => Fetched::Found(self.checkpoint.clone().into_bytes()),
            "tile/0/000.p/3" => Fetched::Found(self.tile.clone()),
            "tile/entries/000.p/3" => Fetched::Found(self.bundle.to_vec()),
            _ => Fetched::Absent,
        })
    }
}

/// The bundle of the three records, and only that, is believed.
pub(crate) fn bundle(bytes: &[u8]) {
    let (mut right, mut tree, mut tile) = (Vec::new(), Frontier::default(), Vec::new());
    for seq in 0..3u8 {
        let leaf = format!(
            "{{\"a\":\"x\",\"seq\":{seq},\"time\":\"2026-01-01T00:00:0{seq}.000000Z\",\"v\":1}}"
        );
        right.extend_from_slice(&[0, leaf.len() as u8]);
        right.extend_from_slice(leaf.as_bytes());
        let hash = tree::leaf_hash(leaf.as_bytes());
        tree.push(hash);
        tile.extend_from_slice(&hash);
    }
    let signer = Ed25519Signer::from_seed(ORIGIN, &[7; 32]);
    let head = Head { size: 3, root: tree.root() };
    let signed = checkpoint::sign(ORIGIN, &head, &signer);
    let (Ok(checkpoint), Ok(first)) = (signed, Vkey::parse(&signer.vkey())) else { return };
    let host = Host { checkpoint, tile, bundle: bytes };
    let options = VerifyOptions {
        vkey: signer.vkey(),
        last_seen: Some(head),
        strict: false,
        progress: &|_, _| {},
    };
    let report = RemoteLog::open(&host, &first).and_then(|log| log.verify(&options));
    let is_valid = report.is_ok_and(|report| report.state == State::Valid);
    assert_eq!(is_valid, bytes == right, "only what was signed is valid");
}
