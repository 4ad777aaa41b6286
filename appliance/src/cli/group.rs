//! `appliance group`: users that share policies.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::admin_client::{Ask, Server};
use super::user::listed;
use super::{Exit, table};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance group add auditors alice bob\n  \
    appliance policy attach readonly --group auditors")]
pub(super) enum Group {
    /// Add users to a group, which is made on first use.
    #[command(after_help = "Example:\n  appliance group add auditors alice bob")]
    Add(Members),
    /// Remove users from a group; without users, remove the empty group.
    #[command(after_help = "Examples:\n  \
        appliance group rm auditors bob\n  \
        appliance group rm auditors")]
    Rm(Members),
    /// List groups.
    #[command(after_help = "Example:\n  appliance group ls")]
    Ls(List),
    /// Show a group, its members and policies.
    #[command(after_help = "Example:\n  appliance group info auditors")]
    Info(Named),
    /// Let a group's policies count again.
    #[command(after_help = "Example:\n  appliance group enable auditors")]
    Enable(Named),
    /// Stop a group's policies from counting.
    #[command(after_help = "Example:\n  appliance group disable auditors")]
    Disable(Named),
}

#[derive(Debug, Args)]
pub(super) struct Members {
    /// The group's name.
    group: String,
    /// Users.
    members: Vec<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The group's name.
    group: String,
    #[command(flatten)]
    server: Server,
}

impl Group {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Add(members) => members.update(false),
            Self::Rm(members) => members.update(true),
            Self::Ls(list) => list.run(),
            Self::Info(named) => named.show(),
            Self::Enable(named) => named.set_status("enabled"),
            Self::Disable(named) => named.set_status("disabled"),
        }
    }
}

impl Members {
    fn update(self, is_remove: bool) -> anyhow::Result<Exit> {
        let body = json!({ "group": self.group, "members": self.members, "isRemove": is_remove });
        let ask = Ask::new(Method::PUT, "update-group-members").plain(body.to_string().into());
        self.server.call(ask)?;
        writeln!(io::stderr(), "group {} changed", self.group)?;
        Ok(Exit::Ok)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let groups = self.server.call(Ask::new(Method::GET, "groups"))?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{groups}")?;
            return Ok(Exit::Ok);
        }
        for name in groups.as_array().into_iter().flatten().filter_map(Value::as_str) {
            writeln!(out, "{name}")?;
        }
        Ok(Exit::Ok)
    }
}

impl Named {
    fn show(self) -> anyhow::Result<Exit> {
        let group = self.server.call(Ask::new(Method::GET, "group").query("group", &self.group))?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{group}")?;
            return Ok(Exit::Ok);
        }
        let text = |member: &str| group[member].as_str().unwrap_or_default().to_owned();
        let row = vec![self.group, text("status"), text("policy"), listed(&group["members"])];
        table::write(&mut out, &["group", "status", "policies", "members"], &[row])?;
        Ok(Exit::Ok)
    }

    fn set_status(self, status: &'static str) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::PUT, "set-group-status");
        self.server.call(ask.query("group", &self.group).query("status", status))?;
        writeln!(io::stderr(), "group {} {status}", self.group)?;
        Ok(Exit::Ok)
    }
}
