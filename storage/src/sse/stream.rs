//! The encrypted stream of one part: AES-256-GCM over packages of 64 KiB.
//!
//! Each part has its own subkey, HKDF-SHA256 of the object's data key with the blob id as salt and the part number in the
//! info, so a counter is a sufficient nonce: no two parts share a key, and within one part each package has its number.
//! The nonce also carries the last-package flag, so a stream that was cut at a package border does not open. The AAD
//! binds bucket, key, version, part and blob, so packages cannot be moved between objects even by someone who holds the key.
//! FORMAT.md, "Packages", has the bytes.
//!
//! INVARIANT: a [`Sealer`] is made once per blob id, and blob ids are never reused; a retry of a PUT takes a new id.

#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::ops::Range;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aws_lc_rs::aead as aws;
use bytes::{Buf, Bytes, BytesMut};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key::{DataKey, KeyContext};
use crate::error::Error;
use crate::object::NULL_VERSION;

/// Plaintext bytes of a package; 4 KiB costs 11 % more, 1 MiB leaves the L2 cache.
pub const PACKAGE_BYTES: u64 = 64 * 1024;

/// Bytes of an authentication tag.
pub const TAG_BYTES: u64 = 16;

const SEALED_PACKAGE_BYTES: u64 = PACKAGE_BYTES + TAG_BYTES;

/// How many packages hold `size` plaintext bytes. An empty stream has one, so that its emptiness is authenticated.
pub fn packages(size: u64) -> u64 {
    size.div_ceil(PACKAGE_BYTES).max(1)
}

/// Bytes of the encrypted stream of `size` plaintext bytes.
pub fn sealed_size(size: u64) -> u64 {
    size + packages(size) * TAG_BYTES
}

/// The AES-256-GCM that a build or a test chose. Both write the same bytes.
pub enum Aead {
    /// aws-lc-rs, the default: 15 GB/s per core.
    AwsLc(Box<aws::LessSafeKey>),
    /// aes-gcm, pure Rust: 3.5 GB/s per core.
    AesGcm(Box<Aes256Gcm>),
}

/// Which implementation to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// aws-lc-rs.
    #[default]
    AwsLc,
    /// aes-gcm.
    AesGcm,
}

/// A package did not authenticate, or a length is impossible.
#[derive(Debug)]
pub struct Forged;

impl Aead {
    fn new(backend: Backend, key: &[u8; 32]) -> Result<Self, Forged> {
        Ok(match backend {
            Backend::AwsLc => {
                let key = aws::UnboundKey::new(&aws::AES_256_GCM, key).map_err(|_| Forged)?;
                Self::AwsLc(Box::new(aws::LessSafeKey::new(key)))
            }
            Backend::AesGcm => Self::AesGcm(Box::new(Aes256Gcm::new(key.into()))),
        })
    }

    fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; 16], Forged> {
        match self {
            Self::AwsLc(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, aws::Aad::from(aad), text)
                    .map_err(|_| Forged)?;
                tag.as_ref().try_into().map_err(|_| Forged)
            }
            Self::AesGcm(key) => {
                let tag = key
                    .encrypt_inout_detached(&nonce.into(), aad, text.into())
                    .map_err(|_| Forged)?;
                Ok(tag.into())
            }
        }
    }

    /// Opens `sealed` (text and tag) in place and returns the length of the text.
    fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<usize, Forged> {
        match self {
            Self::AwsLc(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                let text = key.open_in_place(nonce, aws::Aad::from(aad), sealed);
                Ok(text.map_err(|_| Forged)?.len())
            }
            Self::AesGcm(key) => {
                let bytes = sealed.len().checked_sub(TAG_BYTES as usize).ok_or(Forged)?;
                let (text, tag) = sealed.split_at_mut_checked(bytes).ok_or(Forged)?;
                let tag: [u8; 16] = (&*tag).try_into().map_err(|_| Forged)?;
                key.decrypt_inout_detached(&nonce.into(), aad, text.into(), &tag.into())
                    .map_err(|_| Forged)?;
                Ok(bytes)
            }
        }
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwsLc(_) => "Aead(aws-lc-rs)",
            Self::AesGcm(_) => "Aead(aes-gcm)",
        })
    }
}

/// What one part's packages are encrypted with.
#[derive(Debug)]
pub struct PartKey {
    aead: Aead,
    aad: [u8; 32],
}

