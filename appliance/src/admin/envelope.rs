//! The body encryption of the madmin clients: sealed under the caller's own secret key.
//!
//! `salt (32) ‖ id (1) ‖ nonce prefix (8) ‖ fragments`. Each fragment is up to 16384 bytes and a 16-byte tag; its
//! nonce is the prefix and a little-endian counter from 1, its authenticated data a flag (0x80 on the last fragment)
//! and the tag of an empty message under counter 0. A cut at a fragment's edge misses the flag, so it is noticed.
//!
//! # Source
//! The format of the `madmin-go` and `minio-py` clients; worked vectors stand in the tests.

#![deny(clippy::indexing_slicing)]

use std::num::NonZeroU32;
use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::pbkdf2;
use chacha20poly1305::ChaCha20Poly1305;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Longest sealed body that is read: 256 KiB and its tags, as MinIO limits it.
pub const SEALED_BYTES_MAX: usize = 262_272;

const SALT_BYTES: usize = 32;
const NONCE_PREFIX_BYTES: usize = 8;
const FRAGMENT_BYTES: usize = 16_384;
const TAG_BYTES: usize = 16;

const ARGON2_MEMORY_KIB: u32 = 65_536;
const ARGON2_PASSES: u32 = 1;
const ARGON2_LANES: u32 = 4;
const PBKDF2_ROUNDS: u32 = 8192;

/// Why a body does not open. A caller learns no more than that.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the body is not sealed, damaged, or sealed under another secret key")]
    NotOpened,
    #[error("the body is longer than {SEALED_BYTES_MAX} bytes")]
    TooLong,
    #[error("no randomness from the operating system")]
    Random,
    #[error("deriving the key failed")]
    Derive,
}

/// Seals and opens bodies with bounded memory: each takes 64 MiB for its key.
#[derive(Clone, Debug)]
pub struct Envelopes {
    at_once: Arc<Semaphore>,
}

impl Envelopes {
    /// `at_once` keys may be derived at the same time; further callers wait.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { at_once: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// Seals a body for the holder of `secret`.
    ///
    /// # Errors
    /// [`EnvelopeError::Random`], [`EnvelopeError::Derive`].
    pub async fn seal(
        &self,
        secret: Zeroizing<String>,
        plain: Vec<u8>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        self.blocking(move || seal(&secret, &plain)).await
    }

    /// Opens a body that the holder of `secret` sealed.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`], [`EnvelopeError::NotOpened`].
    pub async fn open(
        &self,
        secret: Zeroizing<String>,
        sealed: bytes::Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        // The shape is checked before 64 MiB and a tenth of a second are spent on the key.
        Sealed::parse(&sealed)?;
        self.blocking(move || open(&secret, &sealed)).await
    }

    /// Key derivation is up to 100 ms of pure computation, which must not hold a runtime thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EnvelopeError> + Send + 'static,
    ) -> Result<T, EnvelopeError> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let permit = permit.map_err(|_| EnvelopeError::Derive)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|_| EnvelopeError::Derive)?
    }
}

/// Seals `plain` under `secret` with fresh randomness, with Argon2id and AES-256-GCM: what every client reads.
///
/// # Errors
/// [`EnvelopeError::Random`], [`EnvelopeError::Derive`].
pub fn seal(secret: &str, plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut salt = [0; SALT_BYTES];
    let mut prefix = [0; NONCE_PREFIX_BYTES];
    getrandom::fill(&mut salt).map_err(|_| EnvelopeError::Random)?;
    getrandom::fill(&mut prefix).map_err(|_| EnvelopeError::Random)?;
    seal_with(Scheme::Argon2Aes, secret, plain, salt, prefix)
}

/// Opens what a client sealed under `secret`, in any of the three schemes.
///
/// # Errors
/// [`EnvelopeError::TooLong`], [`EnvelopeError::NotOpened`].
pub fn open(secret: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let sealed = Sealed::parse(sealed)?;
    let key = sealed.scheme.key(secret, &sealed.salt)?;
    sealed.open(&key)
}

fn seal_with(
    scheme: Scheme,
    secret: &str,
    plain: &[u8],
    salt: [u8; SALT_BYTES],
    prefix: [u8; NONCE_PREFIX_BYTES],
) -> Result<Vec<u8>, EnvelopeError> {
    let key = scheme.key(secret, &salt)?;
    let stream = Stream::new(scheme, &key, prefix)?;
    let count = plain.len().div_ceil(FRAGMENT_BYTES).max(1);
    let mut sealed = [salt.as_slice(), &[scheme as u8], &prefix].concat();
    if plain.is_empty() {
        sealed.extend(stream.seal(0, true, b"")?);
    }
    for (index, fragment) in plain.chunks(FRAGMENT_BYTES).enumerate() {
        sealed.extend(stream.seal(index, index + 1 == count, fragment)?);
    }
    Ok(sealed)
}

/// How the key is derived and which cipher it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Scheme {
    Argon2Aes = 0,
    Argon2ChaCha = 1,
    Pbkdf2Aes = 2,
}

