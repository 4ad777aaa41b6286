//! A fifth opinion on our roots and proofs: ct-merkle, an implementation of RFC 6962 by another author.

use audit::{
    checkpoint::Head,
    proof,
    tree::{self, Frontier, Hash},
};
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use sha2::Sha256;

const SIZES: u64 = 70;

fn root(head: &Head) -> RootHash<Sha256> {
    RootHash::new(head.root.into(), head.size)
}

fn head(hashes: &[Hash]) -> Head {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    Head { size: frontier.size(), root: frontier.root() }
}

#[test]
fn ct_merkle_finds_our_roots_and_believes_our_proofs() {
    let leaves: Vec<Vec<u8>> = (0..SIZES).map(|i| format!(r#"{{"n":{i}}}"#).into_bytes()).collect();
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 1..=SIZES {
        let count = size as usize;
        theirs.push(leaves[count - 1].clone());
        let new = head(&hashes[..count]);
        assert_eq!(theirs.root().as_bytes().as_slice(), new.root, "root of {size}");
        for seq in 0..size {
            let Ok(path) = proof::inclusion(seq, size, &mut &hashes[..count]);
            let proven = InclusionProof::<Sha256>::from_bytes(path.concat());
            let leaf = &leaves[seq as usize];
            root(&new).verify_inclusion(leaf, seq, &proven).unwrap();
            assert!(root(&new).verify_inclusion(&b"another".to_vec(), seq, &proven).is_err());
            // Theirs, checked by us.
            let path = theirs.prove_inclusion(seq as usize);
            let path: Vec<Hash> = path.as_bytes().as_chunks::<32>().0.to_vec();
            assert!(proof::verify_inclusion(seq, &tree::leaf_hash(leaf), &path, &new));
        }
        for before in 1..size {
            let old = head(&hashes[..before as usize]);
            let Ok(path) = proof::consistency(before, size, &mut &hashes[..count]);
            let proven = ConsistencyProof::<Sha256>::try_from_bytes(path.concat()).unwrap();
            root(&new).verify_consistency(&root(&old), &proven).unwrap();
            let other = Head { root: [9; 32], ..old };
            assert!(root(&new).verify_consistency(&root(&other), &proven).is_err());
            let path = theirs.prove_consistency((size - before) as usize);
            let path: Vec<Hash> = path.as_bytes().as_chunks::<32>().0.to_vec();
            assert!(proof::verify_consistency(&old, &new, &path));
        }
    }
}
