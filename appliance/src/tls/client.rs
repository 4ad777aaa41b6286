//! The client side of a handshake: whom outgoing connections trust, and who we are on them.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, certs, pair};
use crate::siem::ClientTls;

/// A configuration that trusts the named authorities, or else those of the system, of `certs_dir/CAs/` and the server's
/// own, and that shows the named certificate.
///
/// # Errors
/// A named file cannot be read or used. Authorities of the system that cannot be used are skipped.
pub fn client_config(client: &ClientTls, certs_dir: &Path) -> Result<ClientConfig, TlsError> {
    trusting(client, certs_dir, None)
}

/// The same, which also trusts the authority of a deployment unless others are named.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_beside(
    client: &ClientTls,
    certs_dir: &Path,
    own_ca: &Path,
) -> Result<ClientConfig, TlsError> {
    trusting(client, certs_dir, Some(own_ca).filter(|path| path.is_file()))
}

fn trusting(
    client: &ClientTls,
    certs_dir: &Path,
    own_ca: Option<&Path>,
) -> Result<ClientConfig, TlsError> {
    let roots = match &client.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in pair::certificates(path)? {
                roots.add(certificate)?;
            }
            // An empty file would trust nobody, and say so only at the first handshake.
            if roots.is_empty() {
                return Err(TlsError::Parse {
                    what: "certificate",
                    path: path.clone(),
                    problem: "there is none".into(),
                });
            }
            roots
        }
        None => {
            let mut roots = certs::authorities(certs_dir);
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            for certificate in own_ca.map(pair::certificates).transpose()?.unwrap_or_default() {
                roots.add(certificate)?;
            }
            roots
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &client.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            builder.with_client_auth_cert(pair::certificates(chain)?, pair::private_key(key)?)?
        }
    })
}