impl Scheme {
    fn parse(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Argon2Aes),
            1 => Some(Self::Argon2ChaCha),
            2 => Some(Self::Pbkdf2Aes),
            _ => None,
        }
    }

    fn key(
        self,
        secret: &str,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Zeroizing<[u8; 32]>, EnvelopeError> {
        let mut key = Zeroizing::new([0; 32]);
        match self {
            Self::Argon2Aes | Self::Argon2ChaCha => {
                let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32));
                let params = params.map_err(|_| EnvelopeError::Derive)?;
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(secret.as_bytes(), salt, key.as_mut_slice())
                    .map_err(|_| EnvelopeError::Derive)?;
            }
            Self::Pbkdf2Aes => {
                let rounds = NonZeroU32::new(PBKDF2_ROUNDS).ok_or(EnvelopeError::Derive)?;
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::derive(algorithm, rounds, salt, secret.as_bytes(), key.as_mut_slice());
            }
        }
        Ok(key)
    }
}

/// A sealed body taken apart, its shape checked: non-empty fragments, the last one with at least a tag.
struct Sealed<'a> {
    salt: [u8; SALT_BYTES],
    scheme: Scheme,
    prefix: [u8; NONCE_PREFIX_BYTES],
    fragments: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > SEALED_BYTES_MAX {
            return Err(EnvelopeError::TooLong);
        }
        Self::split(bytes).ok_or(EnvelopeError::NotOpened)
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (salt, rest) = bytes.split_first_chunk::<SALT_BYTES>()?;
        let (id, rest) = rest.split_first()?;
        let (prefix, fragments) = rest.split_first_chunk::<NONCE_PREFIX_BYTES>()?;
        let last = fragments.chunks(FRAGMENT_BYTES + TAG_BYTES).last()?;
        // An exact multiple has no empty fragment behind it: only an empty body is a lone tag.
        let whole = last.len() > TAG_BYTES || fragments.len() == TAG_BYTES;
        let scheme = Scheme::parse(*id)?;
        whole.then_some(Self { salt: *salt, scheme, prefix: *prefix, fragments })
    }

    /// Opens the fragments; `key` is the one that the salt leads to.
    fn open(&self, key: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let stream = Stream::new(self.scheme, key, self.prefix)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(self.fragments.len()));
        let whole = FRAGMENT_BYTES + TAG_BYTES;
        let count = self.fragments.len().div_ceil(whole);
        for (index, fragment) in self.fragments.chunks(whole).enumerate() {
            let opened = Zeroizing::new(stream.open(index, index + 1 == count, fragment)?);
            plain.extend_from_slice(&opened);
        }
        Ok(plain)
    }
}

/// The fragments of one body.
struct Stream {
    cipher: Cipher,
    prefix: [u8; NONCE_PREFIX_BYTES],
    /// What every fragment authenticates behind its flag.
    tag_of_nothing: Vec<u8>,
}

/// The one difference between the schemes once there is a key.
#[expect(clippy::large_enum_variant, reason = "one lives on the stack for one body")]
enum Cipher {
    Aes(Aes256Gcm),
    ChaCha(ChaCha20Poly1305),
}

impl Stream {
    fn new(
        scheme: Scheme,
        key: &[u8; 32],
        prefix: [u8; NONCE_PREFIX_BYTES],
    ) -> Result<Self, EnvelopeError> {
        let cipher = match scheme {
            Scheme::Argon2Aes | Scheme::Pbkdf2Aes => Cipher::Aes(Aes256Gcm::new(key.into())),
            Scheme::Argon2ChaCha => Cipher::ChaCha(ChaCha20Poly1305::new(key.into())),
        };
        let mut stream = Self { cipher, prefix, tag_of_nothing: Vec::new() };
        stream.tag_of_nothing = stream.encrypt(0, b"", b"")?;
        Ok(stream)
    }

    fn seal(&self, index: usize, last: bool, plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.encrypt(counter(index)?, &self.associated_data(last), plain)
    }

    fn open(&self, index: usize, last: bool, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let nonce = self.nonce(counter(index)?);
        let payload = Payload { msg: sealed, aad: &self.associated_data(last) };
        let opened = match &self.cipher {
            Cipher::Aes(cipher) => cipher.decrypt(&nonce.into(), payload),
            Cipher::ChaCha(cipher) => cipher.decrypt(&nonce.into(), payload),
        };
        opened.map_err(|_| EnvelopeError::NotOpened)
    }

    fn encrypt(&self, counter: u32, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let nonce = self.nonce(counter);
        let payload = Payload { msg: plain, aad };
        let sealed = match &self.cipher {
            Cipher::Aes(cipher) => cipher.encrypt(&nonce.into(), payload),
            Cipher::ChaCha(cipher) => cipher.encrypt(&nonce.into(), payload),
        };
        sealed.map_err(|_| EnvelopeError::Derive)
    }

    fn associated_data(&self, last: bool) -> Vec<u8> {
        let flag = if last { 0x80 } else { 0x00 };
        [&[flag], self.tag_of_nothing.as_slice()].concat()
    }

    fn nonce(&self, counter: u32) -> [u8; 12] {
        let mut nonce = [0; 12];
        let bytes = self.prefix.into_iter().chain(counter.to_le_bytes());
        nonce.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
        nonce
    }
}

/// Counter 0 is taken by the tag of nothing.
fn counter(index: usize) -> Result<u32, EnvelopeError> {
    u32::try_from(index + 1).map_err(|_| EnvelopeError::TooLong)
}

/// Opens without a client's secret, whose derivation would be all that a fuzzer measures. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(sealed) = Sealed::parse(bytes) else { return };
    if let Ok(plain) = sealed.open(&[7; 32]) {
        let tags = bytes.len() - SALT_BYTES - 1 - NONCE_PREFIX_BYTES - plain.len();
        assert!(tags.is_multiple_of(TAG_BYTES) && tags > 0, "each fragment has its tag");
    }
}

#[cfg(test)]
mod tests;
