//! The task that keeps certificates fresh: it looks every few seconds, and at once when told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::CertStore;

/// A running watch. Dropping it ends the task.
#[derive(Debug)]
pub struct Watch {
    look: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watch {
    /// How often the files are looked at: hashing a few kilobytes costs nothing, and an operator who replaced a
    /// certificate does not want to wait.
    pub const INTERVAL: Duration = Duration::from_secs(5);

    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(store: Arc<CertStore>, interval: Duration) -> Self {
        let look = Arc::new(Notify::new());
        let told = Arc::clone(&look);
        let task = tokio::spawn(async move {
            loop {
                // A timeout is the usual end of this wait.
                let _ = tokio::time::timeout(interval, told.notified()).await;
                let store = Arc::clone(&store);
                if let Err(error) = tokio::task::spawn_blocking(move || look_once(&store)).await {
                    tracing::error!(%error, "the certificate watch could not look");
                }
            }
        });
        Self { look, task }
    }

    /// Asks for a look now (SIGHUP).
    pub fn look(&self) {
        self.look.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look_once(store: &CertStore) {
    let reload = store.reload();
    for error in &reload.problems {
        tracing::error!(error = %chain(error), "a replaced certificate is bad, the one before stays in use");
    }
    if reload.changed {
        let pair = store.default_pair();
        tracing::info!(
            fingerprint = hex::encode(pair.fingerprint),
            not_after = pair.not_after,
            "certificates reloaded"
        );
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
