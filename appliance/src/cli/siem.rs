//! `appliance siem`: how the receivers of the log stand, and the commands to them.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::admin_client::{Ask, Server};
use super::exit::failure;
use super::{Exit, table};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance siem status\n  \
    appliance siem test soc\n  \
    appliance siem replay soc --since 24h")]
pub(super) enum Siem {
    /// Show every destination: position, lag, state, last error.
    #[command(after_help = "Examples:\n  \
        appliance siem status\n  \
        appliance siem status --json\n\n\
        Exit codes: 0 all deliver, 1 one is retrying, paused or stopped, 9 no answer.")]
    Status(Status),
    /// Send everything from a position or a time on again; also ends a pause.
    #[command(after_help = "Examples:\n  \
        appliance siem replay soc --from 4711\n  \
        appliance siem replay soc --since 2026-01-31T12:00:00Z\n  \
        appliance siem replay soc --since 24h")]
    Replay(Replay),
    /// Try again at once, after a pause or between two attempts.
    #[command(after_help = "Example:\n  appliance siem resume soc")]
    Resume(Named),
    /// Send one test record now and show what the destination says.
    #[command(after_help = "Example:\n  appliance siem test soc\n\n\
        Exit codes: 0 taken, 1 not taken.")]
    Test(Named),
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The destination's name.
    name: String,
    /// The first record, by its position in the log.
    #[arg(long, value_name = "SEQ", required_unless_present = "since", conflicts_with = "since")]
    from: Option<u64>,
    /// The first record, by time: RFC 3339, a date, or an age such as 24h or 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The destination's name.
    name: String,
    #[command(flatten)]
    server: Server,
}

impl Siem {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Status(status) => status.run(),
            Self::Replay(replay) => replay.run(),
            Self::Resume(named) => named.resume(),
            Self::Test(named) => named.test(),
        }
    }
}

impl Status {
    fn run(self) -> anyhow::Result<Exit> {
        let answer = self.server.call(Ask::new(Method::GET, "siem-status"))?;
        let destinations = answer.as_array().map_or(&[][..], Vec::as_slice);
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{answer}")?;
        } else {
            let heading = [
                "name",
                "kind",
                "format",
                "means",
                "state",
                "next",
                "lag",
                "seconds",
                "delivered",
                "rejected",
                "last error",
            ];
            let rows: Vec<Vec<String>> = destinations.iter().map(row).collect();
            table::write(&mut out, &heading, &rows)?;
            if rows.is_empty() {
                writeln!(io::stderr(), "no destination is configured; see [[siem]] in the README")?;
            }
        }
        let well = destinations.iter().all(|destination| destination["state"] == "delivering");
        Ok(if well { Exit::Ok } else { Exit::Negative })
    }
}

fn row(destination: &Value) -> Vec<String> {
    let members = [
        "name",
        "kind",
        "format",
        "guarantee",
        "state",
        "next",
        "lag_records",
        "lag_seconds",
        "delivered",
        "rejected",
        "last_error",
    ];
    let text = |member: &str| match &destination[member] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    members.into_iter().map(text).collect()
}

impl Replay {
    fn run(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "siem-replay").query("name", &self.name);
        let ask = match (self.from, &self.since) {
            (Some(seq), _) => ask.query("from", seq.to_string()),
            (None, Some(text)) => ask.query("since", since(text, Timestamp::now())?.to_string()),
            (None, None) => return Err(failure(Exit::Usage, "give --from or --since")),
        };
        let answer = self.server.call(ask)?;
        if self.server.json {
            writeln!(io::stdout(), "{answer}")?;
        } else {
            writeln!(io::stderr(), "{} goes on with record {}", self.name, answer["next"])?;
        }
        Ok(Exit::Ok)
    }
}

impl Named {
    fn resume(self) -> anyhow::Result<Exit> {
        self.server.call(Ask::new(Method::POST, "siem-resume").query("name", &self.name))?;
        writeln!(io::stderr(), "{} tries again", self.name)?;
        Ok(Exit::Ok)
    }

    fn test(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::POST, "siem-test").query("name", &self.name);
        let answer = self.server.call(ask)?;
        let taken = answer["taken"] == true;
        if self.server.json {
            writeln!(io::stdout(), "{answer}")?;
        } else if taken {
            writeln!(io::stderr(), "{} took record {}", self.name, answer["seq"])?;
        } else {
            let why = answer["answer"].as_str().unwrap_or_default();
            writeln!(io::stderr(), "{} did not take record {}: {why}", self.name, answer["seq"])?;
        }
        Ok(if taken { Exit::Ok } else { Exit::Negative })
    }
}

/// A time, a date, or an age before `now`.
fn since(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let refuse = || failure(Exit::Usage, format!("`{text}` is no time, date or age such as 24h"));
    let unit = match text.bytes().last() {
        Some(b'd') => Some(86_400),
        Some(b'h') => Some(3_600),
        Some(b'm') => Some(60),
        Some(b's') => Some(1),
        _ => None,
    };
    if let Some(unit) = unit {
        let count: Option<u32> = text.get(..text.len() - 1).and_then(|digits| digits.parse().ok());
        let seconds = i64::from(count.ok_or_else(refuse)?).saturating_mul(unit);
        return now.checked_sub(SignedDuration::from_secs(seconds)).map_err(|_| refuse());
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    whole.parse().map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_ages() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", "2026-01-30T12:00:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
            ("90m", "2026-01-31T10:30:00Z"),
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T01:02:03Z", "2026-01-01T01:02:03Z"),
        ] {
            assert_eq!(since(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "h", "yesterday", "-1h", "2026-13-01"] {
            assert!(since(text, now).is_err(), "{text}");
        }
    }
}
