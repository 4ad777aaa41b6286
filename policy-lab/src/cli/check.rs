//! `policy-lab check PATH…`

mod baseline;
mod exact;
mod fix;
mod tried;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use policy_lab::lint::{Finding, RULES, Rule, Severity, lint};
use policy_lab::report::{Reviewed, lint_json, lint_sarif, lint_text};
use policy_lab::{DocumentError, DocumentKind, Guardrails, Policy};

use self::baseline::Baseline;
use super::reading::Reading;
use super::{Failure, Verdict, input, output};

/// Directories within one another, and files, that are read at most.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab check policies/\n  \
    policy-lab check draft.json --fail-on security\n  \
    policy-lab check policies/ --sarif > check.sarif\n  \
    policy-lab check policies/ --diff\n  \
    policy-lab check policies/ --baseline known.json --fail-on warning\n\n\
    --fix and --diff take out what has no effect: it is proved that the policy allows the same and denies the same \
    without it, as AWS and as MinIO read it.\n\n\
    Exit codes: 0 nothing at or above --fail-on; 1 such a finding, or with --diff a difference; 2 a policy that the server refuses, \
    or a file that cannot be read.")]
pub(super) struct Arguments {
    /// Policies (.json), guardrails (.rego), and directories of both; in a directory `bucket`, bucket policies
    #[arg(required_unless_present = "rules", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the policies are for; by default a policy with a principal is a bucket policy
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// The same as --format sarif
    #[arg(long)]
    sarif: bool,
    /// Exit with 1 if a finding is as grave or graver
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = Weight::Error)]
    fail_on: Weight,
    /// Findings that are accepted, by code
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    ignore: Vec<&'static Rule>,
    /// Findings of this file are known: they are neither shown nor counted
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write all findings to a file for --baseline
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    write_baseline: Option<PathBuf>,
    /// Take out of the files what has no effect, then check what is left
    #[arg(long, conflicts_with = "diff")]
    fix: bool,
    /// Show what --fix would do, and change nothing
    #[arg(long)]
    diff: bool,
    /// Leave out what needs a proof: statements without effect, differences between the profiles
    #[arg(long)]
    quick: bool,
    /// Whose reading must accept the policies, and is proved about
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    /// List all codes with their meaning
    #[arg(long)]
    rules: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Weight {
    Error,
    Security,
    Warning,
    Suggestion,
}

impl Weight {
    fn severity(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Security => Severity::SecurityWarning,
            Self::Warning => Severity::Warning,
            Self::Suggestion => Severity::Suggestion,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    Identity,
    Bucket,
    Session,
    Boundary,
}

impl Kind {
    pub(super) fn of_document(self) -> DocumentKind {
        match self {
            Self::Identity => DocumentKind::Identity,
            Self::Bucket => DocumentKind::Bucket,
            Self::Session => DocumentKind::Session,
            Self::Boundary => DocumentKind::Boundary,
        }
    }
}

fn code(text: &str) -> Result<&'static Rule, String> {
    let found = RULES.iter().find(|rule| rule.code == text).copied();
    found.ok_or_else(|| format!("`{text}` is not a code; --rules lists them"))
}

/// Reads everything first: a directory that can be read by half is not reviewed by half.
pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    if arguments.rules {
        let line = |rule: &&Rule| {
            format!("{:<44} {:<10} {}\n", rule.code, rule.severity.as_str(), rule.about)
        };
        output::print(&RULES.iter().map(line).collect::<String>())?;
        return Ok(Verdict::Fine);
    }
    let mut baseline = arguments.baseline.as_deref().map(Baseline::read).transpose()?;
    let mut sources = read(arguments)?;
    if arguments.diff {
        let changed = fix::run(&mut sources, fix::Manner::Show)?;
        return Ok(if changed { Verdict::Negative } else { Verdict::Fine });
    }
    if arguments.fix {
        fix::run(&mut sources, fix::Manner::Write)?;
    }
    let (mut reviewed, mut refused, mut known) = (Vec::new(), 0, 0);
    for source in &sources {
        let (mut file, is_refused) = review(source, arguments);
        file.findings.retain(|finding| is_refused || !arguments.ignore.contains(&finding.rule));
        // What the server refuses is never old news.
        if let Some(baseline) = baseline.as_mut().filter(|_| !is_refused) {
            known += baseline.subtract(&mut file);
        }
        refused += usize::from(is_refused);
        reviewed.push(file);
    }
    if let Some(baseline) = baseline {
        let gone = baseline.left();
        eprintln!("{known} known findings are not shown; {gone} of the baseline were not found");
    }
    if let Some(path) = &arguments.write_baseline {
        let count = baseline::write(path, &reviewed)?;
        eprintln!("{count} findings are in {}", path.display());
    }
    let format = match (arguments.json, arguments.sarif) {
        (true, _) => Format::Json,
        (_, true) => Format::Sarif,
        _ => arguments.format,
    };
    output::print(&match format {
        Format::Text => lint_text(&reviewed),
        Format::Json => lint_json(&reviewed),
        Format::Sarif => lint_sarif(&reviewed),
    })?;
    if refused > 0 {
        let all = sources.len();
        return Err(Failure::Invalid(anyhow!("{refused} of {all} files are not valid")));
    }
    let limit = arguments.fail_on.severity();
    let failed = reviewed.iter().flat_map(|file| &file.findings).any(|f| f.rule.severity <= limit);
    Ok(if failed { Verdict::Negative } else { Verdict::Fine })
}

/// A file that has been read.
enum Source {
    Policy {
        name: String,
        text: String,
        kind: DocumentKind,
    },
    /// Loaded together, as the server loads a directory.
    Guardrails(Vec<(String, String)>),
}

