//! `appliance audit accept-gap`: a log that has less than others know of it goes on, and says so.
//!
//! A verb of its own and not a flag of `serve`, because a flag stays in a unit file and would accept the next loss as
//! well; and with the digest of exactly what `serve` refused, so that nothing is accepted that nobody has read.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use audit::{Acceptance, Sha256Hex};
use clap::Args;

use crate::app::{self, AcceptedGap};
use crate::bootstrap::Bootstrap;
use crate::cli::Exit;
use crate::cli::exit::failure;
use crate::cli::settings::Settings;

/// Longest reason; a record has room for it.
const REASON_BYTES_MAX: usize = 512;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    appliance audit accept-gap 3f1c… --reason 'disk 3 died, the newest copy is of Sunday'\n\n\
    Only where no copy has the records: a log that is put back from a copy that has them starts by itself. The server must \
    not be running. The record `audit:gap` names who knew how much; SIEM destinations, the CloudTrail export and the archive \
    go on behind the newest record that they and the log have, and get this record too.")]
pub(in crate::cli) struct AcceptGap {
    /// The digest that `serve` printed when it refused.
    digest: String,
    /// Why, for the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    settings: Settings,
}

impl AcceptGap {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let digest = Sha256Hex::parse(&self.digest).ok_or_else(|| {
            failure(Exit::Usage, "the digest has 64 hexadecimal digits; `serve` prints it")
        })?;
        let reason = self.reason.trim().to_owned();
        if !(1..=REASON_BYTES_MAX).contains(&reason.len()) || reason.contains(char::is_control) {
            return Err(failure(Exit::Usage, "a reason of 1 to 512 bytes is needed"));
        }
        let resolved = self.settings.load(BTreeMap::new())?.resolved;
        let deployment = resolved.config_dir().join("deployment.json");
        if !deployment.is_file() {
            let what = format!("`{}` is not there, so there is no log", deployment.display());
            return Err(failure(Exit::NotFound, what));
        }
        let material = Bootstrap::open_or_create(&resolved)?;
        let accepted = Acceptance { digest, by: operator(), reason };
        let AcceptedGap { record, first, conflicts } =
            app::accept_gap(&resolved, material, accepted)?;
        let mut out = io::stdout().lock();
        writeln!(out, "record {record} says that the records from {first} on are lost")?;
        for conflict in &conflicts {
            let (name, agreed) = (&conflict.name, conflict.agreed);
            writeln!(out, "{name} knew {} and goes on with {agreed}", conflict.known)?;
        }
        Ok(Exit::Ok)
    }
}

/// Whoever sits there, as far as the operating system says.
fn operator() -> String {
    let uid = rustix::process::getuid().as_raw();
    match std::env::var("SUDO_USER") {
        Ok(user) => format!("uid {uid}, sudo by {}", user.chars().take(64).collect::<String>()),
        Err(_) => format!("uid {uid}"),
    }
}
