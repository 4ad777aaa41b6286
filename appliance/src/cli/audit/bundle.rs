//! `appliance audit bundle`: evidence to hand over. The server makes and signs it, so that it is in the log who took it.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::json;

use crate::cli::Exit;
use crate::cli::admin_client::{Ask, Server};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit bundle 'key~ledger/* denied time>-7d' --out evidence.tar\n  \
    appliance audit bundle --event 01M85E83VDVPRGR00C38VTJ0TF --out evidence.tar\n\n\
    The archive says in VERIFY.md how to check it, with tools of other people. Exit codes: 0 written, 2 usage, 5 not \
    allowed, 6 no such event, 9 no answer.")]
pub(in crate::cli) struct Bundle {
    /// Which records: a filter of the query language.
    #[arg(required_unless_present = "event")]
    query: Option<String>,
    /// A record by its event; may be given again.
    #[arg(long, value_name = "EVENT", conflicts_with = "query")]
    event: Vec<String>,
    /// The archive to write; it must not be there yet.
    #[arg(long, value_name = "FILE.tar")]
    out: PathBuf,
    #[command(flatten)]
    server: Server,
}

impl Bundle {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let question = match &self.query {
            Some(query) => json!({ "q": query }),
            None => json!({ "events": self.event }),
        };
        // ORDER: a place to write to before the question, which leaves its trace in the log.
        let writing = || format!("writing `{}`", self.out.display());
        let mut file = std::fs::File::create_new(&self.out).with_context(writing)?;
        let ask = Ask::new(Method::POST, "/_/audit/v1/bundle").plain(question.to_string().into());
        let answered = self.server.fetch(&ask);
        let written = answered.and_then(|body| {
            file.write_all(&body).and_then(|()| file.sync_all()).with_context(writing)?;
            Ok(body.len())
        });
        let bytes = written.inspect_err(|_| {
            // An empty or half an archive is no evidence.
            let _ = std::fs::remove_file(&self.out);
        })?;
        let mut stdout = io::stdout().lock();
        match self.server.json {
            true => {
                let value = json!({
                    "schema": "appliance/audit-bundle", "schema_version": 1,
                    "bundle": self.out, "bytes": bytes,
                });
                writeln!(stdout, "{value}")?;
            }
            false => writeln!(stdout, "{}", self.out.display())?,
        }
        Ok(Exit::Ok)
    }
}
