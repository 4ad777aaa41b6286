//! `appliance audit retention|hold|release|holds|prune`: how long records stay, asked of the running server.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use crate::cli::admin_client::{Ask, Server};
use crate::cli::{Exit, table};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  appliance audit retention")]
pub(in crate::cli) struct Retention {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit hold --prefix ledger/2026/ --reason 'case 7'\n  \
    appliance audit hold --principal alice --reason 'case 7'\n  \
    appliance audit hold --since 2026-01-01 --until 2026-03-31 --reason 'audit of Q1'")]
pub(in crate::cli) struct Hold {
    /// Records that name this bucket, or objects of it whose keys begin so.
    #[arg(long, value_name = "BUCKET[/KEY]", group = "subject", required_unless_present_any = ["principal", "since"])]
    prefix: Option<String>,
    /// Records of this caller: ARN, name, or access key.
    #[arg(long, value_name = "WHO", group = "subject")]
    principal: Option<String>,
    /// Records from this date or time on.
    #[arg(long, value_name = "TIME", requires = "until", group = "subject")]
    since: Option<String>,
    /// Records up to this date or time.
    #[arg(long, value_name = "TIME", requires = "since")]
    until: Option<String>,
    /// Why; it is in the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    appliance audit release 01M85E83VDVPRGR00C38VTJ0TF --reason 'case 7 is closed'")]
pub(in crate::cli) struct Release {
    /// The hold, by the name that `audit holds` shows.
    #[arg(value_name = "HOLD")]
    hold: String,
    /// Why; it is in the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  appliance audit holds")]
pub(in crate::cli) struct Holds {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance audit prune propose --reason '400 days are over'\n  \
    appliance audit prune list\n  \
    AWS_ACCESS_KEY_ID=bob AWS_SECRET_ACCESS_KEY=… appliance audit prune confirm PROPOSAL --digest HEX")]
pub(in crate::cli) enum Prune {
    /// Propose what retention, holds and readers allow to go.
    #[command(
        after_help = "Example:\n  appliance audit prune propose --reason '400 days are over'"
    )]
    Propose(Propose),
    /// Show the open proposal.
    #[command(after_help = "Example:\n  appliance audit prune list --json")]
    List(List),
    /// Prune what somebody else proposed; there is no way back.
    #[command(after_help = "Example:\n  \
        AWS_ACCESS_KEY_ID=bob AWS_SECRET_ACCESS_KEY=… appliance audit prune confirm \
        01M85E83VDVPRGR00C38VTJ0TF --digest 3f1c…\n\n\
        Exit codes: 0 pruned, 5 not by this caller, 1 not any more what was proposed.")]
    Confirm(Confirm),
    /// End a proposal without a prune.
    #[command(after_help = "Example:\n  \
        appliance audit prune refuse 01M85E83VDVPRGR00C38VTJ0TF --reason 'case 7 is open'")]
    Refuse(Refuse),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Propose {
    /// Why; it is in the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Confirm {
    /// The proposal, by the name that `audit prune list` shows.
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// Its digest, which says that you mean exactly that.
    #[arg(long, value_name = "HEX")]
    digest: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Refuse {
    /// The proposal, by the name that `audit prune list` shows.
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// Why; it is in the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    server: Server,
}

fn status(server: &Server) -> anyhow::Result<Value> {
    server.call(Ask::new(Method::GET, "audit-retention"))
}

impl Retention {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let status = status(&self.server)?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{status}")?;
            return Ok(Exit::Ok);
        }
        match status["retention_seconds"].as_u64() {
            Some(seconds) => writeln!(out, "records stay for {} days", seconds / 86_400)?,
            None => writeln!(out, "records stay for ever; see [audit] retention")?,
        }
        let (first, size) = (&status["first"], &status["size"]);
        writeln!(out, "the log has the records {first} to {size}, the last one excluded")?;
        if let Some(pruned) = status["pruned"].as_str() {
            writeln!(out, "those before {first} were {pruned}")?;
        }
        let holds = status["holds"].as_array().map_or(0, Vec::len);
        writeln!(out, "holds: {holds}")?;
        match status["proposal"].is_object() {
            true => propose(&mut out, &status["proposal"]),
            false => Ok(()),
        }?;
        Ok(Exit::Ok)
    }
}

impl Hold {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let mut ask = Ask::new(Method::POST, "audit-hold").query("reason", &self.reason);
        for (name, value) in [
            ("prefix", &self.prefix),
            ("principal", &self.principal),
            ("since", &self.since),
            ("until", &self.until),
        ] {
            if let Some(value) = value {
                ask = ask.query(name, value);
            }
        }
        let answer = self.server.call(ask)?;
        let mut out = io::stdout().lock();
        match self.server.json {
            true => writeln!(out, "{answer}")?,
            false => writeln!(out, "{}", text(&answer["hold"]))?,
        }
        Ok(Exit::Ok)
    }
}

impl Release {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "audit-release").query("hold", &self.hold);
        self.server.call(ask.query("reason", &self.reason))?;
        writeln!(io::stderr(), "{} is released", self.hold)?;
        Ok(Exit::Ok)
    }
}

