//! Unit tests of guardrails: rules `test_…` in files `…_test.rego`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::{Case, Report, Used};
use crate::cli::input;

/// What one test may take.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Runs every test against all guardrails that are given, and says which lines were evaluated.
pub(super) fn run(files: &[PathBuf], report: &mut Report) -> anyhow::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let is_test = |path: &Path| path.to_string_lossy().ends_with("_test.rego");
    let mut sources = Vec::new();
    for path in files {
        sources.push((path.display().to_string(), input::text(path)?, is_test(path)));
    }
    // What the server would refuse is not tested.
    let guardrails: Vec<_> = sources
        .iter()
        .filter(|(.., is_test)| !is_test)
        .map(|(name, text, _)| (name.clone(), text.clone()))
        .collect();
    if !guardrails.is_empty() {
        input::guardrails(guardrails)?;
    }
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    engine.set_enable_coverage(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: TIME_MAX,
        check_interval: NonZeroU32::MIN.saturating_add(63),
    });
    let mut tests = Vec::new();
    for (name, text, is_test) in &sources {
        engine.set_rego_v0(policy_lab::rego::is_v0(text));
        let package = engine
            .add_policy(name.clone(), text.clone())
            .map_err(|error| anyhow!("{name}: {error}"))?;
        if *is_test {
            tests.extend(rules(text).into_iter().map(|rule| (name.clone(), package.clone(), rule)));
        }
    }
    for (file, package, rule) in tests {
        let fault = match engine.eval_rule(format!("{package}.{rule}")) {
            Ok(Value::Bool(true)) => None,
            Ok(Value::Undefined) => Some("it is undefined: a condition does not hold".to_owned()),
            Ok(other) => Some(format!("it is {other}, not true")),
            Err(error) => Some(error.to_string().lines().last().unwrap_or_default().to_owned()),
        };
        report.cases.push(Case { file, name: rule, fault });
    }
    let lines = engine.get_coverage_report().map_err(|error| anyhow!("{error}"))?;
    for file in lines.files.iter().filter(|file| !is_test(Path::new(&file.path))) {
        let used = file.covered.len();
        let all = used + file.not_covered.len();
        let missed = file.not_covered.iter().copied().collect();
        report.rego.push((file.path.clone(), missed, Used { all, used }));
    }
    Ok(())
}

/// Names of rules that begin a line with `test_`, each once.
fn rules(text: &str) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("test_")) {
        let end = line.find(|char: char| !char.is_alphanumeric() && char != '_');
        let name = line.get(..end.unwrap_or(line.len())).unwrap_or_default().to_owned();
        if !rules.contains(&name) {
            rules.push(name);
        }
    }
    rules
}
