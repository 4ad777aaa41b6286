//! The first run makes an appliance out of an empty directory; every later run finds the same one there.
//!
//! A deployment exists once `config/deployment.json` does, and that file is written last. Before that moment no object
//! and no record can exist, so a first run that was interrupted is simply continued: files that are there are kept,
//! missing ones are made. After that moment nothing is ever made again: a missing key is an error, because a new one
//! would silently orphan what the old one sealed or signed.

mod authority;
mod deployment;
pub(crate) mod durable;
mod keys;
mod root;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use audit::note::Vkey;
use audit::{Ed25519Signer, Signer, Signers};
use zeroize::Zeroizing;

pub use crate::config::RootCredentials;
use crate::config::{Resolved, Transport};

pub use authority::{CertificateSource, Renewal};
use deployment::Deployment;

/// Opens a deployment, or makes one.
#[derive(Debug)]
pub struct Bootstrap;

/// What a deployment is made of: identity, keys, root credentials and where they lie.
///
/// Ownership: made once by [`Bootstrap`] and consumed by the composition root.
#[derive(Debug)]
pub struct Material {
    /// A UUID in its usual text form.
    pub deployment_id: String,
    /// Twelve digits derived from the deployment id: the account part of ARNs.
    pub account: String,
    /// The audit log's origin, `appliance.local/<first eight of the deployment id>`.
    pub origin: String,
    /// Seed of the key that signed the log first.
    pub audit_seed: Zeroizing<[u8; 32]>,
    /// Seeds of the keys that came later, in no order; some may never have signed.
    pub audit_seeds_later: Vec<Zeroizing<[u8; 32]>>,
    pub kms_root_key: Zeroizing<[u8; 32]>,
    pub row_key: Zeroizing<[u8; 32]>,
    pub root: RootCredentials,
    pub root_source: RootSource,
    /// True when this call created the deployment.
    pub first_run: bool,
    pub paths: Paths,
}

/// Where root credentials came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// By the operator; never written down by us.
    Given,
    /// By us, and nobody has been told yet: see [`Paths::announced`].
    Generated,
    /// By us, in an earlier run that told them.
    Stored,
}

/// Where the parts of a deployment lie.
#[derive(Clone, Debug)]
pub struct Paths {
    pub config_dir: PathBuf,
    pub audit_dir: PathBuf,
    pub certs_dir: PathBuf,
    /// The certificate that clients must trust: our CA's, or the operator's own `public.crt`.
    pub ca_cert: PathBuf,
    /// The verifier key of the audit log, for auditors: its first one, which the later ones follow from.
    pub audit_vkey: PathBuf,
    /// The file for the generated credentials when nobody sits at a terminal.
    pub root_credentials: PathBuf,
}

impl Bootstrap {
    /// Opens the deployment in `resolved.data_dir`; an empty directory becomes one.
    ///
    /// Durability: when this returns, everything that it made survives power loss. Two calls for one directory take
    /// turns.
    ///
    /// # Errors
    /// See [`BootstrapError`]; nothing that was there before is changed by a failed call.
    pub fn open_or_create(resolved: &Resolved) -> Result<Material, BootstrapError> {
        Self::open_or_create_at(resolved, SystemTime::now())
    }

    /// As [`Self::open_or_create`], at a given time: it dates the certificates.
    ///
    /// # Errors
    /// As there.
    pub fn open_or_create_at(
        resolved: &Resolved,
        now: SystemTime,
    ) -> Result<Material, BootstrapError> {
        let config_dir = resolved.config_dir();
        durable::create_private_dir(&config_dir)?;
        let _turn = durable::lock(&config_dir.join("LOCK"))?;
        let stored = Deployment::read(&config_dir)?;
        if stored.is_none() {
            refuse_orphans(resolved)?;
        }
        let deployment = match &stored {
            Some(deployment) => deployment.clone(),
            None => Deployment::begin(&config_dir)?,
        };
        let keys = keys::open(&config_dir, stored.as_ref())?;
        let (root, root_source) = root::open(&config_dir, resolved.root.as_ref())?;
        let ca_cert = certificates(resolved, &deployment.id, now)?;
        let origin = deployment.origin();
        let vkey = Ed25519Signer::from_seed(&origin, &keys.audit).vkey();
        let audit_vkey = config_dir.join("audit.vkey");
        durable::write_if_missing(
            &audit_vkey,
            format!("{vkey}\n").as_bytes(),
            durable::Access::Public,
        )?;
        if stored.is_none() {
            deployment.commit(&config_dir, &keys)?;
        }
        Ok(Material {
            account: deployment.account(),
            origin,
            audit_seed: keys.audit,
            audit_seeds_later: keys.audit_later,
            kms_root_key: keys.kms,
            row_key: keys.row,
            root,
            root_source,
            first_run: stored.is_none(),
            paths: Paths {
                audit_dir: resolved.audit_dir(),
                certs_dir: resolved.certs_dir.clone(),
                ca_cert,
                audit_vkey,
                root_credentials: config_dir.join("bootstrap/root-credentials"),
                config_dir,
            },
            deployment_id: deployment.id,
        })
    }
}

