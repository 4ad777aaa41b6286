//! `appliance audit verify`: the verdict on a log, for people and for programs.

mod gaps;
mod mirrors;
mod proof;
mod remote;
mod timestamps;
mod trusted;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use audit::index::Mismatch;
use audit::{Finding, Head, Keyring, RemoteLog, Report, State, VerifyOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Uri;
use indicatif::ProgressBar;

use self::remote::Host;
use self::timestamps::Stamps;
use self::trusted::{Trusted, Witnessed};
use super::place::Place;
use super::progress;
use crate::cli::Exit;
use crate::cli::exit::failure;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit verify\n  \
    appliance audit verify --since yesterday.checkpoint\n  \
    appliance audit verify --remember /mnt/elsewhere/seen\n  \
    appliance audit verify /mnt/copy/audit --vkey audit.vkey --json\n  \
    appliance audit verify https://192.0.2.7:9000 --vkey audit.vkey --since yesterday.checkpoint\n  \
    appliance audit verify --policy policy.txt --since witnessed.checkpoint\n  \
    appliance audit verify --proof evidence --vkey audit.vkey\n\n\
    Exit codes: 0 valid, 3 valid but nothing outside confirms the end (use --since), 10 modified, 11 missing, \
    12 reordered, 13 truncated, 14 forked, 15 bad signature, unknown key or a key out of its window, 16 unsealed, 17 index mismatch, 2 usage or reading.")]
pub(in crate::cli) struct Verify {
    /// A log directory by itself, or the address of a running log or of an exported one on a web server: of that the
    /// hashes are checked, and the records where they are open to you.
    #[arg(value_name = "DIR|URL", conflicts_with = "audit_dir")]
    target: Option<String>,
    /// Certificates to trust for the connection; those of the system and the deployment's own otherwise.
    #[arg(long, value_name = "FILE", requires = "target")]
    ca: Option<PathBuf>,
    /// Longest wait for one answer, 30 otherwise.
    #[arg(long, value_name = "SECONDS", requires = "target", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// Whom to trust, in a file as C2SP tlog-policy describes it: the log's key, and witnesses whose signatures its newest
    /// head or that of --since must have. With several logs in it, --vkey says which one.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
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
    /// A gap that you know of, by the record that tells of it: the log is not called incomplete because of it.
    #[arg(long, value_name = "RECORD")]
    known_gap: Vec<u64>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// How long one answer may take.
const TIMEOUT_S: u64 = 30;
/// Records whose values are looked up in the index.
const INDEX_SAMPLES: u64 = 1000;

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // Nothing but a verdict may use a verdict's code, so every failure before it is 2.
        let usage = |error: anyhow::Error| failure(Exit::Usage, format!("{error:#}"));
        if self.target.is_some() && self.proof.is_some() {
            return Err(failure(Exit::Usage, "a log is verified, or the proof of one record"));
        }
        if let Some(path) = &self.proof {
            let trusted = self.trusted(&self.place).map_err(usage)?;
            return proof::check(path, &trusted, self.json).map_err(usage);
        }
        let report = match self.target.as_deref().map(|target| (target, address(target))) {
            Some((_, Some(url))) => self.report_from_afar(&url),
            Some((dir, None)) => self.report(&self.place.at(dir.into())),
            None => self.report(&self.place),
        };
        let report = report.map_err(usage)?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", json(&report))?,
            false => write!(out, "{report}")?,
        }
        Ok(Exit::Verification(report.state.exit_code()))
    }

    fn report(&self, place: &Place) -> anyhow::Result<Report> {
        let dir = place.dir()?;
        let trusted = self.trusted(place)?;
        // Changes that do not follow are a finding of their own; what was kept may be older than they are.
        let keys = Keyring::of_directory(&trusted.vkey, &dir)
            .unwrap_or_else(|_| trusted.vkey.clone().into());
        let stamps = Stamps::read(&place.copies()?, &keys)?;
        // ORDER: the head to remember is read before the walk, so the walk covers it.
        let newest = std::fs::read(dir.join("checkpoint"));
        let outside = self.outside(&trusted, &keys, newest.as_deref().ok())?;
        let newest = newest.context("reading the newest checkpoint");
        let bar = progress::bar("{bytes}/{total_bytes} {wide_bar} {eta}");
        let mut report = self.judge(&trusted, outside, newest, &bar, |options| {
            let mut report = audit::verify_against(&dir, options, &stamps.heads)
                .with_context(|| format!("verifying `{}`", dir.display()))?;
            for mirror in place.mirrors()?.iter().chain(&self.mirror) {
                mirrors::compare(mirror, &options.vkey, &mut report)
                    .with_context(|| format!("verifying `{}`", mirror.display()))?;
            }
            stamps.add_to(&mut report);
            Ok(report)
        })?;
        if self.index {
            compare_index(&dir, &mut report);
        }
        Ok(report)
    }

    /// A log of which only what it serves is seen.
    fn report_from_afar(&self, url: &Uri) -> anyhow::Result<Report> {
        if self.index || !self.mirror.is_empty() {
            let what = "--index and --mirror are about directories; verify each address by itself";
            return Err(failure(Exit::Usage, what));
        }
        let trusted = self.trusted(&self.place)?;
        let first = &trusted.vkey;
        let timeout = Duration::from_secs(self.timeout.unwrap_or(TIMEOUT_S));
        let resolved = self.place.resolved()?;
        let host = Host::open(url, first.name(), self.ca.clone(), &resolved, timeout)?;
        let verifying = || format!("verifying {url}");
        let log = RemoteLog::open(&host, first).with_context(verifying)?;
        let newest = log.checkpoint().map(<[u8]>::to_vec);
        let outside = self.outside(&trusted, log.keys(), newest.as_deref())?;
        let newest = newest.context("the log has no signed head yet");
        let bar = progress::bar("{pos}/{len} records {wide_bar} {eta}");
        self.judge(&trusted, outside, newest, &bar, |options| {
            log.verify(options).with_context(verifying)
        })
    }

    /// Verifies, and adds what only the verifier knows: the same of a directory and of an address. `newest` is the head to
    /// remember.
    fn judge(
        &self,
        trusted: &Trusted,
        outside: Outside,
        newest: anyhow::Result<Vec<u8>>,
        bar: &ProgressBar,
        verify: impl FnOnce(&VerifyOptions<'_>) -> anyhow::Result<Report>,
    ) -> anyhow::Result<Report> {
        let progress = progress::onto(bar);
        let options = VerifyOptions {
            vkey: trusted.vkey.to_string(),
            last_seen: outside.last_seen,
            strict: self.strict,
            progress: &progress,
        };
        let verified = verify(&options);
        bar.finish_and_clear();
        let mut report = verified?;
        gaps::judge(&mut report, &self.known_gap);
        outside.add_to(&mut report);
        self.keep(&report, newest)?;
        Ok(report)
    }

    /// Remembers the newest head, if it shall be and nothing is wrong.
    fn keep(&self, report: &Report, newest: anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
        if let Some(path) = &self.remember
            && matches!(report.state, State::Valid | State::TailUnproven)
        {
            remember(path, &newest?)
                .with_context(|| format!("keeping the checkpoint in `{}`", path.display()))?;
        }
        Ok(())
    }

    fn trusted(&self, place: &Place) -> anyhow::Result<Trusted> {
        Trusted::read(place, self.vkey.as_deref(), self.policy.as_deref())
    }

    /// What is known of the log's heads from elsewhere. `newest` is the log's own head.
    fn outside(
        &self,
        trusted: &Trusted,
        keys: &Keyring,
        newest: Option<&[u8]>,
    ) -> anyhow::Result<Outside> {
        let mut checkpoints: Vec<_> =
            newest.map(|bytes| ("checkpoint".to_owned(), bytes.to_vec())).into_iter().collect();
        let remembered = self.remember.as_ref().filter(|path| path.is_file());
        let mut last_seen = None;
        if let Some(path) = self.since.as_ref().or(remembered) {
            let file = path.display().to_string();
            let bytes = std::fs::read(path).with_context(|| format!("reading `{file}`"))?;
            let head = keys.head_to_compare(&bytes);
            last_seen =
                Some(head.with_context(|| format!("`{file}` is no checkpoint of this log"))?);
            checkpoints.push((file, bytes));
        }
        let witnessed = trusted.witnessed(&checkpoints, keys);
        let by_them = witnessed.as_ref().ok().and_then(|seen| seen.as_ref().map(|seen| seen.head));
        Ok(Outside { last_seen: last_seen.or(by_them), witnessed })
    }
}

/// What is known of a log's heads from elsewhere.
#[derive(Debug)]
struct Outside {
    /// A head that somebody kept or witnessed.
    last_seen: Option<Head>,
    /// What the policy asks for, or what to report because it is not there.
    witnessed: Result<Option<Witnessed>, Finding>,
}

impl Outside {
    fn add_to(self, report: &mut Report) {
        match self.witnessed {
            Ok(Some(seen)) => report.remarks.push(seen.to_string()),
            Ok(None) => {}
            Err(finding) => {
                if matches!(report.state, State::Valid | State::TailUnproven) {
                    report.state = finding.state;
                }
                report.findings.push(finding);
            }
        }
    }
}

/// What is meant by the text, if it is an address.
fn address(target: &str) -> Option<Uri> {
    target.parse().ok().filter(|url: &Uri| url.scheme().is_some() && url.authority().is_some())
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
        "seen": report.seen.as_str(),
        "origin": report.origin,
        "size": report.size,
        "root": STANDARD.encode(report.root),
        "records": report.records,
        "pruned": report.pruned.map(|pruned| serde_json::json!({ "end": pruned.end, "record": pruned.record })),
        "gaps": gaps::json(report),
        "head": head,
        "findings": findings,
        "remarks": report.remarks,
    })
}
