//! The embedded key service: named, versioned keys under one root key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use storage::{DataKey, GeneratedKey, KeyContext, KeyError, KeyService, SealedKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Keys;
use super::keystore::{Key, Keystore, KeystoreError, Version};
use super::seal::{self, Material};

/// The name of the key that a new keystore begins with.
pub const DEFAULT_KEY: &str = "appliance-default";

/// Most named keys in one keystore, and most versions of one key.
const KEYS_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 80;

/// Keys that live in this process and in one file.
///
/// Ownership: `ring` is what calls read, without waiting; `writing` orders the changes, each of which is on disk
/// before it is in `ring`.
pub struct Local {
    file: PathBuf,
    root: Material,
    ring: ArcSwap<Ring>,
    writing: Mutex<()>,
}

/// A key as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub name: String,
    /// Zero for the key that is as old as the keystore.
    pub created_us: u64,
    pub versions: u64,
    /// New objects without a key of their own are sealed under it.
    pub is_default: bool,
}

/// A key that the operator brings along, in the notation of `MINIO_KMS_SECRET_KEY`.
pub struct Imported {
    name: String,
    material: Material,
}

impl Imported {
    /// Parses `NAME:BASE64` with 32 bytes behind the colon.
    ///
    /// # Errors
    /// [`KeystoreError::InvalidImport`] and [`KeystoreError::InvalidName`]; neither repeats the key.
    pub fn parse(text: &str) -> Result<Self, KeystoreError> {
        let (name, encoded) = text.trim().split_once(':').ok_or(KeystoreError::InvalidImport)?;
        let name = parse_name(name)?;
        let bytes = STANDARD.decode(encoded).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| KeystoreError::InvalidImport)?;
        let material = bytes
            .as_slice()
            .try_into()
            .map(Material::new)
            .map_err(|_| KeystoreError::InvalidImport)?;
        Ok(Self { name, material })
    }
}

/// The file with every version opened.
#[derive(Default)]
struct Ring {
    default: String,
    keys: BTreeMap<String, Opened>,
}

struct Opened {
    created_us: u64,
    /// Version 1 first; never empty.
    versions: Vec<Material>,
}

impl Local {
    /// Opens the keystore of a configuration directory, `keys/kms.json`, or makes one with [`DEFAULT_KEY`] if the
    /// file is not there.
    ///
    /// # Errors
    /// Another root key's file, a newer format, damage, or the file system.
    pub fn open(config_dir: &Path, root_key: &[u8; 32]) -> Result<Self, KeystoreError> {
        let file = config_dir.join("keys/kms.json");
        let root = Material::new(*root_key);
        let keystore = match Keystore::read(&file, &root)? {
            Some(keystore) => keystore,
            None => {
                let keystore = Keystore::new(&root, DEFAULT_KEY);
                keystore.write(&file)?;
                keystore
            }
        };
        let ring = open_ring(&keystore, &root)
            .map_err(|what| KeystoreError::Damaged { path: file.clone(), what })?;
        Ok(Self { file, root, ring: ArcSwap::from_pointee(ring), writing: Mutex::new(()) })
    }

