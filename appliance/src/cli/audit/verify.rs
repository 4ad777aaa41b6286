//! `appliance audit verify`: the verdict on a log, for people and for programs.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use audit::note::Vkey;
use audit::{Head, Report, VerifyOptions, checkpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::place::Place;
use crate::cli::Exit;
use crate::cli::exit::failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit verify\n  \
    appliance audit verify --since yesterday.checkpoint\n  \
    appliance audit verify --audit-dir /mnt/copy/audit --vkey audit.vkey --json\n\n\
    Exit codes: 0 valid, 3 valid but nothing outside confirms the end (use --since), 10 modified, 11 missing, \
    12 reordered, 13 truncated, 14 forked, 15 bad signature, 16 unsealed, 17 index mismatch, 2 usage or reading.")]
pub(in crate::cli) struct Verify {
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// A checkpoint that you kept: proves that nothing before it was cut off or rewritten.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Also check what the records say: canonical form, references, silence.
    #[arg(long)]
    strict: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // Nothing but a verdict may use a verdict's code, so every failure before it is 2.
        let report = self.report().map_err(|error| failure(Exit::Usage, format!("{error:#}")))?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", json(&report))?,
            false => write!(out, "{report}")?,
        }
        Ok(Exit::Verification(report.state.exit_code()))
    }

    fn report(&self) -> anyhow::Result<Report> {
        let dir = self.place.dir()?;
        let vkey = self.place.vkey(self.vkey.as_deref())?;
        let last_seen = self.last_seen(&vkey)?;
        let bar = progress_bar();
        let progress = |done: u64, total: u64| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let options = VerifyOptions { vkey, last_seen, strict: self.strict, progress: &progress };
        let report = audit::verify(&dir, &options)
            .with_context(|| format!("verifying `{}`", dir.display()))?;
        bar.finish_and_clear();
        Ok(report)
    }

    fn last_seen(&self, vkey: &str) -> anyhow::Result<Option<Head>> {
        let Some(path) = &self.since else { return Ok(None) };
        let bytes = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
        let vkey = Vkey::parse(vkey).context("reading the verifier key")?;
        let head = checkpoint::open(&bytes, &vkey)
            .with_context(|| format!("`{}` is no checkpoint of this log", path.display()))?;
        Ok(Some(head))
    }
}

/// On stderr, and only where a person watches; it appears when a second has passed.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "state": finding.state.as_str(),
                "file": finding.file,
                "offset": finding.offset,
                "seq": finding.seq,
                "what": finding.what,
            })
        })
        .collect();
    let head = report
        .head
        .as_ref()
        .map(|head| serde_json::json!({ "size": head.size, "root": STANDARD.encode(head.root) }));
    serde_json::json!({
        "schema": "appliance/audit-verify",
        "schema_version": 1,
        "state": report.state.as_str(),
        "exit_code": report.state.exit_code(),
        "origin": report.origin,
        "size": report.size,
        "root": STANDARD.encode(report.root),
        "records": report.records,
        "head": head,
        "findings": findings,
        "remarks": report.remarks,
    })
}
