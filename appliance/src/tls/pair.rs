//! One certificate chain with its private key, checked to belong together.
#![deny(clippy::indexing_slicing)]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::TlsError;

/// Chains and keys are a few kilobytes; a wrong path should not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A pair ready for handshakes.
#[derive(Clone, Debug)]
pub struct Pair {
    pub dir: PathBuf,
    /// DNS names of the certificate in lower case; wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// When the certificate ends, in seconds since the epoch.
    pub not_after: i64,
    /// SHA-256 of the first certificate.
    pub fingerprint: [u8; 32],
    pub(super) certified: Arc<CertifiedKey>,
}

impl Pair {
    /// Reads `public.crt` and `private.key`.
    ///
    /// # Errors
    /// A file cannot be read or parsed, or the two do not belong together.
    pub fn read(dir: &Path) -> Result<Self, TlsError> {
        let (crt, key) = (dir.join("public.crt"), dir.join("private.key"));
        let chain = certificates(&crt)?;
        let key_der = private_key(&key)?;
        let first = chain.first().ok_or_else(|| no_certificate(&crt, "there is none"))?;
        let (names, not_after) = facts(&crt, first)?;
        let fingerprint = Sha256::digest(first).into();
        let certified = CertifiedKey::from_der(chain, key_der, &aws_lc_rs::default_provider())
            .map_err(|source| TlsError::Mismatch { path: key, source })?;
        Ok(Self {
            dir: dir.to_owned(),
            names,
            not_after,
            fingerprint,
            certified: Arc::new(certified),
        })
    }
}

/// All certificates of a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| no_certificate(path, &error.to_string()))
}

/// Reads a whole file within its limit.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| TlsError::Parse {
        what: "private key",
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

fn facts(path: &Path, der: &CertificateDer<'_>) -> Result<(Vec<String>, i64), TlsError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| no_certificate(path, &error.to_string()))?;
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => dns_names(&extension.value.general_names),
        _ => Vec::new(),
    };
    Ok((names, certificate.validity().not_after.timestamp()))
}

fn dns_names(names: &[GeneralName<'_>]) -> Vec<String> {
    names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

fn no_certificate(path: &Path, problem: &str) -> TlsError {
    TlsError::Parse { what: "certificate", path: path.to_owned(), problem: problem.to_owned() }
}
