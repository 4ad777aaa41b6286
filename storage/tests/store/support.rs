//! What every test here needs: keys, bodies and scratch drives.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use storage::{
    BucketName, ByteRange, DataKey, Error, Facts, GeneratedKey, Headers, KeyContext, KeyError,
    KeyService, ObjectInfo, ObjectKey, OpenError, Put, SealedKey, Source, SourceError, Sse, Store,
    StoreConfig, WriteCondition,
};

pub const DEPLOYMENT: &str = "5f6d1c1e-3f0c-4f6e-9d6a-0d9a2f6f7a10";

/// Seals a data key by remembering it together with its context.
#[derive(Debug, Default)]
pub struct TestKeys {
    sealed: Mutex<Vec<(DataKey, KeyContext)>>,
}

impl KeyService for TestKeys {
    fn generate<'a>(
        &'a self,
        key_id: Option<&'a str>,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        async move {
            let mut bytes = [0u8; 32];
            getrandom::fill(&mut bytes).unwrap();
            let key = DataKey::new(bytes);
            let mut sealed = self.sealed.lock().unwrap();
            sealed.push((key.clone(), context.clone()));
            let blob = (sealed.len() as u64 - 1).to_be_bytes().to_vec();
            let key_id = key_id.unwrap_or("default").to_owned();
            Ok(GeneratedKey { key, sealed: SealedKey { key_id, version: 1, blob } })
        }
        .boxed()
    }

    fn unseal<'a>(
        &'a self,
        sealed: &'a SealedKey,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        async move {
            let number = u64::from_be_bytes(sealed.blob[..].try_into().unwrap());
            match self.sealed.lock().unwrap().get(number as usize) {
                Some((key, of)) if of == context => Ok(key.clone()),
                _ => Err(KeyError::Invalid),
            }
        }
        .boxed()
    }
}

/// A body in pieces.
#[derive(Debug)]
pub struct Body {
    pieces: VecDeque<Bytes>,
    etag: String,
    pub fails: bool,
}

impl Body {
    pub fn new(bytes: &[u8]) -> Self {
        let pieces = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
        Self { pieces, etag: etag(bytes), fails: false }
    }
}

/// An obvious stand-in for the protocol layer's digest.
pub fn etag(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte));
    format!("{sum:016x}-{}", bytes.len())
}

impl Source for Body {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        let next = match self.pieces.pop_front() {
            None if self.fails => Err(SourceError("cut".into())),
            piece => Ok(piece),
        };
        async move { next }.boxed()
    }

    fn facts(&mut self) -> Facts {
        Facts { etag: self.etag.clone(), checksum: None }
    }
}

/// Scratch drives and a store over them.
pub struct Bench {
    _scratch: tempfile::TempDir,
    pub drives: Vec<PathBuf>,
    pub keys: TestKeys,
}

impl Bench {
    pub fn new(drives: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let drives = (0..drives).map(|n| scratch.path().join(format!("drive{n}"))).collect();
        Self { _scratch: scratch, drives, keys: TestKeys::default() }
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            drives: self.drives.clone(),
            deployment: DEPLOYMENT.to_owned(),
            row_key: [42; 32].into(),
            parity: None,
        }
    }

    pub fn try_open(&self) -> Result<Store, OpenError> {
        Store::open(self.config())
    }

    pub fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    /// A copy of all drives as they are now: what a killed process leaves.
    pub fn snapshot(&self) -> Vec<PathBuf> {
        let copy = |drive: &PathBuf| {
            let to = drive.with_extension("image");
            copy_tree(drive, &to);
            to
        };
        self.drives.iter().map(copy).collect()
    }

    /// A store with the bucket `bucket`.
    pub async fn with_bucket(&self) -> Store {
        let store = self.open();
        store.create_bucket(&bucket(), "owner", 1).await.unwrap();
        store
    }

    pub async fn put(&self, store: &Store, name: &str, bytes: &[u8]) -> Result<ObjectInfo, Error> {
        store.put(&self.keys, put(name), &mut Body::new(bytes)).await
    }

    pub async fn get(&self, store: &Store, name: &str) -> Result<Vec<u8>, Error> {
        self.range(store, name, None).await
    }

    pub async fn range(
        &self,
        store: &Store,
        name: &str,
        range: Option<ByteRange>,
    ) -> Result<Vec<u8>, Error> {
        let found = store.get(&self.keys, &bucket(), &key(name), range).await?;
        collect(found.body).await
    }
}

pub async fn collect(body: storage::Body) -> Result<Vec<u8>, Error> {
    let pieces: Vec<Bytes> = body.try_collect().await?;
    Ok(pieces.concat())
}

pub fn bucket() -> BucketName {
    BucketName::parse("bucket").unwrap()
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

pub fn put(name: &str) -> Put {
    Put {
        bucket: bucket(),
        key: key(name),
        headers: Headers { content_type: Some("text/plain".into()), ..Headers::default() },
        tags: BTreeMap::new(),
        precondition: WriteCondition::None,
        sse: Sse::S3,
        authorised_by: "17".into(),
        at_us: 1_700_000_000_000_000,
        size_hint: None,
    }
}

/// Bytes that differ from place to place.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// All regular files below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
