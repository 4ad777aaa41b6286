//! `policy-lab canned [NAME]`

use anyhow::anyhow;
use policy_lab::canned;

use super::{Failure, Verdict, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which policy; without it, the names
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let Some(name) = &arguments.name else {
        output::print(&canned::CANNED.map(|(name, _)| format!("{name}\n")).concat())?;
        return Ok(Verdict::Fine);
    };
    let names = || canned::CANNED.map(|(name, _)| name).join(", ");
    let text = canned::source(name)
        .ok_or_else(|| anyhow!("there is no canned policy `{name}`; there are {}", names()))?;
    output::print(text)?;
    Ok(Verdict::Fine)
}
