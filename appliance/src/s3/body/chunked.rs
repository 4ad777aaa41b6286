//! The `aws-chunked` framing: bytes in, verified bytes out, no socket.
//!
//! ```text
//! body    = *( size [ ";chunk-signature=" 64HEX ] CRLF data CRLF )  "0" [ ";chunk-signature=" 64HEX ] CRLF tail
//! tail    = *( name ":" value EOL ) CRLF            EOL = CRLF / LF CRLF, as minio-go writes it
//! ```
//!
//! A signed chunk is held back until its signature has been verified, so its size is capped; an unsigned one passes
//! through as it arrives and may be as long as the object, which is how the Rust SDK sends it.

#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::checksum::Algorithm;
use crate::s3::auth::ChunkSigner;

/// Largest signed chunk, which is what one request can make us hold.
const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;
/// Longest line before a chunk: 16 digits, the signature, the line end.
const LINE_BYTES_MAX: usize = 128;
/// Longest tail: one checksum and one signature, with room.
const TAIL_BYTES_MAX: usize = 1024;
/// Pieces below this size are copied together while they are held, so that many tiny frames cost their bytes only.
const PIECE_BYTES_MIN: usize = 4096;

const SIGNATURE: &[u8] = b"chunk-signature=";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// A chunked body that is refused. Exhaustive: each case has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("the decoded length is not the declared one")]
    DecodedLength,
    #[error("the body ended within a chunk or before its last one")]
    Ended,
    #[error("a chunk is not framed as the protocol says")]
    Malformed,
    #[error("the signature of a chunk or trailer does not match")]
    Signature,
    #[error("a signed chunk is larger than 16 MiB")]
    TooLarge,
    #[error("the trailer is not the declared one")]
    Trailer,
}

impl ChunkError {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::DecodedLength | Self::Ended => "IncompleteBody",
            Self::Malformed => "InvalidRequest",
            Self::Signature => "SignatureDoesNotMatch",
            Self::TooLarge => "InvalidChunkSizeError",
            Self::Trailer => "MalformedTrailerError",
        }
    }

    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Signature => 403,
            Self::DecodedLength
            | Self::Ended
            | Self::Malformed
            | Self::TooLarge
            | Self::Trailer => 400,
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::DecodedLength => "The body is not as long as x-amz-decoded-content-length says.",
            Self::Ended => "The request body terminated unexpectedly.",
            Self::Malformed => "The chunked body is not well-formed.",
            Self::Signature => "The signature of a chunk does not match.",
            Self::TooLarge => "A chunk is larger than the maximum of 16 MiB.",
            Self::Trailer => {
                "The request contained trailing data that was not well-formed or did not conform to our published schema."
            }
        }
    }
}

/// What the head of the request says about the framing.
#[derive(Debug)]
pub(super) struct Framing {
    /// Verifies the chunks, if they are signed.
    pub(super) signer: Option<ChunkSigner>,
    /// A trailing section exists (`-TRAILER`).
    pub(super) trailer: bool,
    /// The checksum that the trailer must carry.
    pub(super) checksum: Option<Algorithm>,
    /// `x-amz-decoded-content-length`.
    pub(super) length: u64,
}

/// Takes the framing off.
pub(super) struct Decoder {
    framing: Framing,
    state: State,
    /// Plaintext announced by the chunk sizes so far.
    announced: u64,
    digest: Sha256,
    held: Held,
}

enum State {
    /// Before a chunk: its line so far.
    Line(Vec<u8>),
    Data {
        left: u64,
        signature: Option<[u8; 64]>,
    },
    /// After a chunk's data: the CRLF so far.
    DataEnd {
        carriage_return: bool,
    },
    /// After the last chunk.
    Tail(Vec<u8>),
}

/// Bytes of a chunk whose signature has not been seen to hold yet.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
}

impl Held {
    fn push(&mut self, piece: Bytes) {
        if piece.len() < PIECE_BYTES_MIN {
            self.small.extend_from_slice(&piece);
        } else {
            self.join();
            self.pieces.push_back(piece);
        }
    }

