//! aws-sdk-s3 against the real binary, over TLS with the generated CA.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use fixtures::clients::{self, Access};
use fixtures::generate;
use fixtures::process::Server;

const BUCKET: &str = "rust";
const MIB: usize = 1 << 20;
const PART: usize = 8 * MIB;

/// One server for the whole story: each step is a behaviour, each has its name in its error.
#[tokio::test(flavor = "multi_thread")]
async fn aws_sdk_s3() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let access = Access::root(&server)?;
    let client = Client::from_conf(config(&access)?.build());
    client.create_bucket().bucket(BUCKET).send().await.context("create bucket")?;
    round_trips(&client).await.context("round trips")?;
    odd_keys(&client).await.context("odd keys")?;
    parts(&client).await.context("multipart")?;
    checksums(&client).await.context("checksums")?;
    presigned(&client, &access, scratch.path()).await.context("presigned")?;
    not_let_in(&access).await.context("refusals")?;
    let (_, status) = server.stop()?;
    ensure!(status.success(), "the server ended with {status}");
    Ok(())
}

fn config(access: &Access) -> anyhow::Result<aws_sdk_s3::config::Builder> {
    let ca = std::fs::read(access.ca.as_deref().context("no CA")?)?;
    let trust = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(ca))
        .build()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(trust)
        .build_https();
    Ok(Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(&access.endpoint)
        .credentials_provider(credentials(
            &access.credentials.access_key,
            &access.credentials.secret_key,
        ))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(http))
}

fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::new(access_key, secret_key, None, None, "test")
}

async fn round_trips(client: &Client) -> anyhow::Result<()> {
    for size in [0, 1, 65_536, 5 * MIB - 1] {
        let body = generate::body(size as u64, size);
        let key = format!("size/{size}");
        put(client, &key, body.clone()).await?;
        ensure!(get(client, &key, None).await? == body, "{size} bytes");
        if size > 1000 {
            ensure!(get(client, &key, Some("bytes=10-19")).await? == body[10..20], "range");
        }
    }
    Ok(())
}

async fn odd_keys(client: &Client) -> anyhow::Result<()> {
    for key in generate::odd_keys() {
        put(client, &key, key.clone().into_bytes()).await.with_context(|| key.clone())?;
        ensure!(get(client, &key, None).await? == key.as_bytes(), "body of {key}");
    }
    let listing = client.list_objects_v2().bucket(BUCKET).send().await?;
    let found: Vec<&str> = listing.contents().iter().filter_map(|entry| entry.key()).collect();
    for key in generate::odd_keys() {
        ensure!(found.contains(&key.as_str()), "`{key}` is not listed");
    }
    Ok(())
}

async fn parts(client: &Client) -> anyhow::Result<()> {
    let body = generate::body(64, 64 * MIB);
    let upload = client.create_multipart_upload().bucket(BUCKET).key("large").send().await?;
    let upload = upload.upload_id().context("no upload id")?;
    let mut done = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(body.chunks(PART)) {
        let answer = client
            .upload_part()
            .bucket(BUCKET)
            .key("large")
            .upload_id(upload)
            .part_number(number)
            .body(ByteStream::from(part.to_vec()))
            .send()
            .await?;
        done = done.parts(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag().map(str::to_owned))
                .set_checksum_crc32(answer.checksum_crc32().map(str::to_owned))
                .build(),
        );
    }
    client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("large")
        .upload_id(upload)
        .multipart_upload(done.build())
        .send()
        .await?;
    ensure!(get(client, "large", None).await? == body, "body");
    let across = format!("bytes={}-{}", PART - 5, PART + 4);
    ensure!(get(client, "large", Some(&across)).await? == body[PART - 5..PART + 5], "range");
    Ok(())
}

async fn checksums(client: &Client) -> anyhow::Result<()> {
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let body = generate::body(3, 100_000);
        client
            .put_object()
            .bucket(BUCKET)
            .key("checked")
            .checksum_algorithm(algorithm.clone())
            .body(ByteStream::from(body.clone()))
            .send()
            .await
            .with_context(|| format!("{algorithm}"))?;
        let answer = client
            .get_object()
            .bucket(BUCKET)
            .key("checked")
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await?;
        // The SDK compares the checksum of what it reads with the one in the answer.
        ensure!(answer.body.collect().await?.to_vec() == body, "{algorithm}");
    }
    Ok(())
}

/// The URLs are used through another client: the SDK's own transport has no part in them.
async fn presigned(client: &Client, access: &Access, scratch: &Path) -> anyhow::Result<()> {
    let get = client.get_object().bucket(BUCKET).key("size/1");
    let lasting = PresigningConfig::expires_in(Duration::from_secs(600))?;
    let url = get.clone().presigned(lasting.clone()).await?;
    ensure!(
        clients::fetch(url.uri(), None, access, scratch)? == (200, generate::body(1, 1)),
        "presigned GET"
    );
    let put = client.put_object().bucket(BUCKET).key("by url").presigned(lasting).await?;
    ensure!(clients::fetch(put.uri(), Some("by url"), access, scratch)?.0 == 200, "presigned PUT");
    ensure!(self::get(client, "by url", None).await? == b"by url", "what the URL wrote");
    let past = PresigningConfig::builder()
        .start_time(SystemTime::now() - Duration::from_secs(7200))
        .expires_in(Duration::from_secs(60))
        .build()?;
    let url = get.presigned(past).await?;
    let (status, answer) = clients::fetch(url.uri(), None, access, scratch)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(status == 403 && answer.contains("<Code>AccessDenied</Code>"), "expired: {answer}");
    Ok(())
}

async fn not_let_in(access: &Access) -> anyhow::Result<()> {
    let right = &access.credentials;
    let wrong = config(access)?.credentials_provider(credentials(&right.access_key, "wrong"));
    let unknown =
        config(access)?.credentials_provider(credentials("NOBODYKNOWS", &right.secret_key));
    let late = SystemTime::now() + Duration::from_secs(20 * 60);
    let skewed = config(access)?.time_source(StaticTimeSource::new(late));
    for (config, code) in [
        (wrong, "SignatureDoesNotMatch"),
        (unknown, "InvalidAccessKeyId"),
        (skewed, "RequestTimeTooSkewed"),
    ] {
        let client = Client::from_conf(config.build());
        let got = code_of(client.get_object().bucket(BUCKET).key("size/1").send().await);
        ensure!(got.as_deref() == Some(code), "{got:?} instead of {code}");
    }
    let client = Client::from_conf(config(access)?.build());
    let got = code_of(client.get_object().bucket(BUCKET).key("absent").send().await);
    ensure!(got.as_deref() == Some("NoSuchKey"), "{got:?} instead of NoSuchKey");
    Ok(())
}

fn code_of<T, E: ProvideErrorMetadata + Error, R>(
    result: Result<T, SdkError<E, R>>,
) -> Option<String> {
    result.err()?.as_service_error()?.code().map(str::to_owned)
}

async fn put(client: &Client, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
    client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body)).send().await?;
    Ok(())
}

async fn get(client: &Client, key: &str, range: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let answer = client
        .get_object()
        .bucket(BUCKET)
        .key(key)
        .set_range(range.map(str::to_owned))
        .send()
        .await?;
    Ok(answer.body.collect().await?.to_vec())
}
