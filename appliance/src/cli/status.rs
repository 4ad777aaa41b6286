//! `appliance status`: what a running server says of itself, asked over its own listener.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::exit::failure;
use super::settings::{Settings, absolute};
use super::{Exit, banner, table};
use crate::config::{Resolved, Transport};
use crate::tls::Pair;

/// A server that does not answer a health question within this is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The questions; every one is answered without credentials.
const QUESTIONS: [(&str, &str); 4] = [
    ("live", "/minio/health/live"),
    ("ready", "/minio/health/ready"),
    ("write quorum", "/minio/health/cluster"),
    ("audit index", "/minio/health/audit-index"),
];

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance status\n  \
    appliance status --address 127.0.0.1:9000 --data-dir /srv/appliance --json\n\n\
    Exit codes: 0 well, 1 something is not, 9 no answer.")]
pub(super) struct Status {
    #[command(flatten)]
    settings: Settings,
    /// Where the server listens; the configured address otherwise.
    #[arg(long, value_name = "IP:PORT")]
    address: Option<String>,
    /// Ask in plain HTTP.
    #[arg(long)]
    no_tls: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut flags = BTreeMap::new();
        if let Some(address) = &self.address {
            flags.insert("address", vec![address.clone()]);
        }
        if self.no_tls {
            flags.insert("no_tls", vec!["true".to_owned()]);
        }
        let resolved = self.settings.load(flags)?.resolved;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, ask(&resolved)).await })
            .map_err(|_| {
                failure(Exit::Unavailable, format!("{} does not answer", resolved.address))
            })?
            .with_context(|| format!("asking {}", resolved.address))?;
        self.print(&resolved, &answers)?;
        let well = answers.iter().all(|(_, status)| *status == 200);
        Ok(if well { Exit::Ok } else { Exit::Negative })
    }

    fn print(&self, resolved: &Resolved, answers: &[(&'static str, u16)]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let rules = resolved.audit_rules;
        let reads = format!("data={}, mgmt={}", rules.data.as_str(), rules.mgmt.as_str());
        let mut facts = vec![
            ("endpoint", format!("{}://{}", resolved.transport.scheme(), resolved.address)),
            ("data directory", absolute(&resolved.data_dir).display().to_string()),
            ("audited reads", reads),
        ];
        if let Some(fingerprint) = banner::fingerprint(&ca_of(resolved)) {
            facts.push(("CA SHA-256", fingerprint));
        }
        if self.json {
            let health: BTreeMap<_, _> = answers
                .iter()
                .map(|(name, status)| (name.replace(' ', "_"), *status == 200))
                .collect();
            let facts: BTreeMap<_, _> =
                facts.into_iter().map(|(name, value)| (name.replace(' ', "_"), value)).collect();
            return writeln!(out, "{}", serde_json::json!({ "health": health, "facts": facts }));
        }
        let word = |status: u16| match status {
            200 => "yes".to_owned(),
            status => format!("no ({status})"),
        };
        let rows: Vec<Vec<String>> = facts
            .into_iter()
            .chain(answers.iter().map(|(name, status)| (*name, word(*status))))
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        table::write(&mut out, &["fact", "value"], &rows)
    }
}

/// The certificate to trust: our CA's, or the operator's own.
pub(super) fn ca_of(resolved: &Resolved) -> std::path::PathBuf {
    let ours = resolved.config_dir().join("ca/ca.crt");
    if ours.is_file() { ours } else { resolved.certs_dir.join("public.crt") }
}

/// A name that the server's certificate has; ours has the address too, an operator's often not.
fn server_name(resolved: &Resolved) -> ServerName<'static> {
    let names = Pair::read(&resolved.certs_dir).map(|pair| pair.names).unwrap_or_default();
    names
        .into_iter()
        .find_map(|name| ServerName::try_from(name).ok())
        .unwrap_or_else(|| ServerName::IpAddress(resolved.address.ip().into()))
}

/// Asks all questions over one connection.
async fn ask(resolved: &Resolved) -> anyhow::Result<Vec<(&'static str, u16)>> {
    let socket = TcpStream::connect(resolved.address).await?;
    match resolved.transport {
        Transport::PlainLoopback => questions(socket, resolved.address).await,
        Transport::Tls => {
            let connector = TlsConnector::from(Arc::new(client_config(&ca_of(resolved))?));
            let name = server_name(resolved);
            let stream = connector.connect(name, socket).await.context("the TLS handshake")?;
            questions(stream, resolved.address).await
        }
    }
}

async fn questions<I>(stream: I, address: SocketAddr) -> anyhow::Result<Vec<(&'static str, u16)>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut answers = Vec::with_capacity(QUESTIONS.len());
    for (name, path) in QUESTIONS {
        sender.ready().await?;
        let request = http::Request::head(path).header("host", address.to_string());
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        answers.push((name, response.status().as_u16()));
    }
    connection.abort();
    Ok(answers)
}

pub(super) fn client_config(ca: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("reading the certificate `{}`", ca.display()))?
    {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
