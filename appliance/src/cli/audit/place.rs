//! Which log is meant: a directory by itself, or the log of a deployment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::Exit;
use crate::cli::exit::failure;
use crate::cli::settings::Settings;

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
    /// The log's directory.
    pub(super) fn dir(&self) -> anyhow::Result<PathBuf> {
        let dir = match &self.audit_dir {
            Some(dir) => dir.clone(),
            None => self.settings.load(BTreeMap::new())?.resolved.audit_dir(),
        };
        match dir.is_dir() {
            true => Ok(dir),
            false => {
                Err(failure(Exit::Usage, format!("`{}` is no audit log directory", dir.display())))
            }
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
