//! TLS 1.2 and 1.3 by rustls on aws-lc-rs, with X25519MLKEM768 preferred, and certificates in MinIO's directory layout.
//!
//! The layout: `public.crt` and `private.key` on top, one subdirectory per further pair (chosen by the names in its
//! certificate, not by the directory's name), and `CAs/` with authorities that outgoing connections trust. Everything is
//! reloaded while connections run; a bad replacement changes nothing but the log.

mod certs;
mod client;
mod pair;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};

pub use certs::{CertStore, Reload};
pub use client::{client_config, client_config_beside};
pub use pair::Pair;
pub use watch::Watch;

/// The server side of a handshake, with certificates from `store` as they are at that moment.
///
/// # Errors
/// The crypto provider lacks a protocol version; it does not.
pub fn server_config(store: Arc<CertStore>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets rotate their keys in memory; 0-RTT stays off, because a replayed PUT is a second PUT.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("reading `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is no {what} in PEM form: {problem}", path.display())]
    Parse { what: &'static str, path: PathBuf, problem: String },
    #[error("the private key in `{}` does not belong to the certificate beside it", path.display())]
    Mismatch { path: PathBuf, source: rustls::Error },
    #[error(
        "more than {limit} certificates in `{}`",
        path.display()
    )]
    TooMany { path: PathBuf, limit: usize },
    #[error("setting up TLS")]
    Rustls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests;
