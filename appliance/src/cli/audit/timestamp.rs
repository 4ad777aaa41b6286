//! `appliance audit timestamp`: has a time-stamp authority say when the log had its newest head.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use audit::Keyring;
use audit::note::Vkey;
use bytes::Bytes;
use clap::Args;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::place::Place;
use crate::cli::Exit;
use crate::cli::exit::failure;
use crate::siem::ClientTls;
use crate::timestamp::{self, Stamp, TimestampError};
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A reply with a chain of certificates has some 10 KB.
const REPLY_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit timestamp --tsa https://tsa.example.com/tsr\n  \
    appliance audit timestamp --request head.tsq     # carry it to an authority, then:\n  \
    appliance audit timestamp --response head.tsr\n\n\
    The reply is kept as tsr/SIZE.tsr in each copy of the log, beside tsr/SIZE.checkpoint, which it is over. Whether to \
    believe the authority is for you to say: openssl ts -verify -data SIZE.checkpoint -in SIZE.tsr -CAfile TSA-CA.pem\n\n\
    Exit codes: 0 stamped or asked, 2 usage, 8 the reply is about something else, 9 no answer.")]
pub(in crate::cli) struct Timestamp {
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    #[command(flatten)]
    way: Way,
    /// Certificates to trust for the connection to the authority; those of the system otherwise.
    #[arg(long, value_name = "FILE", requires = "tsa")]
    ca: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// How a reply comes here.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Way {
    /// Ask the authority at this address (RFC 3161 over HTTP).
    #[arg(long, value_name = "URL")]
    tsa: Option<Uri>,
    /// Write a request over the newest head, which is kept, for where there is no connection.
    #[arg(long, value_name = "FILE.tsq")]
    request: Option<PathBuf>,
    /// Take in the reply to such a request.
    #[arg(long, value_name = "FILE.tsr")]
    response: Option<PathBuf>,
}

