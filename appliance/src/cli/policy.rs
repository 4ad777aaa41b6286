//! `appliance policy`: named policies and who has them.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::admin_client::{ALREADY_APPLIED, Ask, Server};
use super::user::listed;
use super::{Exit, table};

/// The server takes 20 KiB; more than this is not read.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance policy create read-ledger read-ledger.json\n  \
    appliance policy attach read-ledger --group auditors\n  \
    appliance policy entities --policy read-ledger")]
pub(super) enum Policy {
    /// Write a policy; wherever it is attached the new text counts at once.
    #[command(after_help = "Examples:\n  \
        policy-lab check read-ledger.json && appliance policy create read-ledger read-ledger.json\n  \
        appliance policy create read-ledger - < read-ledger.json")]
    Create(Create),
    /// List policies.
    #[command(after_help = "Example:\n  appliance policy ls")]
    Ls(List),
    /// Print a policy's document.
    #[command(after_help = "Example:\n  appliance policy info readonly")]
    Info(Named),
    /// Remove a policy that is attached to nobody.
    #[command(after_help = "Example:\n  appliance policy rm read-ledger")]
    Rm(Named),
    /// Attach policies to a user or a group.
    #[command(after_help = "Examples:\n  \
        appliance policy attach readonly --user alice\n  \
        appliance policy attach readonly diagnostics --group auditors")]
    Attach(Association),
    /// Detach policies from a user or a group.
    #[command(after_help = "Example:\n  appliance policy detach readonly --user alice")]
    Detach(Association),
    /// Who has which policies.
    #[command(after_help = "Examples:\n  \
        appliance policy entities\n  \
        appliance policy entities --user alice --group auditors")]
    Entities(Entities),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The policy's name.
    name: String,
    /// Its JSON document, or `-` for standard input.
    file: PathBuf,
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
    /// The policy's name.
    name: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Association {
    /// Policies.
    #[arg(required = true)]
    policies: Vec<String>,
    #[command(flatten)]
    entity: Entity,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Entity {
    /// The user.
    #[arg(long)]
    user: Option<String>,
    /// The group.
    #[arg(long)]
    group: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Entities {
    /// Only these users.
    #[arg(long)]
    user: Vec<String>,
    /// Only these groups.
    #[arg(long)]
    group: Vec<String>,
    /// Only these policies.
    #[arg(long)]
    policy: Vec<String>,
    #[command(flatten)]
    server: Server,
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(),
            Self::Ls(list) => list.run(),
            Self::Info(named) => named.show(),
            Self::Rm(named) => named.remove(),
            Self::Attach(association) => association.apply("idp/builtin/policy/attach"),
            Self::Detach(association) => association.apply("idp/builtin/policy/detach"),
            Self::Entities(entities) => entities.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<Exit> {
        let reading = || format!("reading `{}`", self.file.display());
        let source: Box<dyn io::Read> = match self.file.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(std::fs::File::open(&self.file).with_context(reading)?),
        };
        let mut document = Vec::new();
        source.take(DOCUMENT_BYTES_MAX).read_to_end(&mut document).with_context(reading)?;
        let ask = Ask::new(Method::PUT, "add-canned-policy").query("name", &self.name);
        self.server.call(ask.plain(document))?;
        writeln!(io::stderr(), "policy {} written", self.name)?;
        Ok(Exit::Ok)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let policies = self.server.call(Ask::new(Method::GET, "list-canned-policies"))?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{policies}")?;
            return Ok(Exit::Ok);
        }
        for name in policies.as_object().into_iter().flatten().map(|(name, _)| name) {
            writeln!(out, "{name}")?;
        }
        Ok(Exit::Ok)
    }
}

impl Named {
    fn show(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::GET, "info-canned-policy").query("name", &self.name);
        let policy = self.server.call(if self.server.json { ask.query("v", "2") } else { ask })?;
        let mut out = io::stdout().lock();
        match self.server.json {
            true => writeln!(out, "{policy}")?,
            false => writeln!(out, "{policy:#}")?,
        }
        Ok(Exit::Ok)
    }

    fn remove(self) -> anyhow::Result<Exit> {
        self.server
            .call(Ask::new(Method::DELETE, "remove-canned-policy").query("name", &self.name))?;
        writeln!(io::stderr(), "policy {} removed", self.name)?;
        Ok(Exit::Ok)
    }
}

impl Association {
    fn apply(self, path: &'static str) -> anyhow::Result<Exit> {
        let (kind, name) = match (&self.entity.user, &self.entity.group) {
            (Some(user), _) => ("user", user),
            (None, group) => ("group", group.as_ref().context("name a user or a group")?),
        };
        let body = json!({ "policies": self.policies, kind: name });
        let applied = self.server.call(Ask::new(Method::POST, path).sealed(&body).sealed_answer());
        let applied = match applied {
            // What was asked for is so: nothing failed.
            Err(error) if error.to_string().contains(ALREADY_APPLIED) => {
                writeln!(io::stderr(), "nothing to change for {kind} {name}")?;
                return Ok(Exit::Ok);
            }
            applied => applied?,
        };
        if self.server.json {
            writeln!(io::stdout(), "{applied}")?;
            return Ok(Exit::Ok);
        }
        for (member, word) in [("policiesAttached", "attached"), ("policiesDetached", "detached")] {
            let names = listed(&applied[member]);
            if !names.is_empty() {
                writeln!(io::stderr(), "{kind} {name}: {word} {names}")?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl Entities {
    fn run(self) -> anyhow::Result<Exit> {
        let mut ask = Ask::new(Method::GET, "idp/builtin/policy-entities").sealed_answer();
        for (name, values) in
            [("user", &self.user), ("group", &self.group), ("policy", &self.policy)]
        {
            for value in values {
                ask = ask.query(name, value);
            }
        }
        let answer = self.server.call(ask)?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{answer}")?;
            return Ok(Exit::Ok);
        }
        let rows =
            [rows_of(&answer, "policy"), rows_of(&answer, "user"), rows_of(&answer, "group")];
        table::write(&mut out, &["kind", "name", "policies", "users", "groups"], &rows.concat())?;
        Ok(Exit::Ok)
    }
}

/// The mappings of one kind; a member that the kind has not is an empty cell.
fn rows_of(answer: &Value, kind: &str) -> Vec<Vec<String>> {
    let mappings = answer[format!("{kind}Mappings")].as_array().into_iter().flatten();
    let row = |mapping: &Value| {
        let name = mapping[kind].as_str().unwrap_or_default().to_owned();
        let groups: Vec<_> = match mapping["memberOfMappings"].as_array() {
            Some(groups) => groups.iter().filter_map(|group| group["group"].as_str()).collect(),
            None => Vec::new(),
        };
        let groups = if groups.is_empty() { listed(&mapping["groups"]) } else { groups.join(",") };
        let (policies, users) = (listed(&mapping["policies"]), listed(&mapping["users"]));
        vec![kind.to_owned(), name, policies, users, groups]
    };
    mappings.map(row).collect()
}