    /// All keys by name.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyInfo> {
        let ring = self.ring.load();
        ring.keys
            .iter()
            .map(|(name, key)| KeyInfo {
                name: name.clone(),
                created_us: key.created_us,
                versions: key.versions.len() as u64,
                is_default: *name == ring.default,
            })
            .collect()
    }

    /// Adds a key; durable when this returns. Blocks on the file system.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`], [`KeystoreError::InvalidName`], [`KeystoreError::Full`], or the file system.
    pub fn create(&self, name: &str, now_us: u64) -> Result<(), KeystoreError> {
        let name = parse_name(name)?;
        self.change(|keystore| {
            if keystore.keys.contains_key(&name) {
                return Err(KeystoreError::Exists(name));
            }
            let key = Key { created_us: now_us, versions: vec![Version::Derived] };
            keystore.keys.insert(name, key);
            Ok(())
        })
    }

    /// Adds a version, under which everything is sealed from now on; older versions still open what they sealed.
    /// Blocks on the file system. The answer is the new version.
    ///
    /// # Errors
    /// [`KeystoreError::NotFound`], [`KeystoreError::Full`], or the file system.
    pub fn rotate(&self, name: &str) -> Result<u64, KeystoreError> {
        let mut number = 0;
        self.change(|keystore| {
            let key = keystore.keys.get_mut(name);
            let key = key.ok_or_else(|| KeystoreError::NotFound(name.into()))?;
            key.versions.push(Version::Derived);
            number = key.versions.len() as u64;
            Ok(())
        })?;
        Ok(number)
    }

    /// Takes over a key of the operator and makes it the default. Importing the same key again changes nothing.
    /// Blocks on the file system.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] if the name belongs to other key material.
    pub fn import(&self, imported: &Imported, now_us: u64) -> Result<(), KeystoreError> {
        let name = &imported.name;
        if let Some(known) = self.ring.load().keys.get(name) {
            let same =
                known.versions.iter().any(|m| bool::from(m.ct_eq(imported.material.as_slice())));
            if !same {
                return Err(KeystoreError::Exists(name.clone()));
            }
        }
        self.change(|keystore| {
            if !keystore.keys.contains_key(name) {
                let version = Version::import(&self.root, name, 1, &imported.material)
                    .ok_or(KeystoreError::Random)?;
                let key = Key { created_us: now_us, versions: vec![version] };
                keystore.keys.insert(name.clone(), key);
            }
            keystore.default.clone_from(name);
            Ok(())
        })
    }

    /// Changes the file, then what calls see.
    fn change(
        &self,
        edit: impl FnOnce(&mut Keystore) -> Result<(), KeystoreError>,
    ) -> Result<(), KeystoreError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let damaged =
            |what: &str| KeystoreError::Damaged { path: self.file.clone(), what: what.to_owned() };
        let mut keystore =
            Keystore::read(&self.file, &self.root)?.ok_or_else(|| damaged("it is gone"))?;
        edit(&mut keystore)?;
        let versions_most = keystore.keys.values().map(|key| key.versions.len()).max();
        if keystore.keys.len().max(versions_most.unwrap_or(0)) > KEYS_MAX {
            return Err(KeystoreError::Full(KEYS_MAX));
        }
        let ring = open_ring(&keystore, &self.root).map_err(|what| damaged(&what))?;
        keystore.write(&self.file)?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    fn generate_now(
        &self,
        key_id: Option<&str>,
        context: &KeyContext,
    ) -> Result<GeneratedKey, KeyError> {
        let ring = self.ring.load();
        let key_id = key_id.unwrap_or(&ring.default);
        let missing = || KeyError::NotFound { key_id: key_id.to_owned() };
        let versions = &ring.keys.get(key_id).ok_or_else(missing)?.versions;
        let material = versions.last().ok_or_else(missing)?;
        let version = versions.len() as u64;
        seal::generate(material, key_id, version, context)
    }

    fn unseal_now(&self, sealed: &SealedKey, context: &KeyContext) -> Result<DataKey, KeyError> {
        let ring = self.ring.load();
        let missing = || KeyError::NotFound { key_id: sealed.key_id.clone() };
        let versions = &ring.keys.get(&sealed.key_id).ok_or_else(missing)?.versions;
        let index = sealed.version.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let material = index.and_then(|index| versions.get(index)).ok_or_else(missing)?;
        seal::unseal(material, sealed, context).map_err(|_| KeyError::Invalid)
    }
}

impl Keys for Local {
    fn default_key(&self) -> String {
        self.ring.load().default.clone()
    }
}

impl KeyService for Local {
    fn generate<'a>(
        &'a self,
        key_id: Option<&'a str>,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        Box::pin(async move { self.generate_now(key_id, context) })
    }

    fn unseal<'a>(
        &'a self,
        sealed: &'a SealedKey,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        Box::pin(async move { self.unseal_now(sealed, context) })
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Key names reach records, URLs and conditions, so they are plain.
fn parse_name(name: &str) -> Result<String, KeystoreError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err(KeystoreError::InvalidName(name.chars().take(NAME_BYTES_MAX).collect()))
    }
}

/// Opens every version; the error names the key that does not open.
fn open_ring(keystore: &Keystore, root: &Material) -> Result<Ring, String> {
    let mut ring = Ring { default: keystore.default.clone(), keys: BTreeMap::new() };
    for (name, key) in &keystore.keys {
        let versions: Option<Vec<_>> = (1..)
            .zip(&key.versions)
            .map(|(number, version)| version.material(root, name, number))
            .collect();
        let versions = versions
            .filter(|versions| !versions.is_empty())
            .ok_or_else(|| format!("key `{name}` does not open"))?;
        ring.keys.insert(name.clone(), Opened { created_us: key.created_us, versions });
    }
    Ok(ring)
}
