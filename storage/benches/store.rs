//! What storage costs: coding, encryption, durable commits, and whole objects over four local drives.
//!
//! `cargo bench -p storage` prints one line per figure. The disk decides whatever is durable, so the directories lie
//! beside the build's own output and a raw write + fdatasync loop runs first, as the anchor of what the disk gives.
//! All four drives are directories of that one disk: an object is written there twice over (2 data + 2 parity).
#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use storage::blobs::BlobId;
use storage::erasure::codec::Codec;
use storage::erasure::layout::{Geometry, STRIPE_BYTES};
use storage::erasure::stripe::{self, BlockName, HashKey};
use storage::sse::stream::{Backend, Opener, PartKey, Sealer};
use storage::{
    BucketName, DataKey, Facts, GeneratedKey, Headers, KeyContext, KeyError, KeyService,
    NULL_VERSION, ObjectKey, Put, SealedKey, Source, SourceError, Sse, Store, StoreConfig,
    WriteCondition,
};

const RUN: Duration = Duration::from_secs(4);
const SMALL: usize = 4 * 1024;
const LARGE: usize = 16 * 1024 * 1024;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    coding();
    for backend in [Backend::AwsLc, Backend::AesGcm] {
        encryption(backend);
    }
    disk(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(objects(dir.path()));
}

/// Runs `work`, which handles `bytes`, for a second and prints the rate.
fn throughput(name: &str, bytes: usize, mut work: impl FnMut()) {
    let started = Instant::now();
    let mut rounds = 0u32;
    while started.elapsed() < Duration::from_secs(1) {
        work();
        rounds += 1;
    }
    let rate = bytes as f64 * f64::from(rounds) / started.elapsed().as_secs_f64() / 1e9;
    println!("{name}: {rate:.2} GB/s");
}

fn coding() {
    for (data, parity) in [(2, 2), (4, 2), (8, 4)] {
        let codec = Codec::new(Geometry { data, parity }).unwrap();
        let hashes = HashKey::of_deployment("bench");
        let blob = BlobId([3; 16]);
        let text = Bytes::from(vec![7u8; STRIPE_BYTES as usize]);
        throughput(&format!("stripe {data}+{parity} encode, hashed"), text.len(), || {
            black_box(stripe::encode(&codec, &hashes, blob, 0, &text).unwrap());
        });
        let framed = stripe::encode(&codec, &hashes, blob, 0, &text).unwrap();
        let length = codec.geometry().block_bytes(STRIPE_BYTES);
        let read = |lost: usize| {
            let mut blocks: Vec<Option<Bytes>> = framed
                .iter()
                .zip(0u8..)
                .map(|(block, shard)| {
                    let name = BlockName { blob, shard, stripe: 0 };
                    let present = usize::from(shard) >= lost && usize::from(shard) < data + lost;
                    if present { hashes.verified(name, block, length) } else { None }
                })
                .collect();
            black_box(stripe::decode(&codec, &mut blocks, STRIPE_BYTES).unwrap());
        };
        throughput(&format!("stripe {data}+{parity} read, all there"), text.len(), || read(0));
        throughput(&format!("stripe {data}+{parity} read, {parity} lost"), text.len(), || {
            read(parity);
        });
    }
}

fn encryption(backend: Backend) {
    let context = KeyContext {
        bucket: BucketName::parse("bench").unwrap(),
        key: ObjectKey::parse("key").unwrap(),
        version: NULL_VERSION.to_owned(),
        client: [].into(),
    };
    let key = || PartKey::derive(backend, &DataKey::new([7; 32]), &[9; 16], 0, &context).unwrap();
    let text = vec![5u8; LARGE];
    let seal = || {
        let mut sealer = Sealer::new(key());
        sealer.push(&text).unwrap();
        sealer.finish().unwrap();
        let bytes = sealer.ready_bytes();
        sealer.take(bytes)
    };
    let sealed = seal();
    throughput(&format!("{backend:?} seal 16 MiB"), LARGE, || drop(black_box(seal())));
    throughput(&format!("{backend:?} open 16 MiB"), LARGE, || {
        let mut opener = Opener::new(key(), LARGE as u64, 0..LARGE as u64);
        black_box(opener.push(&sealed).unwrap());
    });
}

