//! Derived signing keys, remembered: four HMACs saved per request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::generate_signing_key;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::credential::{Credential, SecretKey};

/// Keys of one generation at most; two generations are kept.
const GENERATION_MAX: usize = 2048;

/// The key that signs for one credential on one day.
#[derive(Clone)]
pub(super) struct SigningKey([u8; 32]);

impl SigningKey {
    pub(super) fn derive(secret: &SecretKey, credential: &Credential<'_>, unix_s: u64) -> Self {
        // The date of the scope is the date of this moment: `scope::check` has compared them.
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s);
        let derived =
            generate_signing_key(secret.expose(), moment, credential.region, credential.service);
        let mut key = [0; 32];
        key.iter_mut().zip(derived.as_ref()).for_each(|(to, from)| *to = *from);
        Self(key)
    }
}

impl AsRef<[u8]> for SigningKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey(..)")
    }
}

/// A bounded memory of signing keys. Owned by the verifier; every access holds the lock for one lookup.
///
/// Entries come in only after their signature verified, so a stranger cannot push anybody out. An entry remembers the
/// secret it was derived from and does not serve another one: a changed secret takes effect at once.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    secret: SecretKey,
    key: SigningKey,
}

impl Keys {
    pub(super) fn known(
        &self,
        credential: &Credential<'_>,
        secret: &SecretKey,
    ) -> Option<SigningKey> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match generations.young.get(credential.text) {
            Some(entry) => entry,
            None => {
                // Used in the last generation: it moves on to this one.
                let (text, entry) = generations.old.remove_entry(credential.text)?;
                generations.young.entry(text).or_insert(entry)
            }
        };
        let same = entry.secret.expose().as_bytes().ct_eq(secret.expose().as_bytes());
        bool::from(same).then(|| entry.key.clone())
    }

    pub(super) fn remember(&self, credential: &Credential<'_>, secret: SecretKey, key: SigningKey) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION_MAX {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(credential.text.to_owned(), Entry { secret, key });
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Place;
    use super::*;

    fn credential(text: &str) -> Credential<'_> {
        Credential::parse(text, Place::Header).unwrap()
    }

    #[test]
    fn a_changed_secret_is_not_served_from_memory() {
        let keys = Keys::default();
        let credential = credential("k/20130524/us-east-1/s3/aws4_request");
        let (old, new) = (SecretKey::new("old"), SecretKey::new("new"));
        keys.remember(
            &credential,
            old.clone(),
            SigningKey::derive(&old, &credential, 1_369_353_600),
        );
        assert!(keys.known(&credential, &old).is_some());
        assert!(keys.known(&credential, &new).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let keys = Keys::default();
        let secret = SecretKey::new("s");
        for index in 0..3 * GENERATION_MAX {
            let text = format!("k{index}/20130524/us-east-1/s3/aws4_request");
            keys.remember(&credential(&text), secret.clone(), SigningKey([0; 32]));
        }
        let generations = keys.0.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_MAX);
    }
}
