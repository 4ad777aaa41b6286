//! The first run makes an appliance out of an empty directory; every later run finds the same one there.

use std::path::PathBuf;

use zeroize::Zeroizing;

pub use crate::config::RootCredentials;

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
    pub audit_seed: Zeroizing<[u8; 32]>,
    pub kms_root_key: Zeroizing<[u8; 32]>,
    pub row_key: Zeroizing<[u8; 32]>,
    pub root: RootCredentials,
    /// True when this call created the deployment.
    pub first_run: bool,
    pub paths: Paths,
}

/// Where the parts of a deployment lie.
#[derive(Clone, Debug)]
pub struct Paths {
    pub config_dir: PathBuf,
    pub audit_dir: PathBuf,
    pub certs_dir: PathBuf,
    /// The certificate that clients must trust, if the server certificate is ours.
    pub ca_cert: PathBuf,
    /// The verifier key of the audit log, for auditors.
    pub audit_vkey: PathBuf,
    /// Written on the first run only, and only when the credentials are ours.
    pub root_credentials: PathBuf,
}
