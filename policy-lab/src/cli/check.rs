//! `policy-lab check FILE…`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;
use policy_lab::DocumentKind;

use super::{Failure, Verdict, input};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Policies (.json) and guardrails (.rego)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the policies are for; by default a policy with a principal is a bucket policy
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Identity,
    Bucket,
    Session,
    Boundary,
}

impl Kind {
    fn of_document(self) -> DocumentKind {
        match self {
            Self::Identity => DocumentKind::Identity,
            Self::Bucket => DocumentKind::Bucket,
            Self::Session => DocumentKind::Session,
            Self::Boundary => DocumentKind::Boundary,
        }
    }
}

/// Checks every file, also after a fault.
pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let mut faults = 0;
    for path in &arguments.files {
        match check(path, arguments.kind) {
            Ok(what) => println!("{}: ok, {what}", path.display()),
            Err(error) => {
                eprintln!("{error:#}");
                faults += 1;
            }
        }
    }
    if faults > 0 {
        let all = arguments.files.len();
        return Err(Failure::Invalid(anyhow::anyhow!("{faults} of {all} files are not valid")));
    }
    Ok(Verdict::Fine)
}

fn check(path: &Path, kind: Option<Kind>) -> anyhow::Result<String> {
    if input::has_extension(path, "rego") {
        input::guardrails(vec![(path.display().to_string(), input::text(path)?)])?;
        return Ok("guardrail".to_owned());
    }
    if !input::has_extension(path, "json") {
        bail!("{}: neither .json nor .rego", path.display());
    }
    let kind = match kind {
        Some(kind) => kind.of_document(),
        None => guess(&input::text(path)?),
    };
    let policy = input::policy(path, kind)?;
    let word = match kind {
        DocumentKind::Identity => "identity",
        DocumentKind::Bucket => "bucket",
        DocumentKind::Session => "session",
        DocumentKind::Boundary => "boundary",
    };
    let count = policy.statement_count();
    let plural = if count == 1 { "" } else { "s" };
    Ok(format!("{word} policy, {count} statement{plural}"))
}

fn guess(text: &str) -> DocumentKind {
    let names_principals = text.contains("\"Principal\"") || text.contains("\"NotPrincipal\"");
    if names_principals { DocumentKind::Bucket } else { DocumentKind::Identity }
}