impl Holds {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let status = status(&self.server)?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{}", status["holds"])?;
            return Ok(Exit::Ok);
        }
        let holds = status["holds"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |hold: &Value| {
            let cells = [&hold["id"], &hold["since"], &hold["by"], &hold["reason"]];
            let mut row: Vec<String> = cells.map(text).into();
            row.insert(1, subject(&hold["subject"]));
            row
        };
        let rows: Vec<Vec<String>> = holds.iter().map(row).collect();
        table::write(&mut out, &["hold", "about", "since", "by", "reason"], &rows)?;
        Ok(Exit::Ok)
    }
}

/// What a hold is about, in the words of the command line.
fn subject(subject: &Value) -> String {
    if let Some(prefix) = subject.get("prefix") {
        return format!("prefix {}/{}", text(&prefix["bucket"]), text(&prefix["key"]));
    }
    if let Some(principal) = subject.get("principal") {
        return format!("principal {}", text(principal));
    }
    match subject.get("times") {
        Some(times) => format!("{} to {}", text(&times["since"]), text(&times["until"])),
        None => "everything".to_owned(),
    }
}

impl Prune {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Propose(verb) => verb.run(),
            Self::List(verb) => verb.run(),
            Self::Confirm(verb) => verb.run(),
            Self::Refuse(verb) => verb.run(),
        }
    }
}

impl Propose {
    fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "audit-prune-propose").query("reason", &self.reason);
        let answer = self.server.call(ask)?;
        let mut out = io::stdout().lock();
        match self.server.json {
            true => writeln!(out, "{answer}")?,
            false => propose(&mut out, &answer)?,
        }
        Ok(Exit::Ok)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let status = status(&self.server)?;
        let mut out = io::stdout().lock();
        match (self.server.json, status["proposal"].is_object()) {
            (true, _) => writeln!(out, "{}", status["proposal"])?,
            (false, true) => propose(&mut out, &status["proposal"])?,
            (false, false) => writeln!(io::stderr(), "nothing is proposed")?,
        }
        Ok(Exit::Ok)
    }
}

/// A proposal for people.
fn propose(out: &mut impl io::Write, proposal: &Value) -> io::Result<()> {
    let line = |name: &str| text(&proposal[name]);
    writeln!(out, "proposal {}", line("id"))?;
    writeln!(out, "  by       {} at {}", line("by"), line("time"))?;
    writeln!(out, "  reason   {}", line("reason"))?;
    let (first, end, bytes) = (line("first"), line("end"), line("bytes"));
    writeln!(out, "  records  {first} to {end}, the last one excluded: {bytes} bytes")?;
    writeln!(out, "  days     {} from {} to {}", line("days"), line("from_day"), line("to_day"))?;
    writeln!(out, "  digest   {}", line("digest"))?;
    let expired = if proposal["expired"] == true { " (expired)" } else { "" };
    writeln!(out, "  until    {}{expired}", line("expires"))?;
    let because = proposal["because"].as_array().map_or(&[][..], Vec::as_slice);
    because.iter().try_for_each(|why| writeln!(out, "  no more  {}", text(why)))
}

impl Confirm {
    fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "audit-prune-confirm").query("proposal", &self.proposal);
        let answer = self.server.call(ask.query("digest", &self.digest))?;
        if self.server.json {
            writeln!(io::stdout(), "{answer}")?;
        } else {
            let (first, record) = (&answer["first"], &answer["record"]);
            writeln!(io::stderr(), "the log begins with record {first} now; see record {record}")?;
        }
        Ok(Exit::Ok)
    }
}

impl Refuse {
    fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "audit-prune-refuse").query("proposal", &self.proposal);
        self.server.call(ask.query("reason", &self.reason))?;
        writeln!(io::stderr(), "{} is refused", self.proposal)?;
        Ok(Exit::Ok)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
