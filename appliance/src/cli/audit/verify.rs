//! `appliance audit verify`: the verdict on a log, for people and for programs.

mod mirrors;
mod proof;
mod timestamps;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::index::Mismatch;
use audit::note::Vkey;
use audit::{Finding, Head, Keyring, Report, State, VerifyOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use self::timestamps::Stamps;
use super::place::Place;
use super::progress;
use crate::cli::Exit;
use crate::cli::exit::failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit verify\n  \
    appliance audit verify --since yesterday.checkpoint\n  \
    appliance audit verify --remember /mnt/elsewhere/seen\n  \
    appliance audit verify --audit-dir /mnt/copy/audit --vkey audit.vkey --json\n  \
    appliance audit verify --proof evidence --vkey audit.vkey\n\n\
    Exit codes: 0 valid, 3 valid but nothing outside confirms the end (use --since), 10 modified, 11 missing, \
    12 reordered, 13 truncated, 14 forked, 15 bad signature, unknown key or a key out of its window, 16 unsealed, 17 index mismatch, 2 usage or reading.")]
pub(in crate::cli) struct Verify {
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// A checkpoint that you kept: proves that nothing before it was cut off or rewritten.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// The same, kept up to date: compares with the checkpoint in FILE where there is one, and when nothing is wrong puts
    /// the newest one there. Keep it where the log's own machine cannot write.
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    remember: Option<PathBuf>,
    /// Another copy of the same log, which must not say anything else; those of the configuration are taken by themselves.
    #[arg(long, value_name = "DIR")]
    mirror: Vec<PathBuf>,
    /// Check one record instead of the log: a bundle that `prove` made, or a .tlog-proof file.
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["since", "remember", "strict", "mirror"])]
    proof: Option<PathBuf>,
    /// Also check what the records say: canonical form, references, silence.
    #[arg(long)]
    strict: bool,
    /// Also compare the index with the records: every place, and the values of a thousand records.
    #[arg(long)]
    index: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Records whose values are looked up in the index.
const INDEX_SAMPLES: u64 = 1000;

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // Nothing but a verdict may use a verdict's code, so every failure before it is 2.
        let usage = |error: anyhow::Error| failure(Exit::Usage, format!("{error:#}"));
        if let Some(path) = &self.proof {
            let vkey = self.place.vkey(self.vkey.as_deref()).map_err(usage)?;
            return proof::check(path, &vkey, self.json).map_err(usage);
        }
        let report = self.report().map_err(usage)?;
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
        let first = Vkey::parse(&vkey).context("reading the verifier key")?;
        // Changes that do not follow are a finding of their own; what was kept may be older than they are.
        let keys = Keyring::of_directory(&first, &dir).unwrap_or_else(|_| first.into());
        let last_seen = self.last_seen(&keys)?;
        let stamps = Stamps::read(&dir, &keys)?;
        // ORDER: the head to remember is read before the walk, so the walk covers it.
        let newest = self.remember.as_ref().map(|_| std::fs::read(dir.join("checkpoint")));
        let bar = progress::bar("{bytes}/{total_bytes} {wide_bar} {eta}");
        let progress = progress::onto(&bar);
        let options = VerifyOptions {
            vkey: vkey.clone(),
            last_seen,
            strict: self.strict,
            progress: &progress,
        };
        let mut report = audit::verify_against(&dir, &options, &stamps.heads)
            .with_context(|| format!("verifying `{}`", dir.display()))?;
        for mirror in self.place.mirrors()?.iter().chain(&self.mirror) {
            mirrors::compare(mirror, &vkey, &mut report)
                .with_context(|| format!("verifying `{}`", mirror.display()))?;
        }
        bar.finish_and_clear();
        stamps.add_to(&mut report);
        if let Some((path, newest)) = self.remember.as_ref().zip(newest)
            && matches!(report.state, State::Valid | State::TailUnproven)
        {
            let newest = newest.context("reading the newest checkpoint")?;
            remember(path, &newest)
                .with_context(|| format!("keeping the checkpoint in `{}`", path.display()))?;
        }
        if self.index {
            compare_index(&dir, &mut report);
        }
        Ok(report)
    }

    fn last_seen(&self, keys: &Keyring) -> anyhow::Result<Option<Head>> {
        let remembered = self.remember.as_ref().filter(|path| path.is_file());
        let Some(path) = self.since.as_ref().or(remembered) else { return Ok(None) };
        let bytes = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
        let head = keys
            .head_to_compare(&bytes)
            .with_context(|| format!("`{}` is no checkpoint of this log", path.display()))?;
        Ok(Some(head))
    }
}

/// Puts a checkpoint in place of the one before, whole or not at all.
fn remember(path: &Path, checkpoint: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    std::fs::write(&temporary, checkpoint)?;
    std::fs::rename(&temporary, path)
}

/// An index that hides something is a verdict of its own; what is wrong with the records weighs more.
fn compare_index(dir: &Path, report: &mut Report) {
    let mismatches = match audit::index::check(dir, INDEX_SAMPLES) {
        Ok(checked) => {
            let (indexed, looked_up) = (checked.indexed, checked.looked_up);
            report.remarks.push(format!("the index has {indexed} records, {looked_up} looked up"));
            checked.mismatches
        }
        Err(error) => vec![Mismatch { seq: 0, what: error.to_string() }],
    };
    if !mismatches.is_empty() && matches!(report.state, State::Valid | State::TailUnproven) {
        report.state = State::IndexMismatch;
    }
    report.findings.extend(mismatches.into_iter().map(|Mismatch { seq, what }| Finding {
        state: State::IndexMismatch,
        file: "idx".to_owned(),
        offset: None,
        seq: Some(seq),
        what,
    }));
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
        "pruned": report.pruned.map(|pruned| serde_json::json!({ "end": pruned.end, "record": pruned.record })),
        "head": head,
        "findings": findings,
        "remarks": report.remarks,
    })
}
