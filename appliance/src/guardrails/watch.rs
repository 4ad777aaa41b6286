//! Looks at the directory every few seconds, and puts in force what has settled and compiles.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use audit::{Class, Clock, ErrorInfo, Log, Record};
use tokio::task::JoinHandle;

use super::Files;
use crate::authz::Gate;
use crate::recorder::event_id;
use crate::telemetry::Metrics;

/// A running watch. Dropping it ends the task.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    /// A change is in force after two to three of these.
    pub const INTERVAL: Duration = Duration::from_secs(2);

    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(mut looker: Looker, interval: Duration) -> Self {
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let look = tokio::task::spawn_blocking(move || {
                    looker.look();
                    looker
                });
                match look.await {
                    Ok(again) => looker = again,
                    Err(error) => {
                        tracing::error!(%error, "the guardrails watch ended: changes need a restart");
                        return;
                    }
                }
            }
        });
        Self { task }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the watch knows between two looks.
///
/// Ownership: the watch's task alone.
pub struct Looker {
    dir: PathBuf,
    gate: Arc<Gate>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// What was compiled last, with or without success.
    done: Result<Files, String>,
    /// What the last look saw. A copy of several files is not taken half way: only what is seen twice counts.
    seen: Result<Files, String>,
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Looker").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Looker {
    /// Takes the directory as it is now for what is in force. Between loading and this call it should not change; if it
    /// does, the next change puts it right.
    #[must_use]
    pub fn new(
        dir: PathBuf,
        gate: Arc<Gate>,
        log: Arc<Log>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let now = read(&dir);
        Self { dir, gate, log, clock, metrics, done: now.clone(), seen: now }
    }

    /// One look.
    pub fn look(&mut self) {
        let now = read(&self.dir);
        let has_settled = now == self.seen;
        self.seen = now.clone();
        if !has_settled || now == self.done {
            return;
        }
        let before = std::mem::replace(&mut self.done, now);
        match self.put_in_force(&before) {
            Ok(digest) => {
                tracing::info!(sha256 = digest, "guardrails reloaded");
                self.metrics.guardrails_loaded(true);
                self.record(Some(&digest), None);
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the guardrails on disk are bad, those before stay in force"
                );
                self.metrics.guardrails_loaded(false);
                self.record(None, Some(error));
            }
        }
    }

    /// Compiles what was read last; answers its digest.
    fn put_in_force(&self, before: &Result<Files, String>) -> anyhow::Result<String> {
        let files = self.done.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let had_files = before.as_ref().is_ok_and(|before| before.exists);
        if had_files && !files.exists {
            bail!("{} is gone; an empty directory means no guardrails", self.dir.display());
        }
        self.gate.set_rules(files.compile()?);
        Ok(hex::encode(files.digest()))
    }

    /// The change, or that there was none, in the audit log.
    fn record(&self, digest: Option<&str>, error: Option<String>) {
        let event = event_id(self.clock.now_us());
        let mut record = Record::new(Class::Admin, "policy:LoadGuardrails", event);
        record.params.insert("directory".into(), self.dir.display().to_string());
        if let Some(digest) = digest {
            record.params.insert("sha256".into(), digest.to_owned());
        }
        record.err = error.map(|msg| ErrorInfo { code: "GuardrailsRefused".into(), msg });
        if let Err(error) = self.log.append(&record) {
            tracing::error!(%error, "a change of the guardrails could not be recorded");
        }
    }
}

fn read(dir: &std::path::Path) -> Result<Files, String> {
    Files::read(dir).map_err(|error| format!("{error:#}"))
}
