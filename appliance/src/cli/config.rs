//! `appliance config show`: every key, its value, and where it was written.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::settings::Settings;
use super::{Exit, table};
use crate::config::KEYS;

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  appliance config show --origin")]
pub(super) enum Config {
    /// Print the configuration; secrets are never printed.
    Show(Show),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance config show --origin\n  \
    appliance config show --json --config /etc/appliance/appliance.toml")]
pub(super) struct Show {
    #[command(flatten)]
    settings: Settings,
    /// Also say where each value was written.
    #[arg(long)]
    origin: bool,
    /// One JSON object per key.
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Self::Show(show) = self;
        show.run()
    }
}

impl Show {
    fn run(self) -> anyhow::Result<Exit> {
        let loaded = self.settings.load(BTreeMap::new())?;
        let mut out = io::stdout().lock();
        if self.json {
            for (setting, key) in loaded.settings.iter().zip(KEYS) {
                let line = serde_json::json!({
                    "key": setting.name,
                    "value": setting.value,
                    "origin": setting.origin.to_string(),
                    "doc": key.doc,
                });
                writeln!(out, "{line}")?;
            }
        } else {
            let row = |setting: &crate::config::Setting| match self.origin {
                true => {
                    vec![setting.name.into(), setting.value.clone(), setting.origin.to_string()]
                }
                false => vec![setting.name.into(), setting.value.clone()],
            };
            let rows: Vec<Vec<String>> = loaded.settings.iter().map(row).collect();
            let heading: &[&str] =
                if self.origin { &["key", "value", "origin"] } else { &["key", "value"] };
            table::write(&mut out, heading, &rows)?;
        }
        for warning in &loaded.warnings {
            writeln!(io::stderr(), "appliance: {warning}")?;
        }
        Ok(Exit::Ok)
    }
}
