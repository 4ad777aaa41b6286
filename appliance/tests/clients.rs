//! Unmodified S3 clients over TLS, each against a server of its own; what they do is in `fixtures/clients`.

use std::path::Path;

use anyhow::Context as _;
use fixtures::clients::{self, Access};
use fixtures::process::Server;

#[path = "clients/telemetry.rs"]
mod telemetry;

/// Runs one driver as root on a fresh server.
fn drive(driver: &str) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(Path::new(env!("CARGO_BIN_EXE_appliance")), scratch.path())?;
    let said = clients::drive(driver, &Access::root(&server)?, scratch.path())
        .with_context(|| format!("server log:\n{}", server.log()))?;
    println!("{said}");
    let (_, status) = server.stop()?;
    anyhow::ensure!(status.success(), "the server ended with {status}");
    Ok(())
}

#[test]
fn boto3_objects() -> anyhow::Result<()> {
    drive("boto3_objects.py")
}

#[test]
fn boto3_listing() -> anyhow::Result<()> {
    drive("boto3_listing.py")
}

#[test]
fn boto3_multipart() -> anyhow::Result<()> {
    drive("boto3_multipart.py")
}

#[test]
fn boto3_checksums() -> anyhow::Result<()> {
    drive("boto3_checksums.py")
}

#[test]
fn boto3_access() -> anyhow::Result<()> {
    drive("boto3_access.py")
}

/// The key of the driver is used, recorded by a name, and nowhere to be found afterwards.
#[test]
fn boto3_encryption() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(Path::new(env!("CARGO_BIN_EXE_appliance")), scratch.path())?;
    clients::drive("boto3_encryption.py", &Access::root(&server)?, scratch.path())
        .with_context(|| format!("server log:\n{}", server.log()))?;
    let data = server.launch().data_dir();
    let (_, status) = server.stop()?;
    anyhow::ensure!(status.success(), "the server ended with {status}");
    let key: Vec<u8> = (0..32).collect();
    let text = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let (mut uses, mut bound) = (0, false);
    for file in fixtures::data::files_below(scratch.path())? {
        let bytes = std::fs::read(&file)?;
        let holds = |needle: &[u8]| memchr::memmem::find(&bytes, needle).is_some();
        anyhow::ensure!(!holds(&key) && !holds(text), "{} holds the key", file.display());
        if file.starts_with(data.join("audit/seg")) {
            let record = b"\"key\":\"customer-provided\"";
            bound |= holds(b"client:team");
            uses += memchr::memmem::find_iter(&bytes, record).count();
        }
    }
    anyhow::ensure!(bound, "the encryption context of the client is in no record");
    anyhow::ensure!(uses > 10, "only {uses} uses of the key are recorded");
    Ok(())
}

#[test]
fn aws_cli() -> anyhow::Result<()> {
    drive("aws_cli.py")
}

#[test]
fn minio_sdk() -> anyhow::Result<()> {
    drive("minio_sdk.py")
}

#[test]
fn minio_admin() -> anyhow::Result<()> {
    drive("minio_admin.py")
}

#[test]
fn rclone_cli() -> anyhow::Result<()> {
    drive("rclone_cli.py")
}

#[test]
fn s3cmd_cli() -> anyhow::Result<()> {
    drive("s3cmd_cli.py")
}
