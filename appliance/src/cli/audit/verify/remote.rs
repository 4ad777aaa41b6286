//! `appliance audit verify URL`: the tiles of a running log, or of an export on any web server, over HTTP.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::note::NOTE_BYTES_MAX;
use audit::verify::FETCH_BYTES_MAX;
use audit::{Fetched, Remote};
use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Runtime;

use crate::auditor::LOG_PREFIX;
use crate::cli::Exit;
use crate::cli::admin_client::{root_credentials, sign_request};
use crate::cli::exit::failure;
use crate::cli::status::ca_of;
use crate::config::{Resolved, RootCredentials};
use crate::siem::ClientTls;
use crate::tls;

const ASKING: &str = "asking for the newest head";
/// A connection that breaks is tried again this often; a server that restarts is back within that.
const TRIES: u32 = 4;
/// The first wait before a file is asked for again; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A log's address, and how it is asked.
pub(super) struct Host {
    /// Without a slash at its end.
    prefix: String,
    authority: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// Requests come from several threads and wait on this one's.
    runtime: Runtime,
    credentials: Option<RootCredentials>,
    /// Somebody who says nothing of themselves was refused.
    signs: AtomicBool,
    /// For one answer, whole.
    timeout: Duration,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Host {
    /// The log of this origin at an address: a server's, or that of a directory with a checkpoint in it.
    pub(super) fn open(
        url: &Uri,
        origin: &str,
        ca: Option<PathBuf>,
        resolved: &Resolved,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let usage = |what: &str| failure(Exit::Usage, format!("`{url}` {what}"));
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or_else(|| usage("is no http(s) address"))?;
        let authority = url.authority().map_or("", |authority| authority.as_str()).to_owned();
        if authority.contains('@') || url.query().is_some() {
            // It may hold a secret, so it is not repeated.
            let what = "the address has more than a place; credentials come from the environment";
            return Err(failure(Exit::Usage, what));
        }
        let trust = ClientTls { ca, identity: None };
        let config = tls::client_config_beside(&trust, &resolved.certs_dir, &ca_of(resolved))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        // One thread drives the sockets; the threads that fetch wait for it.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut host = Self {
            prefix: format!("{scheme}://{authority}{}", url.path().trim_end_matches('/')),
            authority,
            client: Client::builder(TokioExecutor::new()).build(connector.build()),
            runtime,
            credentials: root_credentials(resolved).ok(),
            signs: AtomicBool::new(false),
            timeout,
        };
        if url.path() == "/" {
            // A server, unless there is a log at its very root.
            let bare = host.prefix.clone();
            host.prefix = format!("{bare}{LOG_PREFIX}{origin}");
            let absent =
                |host: &Self| Ok::<_, io::Error>(host.fetch("checkpoint")? == Fetched::Absent);
            if absent(&host).context(ASKING)? {
                let served = std::mem::replace(&mut host.prefix, bare);
                if absent(&host).context(ASKING)? {
                    host.prefix = served;
                }
            }
        }
        Ok(host)
    }

    fn request(&self, path: &str, signed: bool) -> anyhow::Result<Request<Empty<Bytes>>> {
        let uri = format!("{}/{path}", self.prefix);
        let mut request = Request::get(&uri).header(HOST, &self.authority).body(())?;
        if let Some(root) = self.credentials.as_ref().filter(|_| signed) {
            sign_request(&mut request, &uri, b"", root)?;
        }
        Ok(request.map(|()| Empty::new()))
    }

    /// One answer, whole or too long.
    fn ask(&self, path: &str, signed: bool) -> io::Result<(StatusCode, Answer)> {
        let request =
            self.request(path, signed).map_err(|error| io::Error::other(format!("{error:#}")))?;
        let longest =
            if path.starts_with("tile/entries/") { FETCH_BYTES_MAX } else { NOTE_BYTES_MAX };
        let exchange = async {
            let response = self.client.request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                return Ok((status, Answer::Elsewhere(to.unwrap_or("nowhere").to_owned())));
            }
            match Limited::new(response.into_body(), longest).collect().await {
                Ok(body) => Ok((status, Answer::Whole(body.to_bytes()))),
                Err(error) if error.is::<LengthLimitError>() => Ok((status, Answer::TooLong)),
                Err(error) => Err(io::Error::other(error)),
            }
        };
        let answered =
            self.runtime.block_on(async { tokio::time::timeout(self.timeout, exchange).await });
        answered.unwrap_or_else(|_| {
            let what = format!("no whole answer within {} s", self.timeout.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, what))
        })
    }
}

enum Answer {
    Whole(Bytes),
    TooLong,
    Elsewhere(String),
}

impl Remote for Host {
    fn fetch(&self, path: &str) -> io::Result<Fetched> {
        let deadline = Instant::now() + 2 * self.timeout;
        let (mut pause, mut broken) = (PAUSE, 0);
        loop {
            let signed = self.signs.load(Ordering::Relaxed);
            match self.ask(path, signed) {
                Ok((status, _)) if is_refusal(status) && !signed && self.credentials.is_some() => {
                    self.signs.store(true, Ordering::Relaxed);
                    continue;
                }
                Ok((status, answer)) if !is_later(status) => return understood(status, answer),
                Ok((status, _)) if Instant::now() + pause > deadline => {
                    return Err(io::Error::other(format!("the server still answers {status}")));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut || broken + 1 == TRIES => {
                    return Err(error);
                }
                Ok(_) => {}
                Err(_) => broken += 1,
            }
            thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}

/// Whether credentials might help.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether the same question may be answered in a moment.
fn is_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

fn understood(status: StatusCode, answer: Answer) -> io::Result<Fetched> {
    Ok(match (status, answer) {
        (_, Answer::Elsewhere(to)) => {
            let what = format!("it answers that it is at `{to}`; give that address");
            return Err(io::Error::other(what));
        }
        (StatusCode::OK, Answer::Whole(body)) => Fetched::Found(body.into()),
        (StatusCode::OK, Answer::TooLong) => Fetched::TooLong,
        (StatusCode::NOT_FOUND, _) => Fetched::Absent,
        (StatusCode::GONE, _) => Fetched::Gone,
        (status, _) if is_refusal(status) => Fetched::Denied,
        (status, _) => Fetched::Failed(format!("the server answers {status}")),
    })
}