impl Timestamp {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let dir = self.place.readable()?;
        let copies = self.place.copies()?;
        share(&copies);
        let stamped = self.stamp(&dir)?;
        share(&copies);
        Ok(stamped)
    }

    fn stamp(&self, dir: &Path) -> anyhow::Result<Exit> {
        if let Some(path) = &self.way.response {
            return self.take_in(dir, path);
        }
        let vkey = self.place.vkey(self.vkey.as_deref())?;
        let vkey = Vkey::parse(&vkey).context("reading the verifier key")?;
        let note =
            std::fs::read(dir.join("checkpoint")).context("reading the newest checkpoint")?;
        let head =
            Keyring::of_directory(&vkey, dir)?.head(&note).context("the newest checkpoint")?;
        let kept = timestamp::kept(dir).context("reading what is stamped")?;
        if kept.stamped.contains(&head.size) {
            // An earlier stamp says more than a later one.
            let note = timestamp::checkpoint(dir, head.size).context("reading what is stamped")?;
            let reply = timestamp::reply(dir, head.size).context("reading its time-stamp")?;
            let stamp = checked(&reply, &note, None)?;
            return self.say(dir, head.size, &stamp);
        }
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let request = timestamp::request(&note, nonce)?;
        let Some(tsa) = &self.way.tsa else {
            return self.hand_out(dir, head.size, &note, &request);
        };
        let reply = self.exchange(tsa, request)?;
        let stamp = checked(&reply, &note, Some(nonce))?;
        timestamp::keep_checkpoint(dir, head.size, &note)
            .and_then(|()| timestamp::keep_reply(dir, head.size, &reply))
            .context("keeping the time-stamp")?;
        self.say(dir, head.size, &stamp)
    }

    /// ORDER: what the request is over is kept before the request leaves.
    fn hand_out(&self, dir: &Path, size: u64, note: &[u8], request: &[u8]) -> anyhow::Result<Exit> {
        let Some(path) = &self.way.request else { return Ok(Exit::Usage) };
        timestamp::keep_checkpoint(dir, size, note).context("keeping the checkpoint")?;
        std::fs::write(path, request).with_context(|| format!("writing `{}`", path.display()))?;
        let mut stdout = io::stdout().lock();
        match self.json {
            true => {
                let value = json!({
                    "schema": "appliance/audit-timestamp-request", "schema_version": 1,
                    "file": path, "size": size,
                });
                writeln!(stdout, "{value}")?;
            }
            false => writeln!(stdout, "{}: a request over {size} records", path.display())?,
        }
        Ok(Exit::Ok)
    }

    /// Finds out which of the kept heads a reply is over.
    fn take_in(&self, dir: &Path, path: &Path) -> anyhow::Result<Exit> {
        let reply = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
        let kept = timestamp::kept(dir).context("reading what is to be stamped")?;
        for size in kept.asked {
            let note = timestamp::checkpoint(dir, size).context("reading what is to be stamped")?;
            match timestamp::check(&reply, &note, None) {
                Err(TimestampError::Other) => {}
                stamp => {
                    let stamp =
                        stamp.map_err(|error| failure(Exit::Integrity, error.to_string()))?;
                    timestamp::keep_reply(dir, size, &reply).context("keeping the time-stamp")?;
                    return self.say(dir, size, &stamp);
                }
            }
        }
        let what = format!("`{}` is over no head that waits for a time-stamp", path.display());
        Err(failure(Exit::Integrity, what))
    }

    fn say(&self, dir: &Path, size: u64, stamp: &Stamp) -> anyhow::Result<Exit> {
        let path = dir.join(format!("tsr/{size}.tsr"));
        let mut stdout = io::stdout().lock();
        match self.json {
            true => {
                let value = json!({
                    "schema": "appliance/audit-timestamp", "schema_version": 1,
                    "file": path, "size": size, "time": stamp.time(), "policy": stamp.policy,
                });
                writeln!(stdout, "{value}")?;
            }
            false => writeln!(stdout, "{}: {size} records at {}", path.display(), stamp.time())?,
        }
        Ok(Exit::Ok)
    }

    fn exchange(&self, tsa: &Uri, request: Vec<u8>) -> anyhow::Result<Bytes> {
        if !matches!(tsa.scheme_str(), Some("http" | "https")) {
            return Err(failure(Exit::Usage, format!("`{tsa}` is no http(s) address")));
        }
        let trust = ClientTls { ca: self.ca.clone(), identity: None };
        let config = tls::client_config(&trust, Path::new(""))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answered = runtime.block_on(async {
            let client = Client::builder(TokioExecutor::new()).build(connector.build());
            let request = Request::post(tsa.clone())
                .header(CONTENT_TYPE, "application/timestamp-query")
                .body(Full::new(Bytes::from(request)))?;
            let exchange = async {
                let response = client.request(request).await?;
                let status = response.status();
                let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await;
                let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
                anyhow::Ok((status, body))
            };
            tokio::time::timeout(TIMEOUT, exchange).await.context("it takes too long")?
        });
        let unavailable = |what: String| failure(Exit::Unavailable, what);
        let (status, body) =
            answered.map_err(|error| unavailable(format!("asking {tsa}: {error:#}")))?;
        match status.is_success() {
            true => Ok(body),
            false => Err(unavailable(format!("{tsa} answered {status}"))),
        }
    }
}

/// A copy that cannot take part is no reason to be without a stamp.
fn share(copies: &[PathBuf]) {
    for (copy, error) in timestamp::share(copies) {
        eprintln!("warning: time-stamps are not all in `{}`: {error}", copy.display());
    }
}

fn checked(reply: &[u8], note: &[u8], nonce: Option<[u8; 8]>) -> anyhow::Result<Stamp> {
    let stamp = timestamp::check(reply, note, nonce);
    stamp.map_err(|error| failure(Exit::Integrity, error.to_string()))
}