impl PartKey {
    /// Derives the key of a part: number 0 for a plain PUT, 1 to 10 000 in an upload.
    ///
    /// # Errors
    /// [`Error::Damaged`] never happens with 256-bit keys; the derivation functions cannot express that.
    pub fn derive(
        backend: Backend,
        key: &DataKey,
        blob: &[u8; 16],
        part: u16,
        context: &KeyContext,
    ) -> Result<Self, Error> {
        debug_assert_eq!(context.version, NULL_VERSION, "versioning is a later issue");
        let mut subkey = Zeroizing::new([0u8; 32]);
        Hkdf::<Sha256>::new(Some(blob), key.expose())
            .expand_multi_info(&[b"appliance part v1", &part.to_be_bytes()], subkey.as_mut())
            .map_err(|_| Error::Damaged("deriving a part key"))?;
        let aead = Aead::new(backend, &subkey).map_err(|_| Error::Damaged("making a part key"))?;
        Ok(Self { aead, aad: aad(blob, part, context) })
    }
}

/// One digest instead of the fields themselves: it is computed once per part, not once per package.
fn aad(blob: &[u8; 16], part: u16, context: &KeyContext) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(b"appliance package v1");
    // The data key is bound to the client's own pairs already; these say where in the store a package belongs.
    for value in [context.bucket.as_str(), context.key.as_str(), &context.version] {
        digest.update((value.len() as u64).to_be_bytes());
        digest.update(value);
    }
    digest.update(part.to_be_bytes());
    digest.update(blob);
    digest.finalize().into()
}

/// Counter and last-package flag: 3 zero bytes, 8 bytes of counter, 1 byte of flag.
fn nonce(package: u64, last: bool) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = package.to_be_bytes();
    [0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)]
}

/// Encrypts one part from its first byte to its last.
#[derive(Debug)]
pub struct Sealer {
    key: PartKey,
    package: u64,
    /// Sealed packages, then the plaintext of the open one.
    buffer: BytesMut,
    open_bytes: usize,
    size: u64,
}

impl Sealer {
    /// Starts the stream. Once per part key, see the invariant of this file.
    pub fn new(key: PartKey) -> Self {
        Self { key, package: 0, buffer: BytesMut::new(), open_bytes: 0, size: 0 }
    }

    /// Takes plaintext.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the cipher fails, which it does not within 2^36 bytes per package.
    pub fn push(&mut self, mut text: &[u8]) -> Result<(), Error> {
        while !text.is_empty() {
            // A full package stays open until more comes: only then is it known not to be the last.
            if self.open_bytes == PACKAGE_BYTES as usize {
                self.seal(false)?;
            }
            let room = PACKAGE_BYTES as usize - self.open_bytes;
            let (now, later) = text.split_at_checked(room).unwrap_or((text, &[]));
            self.buffer.extend_from_slice(now);
            self.open_bytes += now.len();
            self.size += now.len() as u64;
            text = later;
        }
        Ok(())
    }

    /// Seals what is open as the last package and returns the plaintext size.
    ///
    /// # Errors
    /// As [`Sealer::push`].
    pub fn finish(&mut self) -> Result<u64, Error> {
        self.seal(true)?;
        Ok(self.size)
    }

    /// How many sealed bytes can be taken.
    pub fn ready_bytes(&self) -> usize {
        self.buffer.len() - self.open_bytes
    }

    /// Takes up to `bytes` sealed bytes.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        self.buffer.split_to(bytes.min(self.ready_bytes())).freeze()
    }

    fn seal(&mut self, last: bool) -> Result<(), Error> {
        let start = self.buffer.len() - self.open_bytes;
        let text = self.buffer.get_mut(start..).ok_or(Error::Damaged("an open package"))?;
        let tag = self
            .key
            .aead
            .seal(nonce(self.package, last), &self.key.aad, text)
            .map_err(|_| Error::Damaged("encrypting a package"))?;
        self.buffer.extend_from_slice(&tag);
        self.package += 1;
        self.open_bytes = 0;
        Ok(())
    }
}

/// Decrypts a range of one part.
#[derive(Debug)]
pub struct Opener {
    key: PartKey,
    size: u64,
    package: u64,
    /// Plaintext that the range still lacks before and after the current package.
    wanted: Range<u64>,
    buffer: BytesMut,
}

impl Opener {
    /// Will open the plaintext bytes `range` of a part of `size` bytes.
    pub fn new(key: PartKey, size: u64, range: Range<u64>) -> Self {
        let package = range.start / PACKAGE_BYTES;
        Self { key, size, package, wanted: range, buffer: BytesMut::new() }
    }

    /// The sealed bytes to feed to [`Opener::push`]: whole packages only.
    pub fn sealed_range(&self) -> Range<u64> {
        let first = self.wanted.start / PACKAGE_BYTES;
        let after = self.wanted.end.div_ceil(PACKAGE_BYTES).max(first + 1);
        let end = (after * SEALED_PACKAGE_BYTES).min(sealed_size(self.size));
        first * SEALED_PACKAGE_BYTES..end
    }

