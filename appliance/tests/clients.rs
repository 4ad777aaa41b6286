//! Unmodified S3 clients over TLS, each against a server of its own; what they do is in `fixtures/clients`.

use std::path::Path;

use anyhow::Context as _;
use fixtures::clients::{self, Access};
use fixtures::process::Server;

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
