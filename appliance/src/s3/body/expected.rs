//! What the head of a request promises about its body.

#![deny(clippy::indexing_slicing)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use super::checksum::Algorithm;
use super::chunked::Framing;
use super::error::BodyError;
use crate::s3::auth::{Authenticated, PayloadKind};

/// The promises, parsed; `payload` keeps them.
#[derive(Debug)]
pub(super) struct Expected {
    /// Plaintext bytes. `None` when the client did not say, as HTTP chunked transfers may.
    pub(super) length: Option<u64>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) md5: Option<[u8; 16]>,
    /// `None` for a plain body.
    pub(super) framing: Option<Framing>,
}

/// The checksum that the client declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Header { algorithm: Algorithm, digest: Vec<u8> },
    Trailer { algorithm: Algorithm },
}

impl Declared {
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Header { algorithm, .. } | Self::Trailer { algorithm } => *algorithm,
        }
    }

    /// Reads the checksum headers.
    ///
    /// # Source
    /// Amazon S3 User Guide, "Checking object integrity": one algorithm per request, in a header or in the trailer.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, BodyError> {
        let declared = match (in_header(headers)?, trailing(headers)?) {
            (Some(_), Some(_)) => {
                return Err(BodyError::InvalidRequest(
                    "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
                ));
            }
            (Some(declared), None) => Some(declared),
            (None, trailing) => trailing.map(|algorithm| Self::Trailer { algorithm }),
        };
        let Some(named) = headers.get("x-amz-sdk-checksum-algorithm") else { return Ok(declared) };
        let named = named.to_str().ok().and_then(Algorithm::parse).ok_or(BodyError::InvalidRequest(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256].",
        ))?;
        match declared {
            None => Err(BodyError::InvalidRequest(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                 headers were found.",
            )),
            Some(declared) if declared.algorithm() != named => Err(BodyError::InvalidRequest(
                "Value for x-amz-sdk-checksum-algorithm header is invalid.",
            )),
            declared => Ok(declared),
        }
    }
}

impl Expected {
    pub(super) fn of(
        authenticated: &Authenticated,
        headers: &HeaderMap,
    ) -> Result<Self, BodyError> {
        let kind = kind(authenticated, headers)?;
        let sha256 = match kind {
            PayloadKind::Sha256(sha256) => Some(sha256),
            _ => None,
        };
        let (signed, trailer) = match kind {
            PayloadKind::Sha256(_) | PayloadKind::Unsigned => {
                if headers.contains_key("x-amz-trailer") {
                    return Err(BodyError::InvalidRequest(
                        "x-amz-trailer needs a x-amz-content-sha256 that ends with -TRAILER.",
                    ));
                }
                let length = number(headers, CONTENT_LENGTH.as_str())?;
                return Ok(Self { length, sha256, md5: md5(headers)?, framing: None });
            }
            PayloadKind::SignedChunks { trailer } => (true, trailer),
            PayloadKind::UnsignedChunksTrailer => (false, true),
        };
        let checksum = trailing(headers)?;
        if checksum.is_some() && !trailer {
            return Err(BodyError::InvalidRequest(
                "x-amz-trailer needs a x-amz-content-sha256 that ends with -TRAILER.",
            ));
        }
        let length =
            number(headers, "x-amz-decoded-content-length")?.ok_or(BodyError::MissingLength)?;
        let signer = match authenticated {
            Authenticated::Signed(by) if signed => {
                let missing = BodyError::InvalidRequest("The signature has no key for its chunks.");
                Some(by.chunk_key.clone().ok_or(missing)?)
            }
            _ => None,
        };
        let framing = Some(Framing { signer, trailer, checksum, length });
        Ok(Self { length: Some(length), sha256, md5: md5(headers)?, framing })
    }
}

fn kind(authenticated: &Authenticated, headers: &HeaderMap) -> Result<PayloadKind, BodyError> {
    if let Authenticated::Signed(signed) = authenticated {
        return Ok(signed.payload);
    }
    let Some(value) = headers.get("x-amz-content-sha256") else { return Ok(PayloadKind::Unsigned) };
    match PayloadKind::parse(value.as_bytes()) {
        Some(PayloadKind::SignedChunks { .. }) => {
            Err(BodyError::InvalidRequest("An anonymous request cannot have signed chunks."))
        }
        Some(kind) => Ok(kind),
        None => Err(BodyError::InvalidRequest("x-amz-content-sha256 is not a valid value.")),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, BodyError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or(BodyError::InvalidRequest("The length of the body is not a number."))
}

fn md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, BodyError> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let decoded = STANDARD.decode(value.as_bytes()).ok().and_then(|md5| md5.try_into().ok());
    decoded.map(Some).ok_or(BodyError::InvalidMd5)
}

fn in_header(headers: &HeaderMap) -> Result<Option<Declared>, BodyError> {
    let mut declared = None;
    for algorithm in Algorithm::ALL {
        for value in headers.get_all(algorithm.header()) {
            let digest = value.to_str().ok().and_then(|value| algorithm.decode(value));
            let digest = digest
                .ok_or(BodyError::InvalidRequest("Value for x-amz-checksum header is invalid."))?;
            if declared.replace(Declared::Header { algorithm, digest }).is_some() {
                return Err(BodyError::InvalidRequest(
                    "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
                ));
            }
        }
    }
    Ok(declared)
}

/// The checksum that `x-amz-trailer` announces; no other trailer has a meaning here.
fn trailing(headers: &HeaderMap) -> Result<Option<Algorithm>, BodyError> {
    let mut values = headers.get_all("x-amz-trailer").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.to_str().unwrap_or_default().trim();
    let known =
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name));
    match (known, values.next()) {
        (Some(algorithm), None) => Ok(Some(algorithm)),
        _ => Err(BodyError::InvalidRequest(
            "The value specified in the x-amz-trailer header is not supported.",
        )),
    }
}
