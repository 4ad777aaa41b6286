//! An outcome as text: for a terminal, a program, a pull request, a test report, code review, a browser. The same
//! outcome is always the same text.

mod csv;
mod html;
mod junit;
mod lint;
mod markdown;
mod matrix;
mod sarif;
mod simulation;
mod table;

use crate::replay::{Outcome, SelfCheck};

pub use self::csv::csv;
pub use self::html::html;
pub use self::junit::{junit, junit_cases};
pub use self::lint::{Reviewed, lint_json, lint_sarif, lint_text};
pub use self::markdown::markdown;
pub use self::simulation::{Title, sarif};
pub use self::table::{columns, table};

/// One JSON object, as [`Outcome`] has it, with a newline behind it.
#[must_use]
pub fn json(outcome: &Outcome) -> String {
    // Strings and integers in plain structs always serialise.
    serde_json::to_string_pretty(outcome).unwrap_or_default() + "\n"
}

/// The line that says whether the past was reproduced.
#[must_use]
pub fn self_check_line(check: &SelfCheck) -> String {
    let SelfCheck { compared, reproduced, .. } = check;
    if *compared == 0 {
        return "self-check: no recorded decisions to compare".to_owned();
    }
    let percent = percent(*reproduced, *compared);
    format!("self-check: {reproduced} of {compared} recorded decisions reproduced ({percent} %)")
}

/// Hundredths of a percent, rounded down: 99.999 % must not read as 100 %.
fn percent(part: u64, whole: u64) -> String {
    let share = u128::from(part) * 10_000 / u128::from(whole.max(1));
    match share {
        10_000 => "100".to_owned(),
        _ => format!("{}.{:02}", share / 100, share % 100),
    }
}
