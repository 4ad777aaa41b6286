//! `policy-lab canned [NAME]`

use anyhow::anyhow;
use policy_lab::canned;

use super::{Failure, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which policy; without it, the names
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let Some(name) = &arguments.name else {
        for (name, _) in canned::CANNED {
            println!("{name}");
        }
        return Ok(Verdict::Fine);
    };
    let names = || canned::CANNED.map(|(name, _)| name).join(", ");
    let text = canned::source(name)
        .ok_or_else(|| anyhow!("there is no canned policy `{name}`; there are {}", names()))?;
    print!("{text}");
    Ok(Verdict::Fine)
}
