//! What a destination speaks: one batch out, one answer back. No retry, no cursor: those are the delivery's.

mod elastic;
mod http;
mod signature;
mod splunk;
mod syslog;
mod webhook;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::delivery::{Answer, Item};
use super::destination::{Destination, Kind};
use super::format::About;
use crate::tls::TlsError;

pub(super) use signature::SecretError;

/// One batch: contiguous among the records that the filter wants.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// A pure function of log, destination and range: equal on redelivery.
    pub id: String,
    pub items: Vec<Item>,
}

/// Sends batches. Contract: an answer other than [`Answer::Later`] was given by the receiver; an exchange that did not
/// come to its end is `Later`, and the same batch comes again. Dropping the future gives up on the exchange.
pub(super) trait Sink: fmt::Debug + Send {
    fn send<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Answer>;
}

/// The sink of a destination; certificates are read here.
///
/// # Errors
/// Certificates or the signing secret cannot be used.
pub(super) fn open(
    destination: &Destination,
    about: &Arc<About>,
    certs_dir: &Path,
) -> Result<Box<dyn Sink>, SinkError> {
    let about = Arc::clone(about);
    Ok(match destination.kind {
        Kind::Webhook => Box::new(webhook::Webhook::standard(destination, about, certs_dir)?),
        Kind::Minio => Box::new(webhook::Webhook::minio(destination, about, certs_dir)?),
        Kind::Splunk => Box::new(splunk::Splunk::new(destination, about, certs_dir)?),
        Kind::Elastic => Box::new(elastic::Elastic::new(destination, &about, certs_dir)?),
        Kind::Syslog => Box::new(syslog::Syslog::new(destination, about, certs_dir)?),
    })
}

/// Answers of any receiver.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    http::fuzz(bytes);
    elastic::fuzz(bytes);
}

/// Why a destination cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the token is no header value")]
    Token,
}
