//! `appliance iam`: everything that decides, as one file.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;

use super::Exit;
use super::admin_client::{Ask, Server};

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  appliance iam export --out world.json")]
pub(super) enum Iam {
    /// Write users, groups, attachments, policies, bucket policies and guardrails for `policy-lab simulate --world`.
    #[command(after_help = "Examples:\n  \
        appliance iam export --out world.json\n  \
        policy-lab simulate --world world.json --audit appliance-data/audit --draft writer=draft.json")]
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write; by default standard output. No secret is in it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

impl Iam {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Self::Export(export) = self;
        let world = export.server.call(Ask::new(Method::GET, "export-world"))?;
        let text = if export.server.json { format!("{world}\n") } else { format!("{world:#}\n") };
        match &export.out {
            None => io::stdout().lock().write_all(text.as_bytes())?,
            Some(path) => {
                fs::write(path, text).with_context(|| format!("writing `{}`", path.display()))?;
            }
        }
        Ok(Exit::Ok)
    }
}
