//! Syslog over TLS. The protocol has no answer: a confirmation means that the bytes were handed to the connection, and
//! the destination's guarantee says so. Before each batch the connection is looked at, so that one that the receiver
//! closed while it was idle is not written to.
//!
//! # Source
//! RFC 5424 (message), RFC 5425 (TLS, octet counting), RFC 6587 §3.4.1.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Batch, Sink, SinkError};
use crate::siem::delivery::{Answer, Item};
use crate::siem::destination::{Destination, Endpoint};
use crate::siem::format::{About, time_text};
use crate::siem::record::{Outcome, Record};
use crate::tls;

/// RFC 5424 facility 13, "log audit".
const FACILITY: u8 = 13;
const NOTICE: u8 = 5;
const WARNING: u8 = 4;
/// Structured data that is not IANA's needs an enterprise number; this one is reserved for examples (RFC 5612).
const SD_ID: &str = "audit@32473";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

pub(super) struct Syslog {
    endpoint: Endpoint,
    connector: TlsConnector,
    about: Arc<About>,
    timeout: Duration,
    stream: Option<Box<dyn Stream>>,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syslog").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Syslog {
    pub(super) fn new(
        destination: &Destination,
        about: Arc<About>,
        certs_dir: &Path,
    ) -> Result<Self, SinkError> {
        let config = tls::client_config(&destination.tls, certs_dir)?;
        Ok(Self {
            endpoint: destination.endpoint.clone(),
            connector: TlsConnector::from(Arc::new(config)),
            about,
            timeout: destination.timeout,
            stream: None,
        })
    }

    async fn write(&mut self, items: &[Item]) -> std::io::Result<()> {
        let mut kept = self.stream.take();
        if let Some(stream) = &mut kept
            && !is_open(stream)
        {
            kept = None;
        }
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let mut frames = Vec::new();
        for item in items {
            let message = message(&self.about, item);
            frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
            frames.extend_from_slice(&message);
        }
        stream.write_all(&frames).await?;
        stream.flush().await?;
        // Only a stream that took everything is used again.
        self.stream = Some(stream);
        Ok(())
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let Endpoint { host, port, is_tls, .. } = &self.endpoint;
        let socket = TcpStream::connect((host.as_str(), *port)).await?;
        socket.set_nodelay(true)?;
        if !is_tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(self.connector.connect(name, socket).await?))
    }
}

impl Sink for Syslog {
    fn send<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        async move {
            let timeout = self.timeout;
            match tokio::time::timeout(timeout, self.write(&batch.items)).await {
                Ok(Ok(())) => Answer::Confirmed,
                Ok(Err(error)) => Answer::Later { wait: None, why: error.to_string() },
                Err(_) => Answer::Later { wait: None, why: format!("not taken in {timeout:?}") },
            }
        }
        .boxed()
    }
}

/// A receiver has nothing to say, so anything to read is the end.
fn is_open(stream: &mut Box<dyn Stream>) -> bool {
    stream.read_u8().now_or_never().is_none()
}

/// One message. Line ends cannot be in it: records are JSON, and CEF escapes them.
fn message(about: &About, item: &Item) -> Vec<u8> {
    let record = Record::parse(&item.leaf).ok();
    let text = |pointer: &str| record.as_ref().map_or("", |record| record.text(pointer));
    let is_warning = record.as_ref().is_some_and(|record| record.outcome() != Outcome::Succeeded);
    let priority = FACILITY * 8 + if is_warning { WARNING } else { NOTICE };
    let node = text("/node");
    let mut message = format!(
        "<{priority}>1 {} {} appliance - {} [{SD_ID} seq=\"{}\" event=\"{}\" class=\"{}\" origin=\"{}\"] ",
        time_text(item.time_us),
        header(node, 255),
        header(text("/action"), 32),
        item.seq,
        parameter(&item.event),
        parameter(text("/class")),
        parameter(&about.origin),
    )
    .into_bytes();
    // RFC 5424 §6.4 wants a byte order mark before UTF-8; JSON parsers behind relays choke on it.
    message.extend_from_slice(&item.body);
    message
}

/// Printable ASCII without blanks, `-` when there is nothing.
fn header(text: &str, chars_max: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(chars_max).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// RFC 5424 §6.3.3.
fn parameter(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_hold_cannot_end_a_field() {
        assert_eq!(parameter(r#"a"b]c\d"#), r#"a\"b\]c\\d"#);
        assert_eq!(header("two words\n", 32), "twowords");
        assert_eq!((header("", 32), header("ключ", 32)), ("-".into(), "-".into()));
        assert_eq!(header(&"x".repeat(99), 32).len(), 32);
    }
}
