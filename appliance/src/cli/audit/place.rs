//! Which log is meant: a directory by itself, or the log of a deployment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::cli::Exit;
use crate::cli::exit::failure;
use crate::cli::settings::Settings;
use crate::config::Resolved;

/// Longest number that is a place and not an event; events have 26 characters.
const SEQ_DIGITS_MAX: usize = 20;

/// Options that say which log is meant.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    settings: Settings,
    /// A log directory by itself, such as a copy; DATA_DIR/audit otherwise.
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
}

impl Place {
    /// The same options about a directory by itself.
    pub(super) fn at(&self, dir: PathBuf) -> Self {
        Self { audit_dir: Some(dir), ..self.clone() }
    }

    /// The configuration, for a log that is somewhere else.
    pub(super) fn resolved(&self) -> anyhow::Result<Resolved> {
        Ok(self.settings.load(BTreeMap::new())?.resolved)
    }

    /// The directory of the log's first copy.
    pub(super) fn dir(&self) -> anyhow::Result<PathBuf> {
        Self::is_log(match &self.audit_dir {
            Some(dir) => dir.clone(),
            None => self.settings.load(BTreeMap::new())?.resolved.audit_dir(),
        })
    }

    /// The directory to read records from: of several copies one that the server uses, or used last.
    pub(super) fn readable(&self) -> anyhow::Result<PathBuf> {
        if self.audit_dir.is_some() {
            return self.dir();
        }
        let resolved = self.settings.load(BTreeMap::new())?.resolved;
        // Before the first start with several copies there is the first alone.
        match std::fs::symlink_metadata(resolved.audit_readable()) {
            Ok(_) => Self::is_log(resolved.audit_readable()),
            Err(_) => self.dir(),
        }
    }

    fn is_log(dir: PathBuf) -> anyhow::Result<PathBuf> {
        match dir.is_dir() {
            true => Ok(dir),
            false => {
                Err(failure(Exit::Usage, format!("`{}` is no audit log directory", dir.display())))
            }
        }
    }

    /// Every copy of the log that is there.
    pub(super) fn copies(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut copies = match &self.audit_dir {
            Some(dir) => vec![dir.clone()],
            None => {
                let resolved = self.resolved()?;
                let first = resolved.audit_dir();
                std::iter::once(first).chain(resolved.audit_mirrors).collect()
            }
        };
        copies.retain(|copy| copy.is_dir());
        Ok(copies)
    }

    /// The other copies of the log that the configuration names; a directory by itself has none.
    pub(super) fn mirrors(&self) -> anyhow::Result<Vec<PathBuf>> {
        match &self.audit_dir {
            Some(_) => Ok(Vec::new()),
            None => Ok(self.settings.load(BTreeMap::new())?.resolved.audit_mirrors),
        }
    }

    /// The verifier key: text, a file of it, or the deployment's own.
    pub(super) fn vkey(&self, given: Option<&str>) -> anyhow::Result<String> {
        let path = match given {
            Some(text) if text.contains('+') && !PathBuf::from(text).is_file() => {
                return Ok(text.trim().to_owned());
            }
            Some(path) => PathBuf::from(path),
            None if self.audit_dir.is_some() => {
                return Err(failure(
                    Exit::Usage,
                    "a log by itself needs --vkey, from somewhere else than the log's own directory",
                ));
            }
            None => self.settings.load(BTreeMap::new())?.resolved.config_dir().join("audit.vkey"),
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading the verifier key `{}`", path.display()))?;
        Ok(text.trim().to_owned())
    }
}

/// The record that an event id or a place in the log names.
pub(super) fn record(dir: &Path, which: &str) -> anyhow::Result<Vec<u8>> {
    let seq = which.parse::<u64>().ok().filter(|_| which.len() <= SEQ_DIGITS_MAX);
    let found = match seq {
        Some(seq) => audit::read_record(dir, seq),
        None => audit::find_event(dir, which),
    };
    if let Some(leaf) = found.with_context(|| format!("searching `{}`", dir.display()))? {
        return Ok(leaf);
    }
    let absent = match (audit::pruned(dir).context("reading what was pruned")?, seq) {
        (Some(pruned), Some(seq)) if seq < pruned.end => format!("record {seq} was {pruned}"),
        (Some(pruned), None) => format!(
            "there is no record `{which}`; those before record {} were {pruned}",
            pruned.end
        ),
        _ => format!("there is no record `{which}`"),
    };
    Err(failure(Exit::NotFound, absent))
}

/// Where a record says it stands.
pub(super) fn seq(leaf: &[u8]) -> anyhow::Result<u64> {
    let value: serde_json::Value = serde_json::from_slice(leaf).context("reading the record")?;
    value.get("seq").and_then(serde_json::Value::as_u64).context("the record has no `seq`")
}