/// What one thread gets durable on this disk, 4 KiB at a time.
fn disk(dir: &Path) {
    let file = File::create(dir.join("anchor")).unwrap();
    file.write_all_at(&vec![0; 8 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let started = Instant::now();
    let mut writes = 0u64;
    while started.elapsed() < RUN {
        file.write_all_at(&[1; SMALL], writes % 2048 * SMALL as u64).unwrap();
        file.sync_data().unwrap();
        writes += 1;
    }
    println!("disk: {:.0} write + fdatasync/s", writes as f64 / RUN.as_secs_f64());
}

async fn objects(dir: &Path) {
    let store = Store::open(StoreConfig {
        drives: (1..=4).map(|number| dir.join(format!("drive{number}"))).collect(),
        deployment: "5f6d1c1e-3f0c-4f6e-9d6a-0d9a2f6f7a10".to_owned(),
        row_key: [42; 32].into(),
        parity: None,
    })
    .unwrap();
    let bucket = BucketName::parse("bench").unwrap();
    store.create_bucket(&bucket, "bench", 1).await.unwrap();
    for clients in [1, 16, 64] {
        let rows = |store: Store, client: usize, round: u64| async move {
            let value = Bytes::from_static(&[7; 256]);
            store.put_row("bench", &format!("{client}/{round}"), value).await.unwrap();
        };
        rate(&store, "row commit", clients, rows).await;
    }
    for (name, bytes, clients) in
        [("4 KiB", SMALL, [1, 16, 64].as_slice()), ("16 MiB", LARGE, &[1, 4])]
    {
        let body = Bytes::from(vec![9u8; bytes]);
        for &clients in clients {
            let (body, bucket) = (body.clone(), bucket.clone());
            let put = move |store: Store, client: usize, round: u64| {
                let put = request(&bucket, client, round, bytes);
                let mut source = Whole(Some(body.clone()));
                async move { drop(store.put(&Plain, put, &mut source).await.unwrap()) }
            };
            rate(&store, &format!("PUT {name}"), clients, put).await;
        }
        for &clients in clients {
            let bucket = bucket.clone();
            let get = move |store: Store, client: usize, round: u64| {
                let key = key_of(client, round, bytes);
                let bucket = bucket.clone();
                async move {
                    let object = store.get(&Plain, &bucket, &key, None).await.unwrap();
                    let read: usize = object
                        .body
                        .try_fold(0, async |sum, piece| Ok(sum + piece.len()))
                        .await
                        .unwrap();
                    assert_eq!(read, bytes);
                }
            };
            rate(&store, &format!("GET {name}"), clients, get).await;
        }
    }
    store.close();
}

/// Closed loop: each client starts its next call when the last one has ended.
async fn rate<F, W>(store: &Store, name: &str, clients: usize, work: F)
where
    F: Fn(Store, usize, u64) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (store, done, work) = (store.clone(), Arc::clone(&done), work.clone());
            tokio::spawn(async move {
                let mut round = 0;
                while started.elapsed() < RUN {
                    work(store.clone(), client, round).await;
                    done.fetch_add(1, Ordering::Relaxed);
                    round += 1;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    println!("{name}, {clients} clients: {rate:.0}/s");
}

/// Keys repeat after a while: the disk stays bounded, and reads find what writes left.
fn key_of(client: usize, round: u64, bytes: usize) -> ObjectKey {
    let kept = if bytes > SMALL { 2 } else { 64 };
    ObjectKey::parse(&format!("{bytes}/{}/{}", client, round % kept)).unwrap()
}

fn request(bucket: &BucketName, client: usize, round: u64, bytes: usize) -> Put {
    Put {
        bucket: bucket.clone(),
        key: key_of(client, round, bytes),
        headers: Headers::default(),
        tags: [].into(),
        precondition: WriteCondition::None,
        sse: Sse::S3,
        authorised_by: String::new(),
        at_us: 1,
        size_hint: Some(bytes as u64),
    }
}

/// A body of one piece.
struct Whole(Option<Bytes>);

impl Source for Whole {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        let piece = self.0.take();
        async move { Ok(piece) }.boxed()
    }

    fn facts(&mut self) -> Facts {
        Facts { etag: "bench".to_owned(), checksum: None }
    }
}

/// Keys that cost nothing: what a key service takes is not what is measured here.
struct Plain;

impl KeyService for Plain {
    fn generate<'a>(
        &'a self,
        _: Option<&'a str>,
        _: &'a KeyContext,
    ) -> BoxFuture<'a, Result<GeneratedKey, KeyError>> {
        let sealed = SealedKey { key_id: "plain".to_owned(), version: 1, blob: vec![7; 32] };
        async move { Ok(GeneratedKey { key: DataKey::new([7; 32]), sealed }) }.boxed()
    }

    fn unseal<'a>(
        &'a self,
        _: &'a SealedKey,
        _: &'a KeyContext,
    ) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        async move { Ok(DataKey::new([7; 32])) }.boxed()
    }
}