    /// Takes sealed bytes and returns the plaintext that they complete.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a package does not authenticate; nothing of it is returned.
    pub fn push(&mut self, sealed: &[u8]) -> Result<Bytes, Error> {
        self.buffer.extend_from_slice(sealed);
        let mut out = BytesMut::with_capacity(self.buffer.len());
        while self.package < packages(self.size) {
            let bytes = self.package_bytes() as usize;
            if self.buffer.len() < bytes {
                break;
            }
            let mut package = self.buffer.split_to(bytes);
            self.open(&mut package)?;
            out.extend_from_slice(&package);
        }
        Ok(out.freeze())
    }

    fn package_bytes(&self) -> u64 {
        let start = self.package * SEALED_PACKAGE_BYTES;
        SEALED_PACKAGE_BYTES.min(sealed_size(self.size) - start)
    }

    /// Opens the next package and leaves in it what the range wants.
    fn open(&mut self, package: &mut BytesMut) -> Result<(), Error> {
        let last = self.package + 1 == packages(self.size);
        let text = self
            .key
            .aead
            .open(nonce(self.package, last), &self.key.aad, package)
            .map_err(|_| Error::Damaged("a package does not authenticate"))?;
        package.truncate(text);
        let start = self.package * PACKAGE_BYTES;
        self.package += 1;
        let end = self.wanted.end.saturating_sub(start).min(text as u64);
        package.truncate(end as usize);
        let skip = self.wanted.start.saturating_sub(start).min(end);
        package.advance(skip as usize);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::{BucketName, ObjectKey};

    fn key(backend: Backend, part: u16, name: &str) -> PartKey {
        let context = KeyContext {
            bucket: BucketName::parse("bucket").unwrap(),
            key: ObjectKey::parse(name).unwrap(),
            version: NULL_VERSION.to_owned(),
            client: [].into(),
        };
        PartKey::derive(backend, &DataKey::new([7; 32]), &[9; 16], part, &context).unwrap()
    }

    fn seal(backend: Backend, text: &[u8]) -> Bytes {
        let mut sealer = Sealer::new(key(backend, 0, "k"));
        for piece in text.chunks(40_000) {
            sealer.push(piece).unwrap();
        }
        assert_eq!(sealer.finish().unwrap(), text.len() as u64);
        sealer.take(usize::MAX)
    }

    fn open(key: PartKey, sealed: &[u8], size: u64, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut opener = Opener::new(key, size, range);
        let wanted = opener.sealed_range();
        let mut out = Vec::new();
        for piece in sealed[wanted.start as usize..wanted.end as usize].chunks(50_000) {
            out.extend_from_slice(&opener.push(piece)?);
        }
        Ok(out)
    }

    fn text(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn both_implementations_open_each_others_bytes() {
        for size in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let text = text(size);
            let a = seal(Backend::AwsLc, &text);
            let b = seal(Backend::AesGcm, &text);
            assert_eq!(a, b, "{size}");
            assert_eq!(a.len() as u64, sealed_size(size as u64));
            for backend in [Backend::AwsLc, Backend::AesGcm] {
                let opened = open(key(backend, 0, "k"), &a, size as u64, 0..size as u64).unwrap();
                assert_eq!(opened, text, "{size}");
            }
        }
    }

    #[test]
    fn a_package_opens_nowhere_but_in_its_place() {
        let text = text(140_000);
        let sealed = seal(Backend::AwsLc, &text);
        let whole = 0..140_000;
        for backend in [Backend::AwsLc, Backend::AesGcm] {
            assert!(open(key(backend, 1, "k"), &sealed, 140_000, whole.clone()).is_err(), "part");
            assert!(open(key(backend, 0, "l"), &sealed, 140_000, whole.clone()).is_err(), "key");
            let cut = open(key(backend, 0, "k"), &sealed, 65_536, 0..65_536);
            assert!(cut.is_err(), "a stream cut at a package border");
            let mut swapped = sealed.to_vec();
            swapped[..2 * 65_552].rotate_left(65_552);
            assert!(open(key(backend, 0, "k"), &swapped, 140_000, whole.clone()).is_err());
            let mut flipped = sealed.to_vec();
            flipped[100_000] ^= 1;
            assert!(open(key(backend, 0, "k"), &flipped, 140_000, whole.clone()).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_range_opens(size in 0usize..300_000, a in 0usize..300_000, b in 0usize..300_000) {
            let text = text(size);
            let (start, end) = (a.min(b).min(size), a.max(b).min(size));
            let sealed = seal(Backend::AwsLc, &text);
            let opened =
                open(key(Backend::AwsLc, 0, "k"), &sealed, size as u64, start as u64..end as u64);
            prop_assert_eq!(&opened.unwrap()[..], &text[start..end]);
        }
    }
}
