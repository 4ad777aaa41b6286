//! From a TCP socket to a secured stream and the facts of its handshake.

use std::io;

use rustls::{ProtocolVersion, ServerConnection};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;

/// The content type of a TLS handshake record.
///
/// # Source
/// RFC 8446 §5.1.
const RECORD_HANDSHAKE: u8 = 22;

/// What a client that speaks HTTP to a TLS port reads.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\n\
connection: close\r\n\r\nclient sent an HTTP request to an HTTPS server\n";

/// Performs the handshake. `None` means that the client spoke plain HTTP and was told so.
pub(super) async fn accept(
    acceptor: &TlsAcceptor,
    mut socket: TcpStream,
) -> io::Result<Option<(TlsStream<TcpStream>, Tls)>> {
    let mut first = [0_u8; 1];
    let read = socket.peek(&mut first).await?;
    if read == 1 && first != [RECORD_HANDSHAKE] {
        socket.write_all(SPEAK_TLS).await?;
        socket.shutdown().await?;
        discard_input(&mut socket).await;
        return Ok(None);
    }
    let stream = acceptor.accept(socket).await?;
    let tls = facts(stream.get_ref().1);
    Ok(Some((stream, tls)))
}

/// Reads what was already sent, a little: closing a socket with unread input resets it, and the client would see the reset
/// and not the answer.
async fn discard_input(socket: &mut TcpStream) {
    use tokio::io::AsyncReadExt as _;
    let mut buffer = [0_u8; 4096];
    for _ in 0..16 {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn facts(connection: &ServerConnection) -> Tls {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    };
    let suite = connection.negotiated_cipher_suite();
    let group = connection.negotiated_key_exchange_group();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    Tls {
        version,
        cipher: suite.map(|suite| format!("{:?}", suite.suite())).unwrap_or_default(),
        group: group.map(|group| format!("{:?}", group.name())),
        sni: connection.server_name().map(ToOwned::to_owned),
        peer_cert_sha256: certificate.map(|der| hex::encode(Sha256::digest(der))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
