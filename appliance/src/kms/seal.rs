//! Sealing of data keys: pure functions of key, context and randomness.
//!
//! A sealed key is `format (1) ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag (48)`. The cipher key of each
//! seal is HKDF-SHA256 of the named key under its own salt. With 28 random bytes per seal the limit of 2^32 random
//! nonces per key (NIST SP 800-38D §8.3) is out of reach, so no use counter has to survive a crash.

#![deny(clippy::indexing_slicing)]

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use storage::{DataKey, GeneratedKey, KeyContext, KeyError, SealedKey};
use zeroize::Zeroizing;

/// The first byte of every sealed key.
const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// Key material of one version of a named key, wiped when dropped.
pub(super) type Material = Zeroizing<[u8; 32]>;

/// The sealed bytes are damaged, of an unknown format, or were sealed under another key or context.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open")]
pub(super) struct NotOpened;

/// Seals `plain` under `material`, bound to `aad`. `random` must be fresh for each call.
pub(super) fn seal(
    material: &Material,
    aad: &[u8],
    plain: &[u8],
    random: &[u8; SALT_BYTES + NONCE_BYTES],
) -> Option<Vec<u8>> {
    let (salt, nonce) = random.split_first_chunk::<SALT_BYTES>()?;
    let nonce: &[u8; NONCE_BYTES] = nonce.try_into().ok()?;
    let body = cipher(material, salt)?.encrypt(nonce.into(), Payload { msg: plain, aad }).ok()?;
    Some([&[FORMAT], random.as_slice(), &body].concat())
}

/// Opens what [`seal`] made.
pub(super) fn open(
    material: &Material,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
    let (format, rest) = sealed.split_first().ok_or(NotOpened)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(NotOpened)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(NotOpened)?;
    if *format != FORMAT {
        return Err(NotOpened);
    }
    let cipher = cipher(material, salt).ok_or(NotOpened)?;
    let plain = cipher.decrypt(nonce.into(), Payload { msg: body, aad });
    plain.map(Zeroizing::new).map_err(|_| NotOpened)
}

/// A new data key, sealed under this version of a named key.
pub(super) fn generate(
    material: &Material,
    key_id: &str,
    version: u64,
    context: &KeyContext,
) -> Result<GeneratedKey, KeyError> {
    let mut plain = Zeroizing::new([0; 32]);
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    getrandom::fill(plain.as_mut_slice()).map_err(|e| KeyError::Other(Box::new(e)))?;
    getrandom::fill(&mut random).map_err(|e| KeyError::Other(Box::new(e)))?;
    let aad = context_bytes(key_id, version, context);
    let blob = seal(material, &aad, plain.as_slice(), &random).ok_or(KeyError::Invalid)?;
    let sealed = SealedKey { key_id: key_id.to_owned(), version, blob };
    Ok(GeneratedKey { key: DataKey::new(*plain), sealed })
}

/// Opens what [`generate`] sealed.
pub(super) fn unseal(
    material: &Material,
    sealed: &SealedKey,
    context: &KeyContext,
) -> Result<DataKey, NotOpened> {
    let aad = context_bytes(&sealed.key_id, sealed.version, context);
    let plain = open(material, &aad, &sealed.blob)?;
    plain.as_slice().try_into().map(DataKey::new).map_err(|_| NotOpened)
}

/// Derives 256 bits from the root key for one purpose.
pub(super) fn derive(root: &Material, purpose: &[&[u8]]) -> Option<Material> {
    let mut material = Material::default();
    let info = lengths_first(purpose);
    Hkdf::<Sha256>::new(None, root.as_slice()).expand(&info, material.as_mut_slice()).ok()?;
    Some(material)
}

/// The authenticated data of a sealed data key: what it belongs to and which key sealed it, without ambiguity.
pub(super) fn context_bytes(key_id: &str, version: u64, context: &KeyContext) -> Vec<u8> {
    let version = version.to_be_bytes();
    let mut fields: Vec<&[u8]> = vec![b"appliance data key 1", key_id.as_bytes(), &version];
    let pairs = context.as_pairs();
    for (name, value) in &pairs {
        fields.extend([name.as_bytes(), value.as_bytes()]);
    }
    lengths_first(&fields)
}

fn cipher(material: &Material, salt: &[u8; SALT_BYTES]) -> Option<Aes256Gcm> {
    let mut key = Material::default();
    Hkdf::<Sha256>::new(Some(salt), material.as_slice())
        .expand(b"appliance seal 1", key.as_mut_slice())
        .ok()?;
    Aes256Gcm::new_from_slice(key.as_slice()).ok()
}

/// Each field behind its length, so that no two lists of fields give the same bytes.
fn lengths_first(fields: &[&[u8]]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|field| {
            (field.len() as u64).to_be_bytes().into_iter().chain(field.iter().copied())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(bucket: &str, key: &str, version: &str) -> KeyContext {
        KeyContext {
            bucket: storage::BucketName::parse(bucket).unwrap(),
            key: storage::ObjectKey::parse(key).unwrap(),
            version: version.into(),
            client: [].into(),
        }
    }

    #[test]
    fn context_bytes_differ_where_fields_shift() {
        let all = [
            context_bytes("k", 1, &context("abc", "de", "null")),
            context_bytes("k", 1, &context("abc", "d", "enull")),
            context_bytes("k", 1, &context("abcd", "e", "null")),
            context_bytes("k", 2, &context("abc", "de", "null")),
            context_bytes("k2", 1, &context("abc", "de", "null")),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    proptest! {
        #[test]
        fn every_flip_and_cut_is_refused(at in 0_usize..93, bit in 0_u8..8, cut in 0_usize..77) {
            let material = Material::new([7; 32]);
            let sealed = seal(&material, b"aad", &[9; 32], &[3; 28]).unwrap();
            prop_assert_eq!(sealed.len(), 77);
            prop_assert_eq!(open(&material, b"aad", &sealed).unwrap().to_vec(), vec![9; 32]);
            prop_assert_eq!(open(&material, b"aae", &sealed), Err(NotOpened));
            let mut flipped = sealed.clone();
            flipped[at % sealed.len()] ^= 1 << bit;
            prop_assert_eq!(open(&material, b"aad", &flipped), Err(NotOpened));
            prop_assert_eq!(open(&material, b"aad", &sealed[..cut]), Err(NotOpened));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&Material::new([1; 32]), b"", &bytes), Err(NotOpened));
        }
    }
}
