//! A client of a running server's admin API: TLS under the deployment's own CA, signed with the root credentials.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::Exit;
use super::exit::failure;
use super::settings::Settings;
use super::status::{ca_of, client_config};
use crate::admin::envelope;
use crate::config::{Resolved, RootCredentials, Transport};

/// Where calls of the admin API live; a path that begins with a slash is one of the audit API.
const PREFIX: &str = "/minio/admin/v3/";
/// An admin call is small, and key derivation on a busy server takes a second at most; a search takes half a minute.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer: a listing of all users.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What SigV4 leaves bare in a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which server is asked, and as whom.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Server {
    #[command(flatten)]
    settings: Settings,
    /// Where the server listens; the configured address otherwise.
    #[arg(long, value_name = "IP:PORT")]
    address: Option<String>,
    /// The certificate to trust; the deployment's own CA otherwise.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask in plain HTTP.
    #[arg(long)]
    no_tls: bool,
    /// JSON instead of tables.
    #[arg(long)]
    pub(super) json: bool,
}

/// One call.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    body: Content,
    sealed_answer: bool,
}

enum Content {
    Empty,
    Plain(Vec<u8>),
    Sealed(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Plain(_) => "Plain(..)",
            Self::Sealed(_) => "Sealed(..)",
        })
    }
}

impl Ask {
    pub(super) fn new(method: Method, path: &'static str) -> Self {
        Self { method, path, query: Vec::new(), body: Content::Empty, sealed_answer: false }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn plain(mut self, body: Vec<u8>) -> Self {
        self.body = Content::Plain(body);
        self
    }

    /// A body that travels sealed under the signer's secret.
    pub(super) fn sealed(mut self, body: &Value) -> Self {
        self.body = Content::Sealed(Zeroizing::new(body.to_string().into_bytes()));
        self
    }

    /// The answer is sealed under the signer's secret.
    pub(super) fn sealed_answer(mut self) -> Self {
        self.sealed_answer = true;
        self
    }

    fn target(&self) -> String {
        let pairs: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ENCODED)))
            .collect();
        let prefix = if self.path.starts_with('/') { "" } else { PREFIX };
        match pairs.is_empty() {
            true => format!("{prefix}{}", self.path),
            false => format!("{prefix}{}?{}", self.path, pairs.join("&")),
        }
    }
}

impl Server {
    /// Makes one call and waits for its answer; `null` is an answer without a body.
    pub(super) fn call(&self, ask: Ask) -> anyhow::Result<Value> {
        let (root, body) = self.answer(&ask)?;
        let body = match ask.sealed_answer {
            true => envelope::open(&root.secret_key, &body).context("opening the answer")?.to_vec(),
            false => body.to_vec(),
        };
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("reading the answer")
    }

    /// Makes one call whose answer is no JSON.
    pub(super) fn fetch(&self, ask: &Ask) -> anyhow::Result<Bytes> {
        Ok(self.answer(ask)?.1)
    }

    /// The answer's bytes, and the credentials that the call was signed with.
    fn answer(&self, ask: &Ask) -> anyhow::Result<(RootCredentials, Bytes)> {
        let mut flags = BTreeMap::new();
        if let Some(address) = &self.address {
            flags.insert("address", vec![address.clone()]);
        }
        if self.no_tls {
            flags.insert("no_tls", vec!["true".to_owned()]);
        }
        let resolved = self.settings.load(flags)?.resolved;
        let root = root_credentials(&resolved)?;
        let address = reachable(resolved.address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answered = runtime.block_on(async {
            tokio::time::timeout(TIMEOUT, self.exchange(&resolved, address, &root, ask)).await
        });
        let (status, body) = answered
            .map_err(|_| failure(Exit::Unavailable, format!("{address} does not answer")))?
            .with_context(|| format!("asking {address}"))?;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        Ok((root, body))
    }

    async fn exchange(
        &self,
        resolved: &Resolved,
        address: SocketAddr,
        root: &RootCredentials,
        ask: &Ask,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = signed(address, resolved.transport, root, ask)?;
        let socket = TcpStream::connect(address).await?;
        match resolved.transport {
            Transport::PlainLoopback => send(socket, request).await,
            Transport::Tls => {
                let ca = self.ca.clone().unwrap_or_else(|| ca_of(resolved));
                let connector = TlsConnector::from(Arc::new(client_config(&ca)?));
                let name = ServerName::IpAddress(address.ip().into());
                let stream = connector.connect(name, socket).await.context("the TLS handshake")?;
                send(stream, request).await
            }
        }
    }
}

/// A listener on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

fn signed(
    address: SocketAddr,
    transport: Transport,
    root: &RootCredentials,
    ask: &Ask,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = match &ask.body {
        Content::Empty => Vec::new(),
        Content::Plain(body) => body.clone(),
        Content::Sealed(body) => envelope::seal(&root.secret_key, body)?,
    };
    let target = ask.target();
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&target)
        .header("host", address.to_string())
        .header("content-type", "application/octet-stream")
        .body(())?;
    let uri = format!("{}://{address}{target}", transport.scheme());
    sign_request(&mut request, &uri, &body, root)?;
    Ok(request.map(|()| Full::new(Bytes::from(body))))
}

