//! An outcome as text: for a terminal, for a program, for a pull request. The same outcome is always the same text.

mod markdown;
mod table;

use crate::replay::{Outcome, SelfCheck};

pub use self::markdown::markdown;
pub use self::table::table;

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
    // Hundredths of a percent, rounded down: 99.999 % must not read as 100 %.
    let share = u128::from(*reproduced) * 10_000 / u128::from(*compared);
    let (whole, hundredths) = (share / 100, share % 100);
    let percent = match share {
        10_000 => "100".to_owned(),
        _ => format!("{whole}.{hundredths:02}"),
    };
    format!("self-check: {reproduced} of {compared} recorded decisions reproduced ({percent} %)")
}
