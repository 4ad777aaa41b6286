//! `policy-lab diff OLD NEW`

use super::events::Events;
use super::simulate::{self, Review};
use super::{Failure, Verdict, spec};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab diff old.json new.json --requests month.jsonl\n  \
    policy-lab diff world.json next-world.json --audit appliance-data/audit --fail-on newly-allowed\n\n\
    The difference is that of the recorded requests; what nobody asked for is not in it.")]
pub(super) struct Arguments {
    /// What is compared with: as for `simulate --draft`
    #[arg(value_name = "OLD")]
    old: String,
    /// What is compared: as for `simulate --draft`
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    review: Review,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let world = |spec: &String| -> anyhow::Result<_> {
        let changes = spec::changes(std::slice::from_ref(spec))?;
        Ok(changes.into_iter().fold(arguments.events.world(), policy_lab::replay::World::with))
    };
    let worlds =
        simulate::Worlds { baseline: world(&arguments.old)?, draft: world(&arguments.new)? };
    let title = simulate::title(arguments.old.clone(), vec![arguments.new.clone()]);
    simulate::review(&arguments.events, &arguments.review, &worlds, title)
}
