//! Our own small certificate authority, and the server certificate that it issues and renews.
//!
//! The operator's certificate always wins: a pair in the certificates directory that our CA did not issue is never
//! touched. A private key is never overwritten, whoever made it; a renewal signs a new certificate for the same key.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::{BootstrapError, durable};
use crate::config::Resolved;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years: clients pin the CA, so it should outlive the machine.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Ninety days: short enough that renewal is exercised, long enough to survive a holiday.
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A third of the life is left when it is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Clients' clocks may be behind ours.
const BACKDATE: Duration = Duration::from_secs(60 * 60);

/// Where the server certificate comes from and what it must say.
#[derive(Clone, Debug)]
pub struct CertificateSource {
    ca_dir: PathBuf,
    certs_dir: PathBuf,
    deployment_id: String,
    names: Vec<String>,
}

/// What [`CertificateSource::renew`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    NotOurs,
    NotDue,
    Issued,
}

impl CertificateSource {
    #[must_use]
    pub fn of(resolved: &Resolved, deployment_id: &str) -> Self {
        Self {
            ca_dir: resolved.config_dir().join("ca"),
            certs_dir: resolved.certs_dir.clone(),
            deployment_id: deployment_id.to_owned(),
            names: names(resolved.address.ip()),
        }
    }

    /// The certificate that clients must trust.
    #[must_use]
    pub fn ca_cert(&self) -> PathBuf {
        let ours = self.ca_dir.join("ca.crt");
        if ours.is_file() { ours } else { self.certs_dir.join("public.crt") }
    }

    /// Makes sure that a pair is there, and returns the certificate that clients must trust.
    pub(super) fn ensure(&self, now: SystemTime) -> Result<PathBuf, BootstrapError> {
        let (crt, key) = self.pair();
        match (crt.is_file(), key.is_file()) {
            (true, false) => Err(BootstrapError::HalfPair { path: crt, missing: "private.key" }),
            (true, true) => {
                // Ours or not: a due renewal is not a reason to refuse the start.
                if let Err(error) = self.renew(now) {
                    tracing::warn!(%error, "the server certificate could not be renewed");
                }
                Ok(if self.is_ours()? { self.ca_dir.join("ca.crt") } else { crt })
            }
            (false, _) => {
                self.issue(now)?;
                Ok(self.ca_dir.join("ca.crt"))
            }
        }
    }

    /// Issues a new certificate if ours ends soon or lacks a name that it should have.
    ///
    /// # Errors
    /// Reading, signing or writing failed; the old certificate stays.
    pub fn renew(&self, now: SystemTime) -> Result<Renewal, BootstrapError> {
        if !self.is_ours()? {
            return Ok(Renewal::NotOurs);
        }
        let (path, _) = self.pair();
        let der = first_certificate(&path)?;
        let (_, leaf) = X509Certificate::from_der(&der).map_err(|_| damaged(&path))?;
        let left = leaf.validity().not_after.timestamp() - unix_seconds(now);
        let due = left < i64::try_from(RENEW_BEFORE.as_secs()).unwrap_or(i64::MAX);
        if !due && self.names.iter().all(|name| has_name(&leaf, name)) {
            return Ok(Renewal::NotDue);
        }
        self.issue(now)?;
        Ok(Renewal::Issued)
    }

    fn pair(&self) -> (PathBuf, PathBuf) {
        (self.certs_dir.join("public.crt"), self.certs_dir.join("private.key"))
    }

    /// Whether our CA issued the certificate: its subject carries the deployment's id.
    fn is_ours(&self) -> Result<bool, BootstrapError> {
        let ca = self.ca_dir.join("ca.crt");
        let (crt, _) = self.pair();
        if !ca.is_file() || !crt.is_file() {
            return Ok(false);
        }
        let (ca_der, crt_der) = (first_certificate(&ca)?, first_certificate(&crt)?);
        let (_, ca_cert) = X509Certificate::from_der(&ca_der).map_err(|_| damaged(&ca))?;
        let (_, leaf) = X509Certificate::from_der(&crt_der).map_err(|_| damaged(&crt))?;
        Ok(leaf.issuer().as_raw() == ca_cert.subject().as_raw())
    }

    /// Signs a certificate for the private key in place, or for a new one.
    fn issue(&self, now: SystemTime) -> Result<(), BootstrapError> {
        let (crt_path, key_path) = self.pair();
        let (ca_pem, ca_key) = self.authority(now)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key)?;
        let key = key_at(&key_path)?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = common_name(self.names.first().map_or("appliance", |n| n));
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + LEAF_LIFETIME).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer)?;
        let chain = format!("{}{ca_pem}", leaf.pem());
        durable::write(
            &crt_path,
            chain.as_bytes(),
            durable::Access::Public,
            durable::Existing::Replace,
        )?;
        Ok(())
    }

    /// The CA's certificate and key, made if missing.
    fn authority(&self, now: SystemTime) -> Result<(String, KeyPair), BootstrapError> {
        let path = self.ca_dir.join("ca.crt");
        let key = key_at(&self.ca_dir.join("ca.key"))?;
        if !path.is_file() {
            let short: String = self.deployment_id.chars().take(8).collect();
            let mut params = CertificateParams::default();
            params.distinguished_name = common_name(&format!("appliance CA {short}"));
            params.not_before = (now - DAY).into();
            params.not_after = (now + CA_LIFETIME).into();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let pem = params.self_signed(&key)?.pem();
            durable::write_if_missing(&path, pem.as_bytes(), durable::Access::Public)?;
        }
        Ok((read_text(&path)?, key))
    }
}

/// Names that a client on this machine or beside it will use.
fn names(bound: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    // Where there is no such file, the certificate goes without the host's name.
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hostname = hostname.trim();
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !hostname.is_empty() && hostname != "localhost" && hostname.chars().all(usable) {
        names.push(hostname.to_owned());
    }
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    let bound = bound.to_string();
    if !names.contains(&bound) && bound != "0.0.0.0" && bound != "::" {
        names.push(bound);
    }
    names
}

fn has_name(leaf: &X509Certificate<'_>, wanted: &str) -> bool {
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else { return false };
    let octets = match wanted.parse() {
        Ok(IpAddr::V4(ip)) => Some(ip.octets().to_vec()),
        Ok(IpAddr::V6(ip)) => Some(ip.octets().to_vec()),
        Err(_) => None,
    };
    alternatives.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(name) => name.eq_ignore_ascii_case(wanted),
        GeneralName::IPAddress(ip) => octets.as_deref() == Some(*ip),
        _ => false,
    })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Reads a private key, or makes one there: ECDSA P-256, which every client accepts.
fn key_at(path: &Path) -> Result<KeyPair, BootstrapError> {
    if !path.is_file() {
        let key = KeyPair::generate()?;
        let pem = Zeroizing::new(key.serialize_pem());
        durable::write_if_missing(path, pem.as_bytes(), durable::Access::Private)?;
    }
    Ok(KeyPair::from_pem(&Zeroizing::new(read_text(path)?))?)
}

fn read_text(path: &Path) -> Result<String, BootstrapError> {
    let bytes = durable::read(path)?.ok_or_else(|| damaged(path))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged(path))
}

fn first_certificate(path: &Path) -> Result<Vec<u8>, BootstrapError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let text = read_text(path)?;
    let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| damaged(path))?;
    Ok(der.to_vec())
}

fn damaged(path: &Path) -> BootstrapError {
    BootstrapError::Damaged { path: path.to_owned(), problem: "it is no certificate or key".into() }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
