//! Options that every verb which reads the configuration has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{self, ConfigError, Loaded, Sources};

/// Where a configuration file is looked for when nobody names one.
const USUAL_FILES: [&str; 2] = ["appliance.toml", "/etc/appliance/appliance.toml"];

/// The configuration and the deployment that are meant.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Settings {
    /// Configuration file; APPLIANCE_CONFIG, ./appliance.toml and /etc/appliance/appliance.toml otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Configuration, audit log and default drives; ./appliance-data otherwise.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl Settings {
    /// Loads the configuration with `flags` as its strongest layer.
    pub(super) fn load(
        &self,
        mut flags: BTreeMap<&'static str, Vec<String>>,
    ) -> Result<Loaded, ConfigError> {
        if let Some(data_dir) = &self.data_dir {
            flags.insert("data_dir", vec![data_dir.clone()]);
        }
        // Variables that are not text cannot be ours.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named =
            self.config.clone().or_else(|| environment.get("APPLIANCE_CONFIG").map(PathBuf::from));
        let usual = || USUAL_FILES.iter().map(PathBuf::from).find(|path| path.is_file());
        config::load(&Sources { flags, environment, file: named.or_else(usual) })
    }
}

/// The path from the root, for text that is copied to another shell. Symbolic links stay as they are.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
