//! Standard Webhooks signatures: HMAC-SHA256 (`v1`) and Ed25519 (`v1a`) over `id.timestamp.body`.
//!
//! # Source
//! Standard Webhooks specification, "Signature scheme".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::siem::destination::Secret;

/// Secrets in use at the same time: an old and a new one, and one to spare.
const KEYS_MAX: usize = 3;

/// Signs what leaves.
pub(super) struct Signatures(Vec<Key>);

enum Key {
    Hmac(Zeroizing<Vec<u8>>),
    Ed25519(Box<SigningKey>),
}

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signatures({})", self.0.len())
    }
}

/// A secret that cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a signing secret is `whsec_` and the base64 of 24 to 64 bytes, or `whsk_` and the base64 of an \
     Ed25519 key of 32 or 64 bytes; at most {KEYS_MAX} of them, separated by blanks"
)]
pub struct SecretError;

impl Signatures {
    pub(super) fn parse(secret: Option<&Secret>) -> Result<Self, SecretError> {
        let words = secret.map_or("", Secret::expose).split_whitespace();
        let keys: Vec<Key> = words.map(Key::parse).collect::<Option<_>>().ok_or(SecretError)?;
        if keys.len() > KEYS_MAX || (secret.is_some() && keys.is_empty()) {
            return Err(SecretError);
        }
        Ok(Self(keys))
    }

    /// The header's value; `None` without a secret.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
        let signatures: Vec<_> = self.0.iter().map(|key| key.sign(id, timestamp, body)).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

impl Key {
    fn parse(word: &str) -> Option<Self> {
        if let Some(encoded) = word.strip_prefix("whsec_") {
            let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
            return (24..=64).contains(&bytes.len()).then_some(Self::Hmac(bytes));
        }
        let bytes = Zeroizing::new(STANDARD.decode(word.strip_prefix("whsk_")?).ok()?);
        let seed = matches!(bytes.len(), 32 | 64).then(|| bytes.first_chunk::<32>())??;
        Some(Self::Ed25519(Box::new(SigningKey::from_bytes(seed))))
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        match self {
            Self::Hmac(secret) => {
                // HMAC takes keys of any length.
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
                    return String::new();
                };
                for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                    mac.update(part);
                }
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Self::Ed25519(key) => {
                let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
                format!("v1a,{}", STANDARD.encode(key.sign(&message).to_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier as _};

    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn hmac_matches_the_published_example() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = Signatures::parse(Some(&secret)).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_public_key_verifies_and_rotation_signs_twice() {
        let seed = STANDARD.encode([7_u8; 32]);
        let hmac = STANDARD.encode([1_u8; 24]);
        let secret = Secret::new(format!("whsk_{seed} whsec_{hmac}"));
        let signed = Signatures::parse(Some(&secret)).unwrap().sign("id", "1", b"body").unwrap();
        let (first, second) = signed.split_once(' ').unwrap();
        assert!(second.starts_with("v1,"));
        let bytes = STANDARD.decode(first.strip_prefix("v1a,").unwrap()).unwrap();
        let signature = Signature::from_slice(&bytes).unwrap();
        let public = SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert!(public.verify(b"id.1.body", &signature).is_ok());
        assert!(public.verify(b"id.2.body", &signature).is_err());
    }

    #[test]
    fn bad_secrets_are_refused() {
        for text in [
            "",
            "secret",
            "whsec_",
            "whsec_AAAA",
            "whsk_AAAA",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw x",
        ] {
            assert_eq!(
                Signatures::parse(Some(&Secret::new(text))).err(),
                Some(SecretError),
                "{text}"
            );
        }
        assert_eq!(Signatures::parse(None).unwrap().sign("i", "t", b"b"), None);
    }
}
