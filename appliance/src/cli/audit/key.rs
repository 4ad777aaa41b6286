//! `appliance audit key`: the keys that sign the log; changed on the running server, which records it.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{Ask, Server};
use crate::cli::{Exit, table};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance audit key list\n  \
    appliance audit key rotate\n  \
    appliance audit key revoke 50a5011a --good 4711")]
pub(in crate::cli) enum Key {
    /// Show every key the log had, and which sizes of the log each one signs.
    #[command(after_help = "Example:\n  appliance audit key list --json")]
    List(List),
    /// Let a new key sign from here on. Auditors need nothing new: config/audit.vkey goes on verifying the whole log.
    #[command(after_help = "Example:\n  appliance audit key rotate\n\n\
        The new secret is one more file in config/keys: back it up. Until the server is started again, or the old key is \
        revoked, heads carry signatures of both keys.")]
    Rotate(Rotate),
    /// Say that what an earlier key signed for more records than that is not to be believed.
    #[command(after_help = "Example:\n  appliance audit key revoke 50a5011a --good 4711")]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rotate {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// The key's id, as `list` shows it.
    key: String,
    /// Number of records up to which its signatures are good.
    #[arg(long, value_name = "SIZE")]
    good: u64,
    #[command(flatten)]
    server: Server,
}

impl Key {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => list.run(),
            Self::Rotate(rotate) => rotate.run(),
            Self::Revoke(revoke) => revoke.run(),
        }
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let answer = self.server.call(Ask::new(Method::GET, "audit-key-list"))?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{answer}")?;
            return Ok(Exit::Ok);
        }
        let rows: Vec<Vec<String>> =
            answer.as_array().map_or(&[][..], Vec::as_slice).iter().map(row).collect();
        table::write(&mut out, &["id", "from", "until", "good up to", "vkey"], &rows)?;
        Ok(Exit::Ok)
    }
}

fn row(key: &Value) -> Vec<String> {
    let text = |member: &str| match &key[member] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ["id", "from", "until", "good", "vkey"].into_iter().map(text).collect()
}

impl Rotate {
    fn run(self) -> anyhow::Result<Exit> {
        let answer = self.server.call(Ask::new(Method::POST, "audit-key-rotate"))?;
        match self.server.json {
            true => writeln!(io::stdout(), "{answer}")?,
            false => writeln!(
                io::stderr(),
                "key {} signs what is more than {} records; back up config/keys",
                answer["id"].as_str().unwrap_or_default(),
                answer["after"]
            )?,
        }
        Ok(Exit::Ok)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "audit-key-revoke")
            .query("key", &self.key)
            .query("good", self.good.to_string());
        let answer = self.server.call(ask)?;
        match self.server.json {
            true => writeln!(io::stdout(), "{answer}")?,
            false => writeln!(
                io::stderr(),
                "what key {} signed for more than {} records is not believed any more",
                self.key,
                self.good
            )?,
        }
        Ok(Exit::Ok)
    }
}
