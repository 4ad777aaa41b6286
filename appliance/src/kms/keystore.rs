//! The keystore file: which named keys exist, in which versions.
//!
//! A derived version holds no secret here: its material is HKDF of the root key, its name and its number. So this file
//! can be lost and its keys made again under the same names; only the root key must be backed up. An imported version
//! keeps its material sealed under the root key. The member `check` tells a wrong root key from a damaged file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::seal::{self, Material};

/// The newest format of the file that this version reads and the one that it writes.
const FORMAT: u32 = 1;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Why the keystore cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    #[error("reading or writing keystore `{}`", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("keystore `{}` is damaged: {what}", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("keystore `{}` has format {found}, this version knows {FORMAT}", .path.display())]
    NewerFormat { path: PathBuf, found: u32 },
    #[error("keystore `{}` belongs to another root key", .path.display())]
    ForeignRootKey { path: PathBuf },
    #[error("key `{0}` exists")]
    Exists(String),
    #[error("no key `{0}`")]
    NotFound(String),
    #[error("invalid key name `{0}`: 1 to 80 letters, digits, `-` or `_`")]
    InvalidName(String),
    #[error("the keystore holds {0} keys or versions, the most it keeps")]
    Full(usize),
    #[error("an imported key is written as `NAME:` and 32 bytes in base64")]
    InvalidImport,
    #[error("no randomness from the operating system")]
    Random,
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keystore {
    format: u32,
    check: String,
    pub(super) default: String,
    pub(super) keys: BTreeMap<String, Key>,
}

/// One named key; version 1 is the first element.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) created_us: u64,
    pub(super) versions: Vec<Version>,
}

/// Where the material of a version comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    Derived,
    /// Base64 of the material sealed under the root key.
    Imported(String),
}

impl Keystore {
    /// A keystore with one derived key, which is the default.
    pub(super) fn new(root: &Material, default: &str) -> Self {
        let key = Key { created_us: 0, versions: vec![Version::Derived] };
        Self {
            format: FORMAT,
            check: check(root),
            default: default.into(),
            keys: BTreeMap::from([(default.into(), key)]),
        }
    }

    /// Reads the file; `None` if there is none.
    pub(super) fn read(path: &Path, root: &Material) -> Result<Option<Self>, KeystoreError> {
        let io = |source| KeystoreError::Io { path: path.into(), source };
        let damaged = |what: String| KeystoreError::Damaged { path: path.into(), what };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
            Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(damaged("too large".into())),
            Ok(_) => {}
        }
        let text = fs::read(path).map_err(io)?;
        let head: Head = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if head.format > FORMAT {
            return Err(KeystoreError::NewerFormat { path: path.into(), found: head.format });
        }
        let store: Self = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if store.check != check(root) {
            return Err(KeystoreError::ForeignRootKey { path: path.into() });
        }
        if !store.keys.contains_key(&store.default) {
            return Err(damaged("the default key is not in it".into()));
        }
        Ok(Some(store))
    }

    /// Replaces the file; the new one survives power loss when this returns.
    pub(super) fn write(&self, path: &Path) -> Result<(), KeystoreError> {
        let io = |source| KeystoreError::Io { path: path.into(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|e| io(e.into()))?;
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
        // ORDER: contents durable, then the name, then the directory that holds the name. The temporary file is
        // created with mode 0600.
        file.write_all(&text).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        fs::File::open(directory).and_then(|dir| dir.sync_all()).map_err(io)
    }
}

impl Version {
    /// Seals imported material under the root key.
    pub(super) fn import(
        root: &Material,
        name: &str,
        number: u64,
        material: &Material,
    ) -> Option<Self> {
        let mut random = [0; 28];
        getrandom::fill(&mut random).ok()?;
        let sealed = seal::seal(root, &imported_aad(name, number), material.as_slice(), &random)?;
        Some(Self::Imported(STANDARD.encode(sealed)))
    }

    /// The material of this version; `None` if it does not open.
    pub(super) fn material(&self, root: &Material, name: &str, number: u64) -> Option<Material> {
        match self {
            Self::Derived => {
                seal::derive(root, &[b"appliance key 1", name.as_bytes(), &number.to_be_bytes()])
            }
            Self::Imported(text) => {
                let sealed = STANDARD.decode(text).ok()?;
                let plain = seal::open(root, &imported_aad(name, number), &sealed).ok()?;
                Some(Material::new(plain.as_slice().try_into().ok()?))
            }
        }
    }
}

/// Read before the rest, so that a newer file is called newer and not damaged.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn imported_aad(name: &str, number: u64) -> Vec<u8> {
    format!("appliance imported key 1\0{name}\0{number}").into_bytes()
}

/// Half of a derived value: enough to tell root keys apart, of no use to find one.
fn check(root: &Material) -> String {
    seal::derive(root, &[b"appliance root key check 1"])
        .and_then(|value| value.first_chunk::<16>().map(hex::encode))
        .unwrap_or_default()
}
