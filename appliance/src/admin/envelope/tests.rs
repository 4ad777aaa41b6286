use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const SALT: [u8; 32] = {
    let mut salt = [0; 32];
    let mut i = 0;
    while i < 32 {
        salt[i] = i as u8;
        i += 1;
    }
    salt
};
const PREFIX: [u8; 8] = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7];
const PLAIN: &[u8] = br#"{"status":"enabled"}"#;

/// Made with argon2-cffi and cryptography (Python), not with this code.
#[test]
fn worked_vectors() {
    for (scheme, key, tag, fragments) in [
        (
            Scheme::Argon2Aes,
            "143045b4e26f71193dd2f2f806438d47b4dfaa02357d625170ce6761570ab62b",
            "72505fcfe0022ea0c4e45fcac903c145",
            "1395e897b43ff97fb6173a7e1b279ef24257e137401629ffcec8b1782b43e2776649cc5d",
        ),
        (
            Scheme::Argon2ChaCha,
            "143045b4e26f71193dd2f2f806438d47b4dfaa02357d625170ce6761570ab62b",
            "412b7cfba394f9304c8d5771a058675a",
            "19520aeb7c32e0ad7184606bf11eae2f91a66d3f8bce17dd4bc61cbe42305e146064d4c1",
        ),
        (
            Scheme::Pbkdf2Aes,
            "d91935347c5209c45d5649877ec300f8cb54cc6c49265db10b91ba98beead02d",
            "d2f6b04ed28dcb6a46ef25cf6bf2eaff",
            "4a7231137349accb7349c770e85176da9ac58ca52e72cc1dfe61080eed7abf67625f8d2d",
        ),
    ] {
        let derived = scheme.key("minioadmin", &SALT).unwrap();
        assert_eq!(hex::encode(*derived), key);
        let stream = Stream::new(scheme, &derived, PREFIX).unwrap();
        assert_eq!(hex::encode(&stream.tag_of_nothing), tag);
        let sealed = seal_with(scheme, "minioadmin", PLAIN, SALT, PREFIX).unwrap();
        assert_eq!(sealed.len(), 77);
        assert_eq!(hex::encode(&sealed[41..]), fragments);
        assert_eq!(open("minioadmin", &sealed).unwrap().as_slice(), PLAIN);
    }
}

#[test]
fn fragment_edges() {
    for (length, total, digest) in [
        (0, 57, "1f6f5189d1dc41b0bf8e6c9f253932d2e76836765935b83d7f03efa61d32ec55"),
        (16_383, 16_440, "89293705a771f5281e2a6772c069dd160943e5ef2279a12bdb2284c3c5ab1ef7"),
        (16_384, 16_441, "91a12091741ddfa8a6a7a709a6f8e857c6fadbc146bcbe157123300b9c26e83b"),
        (16_385, 16_458, "fab0087055744e5cdfb55bdf18966e3ff1fa2e5a9aa2a6cdad5bfb3324b7a6e7"),
        (32_768, 32_841, "88e57ec1926350f42dd48d6441d1fe588094e4828cd37b9448629577699c99cb"),
    ] {
        let plain = vec![0; length];
        let sealed = seal_with(Scheme::Argon2Aes, "x", &plain, SALT, PREFIX).unwrap();
        assert_eq!(sealed.len(), total);
        assert_eq!(hex::encode(Sha256::digest(&sealed)), digest);
        assert_eq!(*open("x", &sealed).unwrap(), plain);
    }
}

/// An interoperability sample that was published with the clients: empty password, empty body.
#[test]
fn upstream_sample() {
    let sealed = hex::decode(
        "828aa81599df0651c0461adb82283e8b89956baee9f6e719947ef9cddc849028001dc9d3ac0938f66b\
         07bacc9751437e1985f8a9763c240e81",
    )
    .unwrap();
    assert!(open("", &sealed).unwrap().is_empty());
}

#[test]
fn another_secret_and_every_cut_fail() {
    let plain = vec![7; FRAGMENT_BYTES * 2];
    let sealed = seal_with(Scheme::Pbkdf2Aes, "secret", &plain, SALT, PREFIX).unwrap();
    assert_eq!(open("secreT", &sealed), Err(EnvelopeError::NotOpened));
    let fragment = FRAGMENT_BYTES + TAG_BYTES;
    for cut in [
        0,
        31,
        32,
        33,
        40,
        41,
        41 + 15,
        41 + 16,
        41 + fragment,
        41 + fragment + 16,
        sealed.len() - 1,
    ] {
        assert_eq!(open("secret", &sealed[..cut]), Err(EnvelopeError::NotOpened), "{cut}");
    }
    let longer = [sealed.as_slice(), &[0; 16]].concat();
    assert_eq!(open("secret", &longer), Err(EnvelopeError::NotOpened));
    let swapped = [&sealed[..41], &sealed[41 + fragment..], &sealed[41..41 + fragment]].concat();
    assert_eq!(open("secret", &swapped), Err(EnvelopeError::NotOpened));
}

#[test]
fn too_long_is_refused_before_a_key_is_derived() {
    assert_eq!(open("s", &vec![0; SEALED_BYTES_MAX + 1]), Err(EnvelopeError::TooLong));
}

#[tokio::test]
async fn seals_and_opens_off_the_runtime() {
    let envelopes = Envelopes::new(1);
    let secret = || Zeroizing::new("correct horse".to_owned());
    let sealed = envelopes.seal(secret(), PLAIN.to_vec()).await.unwrap();
    assert_eq!(sealed[32], 0, "the scheme that every client reads");
    let opened = envelopes.open(secret(), sealed.into()).await.unwrap();
    assert_eq!(opened.as_slice(), PLAIN);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// PBKDF2 keeps the rounds cheap; the schemes differ in nothing that is parsed.
    #[test]
    fn arbitrary_bodies_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Some(id) = bytes.get_mut(32) {
            *id = if *id % 2 == 0 { 2 } else { 3 };
        }
        prop_assert_eq!(open("secret", &bytes), Err(EnvelopeError::NotOpened));
    }

    #[test]
    fn every_flip_fails(at in 0_usize..77, bit in 0_u8..8) {
        let mut sealed = seal_with(Scheme::Pbkdf2Aes, "secret", PLAIN, SALT, PREFIX).unwrap();
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(open("secret", &sealed), Err(EnvelopeError::NotOpened));
    }
}
