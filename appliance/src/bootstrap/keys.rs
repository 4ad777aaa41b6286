//! The three keys of a deployment, one file each: `keys/audit.key`, `keys/kms.key`, `keys/row.key`.
//!
//! A key file is two lines: a title that says what it is, and 32 bytes in base64.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::deployment::Deployment;
use super::{BootstrapError, durable};

pub(super) type Key = Zeroizing<[u8; 32]>;

/// All keys of a deployment.
pub(super) struct Keys {
    /// Seed of the Ed25519 key that signs the audit log.
    pub(super) audit: Key,
    /// Root of the local key store.
    pub(super) kms: Key,
    /// Seals rows of metadata.
    pub(super) row: Key,
}

impl Keys {
    pub(super) fn fingerprints(&self) -> BTreeMap<String, String> {
        [("audit", &self.audit), ("kms", &self.kms), ("row", &self.row)]
            .into_iter()
            .map(|(name, key)| (name.to_owned(), fingerprint(name, key)))
            .collect()
    }
}

/// Opens the keys. Those of a committed deployment must be there and be its own; others are made.
pub(super) fn open(
    config_dir: &Path,
    committed: Option<&Deployment>,
) -> Result<Keys, BootstrapError> {
    let one = |name: &str| {
        let path = config_dir.join("keys").join(format!("{name}.key"));
        match committed {
            Some(deployment) => expect(&path, name, deployment),
            None => read_or_make(&path, name),
        }
    };
    Ok(Keys { audit: one("audit")?, kms: one("kms")?, row: one("row")? })
}

fn expect(path: &Path, name: &str, deployment: &Deployment) -> Result<Key, BootstrapError> {
    let key = read(path)?.ok_or_else(|| BootstrapError::KeyMissing {
        path: path.to_owned(),
        deployment: deployment.id.clone(),
    })?;
    match deployment.keys.get(name) {
        Some(known) if *known == fingerprint(name, &key) => Ok(key),
        _ => Err(BootstrapError::OtherDeployment {
            path: path.to_owned(),
            deployment: deployment.id.clone(),
        }),
    }
}

fn read_or_make(path: &Path, name: &str) -> Result<Key, BootstrapError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let mut key = Key::default();
    getrandom::fill(key.as_mut_slice()).map_err(BootstrapError::Entropy)?;
    let text = Zeroizing::new(format!(
        "appliance {name} key, 32 bytes in base64. Back this file up; never share it.\n{}\n",
        STANDARD.encode(key.as_slice())
    ));
    durable::write_if_missing(path, text.as_bytes(), durable::Access::Private)?;
    // Pair assertion: what the disk gives back is what will be used from now on.
    read(path)?.ok_or_else(|| damaged(path, "it vanished after it was written"))
}

fn read(path: &Path) -> Result<Option<Key>, BootstrapError> {
    let Some(bytes) = durable::read_secret(path)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged(path, "not text"))?;
    let line = text.lines().nth(1).ok_or_else(|| damaged(path, "the second line is missing"))?;
    let decoded = Zeroizing::new(
        STANDARD.decode(line.trim()).map_err(|_| damaged(path, "the second line is not base64"))?,
    );
    let mut key = Key::default();
    if decoded.len() != key.len() {
        return Err(damaged(path, "the key does not have 32 bytes"));
    }
    key.copy_from_slice(&decoded);
    Ok(Some(key))
}

fn damaged(path: &Path, problem: &str) -> BootstrapError {
    BootstrapError::Damaged { path: PathBuf::from(path), problem: problem.into() }
}

/// Names a key without telling it: the key is 256 random bits, so its hash gives nothing to guess from.
fn fingerprint(name: &str, key: &Key) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("appliance key fingerprint {name}\n"));
    hash.update(key.as_slice());
    hex::encode(hash.finalize()).chars().take(32).collect()
}
