use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::bootstrap::{Bootstrap, Material};
use crate::config::{Limits, Resolved};
use crate::telemetry::Metrics;
use crate::tls::{CertStore, server_config};

/// Answers with the facts of the connection; `/slow` waits until the test lets it go.
struct Echo {
    entered: tokio::sync::Notify,
    release: tokio::sync::Notify,
}

impl Service for Echo {
    fn call(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: http::Request<Incoming>,
    ) -> BoxFuture<'static, http::Response<Body>> {
        Box::pin(async move {
            if request.uri().path() == "/slow" {
                self.entered.notify_one();
                self.release.notified().await;
            }
            let text = format!("{:?} {:?}", request.version(), connection.tls);
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
            http::Response::new(body.boxed_unsync())
        })
    }
}

struct Running {
    address: SocketAddr,
    material: Material,
    echo: Arc<Echo>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
    _dir: tempfile::TempDir,
}

enum Speak {
    Tls,
    Plain,
}

async fn start(speak: Speak, limits: Limits) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let resolved = Resolved::in_directory(dir.path());
    let material = Bootstrap::open_or_create(&resolved).unwrap();
    let tls = match speak {
        Speak::Plain => None,
        Speak::Tls => {
            let store = CertStore::open(&material.paths.certs_dir).unwrap();
            Some(server_config(Arc::new(store)).unwrap())
        }
    };
    let server = Server::bind(resolved.address, tls, limits).await.unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let echo =
        Arc::new(Echo { entered: tokio::sync::Notify::new(), release: tokio::sync::Notify::new() });
    let service = Arc::clone(&echo);
    let ended = tokio::spawn(async move {
        server
            .run(service, &Metrics::new(), async {
                let _ = stopped.await;
            })
            .await
    });
    Running { address, material, echo, stop, ended, _dir: dir }
}

impl Running {
    async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> TlsStream<TcpStream> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        self.connect_with(provider, versions, alpn).await
    }

    async fn connect_with(
        &self,
        provider: rustls::crypto::CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.material.paths.ca_cert).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    async fn plain(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// One request over HTTP/1.1; the connection's facts as the service saw them.
async fn ask<I>(stream: I, path: &str) -> String
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "localhost");
    let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
    text(sender.send_request(request).await.unwrap()).await
}

async fn text(response: http::Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_post_quantum_group_is_negotiated_and_told() {
    let server = start(Speak::Tls, Limits::default()).await;
    let stream = server.connect(&[&TLS13], &[]).await;
    let facts = ask(stream, "/").await;
    assert!(facts.contains("version: \"1.3\""), "{facts}");
    assert!(facts.contains("group: Some(\"X25519MLKEM768\")"), "{facts}");
    assert!(facts.contains("cipher: \"TLS13_AES_256_GCM_SHA384\""), "{facts}");
    assert!(facts.contains("sni: Some(\"localhost\")"), "{facts}");
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_served() {
    let server = start(Speak::Tls, Limits::default()).await;
    let facts = ask(server.connect(&[&TLS12], &[]).await, "/").await;
    assert!(facts.contains("version: \"1.2\"") && facts.contains("HTTP/1.1"), "{facts}");
}

#[tokio::test]
async fn a_client_without_the_post_quantum_group_is_served() {
    let server = start(Speak::Tls, Limits::default()).await;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
    let facts = ask(server.connect_with(provider, &[&TLS13], &[]).await, "/").await;
    assert!(facts.contains("group: Some(\"X25519\")"), "{facts}");
}

#[tokio::test]
async fn http_2_is_spoken_when_the_client_asks_for_it() {
    let server = start(Speak::Tls, Limits::default()).await;
    let stream = server.connect(&[&TLS13], &[b"h2"]).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/");
    let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let facts = text(sender.send_request(request).await.unwrap()).await;
    assert!(facts.starts_with("HTTP/2"), "{facts}");
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let server = start(Speak::Tls, Limits::default()).await;
    let answer = server.plain("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("client sent an HTTP request to an HTTPS server\n"), "{answer}");
}

#[tokio::test]
async fn plain_http_is_served_on_loopback_and_refused_beyond() {
    let server = start(Speak::Plain, Limits::default()).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    assert!(ask(socket, "/").await.contains("None"));
    for address in ["0.0.0.0:0", "[::]:0"] {
        let address = address.parse().unwrap();
        let error = Server::bind(address, None, Limits::default()).await.unwrap_err();
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused() {
    let server = start(Speak::Plain, Limits::default()).await;
    let long = "x".repeat(70 * 1024);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200)),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        // The server may answer and close while we still write.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_let_go() {
    let limits = Limits { header_timeout: Duration::from_millis(20), ..Limits::default() };
    let server = start(Speak::Plain, limits).await;
    let answer = server.plain("GET / HTTP/1.1\r\nhost: a\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_let_go() {
    let limits = Limits { handshake_timeout: Duration::from_millis(20), ..Limits::default() };
    let server = start(Speak::Tls, limits).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = start(Speak::Plain, limits).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let held = tokio::spawn(ask(first, "/slow"));
    server.echo.entered.notified().await;
    let second = TcpStream::connect(server.address).await.unwrap();
    let waiting = tokio::spawn(ask(second, "/"));
    assert!(!waiting.is_finished());
    server.echo.release.notify_one();
    assert!(held.await.unwrap().contains("HTTP/1.1"));
    assert!(waiting.await.unwrap().contains("HTTP/1.1"));
}

#[tokio::test]
async fn a_stop_lets_open_requests_finish() {
    let server = start(Speak::Tls, Limits::default()).await;
    let stream = server.connect(&[&TLS13], &[]).await;
    let slow = tokio::spawn(ask(stream, "/slow"));
    server.echo.entered.notified().await;
    // A client in the middle of its handshake does not hold up the stop.
    let _half_open = TcpStream::connect(server.address).await.unwrap();
    server.stop.send(()).unwrap();
    server.echo.release.notify_one();
    assert!(slow.await.unwrap().contains("X25519MLKEM768"));
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut_at_the_deadline() {
    let limits = Limits { drain_timeout: Duration::from_millis(20), ..Limits::default() };
    let server = start(Speak::Plain, limits).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/slow").header("host", "a");
    let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    server.echo.entered.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 1 });
    assert!(answer.await.unwrap().is_err());
}
