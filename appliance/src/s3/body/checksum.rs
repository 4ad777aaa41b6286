//! The S3 checksums, of one body and of the parts of a multipart upload.
//!
//! # Source
//! Amazon S3 User Guide, "Checking object integrity": composite checksums hash the parts' checksums and end in `-N`;
//! full-object checksums exist for the CRC family, whose values can be combined without the bytes.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// An algorithm that clients may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1` or `SHA256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header and trailer that carry the value.
    #[must_use]
    pub const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Reads a name in any case, as clients write it in `x-amz-sdk-checksum-algorithm`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    const fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Reads a base64 value of this algorithm's length. The value must be in the one canonical spelling.
    #[must_use]
    pub fn decode(self, value: &str) -> Option<Vec<u8>> {
        STANDARD.decode(value).ok().filter(|bytes| bytes.len() == self.bytes())
    }

    /// The digest of `bytes` in one step.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Base64 as the headers carry it.
#[must_use]
pub fn encode(digest: &[u8]) -> String {
    STANDARD.encode(digest)
}

/// A running checksum.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => State::Crc(crc_fast::Digest::new(crc)),
            (None, Algorithm::Sha1) => State::Sha1(Sha1::new()),
            (None, _) => State::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Sha1(digest) => digest.update(bytes),
            State::Sha256(digest) => digest.update(bytes),
        }
    }

    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self.state {
            State::Crc(digest) => big_endian(digest.finalize(), self.algorithm.bytes()),
            State::Sha1(digest) => digest.finalize().to_vec(),
            State::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hasher").field(&self.algorithm).finish()
    }
}

/// The last `length` bytes of a CRC, most significant first.
fn big_endian(crc: u64, length: usize) -> Vec<u8> {
    crc.to_be_bytes().into_iter().skip(8 - length).collect()
}

/// The checksum of the parts' checksums, `VALUE-N`. `None` when a value is not one of this algorithm, or there is none.
#[must_use]
pub fn composite(algorithm: &str, parts: &[(&str, u64)]) -> Option<String> {
    let algorithm = Algorithm::parse(algorithm)?;
    let mut hasher = Hasher::new(algorithm);
    for (value, _) in parts {
        hasher.update(&algorithm.decode(value)?);
    }
    (!parts.is_empty()).then(|| format!("{}-{}", encode(&hasher.finish()), parts.len()))
}

/// The checksum of all bytes, from those of the parts and their lengths. `None` for the SHA family, when a value is not
/// one of this algorithm, or there is none.
#[must_use]
pub fn full_object(algorithm: &str, parts: &[(&str, u64)]) -> Option<String> {
    let algorithm = Algorithm::parse(algorithm)?;
    let crc = algorithm.crc()?;
    let number = |value: &str| {
        let bytes = algorithm.decode(value)?;
        Some(bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
    };
    let ((first, _), rest) = parts.split_first()?;
    let mut whole = number(first)?;
    for (value, length) in rest {
        whole = crc_fast::checksum_combine(crc, whole, number(value)?, *length);
    }
    Some(encode(&big_endian(whole, algorithm.bytes())))
}

/// The ETag of a multipart object: the MD5 of the parts' MD5s, `HEX-N`.
///
/// A part whose ETag is no MD5 (encrypted with a key of its own) enters as text, so the result still names the parts.
#[must_use]
pub fn multipart_etag(etags: &[&str]) -> String {
    let mut digest = Md5::new();
    for etag in etags {
        match hex::decode(etag) {
            Ok(md5) => digest.update(md5),
            Err(_) => digest.update(etag),
        }
    }
    format!("{}-{}", hex::encode(digest.finalize()), etags.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The check values of the CRC catalogue and of FIPS 180, over "123456789".
    #[test]
    fn published_check_values() {
        for (algorithm, hex) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            assert_eq!(hex::encode(algorithm.digest(b"123456789")), hex, "{algorithm:?}");
        }
    }

    #[test]
    fn values_have_one_length_and_one_spelling() {
        assert_eq!(Algorithm::Crc32c.decode("mnG7TA=="), Some(vec![0x9a, 0x71, 0xbb, 0x4c]));
        for value in ["", "mnG7TA", "mnG7TB==", "mnG7TA==-1", " mnG7TA==", "AAAAAAAAAAA="] {
            assert_eq!(Algorithm::Crc32c.decode(value), None, "{value}");
        }
    }

    #[test]
    fn a_composite_checksum_counts_its_parts() {
        let parts = [
            (encode(&Algorithm::Sha256.digest(b"a")), 1),
            (encode(&Algorithm::Sha256.digest(b"b")), 1),
        ];
        let joined = [Algorithm::Sha256.digest(b"a"), Algorithm::Sha256.digest(b"b")].concat();
        let expected = format!("{}-2", encode(&Algorithm::Sha256.digest(&joined)));
        let parts: Vec<(&str, u64)> =
            parts.iter().map(|(value, size)| (value.as_str(), *size)).collect();
        assert_eq!(composite("SHA256", &parts), Some(expected));
        assert_eq!(full_object("SHA256", &parts), None);
        assert_eq!(composite("SHA256", &[]), None);
        assert_eq!(composite("SHA256", &[("AA==", 1)]), None);
    }

    #[test]
    fn a_multipart_etag_counts_its_parts() {
        let etag = hex::encode(Md5::digest(b"a"));
        let expected = hex::encode(Md5::digest([Md5::digest(b"a"), Md5::digest(b"a")].concat()));
        assert_eq!(multipart_etag(&[&etag, &etag]), format!("{expected}-2"));
    }

    proptest! {
        #[test]
        fn full_object_equals_the_checksum_of_all_bytes(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let values: Vec<(String, u64)> = parts.iter().map(|part| (encode(&algorithm.digest(part)), part.len() as u64)).collect();
                let values: Vec<(&str, u64)> = values.iter().map(|(value, size)| (value.as_str(), *size)).collect();
                let whole = encode(&algorithm.digest(&parts.concat()));
                prop_assert_eq!(full_object(algorithm.name(), &values), Some(whole));
            }
        }
    }
}
