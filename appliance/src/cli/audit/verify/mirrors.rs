//! Whether another copy of the log tells the same story.

use std::path::Path;
use std::time::{Duration, Instant};

use audit::{Finding, Report, State, VerifyError, VerifyOptions};

/// A copy of a running log may be a moment behind the others; one that is longer behind is behind.
const LAG_MAX: Duration = Duration::from_secs(5);

/// Verifies the copy in `dir` against the newest head of the log that `report` is about, and adds what is wrong.
///
/// # Errors
/// The copy cannot be read.
pub(super) fn compare(dir: &Path, vkey: &str, report: &mut Report) -> Result<(), VerifyError> {
    let options = VerifyOptions {
        vkey: vkey.to_owned(),
        last_seen: report.head,
        strict: false,
        progress: &|_, _| {},
    };
    let deadline = Instant::now() + LAG_MAX;
    let mut theirs = audit::verify(dir, &options)?;
    while theirs.state == State::Truncated && Instant::now() < deadline {
        theirs = audit::verify(dir, &options)?;
    }
    let named = |finding: Finding| Finding {
        file: dir.join(finding.file).display().to_string(),
        ..finding
    };
    let sound = |state| matches!(state, State::Valid | State::TailUnproven);
    if sound(theirs.state) {
        let records = theirs.records;
        report.remarks.push(format!("`{}` agrees, with {records} records", dir.display()));
    } else if sound(report.state) {
        report.state = theirs.state;
    }
    report.findings.extend(theirs.findings.into_iter().map(named));
    Ok(())
}
