//! Row values: JSON, sealed.
//!
//! A value is one format byte, 16 bytes of salt and an AES-256-GCM text with its tag. The key of each value is
//! HKDF-SHA256 of the row key with the salt, so the nonce can be zero: random nonces under one key would reach their
//! safe limit of 2^32 messages within days at 30 000 rows a second. The AAD is the row's own key: values cannot be moved.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use bytes::Bytes;
use hkdf::Hkdf;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::Error;

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// The key that all row values of a deployment are sealed under.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RowKey([u8; 32]);

impl RowKey {
    /// Takes key material over.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<[u8; 32]> for RowKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowKey(redacted)")
    }
}

/// Seals and opens row values.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    key: RowKey,
}

impl Seal {
    pub(crate) fn new(key: RowKey) -> Self {
        Self { key }
    }

    /// Seals a row that has a serde form.
    pub(crate) fn encode<T: Serialize>(&self, key: &[u8], row: &T) -> Result<Bytes, Error> {
        let text = serde_json::to_vec(row).map_err(|_| Error::Damaged("encoding a row"))?;
        self.seal(key, text)
    }

    /// Opens a row that has a serde form.
    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, Error> {
        let text = self.open(key, sealed)?;
        serde_json::from_slice(&text).map_err(|_| Error::Damaged("a row does not parse"))
    }

    /// Seals the bytes of a row.
    pub(crate) fn seal(&self, key: &[u8], mut text: Vec<u8>) -> Result<Bytes, Error> {
        let mut salt = [0u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| Error::Random)?;
        let tag = self
            .cipher(&salt)?
            .encrypt_inout_detached(&[0u8; 12].into(), key, text.as_mut_slice().into())
            .map_err(|_| Error::Damaged("sealing a row"))?;
        let mut sealed = Vec::with_capacity(1 + SALT_BYTES + text.len() + TAG_BYTES);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&salt);
        sealed.append(&mut text);
        sealed.extend_from_slice(&tag);
        Ok(sealed.into())
    }

    /// Opens the bytes of a row.
    pub(crate) fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let damaged = Error::Damaged("a row does not authenticate");
        let Some((&FORMAT, sealed)) = sealed.split_first() else { return Err(damaged) };
        let Some((salt, sealed)) = sealed.split_first_chunk::<SALT_BYTES>() else {
            return Err(damaged);
        };
        let Some((text, tag)) = sealed.split_last_chunk::<TAG_BYTES>() else {
            return Err(damaged);
        };
        let mut text = text.to_vec();
        match self.cipher(salt)?.decrypt_inout_detached(
            &[0u8; 12].into(),
            key,
            text.as_mut_slice().into(),
            tag.into(),
        ) {
            Ok(()) => Ok(text),
            Err(_) => Err(damaged),
        }
    }

    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Result<Aes256Gcm, Error> {
        let mut key = Zeroizing::new([0u8; 32]);
        Hkdf::<Sha256>::new(Some(salt), &self.key.0)
            .expand(b"appliance row v1", key.as_mut())
            .map_err(|_| Error::Damaged("deriving a row key"))?;
        Ok(Aes256Gcm::new((&*key).into()))
    }
}

/// Bytes as lower-case hex in JSON.
pub(crate) mod base16 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_was_sealed_opens_in_its_place_only(
            key in proptest::collection::vec(any::<u8>(), 1..40),
            text in proptest::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            let seal = Seal::new(RowKey::new([1; 32]));
            let sealed = seal.seal(&key, text.clone()).unwrap();
            prop_assert_eq!(seal.open(&key, &sealed).unwrap(), text);
            prop_assert!(seal.open(b"", &sealed).is_err());
            prop_assert!(Seal::new(RowKey::new([2; 32])).open(&key, &sealed).is_err());
            let mut flipped = sealed.to_vec();
            let at = flip.index(flipped.len());
            flipped[at] ^= 1;
            prop_assert!(seal.open(&key, &flipped).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_not_open(sealed in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Seal::new(RowKey::new([1; 32])).open(b"k", &sealed).is_err());
        }
    }
}
