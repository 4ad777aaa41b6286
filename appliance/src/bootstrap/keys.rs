//! The three keys of a deployment, one file each: `keys/audit.key`, `keys/kms.key`, `keys/row.key`; and the keys that came
//! after the log's first one, `keys/audit-<id>.key`. Which of those signs is the log's to say.
//!
//! A key file is two lines: a title that says what it is, and 32 bytes in base64.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use audit::note::Vkey;
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
    /// Seeds of the keys that came after the first one of the log.
    pub(super) audit_later: Vec<Key>,
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
    let (audit, kms, row) = (one("audit")?, one("kms")?, one("row")?);
    Ok(Keys { audit, kms, row, audit_later: audit_later(&config_dir.join("keys"))? })
}

fn audit_later(dir: &Path) -> Result<Vec<Key>, BootstrapError> {
    let io = |source| BootstrapError::Io { doing: "reading", path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_prefix("audit-").is_some_and(|name| name.ends_with(".key")) {
            paths.push(path);
        }
    }
    paths.sort();
    let seeds = paths.into_iter().map(|path| read(&path));
    seeds.filter_map(Result::transpose).collect()
}

/// Puts the secret of a key that is to sign the log beside the others, durable on return.
pub(super) fn store_audit(
    config_dir: &Path,
    vkey: &Vkey,
    seed: &Key,
) -> Result<(), BootstrapError> {
    let path = config_dir.join("keys").join(format!("audit-{}.key", vkey.id()));
    durable::write_if_missing(&path, text("audit", seed).as_bytes(), durable::Access::Private)?;
    match read(&path)? {
        Some(found) if found == *seed => Ok(()),
        _ => Err(damaged(&path, "the disk gives back another key")),
    }
}

fn text(name: &str, key: &Key) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "appliance {name} key, 32 bytes in base64. Back this file up; never share it.\n{}\n",
        STANDARD.encode(key.as_slice())
    ))
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
    durable::write_if_missing(path, text(name, &key).as_bytes(), durable::Access::Private)?;
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
