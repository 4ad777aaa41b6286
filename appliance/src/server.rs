//! Listeners: from an accepted socket to a [`Service`] call and back, over TLS or, on loopback only, in the clear.
//!
//! What the socket told us stays together in one [`Connection`], because the audit log and the policy conditions both
//! need it and neither should ask the socket again. Limits of this layer are in [`Limits`](crate::config::Limits);
//! everything above a parsed request head (authentication, bodies, concurrency answers) belongs to the service.

mod accept;
mod handshake;
mod protocol;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

pub use accept::{Drained, Server};

/// Response bodies. A body that ends in an error cuts the connection, so a client never takes half an object for whole.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is known of one accepted connection. All its requests share it.
#[derive(Clone, Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Absent on a plain HTTP connection, which exists on loopback only.
    pub tls: Option<Tls>,
}

/// The outcome of a TLS handshake, in the words that records and policy conditions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The key exchange group, such as `X25519MLKEM768`.
    pub group: Option<String>,
    pub sni: Option<String>,
    /// Lower-case hex SHA-256 of the client's certificate, if it showed one.
    pub peer_cert_sha256: Option<String>,
}

/// What answers requests.
///
/// Concurrency: calls arrive from many connections at once and, on HTTP/2, many from one. A call is dropped when its
/// client goes away, so an effect that must finish belongs on a task of its own. There is no error: every failure is a
/// response.
pub trait Service: Send + Sync + 'static {
    fn call(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: http::Request<Incoming>,
    ) -> BoxFuture<'static, http::Response<Body>>;
}

#[cfg(test)]
mod tests;
