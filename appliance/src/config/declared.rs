//! What the operator declared, for the log: every key that is not at its default.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::key::{KEYS, Kind};
use super::raw::{Origin, Written};

/// Digits of a secret's fingerprint: enough to see a change, useless for anything else.
const FINGERPRINT_DIGITS: usize = 16;

/// Values by key.
///
/// A secret is kept as its SHA-256 and leaves only under a key that is secret itself, because a weak secret can be
/// guessed from a plain digest.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Declared {
    plain: BTreeMap<String, String>,
    secret: BTreeMap<String, [u8; 32]>,
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Declared {
    pub(super) fn of(written: &Written) -> Self {
        let mut declared = Self::default();
        for key in KEYS.iter().filter(|key| key.name != "siem") {
            let (values, origin) = written.list(key.name);
            if *origin != Origin::Default && values.iter().any(|value| !value.is_empty()) {
                declared.put(key.name.to_owned(), &values.join(" "), key.kind == Kind::Secret);
            }
        }
        for block in &written.siem {
            for (member, text) in block.members() {
                let is_secret = matches!(member, "secret" | "token");
                declared.put(format!("siem.{}.{member}", block.name()), text, is_secret);
            }
        }
        declared
    }

    fn put(&mut self, name: String, text: &str, is_secret: bool) {
        if is_secret {
            self.secret.insert(name, Sha256::digest(text).into());
        } else {
            self.plain.insert(name, text.to_owned());
        }
    }

    /// Everything as text; a secret as its fingerprint under `key`, which must not be known to readers.
    #[must_use]
    pub fn shown(&self, key: &[u8; 32]) -> BTreeMap<String, String> {
        let fingerprint = |digest: &[u8; 32]| {
            let mut block = [0; 64];
            block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
            let mut mac = Hmac::<Sha256>::new(&block.into());
            mac.update(b"configuration\0");
            mac.update(digest);
            let mut digits = hex::encode(mac.finalize().into_bytes());
            digits.truncate(FINGERPRINT_DIGITS);
            format!("(secret {digits})")
        };
        let secrets = self.secret.iter().map(|(name, digest)| (name.clone(), fingerprint(digest)));
        self.plain.iter().map(|(name, text)| (name.clone(), text.clone())).chain(secrets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve_text;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn what_differs_from_the_default_is_there_and_no_secret() {
        let text = "region = \"eu-1\"\n[kms]\nsecret_key = \"k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n\
            [[siem]]\nname = \"soc\"\nkind = \"webhook\"\nurl = \"https://s.example.com/a\"\nsecret = \"hush\"\n";
        let declared = resolve_text(text.as_bytes()).unwrap().declared;
        let shown = declared.shown(&SEED);
        let names: Vec<_> = shown.keys().map(String::as_str).collect();
        let siem = ["siem.soc.kind", "siem.soc.name", "siem.soc.secret", "siem.soc.url"];
        assert_eq!(names, [&["kms.secret_key", "region"][..], &siem].concat());
        assert_eq!(shown["region"], "eu-1");
        assert!(shown["siem.soc.secret"].starts_with("(secret "), "{shown:?}");
        assert!(!format!("{declared:?}{shown:?}").contains("hush"));
        // Another secret has another fingerprint, and so has the same one elsewhere.
        let other = resolve_text(text.replace("hush", "hash").as_bytes()).unwrap().declared;
        assert_ne!(other.shown(&SEED)["siem.soc.secret"], shown["siem.soc.secret"]);
        assert_ne!(declared.shown(&[8; 32])["siem.soc.secret"], shown["siem.soc.secret"]);
        assert!(resolve_text(b"").unwrap().declared.shown(&SEED).is_empty());
    }
}