fn read(arguments: &Arguments) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    let mut complaints = Vec::new();
    for path in &arguments.paths {
        let read = if path.is_dir() {
            directory(path, arguments.kind, DEPTH_MAX, &mut sources)
        } else {
            file(path, arguments.kind).map(|source| sources.push(source))
        };
        complaints.extend(read.err());
    }
    let Some(last) = complaints.pop() else { return Ok(sources) };
    complaints.iter().for_each(|error| eprintln!("error: {error:#}"));
    Err(Failure::Invalid(last))
}

fn file(path: &Path, kind: Option<Kind>) -> anyhow::Result<Source> {
    let name = path.display().to_string();
    if input::has_extension(path, "rego") {
        return Ok(Source::Guardrails(vec![(name, input::text(path)?)]));
    }
    if !input::has_extension(path, "json") {
        bail!("{name}: neither .json nor .rego");
    }
    let text = input::text(path)?;
    let kind = kind.map_or_else(|| guess(&text), Kind::of_document);
    Ok(Source::Policy { name, text, kind })
}

fn directory(
    path: &Path,
    kind: Option<Kind>,
    depth: usize,
    sources: &mut Vec<Source>,
) -> anyhow::Result<()> {
    if depth == 0 {
        bail!("{}: more than {DEPTH_MAX} directories within one another", path.display());
    }
    let is_bucket = path.file_name().is_some_and(|name| name == "bucket");
    let kind = kind.or(is_bucket.then_some(Kind::Bucket));
    if sources.len() > FILES_MAX {
        bail!("{}: more than {FILES_MAX} files; check fewer at once", path.display());
    }
    for json in input::files(path, "json")? {
        sources.push(file(&json, kind)?);
    }
    let rego = input::files(path, "rego")?
        .iter()
        .map(|file| Ok((file.display().to_string(), input::text(file)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !rego.is_empty() {
        sources.push(Source::Guardrails(rego));
    }
    for below in input::directories(path)? {
        directory(&below, kind, depth - 1, sources)?;
    }
    Ok(())
}

/// The findings of a file, and whether the server refuses it.
fn review(source: &Source, arguments: &Arguments) -> (Reviewed, bool) {
    match source {
        Source::Policy { name, text, kind } => {
            let mut findings = lint(text, *kind);
            match Policy::parse_as(text, *kind, arguments.profile.profile()) {
                Ok(policy) if !arguments.quick && !findings.refused => {
                    let (exact, open) = exact::findings(&policy);
                    open.iter().for_each(|open| eprintln!("{name}: {open}"));
                    add(exact, &mut findings.found);
                }
                Err(error) if !findings.refused => {
                    findings.refused = true;
                    add(vec![refusal(error)], &mut findings.found);
                }
                _ => {}
            }
            let what = format!("{} policy{}", word(*kind), statements(text, *kind));
            (Reviewed { file: name.clone(), what, findings: findings.found }, findings.refused)
        }
        Source::Guardrails(files) => {
            let loaded = Guardrails::load(files.clone());
            let first = files.first().map(|(name, _)| name.clone()).unwrap_or_default();
            let what = match files.len() {
                1 => "guardrail".to_owned(),
                count => format!("and {} more, guardrails", count - 1),
            };
            let error = match loaded {
                Err(error) => error,
                Ok(guardrails) => {
                    let mut found = tried::findings(guardrails, &first);
                    let named = found.first().map(|(file, _)| file.clone());
                    let file = named.unwrap_or(first);
                    // A report is of one file; what else fails shows when this is mended.
                    found.retain(|(there, _)| *there == file);
                    let findings = found.into_iter().map(|(_, finding)| finding).collect();
                    return (Reviewed { file, what, findings }, false);
                }
            };
            let finding = Finding {
                rule: rule("REGO-ERROR"),
                line: error.line,
                column: error.column,
                end_column: error.column + 1,
                message: error.message,
                remedy: error.hint,
            };
            (Reviewed { file: error.file, what, findings: vec![finding] }, true)
        }
    }
}

/// Adds what was not found without a proof, in the order of the text.
fn add(exact: Vec<Finding>, found: &mut Vec<Finding>) {
    let place = |finding: &Finding| (finding.rule.code, finding.line, finding.column);
    for finding in exact {
        if !found.iter().any(|there| place(there) == place(&finding)) {
            found.push(finding);
        }
    }
    found.sort_by_key(|finding| (finding.line, finding.column));
}

/// What only the other profile refuses.
fn refusal(error: DocumentError) -> Finding {
    Finding {
        rule: rule("REFUSED"),
        line: error.line,
        column: error.column,
        end_column: error.column + 1,
        message: error.message,
        remedy: error.hint,
    }
}

/// A rule of this code.
fn rule(code: &str) -> &'static Rule {
    static UNNAMED: Rule = Rule {
        code: "REFUSED",
        severity: Severity::Error,
        about: "The server refuses the policy.",
    };
    RULES.iter().copied().find(|rule| rule.code == code).unwrap_or(&UNNAMED)
}

pub(super) fn word(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Identity => "identity",
        DocumentKind::Bucket => "bucket",
        DocumentKind::Session => "session",
        DocumentKind::Boundary => "boundary",
    }
}

fn statements(text: &str, kind: DocumentKind) -> String {
    let Ok(policy) = Policy::parse(text, kind) else { return String::new() };
    let count = policy.statement_count();
    format!(", {count} statement{}", if count == 1 { "" } else { "s" })
}

pub(super) fn guess(text: &str) -> DocumentKind {
    let names_principals = text.contains("\"Principal\"") || text.contains("\"NotPrincipal\"");
    if names_principals { DocumentKind::Bucket } else { DocumentKind::Identity }
}