impl Material {
    /// Every key that the log may be signed with.
    #[must_use]
    pub fn audit_signers(&self) -> Signers {
        let signer = |seed: &Zeroizing<[u8; 32]>| -> Arc<dyn Signer> {
            Arc::new(Ed25519Signer::from_seed(&self.origin, seed))
        };
        Signers::new(signer(&self.audit_seed), self.audit_seeds_later.iter().map(signer))
    }

    /// The verifier key that auditors have.
    #[must_use]
    pub fn audit_vkey(&self) -> Vkey {
        Ed25519Signer::from_seed(&self.origin, &self.audit_seed).verifier().clone()
    }

    /// Writes the root credentials where a script finds them, readable by this user only, and returns the path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_root_credentials(&self) -> Result<&Path, BootstrapError> {
        root::export(&self.paths.root_credentials, &self.root)?;
        Ok(&self.paths.root_credentials)
    }
}

impl Paths {
    /// Puts the secret of a key that is to sign the log where the next start finds it, durable on return.
    ///
    /// # Errors
    /// The file cannot be written, or does not read back.
    pub fn store_audit_key(
        config_dir: &Path,
        vkey: &Vkey,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<(), BootstrapError> {
        keys::store_audit(config_dir, vkey, seed)
    }

    /// Notes that generated credentials reached somebody. Until then every start offers them again, so that a start that
    /// fails before it could print them loses nothing.
    ///
    /// # Errors
    /// The note cannot be written; the credentials will be offered once more.
    pub fn announced(&self) -> Result<(), BootstrapError> {
        root::announced(&self.config_dir)
    }
}

/// Makes sure there is a server certificate, ours or the operator's; plain HTTP needs none.
fn certificates(
    resolved: &Resolved,
    deployment_id: &str,
    now: SystemTime,
) -> Result<PathBuf, BootstrapError> {
    let source = CertificateSource::of(resolved, deployment_id);
    match resolved.transport {
        Transport::PlainLoopback => Ok(source.ca_cert()),
        Transport::Tls => source.ensure(now),
    }
}

/// Data without a deployment: somebody deleted `deployment.json`, or pointed us at another deployment's drives. New
/// keys could read none of it, so it is refused before anything is made.
fn refuse_orphans(resolved: &Resolved) -> Result<(), BootstrapError> {
    let audit_dir = resolved.audit_dir();
    for dir in resolved.drives.iter().chain([&audit_dir]) {
        let occupied = match std::fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(source) => {
                return Err(BootstrapError::Io { doing: "reading", path: dir.clone(), source });
            }
        };
        if occupied {
            return Err(BootstrapError::Orphans {
                path: dir.clone(),
                config_dir: resolved.config_dir(),
            });
        }
    }
    Ok(())
}

/// Why a deployment cannot be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    #[error("{doing} `{}`", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("`{}` is damaged: {problem}; restore it from a backup", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error(
        "`{}` has format {found}, and this release reads up to {known}: it was written by a newer release",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u64, known: u64 },
    #[error(
        "`{}` is missing and cannot be made again: data of deployment {deployment} depends on it; restore it from a \
         backup",
        path.display()
    )]
    KeyMissing { path: PathBuf, deployment: String },
    #[error("`{}` belongs to another deployment than {deployment}", path.display())]
    OtherDeployment { path: PathBuf, deployment: String },
    #[error(
        "`{}` holds data of a deployment whose configuration is not in `{}`: restore the configuration directory, or \
         give an empty directory",
        path.display(),
        config_dir.display()
    )]
    Orphans { path: PathBuf, config_dir: PathBuf },
    #[error(
        "`{}` has no {missing} beside it; a certificate needs both `public.crt` and `private.key`",
        path.display()
    )]
    HalfPair { path: PathBuf, missing: &'static str },
    #[error(
        "everybody on this machine can read the secret in `{shown}`; run `chmod 600 {shown}`, and consider whether it is \
         still one",
        shown = path.display()
    )]
    Exposed { path: PathBuf },
    #[error("making a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("the operating system gave no random bytes: {0}")]
    Entropy(getrandom::Error),
}

#[cfg(test)]
mod tests;
