//! `policy-lab test FILE…`: expectations in YAML, and unit tests in Rego.

mod expectation;
mod fields;
mod invariant;
mod proved;
mod rego;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use serde_json::json;

use super::reading::Reading;
use super::{Failure, Verdict, coverage, input, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab test expectations.yaml\n  \
    policy-lab test guardrails/ --coverage --threshold 90\n\n\
    An expectations file:\n  \
    version: 1\n  \
    world: world.json              # or  policies: [readonly, bucket:ledger=ledger.json]\n  \
    tests:\n    \
    - name: analysts do not delete\n      \
    principal: user/ana          # or anonymous, root\n      \
    action: s3:DeleteObject\n      \
    resource: records/2026/*     # a pattern is proved for every key, not sampled\n      \
    given: {aws:SecureTransport: 'true'}\n      \
    expect: deny                 # allow, deny, explicit-deny, implicit-deny, unknown\n      \
    because: worm#NoDelete       # optional, of one resource\n  \
    invariants:\n    \
    - nobody-except: [user/ops]\n      \
    may: [s3:BypassGovernanceRetention]\n      \
    on: records/*\n    \
    - not-public: \"*\"\n    \
    - no-more-permissive-than: baseline/readwrite.json   # for: [user/ana]\n\n\
    Rego: rules `test_…` of files `…_test.rego`, beside the guardrails that they test.\n\
    Exit codes: 0 everything is as expected; 1 something is not, or coverage is below --threshold; 2 invalid input.")]
pub(super) struct Arguments {
    /// Expectations (.yaml, .yml), Rego files, and directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say which statements and Rego lines no test used
    #[arg(long)]
    coverage: bool,
    /// Percent of statements and Rego lines that tests must use
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100), requires = "coverage")]
    threshold: Option<u8>,
    /// Write a JUnit report, with one case for each test
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How the given policies and worlds are read
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    #[arg(long)]
    json: bool,
}

/// How one test went.
struct Case {
    file: String,
    name: String,
    /// What is wrong; `None` if it is as expected.
    fault: Option<String>,
}

/// Parts that tests can use, and how many they used.
#[derive(Clone, Copy, Default)]
struct Used {
    all: usize,
    used: usize,
}

#[derive(Default)]
struct Report {
    cases: Vec<Case>,
    statements: Vec<policy_lab::replay::StatementUse>,
    /// File, its lines that were not evaluated, and how many there are in all.
    rego: Vec<(String, Vec<u32>, Used)>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let mut report = Report::default();
    let mut rego = Vec::new();
    for path in files(&arguments.files)? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => expectation::run(&path, arguments.profile, &mut report)?,
            _ => rego.push(path),
        }
    }
    rego::run(&rego, &mut report)?;
    if report.cases.is_empty() {
        return Err(anyhow!("there is no test in these files").into());
    }
    if let Some(path) = &arguments.junit {
        let cases =
            report.cases.iter().map(|case| (&*case.file, &*case.name, case.fault.as_deref()));
        output::replace(path, &policy_lab::report::junit_cases(cases))?;
    }
    output::print(&printed(arguments, &report))?;
    let faults = report.cases.iter().filter(|case| case.fault.is_some()).count();
    eprintln!("{} tests, {faults} not as expected", report.cases.len());
    let low = arguments.coverage && is_low(arguments, &report);
    Ok(if faults > 0 || low { Verdict::Negative } else { Verdict::Fine })
}

/// The given files, and those of given directories.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            for extension in ["yaml", "yml", "rego"] {
                found.extend(input::files(path, extension)?);
            }
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml" | "rego") => found.push(path.clone()),
            _ => bail!("{}: neither .yaml nor .rego", path.display()),
        }
    }
    Ok(found)
}

fn printed(arguments: &Arguments, report: &Report) -> String {
    if arguments.json {
        let cases = report.cases.iter().map(|case| {
            json!({ "file": case.file, "name": case.name, "ok": case.fault.is_none(), "fault": case.fault })
        });
        let rego = report.rego.iter().map(|(file, missed, used)| {
            json!({ "file": file, "lines": used.all, "used": used.used, "missed": missed })
        });
        let mut document = json!({
            "schema": "policy-lab/test", "v": 1,
            "tests": cases.collect::<Vec<_>>(),
        });
        if arguments.coverage {
            document["statements"] = json!(report.statements);
            document["rego"] = json!(rego.collect::<Vec<_>>());
        }
        return format!("{document:#}\n");
    }
    let mut text = String::new();
    for case in &report.cases {
        // Writing to a string does not fail.
        let _ = match &case.fault {
            None => writeln!(text, "ok    {}: {}", case.file, case.name),
            Some(fault) => writeln!(text, "FAIL  {}: {}\n      {fault}", case.file, case.name),
        };
    }
    if !arguments.coverage {
        return text;
    }
    if !report.statements.is_empty() {
        let _ = write!(text, "\n{}", coverage::table(&report.statements));
    }
    for (file, missed, used) in &report.rego {
        let lines: Vec<_> = missed.iter().map(u32::to_string).collect();
        let missed = if lines.is_empty() { "none".to_owned() } else { lines.join(" ") };
        let _ =
            writeln!(text, "{file}: {} of {} lines used, not used: {missed}", used.used, used.all);
    }
    text
}

fn is_low(arguments: &Arguments, report: &Report) -> bool {
    let mut used = Used {
        all: report.statements.len(),
        used: report.statements.iter().filter(|statement| statement.hits > 0).count(),
    };
    for (_, _, lines) in &report.rego {
        used.all += lines.all;
        used.used += lines.used;
    }
    let percent = used.used * 100 / used.all.max(1);
    eprintln!("coverage: {} of {} statements and Rego lines ({percent} %)", used.used, used.all);
    arguments.threshold.is_some_and(|threshold| percent < usize::from(threshold) && used.all > 0)
}
