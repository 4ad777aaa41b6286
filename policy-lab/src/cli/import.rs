//! `policy-lab import LOG FILE…`

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use policy_lab::replay::{Foreign, import};

use super::{Failure, Verdict, input};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab import minio audit.jsonl > requests.jsonl\n  \
    zcat AWSLogs/*.json.gz | policy-lab import cloudtrail - | policy-lab simulate --requests - --draft team.json")]
pub(super) struct Arguments {
    /// minio (audit webhook), cloudtrail, or s3-access-log
    log: Foreign,
    /// Files of that log; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints requests as JSON Lines; what is no request for a policy is counted on stderr.
pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let mut skipped: BTreeMap<String, u64> = BTreeMap::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for path in &arguments.files {
        let (name, lines) = input::lines(path)?;
        for (index, line) in lines.enumerate() {
            let imported = import(arguments.log, &line?)
                .map_err(|error| input::of_line(&name, index + 1, &error))?;
            for line in imported.lines {
                match writeln!(out, "{line}") {
                    // Whoever closes stdout early (`| head`) wants no more.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                        return Ok(Verdict::Fine);
                    }
                    written => written.context("writing to stdout")?,
                }
            }
            for name in imported.skipped {
                *skipped.entry(name).or_default() += 1;
            }
        }
    }
    out.flush().context("writing stdout")?;
    for (name, count) in skipped {
        eprintln!("skipped {count} × {name}: no request that a policy decides");
    }
    Ok(Verdict::Fine)
}
