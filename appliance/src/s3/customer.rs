//! SSE-C: the key that a client brings along with each request for an object.
//!
//! # Source
//! Amazon S3 User Guide, "Using server-side encryption with customer-provided keys (SSE-C)".

#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use md5::{Digest, Md5};
use storage::{SseInfo, SseKind};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::{Code, S3Error};
use super::object_headers::put;
use super::request::{Call, header};
use crate::authz::Permit;
use crate::kms::{Audited, CustomerKey};

/// The names of one set of headers; a copy has two.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    algorithm: &'static str,
    key: &'static str,
    key_md5: &'static str,
}

/// Of the object that is read or written.
pub const OBJECT: Names = Names {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    key_md5: "x-amz-server-side-encryption-customer-key-md5",
};

/// Of the object that a copy reads.
pub const COPY_SOURCE: Names = Names {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    key_md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// A customer's key, checked against the digest that came with it.
#[derive(Clone, Debug)]
pub struct Customer {
    key: Arc<CustomerKey>,
    /// Base64, as it came.
    key_md5: String,
}

impl Customer {
    /// Reads the key of a request; `None` when it brings none.
    ///
    /// # Errors
    /// `InvalidRequest` over plain HTTP, where the key would be everybody's; `InvalidEncryptionAlgorithmError`;
    /// `InvalidArgument` for a key that is not 256 bits or not the one of its digest. None repeats the key.
    pub fn of(names: &Names, headers: &HeaderMap, is_tls: bool) -> Result<Option<Self>, S3Error> {
        let part = |name| header(headers, name);
        let (algorithm, key, key_md5) =
            match (part(names.algorithm), part(names.key), part(names.key_md5)) {
                (None, None, None) => return Ok(None),
                parts => parts,
            };
        if !is_tls {
            return Err(Code::InvalidRequest.because(
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
            ));
        }
        if algorithm != Some("AES256") {
            return Err(S3Error::new(
                "InvalidEncryptionAlgorithmError",
                400,
                "The Encryption request you specified is not valid. Supported value: AES256.",
            ));
        }
        let decoded = key.and_then(|key| STANDARD.decode(key).ok()).map(Zeroizing::new);
        let bytes: Option<[u8; 32]> = decoded.and_then(|bytes| bytes.as_slice().try_into().ok());
        let bytes = Zeroizing::new(bytes.ok_or_else(|| {
            Code::InvalidArgument.because("The secret key was invalid for the specified algorithm.")
        })?);
        let key_md5 = key_md5.unwrap_or_default();
        let given = STANDARD.decode(key_md5).unwrap_or_default();
        if !bool::from(Md5::digest(bytes.as_slice()).as_slice().ct_eq(&given)) {
            return Err(Code::InvalidArgument.because(
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            ));
        }
        Ok(Some(Self { key: Arc::new(CustomerKey::new(*bytes)), key_md5: key_md5.to_owned() }))
    }

    /// Says which key was used, in the words of the request. Clients compare it.
    pub fn answer(customer: Option<&Self>, headers: &mut HeaderMap) {
        if let Some(customer) = customer {
            put(headers, OBJECT.key_md5, &customer.key_md5);
        }
    }
}

impl Call {
    /// The key that this request brings along under these names.
    ///
    /// # Errors
    /// As [`Customer::of`].
    pub fn customer(&self, names: &Names) -> Result<Option<Customer>, S3Error> {
        Customer::of(names, &self.headers, self.scope.connection.tls.is_some())
    }
}

/// The keys that seal what is written: the customer's if there is one.
pub fn write_keys<O>(permit: &Permit<O>, customer: Option<&Customer>) -> Arc<Audited> {
    permit.keys_under(customer.map(|customer| Arc::clone(&customer.key)))
}

/// The keys that open what is stored.
///
/// # Errors
/// `InvalidRequest` when the object needs the customer's key and there is none, or the other way round.
pub fn read_keys<O>(
    permit: &Permit<O>,
    stored: &SseInfo,
    customer: Option<&Customer>,
) -> Result<Arc<Audited>, S3Error> {
    match (stored.kind, customer) {
        (SseKind::Customer, None) => Err(Code::InvalidRequest.because(
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )),
        (SseKind::S3 | SseKind::Kms, Some(_)) => Err(Code::InvalidRequest
            .because("The encryption parameters are not applicable to this object.")),
        (SseKind::Customer, Some(_)) | (SseKind::S3 | SseKind::Kms, None) => {
            Ok(write_keys(permit, customer))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const MD5: &str = "tP/LI3N87DFaSk0aoqYgzg==";

    fn read(parts: [&'static str; 3], is_tls: bool) -> Result<Option<Customer>, S3Error> {
        let names = [OBJECT.algorithm, OBJECT.key, OBJECT.key_md5].into_iter();
        let pairs = names.zip(parts).filter(|(_, value)| !value.is_empty());
        let header =
            |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Customer::of(&OBJECT, &pairs.map(header).collect(), is_tls)
    }

    #[test]
    fn a_key_needs_tls_its_algorithm_its_length_and_its_digest() {
        let bytes = STANDARD.decode(KEY).unwrap();
        let md5 = STANDARD.encode(Md5::digest(&bytes));
        assert_eq!(md5, MD5);
        assert!(read(["", "", ""], false).unwrap().is_none());
        let customer = read(["AES256", KEY, MD5], true).unwrap().unwrap();
        let shown = format!("{customer:?}");
        assert!(!shown.contains(KEY) && shown.contains("redacted"), "{shown}");
        for (parts, code) in [
            (["", KEY, MD5], "InvalidEncryptionAlgorithmError"),
            (["aws:kms", KEY, MD5], "InvalidEncryptionAlgorithmError"),
            (["AES256", "", MD5], "InvalidArgument"),
            (["AES256", "AAEC", MD5], "InvalidArgument"),
            (["AES256", KEY, ""], "InvalidArgument"),
            (["AES256", KEY, "1B2M2Y8AsgTpgAmY7PhCfg=="], "InvalidArgument"),
        ] {
            assert_eq!(read(parts, true).unwrap_err().code, code, "{parts:?}");
        }
        assert_eq!(read(["AES256", KEY, MD5], false).unwrap_err().code, "InvalidRequest");
    }
}