    fn join(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    fn release(&mut self, out: &mut VecDeque<Bytes>) {
        self.join();
        out.append(&mut self.pieces);
    }
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            state: State::Line(Vec::new()),
            announced: 0,
            digest: Sha256::new(),
            held: Held::default(),
        }
    }

    /// Takes the next bytes of the body and appends what has become plaintext to `out`.
    pub(super) fn push(
        &mut self,
        mut bytes: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), ChunkError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Line(line) => {
                    if take_line(line, &mut bytes)? {
                        let line = std::mem::take(line);
                        self.open(&line)?;
                    }
                }
                State::Data { .. } => self.data(&mut bytes, out)?,
                State::DataEnd { carriage_return } => match (bytes.get_u8(), *carriage_return) {
                    (b'\r', false) => *carriage_return = true,
                    (b'\n', true) => self.state = State::Line(Vec::new()),
                    _ => return Err(ChunkError::Malformed),
                },
                State::Tail(tail) => {
                    if tail.len() + bytes.len() > TAIL_BYTES_MAX {
                        return Err(ChunkError::Trailer);
                    }
                    tail.extend_from_slice(&bytes);
                    bytes.clear();
                }
            }
        }
        Ok(())
    }

    /// Verifies the end of the body. Returns the value of the declared trailing checksum.
    pub(super) fn finish(&mut self) -> Result<Option<String>, ChunkError> {
        let State::Tail(tail) = &self.state else { return Err(ChunkError::Ended) };
        let trailer = Trailer::parse(tail, &self.framing)?;
        if self.announced != self.framing.length {
            return Err(ChunkError::DecodedLength);
        }
        if let (true, Some(signer)) = (self.framing.trailer, &mut self.framing.signer) {
            let signature = trailer.signature.ok_or(ChunkError::Trailer)?;
            signer
                .trailer(trailer.canonical.as_bytes(), signature.as_bytes())
                .map_err(|_| ChunkError::Signature)?;
        }
        Ok(trailer.checksum.map(ToOwned::to_owned))
    }

    /// Reads the line of a chunk and begins it.
    fn open(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let (size, signature) = self.chunk_line(line).ok_or(ChunkError::Malformed)?;
        if self.framing.signer.is_some() && size > SIGNED_CHUNK_BYTES_MAX {
            return Err(ChunkError::TooLarge);
        }
        self.announced = self.announced.checked_add(size).ok_or(ChunkError::DecodedLength)?;
        if self.announced > self.framing.length {
            return Err(ChunkError::DecodedLength);
        }
        if size > 0 {
            self.state = State::Data { left: size, signature };
            return Ok(());
        }
        self.close(signature)?;
        self.state = State::Tail(Vec::new());
        Ok(())
    }

    fn chunk_line(&self, line: &[u8]) -> Option<(u64, Option<[u8; 64]>)> {
        let line = line.strip_suffix(b"\r")?;
        let signed = self.framing.signer.is_some();
        let (size, signature) = match line.iter().position(|byte| *byte == b';') {
            Some(at) if signed => {
                let (size, extension) = line.split_at_checked(at)?;
                let signature = extension.get(1..)?.strip_prefix(SIGNATURE)?;
                (size, Some(signature.try_into().ok()?))
            }
            None if !signed => (line, None),
            _ => return None,
        };
        let digits = std::str::from_utf8(size).ok().filter(|size| !size.starts_with('+'))?;
        Some((u64::from_str_radix(digits, 16).ok()?, signature))
    }

    fn data(&mut self, bytes: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        let State::Data { left, signature } = &mut self.state else { return Ok(()) };
        let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
        *left -= available;
        let ended = *left == 0;
        let signature = *signature;
        // The minimum of two lengths, one of which is a usize.
        let piece = bytes.split_to(usize::try_from(available).unwrap_or(bytes.len()));
        if signature.is_some() {
            self.digest.update(&piece);
            self.held.push(piece);
        } else {
            out.push_back(piece);
        }
        if ended {
            self.close(signature)?;
            self.held.release(out);
            self.state = State::DataEnd { carriage_return: false };
        }
        Ok(())
    }

    /// Verifies the chunk that has just become complete.
    fn close(&mut self, signature: Option<[u8; 64]>) -> Result<(), ChunkError> {
        if let (Some(signature), Some(signer)) = (signature, &mut self.framing.signer) {
            let sha256 = self.digest.finalize_reset().into();
            signer.chunk(sha256, &signature).map_err(|_| ChunkError::Signature)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Decoder").field("framing", &self.framing).finish_non_exhaustive()
    }
}

/// Moves bytes into `line` up to a line feed, which is dropped; true when it was there.
fn take_line(line: &mut Vec<u8>, bytes: &mut Bytes) -> Result<bool, ChunkError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let piece = bytes.split_to(end.unwrap_or(bytes.len()));
    if line.len() + piece.len() > LINE_BYTES_MAX {
        return Err(ChunkError::Malformed);
    }
    line.extend_from_slice(&piece);
    if end.is_some() {
        bytes.advance(1);
    }
    Ok(end.is_some())
}

/// The fields of the tail.
#[derive(Debug, Default)]
struct Trailer<'a> {
    checksum: Option<&'a str>,
    signature: Option<&'a str>,
    /// What the trailer signature covers.
    canonical: String,
}

impl<'a> Trailer<'a> {
    /// Accepts the declared checksum, the signature of a signed trailer, and nothing else.
    fn parse(tail: &'a [u8], framing: &Framing) -> Result<Self, ChunkError> {
        let mut trailer = Self::default();
        let mut rest = std::str::from_utf8(tail).map_err(|_| ChunkError::Trailer)?;
        while rest != "\r\n" {
            let (line, after) = rest.split_once('\n').ok_or(ChunkError::Ended)?;
            let line = match line.strip_suffix('\r') {
                Some(line) => {
                    rest = after;
                    line
                }
                None => {
                    rest = after.strip_prefix("\r\n").ok_or(ChunkError::Trailer)?;
                    line
                }
            };
            trailer.field(line, framing)?;
        }
        if framing.checksum.is_some() != trailer.checksum.is_some() {
            return Err(ChunkError::Trailer);
        }
        Ok(trailer)
    }

    fn field(&mut self, line: &'a str, framing: &Framing) -> Result<(), ChunkError> {
        let (name, value) = line.split_once(':').ok_or(ChunkError::Trailer)?;
        let value = value.trim_matches([' ', '\t']);
        let declared = framing.checksum.map(Algorithm::header);
        if declared.is_some_and(|declared| name.eq_ignore_ascii_case(declared))
            && self.checksum.is_none()
        {
            self.canonical = format!("{}:{value}\n", name.to_ascii_lowercase());
            self.checksum = Some(value);
            return Ok(());
        }
        let signed = framing.trailer && framing.signer.is_some();
        if signed && name.eq_ignore_ascii_case(TRAILER_SIGNATURE) && self.signature.is_none() {
            self.signature = Some(value);
            return Ok(());
        }
        Err(ChunkError::Trailer)
    }
}
