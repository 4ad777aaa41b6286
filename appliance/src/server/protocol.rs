//! HTTP/1.1 and HTTP/2 on an accepted stream, with the limits of a request head.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{Instrument as _, Span, field};

use super::{Connection, Service};

/// Request line and headers, as s3-protocol asks: room for every honest signed request, none for a flood.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header lines; AWS allows 2 KiB of user metadata, which is far below.
const HEADERS_MAX: usize = 128;
/// Streams of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 128;
/// Receive windows of HTTP/2: a PUT over a long line should not wait for updates, and memory stays bounded.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// A dead HTTP/2 peer is noticed after this.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The protocol of a connection: agreed by ALPN, HTTP/1.1 without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Serves one connection until it ends or `watcher` asks it to.
pub(super) async fn serve<I, S>(
    stream: I,
    protocol: Protocol,
    connection: Arc<Connection>,
    service: Arc<S>,
    header_timeout: Duration,
    watcher: Watcher,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service,
{
    let answer = service_fn(move |request: http::Request<Incoming>| {
        let span = span(&connection, &request);
        let response = Arc::clone(&service).call(Arc::clone(&connection), request);
        let answered = async move {
            let response = response.await;
            Span::current().record("http.response.status_code", response.status().as_u16());
            Ok::<_, Infallible>(response)
        };
        answered.instrument(span)
    });
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .max_header_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX);
            watcher.watch(http.serve_connection(io, answer)).await
        }
        Protocol::Http2 => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .keep_alive_interval(PING_INTERVAL);
            watcher.watch(http.serve_connection(io, answer)).await
        }
    }
}

/// One span per request, for the collector. Neither path nor query: keys are the customer's, and presigned queries are
/// credentials. The target is its own, so that telemetry without a collector pays nothing for it.
///
/// # Source
/// OpenTelemetry semantic conventions, "HTTP server".
fn span(connection: &Connection, request: &http::Request<Incoming>) -> Span {
    tracing::info_span!(
        target: "request",
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        http.response.status_code = field::Empty,
        network.protocol.version = ?request.version(),
        client.address = %connection.peer.ip(),
        tls.group = connection.tls.as_ref().and_then(|tls| tls.group.as_deref()),
    )
}
