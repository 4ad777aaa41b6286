//! The server certificate while the process lives: watched for replacement, renewed when it is ours and ends soon.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::task::JoinHandle;

use crate::bootstrap::{CertificateSource, Material, Renewal};
use crate::config::{Resolved, Transport};
use crate::tls::{self, CertStore, TlsError, Watch};

/// How often the end of our own certificate is looked at; it is renewed a month before.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(12 * 60 * 60);

/// From here on every look warns.
const WARN_DAYS: i64 = 30;

/// Ownership: the two tasks end when this is dropped.
#[derive(Debug)]
pub(super) struct Certificates {
    store: Arc<CertStore>,
    watch: Arc<Watch>,
    renewal: JoinHandle<()>,
}

impl Certificates {
    /// Opens the certificates and starts to care for them; plain HTTP has none.
    pub(super) fn open(resolved: &Resolved, material: &Material) -> Result<Option<Self>, TlsError> {
        if resolved.transport == Transport::PlainLoopback {
            return Ok(None);
        }
        let store = Arc::new(CertStore::open(&material.paths.certs_dir)?);
        let watch = Arc::new(Watch::start(Arc::clone(&store), Watch::INTERVAL));
        let source = CertificateSource::of(resolved, &material.deployment_id);
        let renewal = tokio::spawn(renew(source, Arc::clone(&store), Arc::clone(&watch)));
        Ok(Some(Self { store, watch, renewal }))
    }

    pub(super) fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        tls::server_config(Arc::clone(&self.store))
    }

    /// Whom SIGHUP tells.
    pub(super) fn looker(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(source: CertificateSource, store: Arc<CertStore>, watch: Arc<Watch>) {
    let mut ticks = tokio::time::interval(RENEWAL_INTERVAL);
    loop {
        ticks.tick().await;
        let source = source.clone();
        let renewed = tokio::task::spawn_blocking(move || source.renew(SystemTime::now())).await;
        match renewed {
            Ok(Ok(Renewal::Issued)) => {
                tracing::info!("the server certificate was renewed");
                watch.look();
            }
            Ok(Ok(Renewal::NotDue)) => {}
            Ok(Ok(Renewal::NotOurs)) => warn_of_ends(&store),
            Ok(Err(error)) => tracing::error!(%error, "the server certificate was not renewed"),
            Err(error) => tracing::error!(%error, "the renewal did not run"),
        }
    }
}

/// The operator's certificates are the operator's to renew; we only say when it is time.
fn warn_of_ends(store: &CertStore) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    for pair in store.pairs() {
        let days = pair.not_after.saturating_sub(now) / (24 * 60 * 60);
        if days <= WARN_DAYS {
            tracing::warn!(days, dir = %pair.dir.display(), "a certificate ends soon");
        }
    }
}