/// Signs a request to an absolute address, with the headers that it has.
pub(super) fn sign_request(
    request: &mut Request<()>,
    uri: &str,
    body: &[u8],
    root: &RootCredentials,
) -> anyhow::Result<()> {
    let secret = root.secret_key.as_str();
    let identity = Credentials::new(&root.access_key, secret, None, None, "appliance").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        // Admin calls are signed for the empty region, as every client of this API does.
        .region("")
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()?
        .into();
    let method = request.method().clone();
    let headers: Vec<_> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(method.as_str(), uri, headers, SignableBody::Bytes(body))?;
    sign(signable, &params)?.into_parts().0.apply_to_request_http1x(request);
    Ok(())
}

async fn send<I>(stream: I, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!(error)).context("receiving the answer")?;
    Ok((status, body.to_bytes()))
}

/// The credentials that the environment gives, or those of a deployment on this machine.
pub(super) fn root_credentials(resolved: &Resolved) -> anyhow::Result<RootCredentials> {
    if let Some(root) = &resolved.root {
        return Ok(root.clone());
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let aws = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    if let (Some(access_key), Some(secret)) = aws {
        return Ok(RootCredentials { access_key, secret_key: Zeroizing::new(secret) });
    }
    let config = resolved.config_dir();
    let written = read_lines(&config.join("bootstrap/root-credentials"));
    written.or_else(|| read_stored(&config.join("keys/root.json"))).ok_or_else(|| {
        let hint = "set MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, or AWS_ACCESS_KEY_ID and \
            AWS_SECRET_ACCESS_KEY, or name the deployment with --data-dir";
        failure(
            Exit::Unauthenticated,
            format!("no credentials in the environment or in `{}`; {hint}", config.display()),
        )
    })
}

/// The file that a first run writes for a shell.
fn read_lines(path: &Path) -> Option<RootCredentials> {
    let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Some(RootCredentials {
        access_key: value("MINIO_ROOT_USER")?.to_owned(),
        secret_key: Zeroizing::new(value("MINIO_ROOT_PASSWORD")?.to_owned()),
    })
}

/// The file that the server itself reads.
fn read_stored(path: &Path) -> Option<RootCredentials> {
    #[derive(Deserialize)]
    struct Stored {
        access_key: String,
        secret_key: String,
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
    let Stored { access_key, secret_key } = serde_json::from_str(&text).ok()?;
    Some(RootCredentials { access_key, secret_key: Zeroizing::new(secret_key) })
}

/// The server's own words, with the exit code that they mean.
fn refused(status: StatusCode, body: &[u8]) -> anyhow::Error {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Body {
        code: String,
        message: String,
    }
    let Body { code, message } = serde_json::from_slice(body).unwrap_or_default();
    let exit = match (status.as_u16(), code.as_str()) {
        (
            403,
            "AccessDenied"
            | "SamePerson"
            | "XMinioIAMActionNotAllowed"
            | "XMinioInvalidIAMCredentials",
        ) => Exit::Denied,
        (401 | 403, _) => Exit::Unauthenticated,
        (404, _) => Exit::NotFound,
        (
            _,
            "XMinioIAMPolicyInUse"
            | "XMinioAdminGroupNotEmpty"
            | ALREADY_APPLIED
            | "NothingPruned"
            | "ProposalExpired",
        ) => Exit::Conflict,
        (500.., _) => Exit::Unavailable,
        _ => Exit::Usage,
    };
    let text = match message.is_empty() {
        true => format!("the server answered {status}"),
        false => format!("{message} ({code})"),
    };
    failure(exit, text)
}

/// The code for a change that was there before.
pub(super) const ALREADY_APPLIED: &str = "XMinioAdminPolicyChangeAlreadyApplied";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_once() {
        let ask = Ask::new(Method::GET, "user-info").query("accessKey", "a b+c/é");
        assert_eq!(ask.target(), "/minio/admin/v3/user-info?accessKey=a%20b%2Bc%2F%C3%A9");
    }

    #[test]
    fn refusals_have_exit_codes() {
        let exit = |status: u16, code: &str| {
            let body = format!(r#"{{"Code":"{code}","Message":"words"}}"#);
            let error = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            super::super::exit::report(&error)
        };
        assert_eq!(exit(403, "AccessDenied"), Exit::Denied);
        assert_eq!(exit(403, "SignatureDoesNotMatch"), Exit::Unauthenticated);
        assert_eq!(exit(404, "XMinioAdminNoSuchUser"), Exit::NotFound);
        assert_eq!(exit(400, "XMinioIAMPolicyInUse"), Exit::Conflict);
        assert_eq!(exit(400, "XMinioMalformedIAMPolicy"), Exit::Usage);
        assert_eq!(exit(503, "SlowDown"), Exit::Unavailable);
    }

    #[test]
    fn credentials_of_a_first_run_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root-credentials");
        std::fs::write(&path, "MINIO_ROOT_USER=abc\nMINIO_ROOT_PASSWORD=s=cret\n").unwrap();
        let root = read_lines(&path).unwrap();
        assert_eq!((root.access_key.as_str(), root.secret_key.as_str()), ("abc", "s=cret"));
        assert!(read_stored(&path).is_none());
    }
}
