//! The accept loop: a bounded number of connections, each on its own task, and a drain that ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::protocol::{self, Protocol};
use super::{Connection, Service, handshake};
use crate::config::Limits;
use crate::telemetry::Metrics;

/// After a failed accept (no file descriptors, mostly) the loop waits for connections to end before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listener.
///
/// Ownership: [`Self::run`] owns socket and connection tasks; none outlives it.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the deadline came, and were cut.
    pub cut: usize,
}

/// What every connection task of one server shares.
struct Shared<S> {
    service: Arc<S>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

impl Server {
    /// Opens the socket. Without `tls` it speaks plain HTTP; the configuration allows that on loopback only, and so does
    /// this function.
    ///
    /// # Errors
    /// The address is taken, or plain HTTP is asked for beyond loopback.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        limits: Limits,
    ) -> io::Result<Self> {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("plain HTTP on {address} is refused: it is no loopback address"),
            ));
        }
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, tls, limits })
    }

    /// The address in use, also when the port was 0.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, then lets open requests finish for `drain_timeout`, then cuts them.
    pub async fn run<S: Service>(
        self,
        service: Arc<S>,
        metrics: &Metrics,
        shutdown: impl Future<Output = ()>,
    ) -> Drained {
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            service,
            tls: self.tls.map(TlsAcceptor::from),
            limits: self.limits,
            stopping,
        });
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            metrics.connections(tasks.len());
            tokio::select! {
                () = &mut shutdown => break,
                // Its result says nothing more: the task has logged it.
                Some(_) = tasks.join_next() => {}
                accepted = next(&self.listener, &places) => {
                    let Some((socket, peer, place)) = accepted else { continue };
                    tasks.spawn(one(Arc::clone(&shared), socket, peer, graceful.watcher(), place));
                }
            }
        }
        // ORDER: no new connections, then no new handshakes, then no new requests, then the deadline.
        drop(self.listener);
        stop.send_replace(true);
        let _ = tokio::time::timeout(self.limits.drain_timeout, graceful.shutdown()).await;
        let mut cut = 0;
        while let Some(ended) = tasks.try_join_next() {
            cut += usize::from(ended.is_err());
        }
        cut += tasks.len();
        tasks.shutdown().await;
        metrics.connections(0);
        Drained { cut }
    }
}

/// Takes a place first, so that at the limit new connections wait in the kernel's queue and cost us nothing.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => Some((socket, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The life of one connection.
async fn one<S: Service>(
    shared: Arc<Shared<S>>,
    socket: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
) {
    let result = match &shared.tls {
        None => plain(&shared, socket, peer, watcher).await,
        Some(acceptor) => secured(&shared, acceptor, socket, peer, watcher).await,
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
    drop(place);
}

async fn plain<S: Service>(
    shared: &Shared<S>,
    socket: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let connection = Arc::new(Connection { peer, local: socket.local_addr()?, tls: None });
    http(shared, socket, Protocol::Http1, connection, watcher).await
}

async fn secured<S: Service>(
    shared: &Shared<S>,
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    let mut stopping = shared.stopping.clone();
    let handshake =
        tokio::time::timeout(shared.limits.handshake_timeout, handshake::accept(acceptor, socket));
    let done = tokio::select! {
        done = handshake => done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        // A client that has not even finished its handshake loses nothing by being turned away.
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    };
    let Some((stream, tls)) = done else { return Ok(()) };
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let connection = Arc::new(Connection { peer, local, tls: Some(tls) });
    http(shared, stream, protocol, connection, watcher).await
}

async fn http<S, I>(
    shared: &Shared<S>,
    stream: I,
    protocol: Protocol,
    connection: Arc<Connection>,
    watcher: Watcher,
) -> io::Result<()>
where
    S: Service,
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = Arc::clone(&shared.service);
    protocol::serve(stream, protocol, connection, service, shared.limits.header_timeout, watcher)
        .await
        .map_err(io::Error::other)
}
