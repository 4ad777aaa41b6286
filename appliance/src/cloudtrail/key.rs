//! The RSA key that signs digest files: made once, kept in `config/keys/cloudtrail.key`.
//!
//! CloudTrail's tools check RSA PKCS#1 v1.5 with SHA-256 and nothing else; the log itself is signed with Ed25519.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::bootstrap::{BootstrapError, durable};

/// Tools ask for the keys of a range of time; ours is not replaced.
const VALID_US: u64 = 30 * 365 * 24 * 3600 * 1_000_000;

/// The key and what is public of it.
pub(super) struct SigningKey {
    pair: KeyPair,
    created_us: u64,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// The file: one JSON object.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Stored {
    format: u64,
    created_us: u64,
    pkcs8: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum KeyError {
    #[error(transparent)]
    File(#[from] BootstrapError),
    #[error("`{path}` is damaged: {problem}")]
    Damaged { path: String, problem: String },
    #[error("no RSA key could be made")]
    Make,
}

impl SigningKey {
    /// Reads the key, or makes it where there is none.
    pub(super) fn open_or_make(keys_dir: &Path, now_us: u64) -> Result<Self, KeyError> {
        let path = keys_dir.join("cloudtrail.key");
        if let Some(key) = Self::read(&path)? {
            return Ok(key);
        }
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Make)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Make)?;
        let pkcs8 = STANDARD.encode(der.as_ref());
        let stored = Stored { format: 1, created_us: now_us, pkcs8 };
        let text = serde_json::to_string(&stored).map_err(|_| KeyError::Make)?;
        let text = Zeroizing::new(text + "\n");
        durable::write_if_missing(&path, text.as_bytes(), durable::Access::Private)?;
        // Pair assertion: what the disk gives back is what signs.
        Self::read(&path)?.ok_or(KeyError::Make)
    }

    fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let Some(bytes) = durable::read_secret(path)? else { return Ok(None) };
        let damaged =
            |problem: String| KeyError::Damaged { path: path.display().to_string(), problem };
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format != 1 {
            return Err(damaged(format!("format {} is not 1", stored.format)));
        }
        let der = STANDARD.decode(stored.pkcs8.as_bytes()).map(Zeroizing::new);
        let der = der.map_err(|error| damaged(error.to_string()))?;
        let pair = KeyPair::from_pkcs8(&der).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Self { pair, created_us: stored.created_us }))
    }

    /// The public key as PKCS#1 DER.
    pub(super) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Names the public key: 32 hexadecimal digits.
    pub(super) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.public_der())).chars().take(32).collect()
    }

    /// From when until when signatures of this key count, in microseconds.
    pub(super) const fn validity_us(&self) -> (u64, u64) {
        (self.created_us, self.created_us.saturating_add(VALID_US))
    }

    /// The signature in hexadecimal; the same text has the same signature.
    pub(super) fn sign(&self, text: &[u8]) -> Result<String, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
            .map_err(|_| KeyError::Make)?;
        Ok(hex::encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_signs_the_same_text_the_same_way() {
        let dir = tempfile::tempdir().unwrap();
        let made = SigningKey::open_or_make(dir.path(), 7).unwrap();
        let again = SigningKey::open_or_make(dir.path(), 8).unwrap();
        assert_eq!(made.public_der(), again.public_der());
        assert_eq!(again.validity_us().0, 7);
        let signature = made.sign(b"text").unwrap();
        assert_eq!(signature, again.sign(b"text").unwrap());
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, made.public_der());
        let signature = hex::decode(signature).unwrap();
        key.verify(b"text", &signature).unwrap();
        assert!(key.verify(b"test", &signature).is_err());
        assert_eq!(made.fingerprint().len(), 32);
    }

    #[test]
    fn a_damaged_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        SigningKey::open_or_make(dir.path(), 7).unwrap();
        let path = dir.path().join("cloudtrail.key");
        let whole = std::fs::read_to_string(&path).unwrap();
        for text in
            ["", "{}", &whole.replace("\"format\":1", "\"format\":2"), &whole.replace("MII", "MIJ")]
        {
            std::fs::write(&path, text).unwrap();
            assert!(SigningKey::open_or_make(dir.path(), 7).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), *text);
        }
    }
}
