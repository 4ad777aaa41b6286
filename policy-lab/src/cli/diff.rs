//! `policy-lab diff OLD NEW`

use policy_lab::analyze::{Access, Verdict as Proof, World, differences, request_line};
use policy_lab::replay::Change;

use super::events::Events;
use super::simulate::{self, Review};
use super::{Failure, Verdict, spec};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab diff old.json new.json --requests month.jsonl\n  \
    policy-lab diff world.json next-world.json --audit appliance-data/audit --fail-on newly-allowed\n\n\
    Counted are the recorded requests. Of two policies it is then said for every other request, too, whether it gains \
    or loses anything, with an example; of whole worlds it is not.")]
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
    let changes = |spec: &String| spec::changes(std::slice::from_ref(spec));
    let (old, new) = (changes(&arguments.old)?, changes(&arguments.new)?);
    let beyond = access(&old).zip(access(&new)).map(|(old, new)| beyond(&old, &new));
    let world = |changes: &[Change]| {
        let start = arguments.events.world();
        changes.iter().cloned().fold(start, policy_lab::replay::World::with)
    };
    let worlds = || (world(&old), world(&new));
    let title = simulate::title(arguments.old.clone(), vec![arguments.new.clone()]);
    let verdict = simulate::review(&arguments.events, &arguments.review, &worlds, title)?;
    if let Some(beyond) = beyond {
        // A report for a program is one document: what is said beside it must not be in it.
        if arguments.review.is_table() { print!("{beyond}") } else { eprint!("{beyond}") }
    }
    Ok(verdict)
}

/// The policies of everybody, if the changes say them whole.
fn access(changes: &[Change]) -> Option<Access> {
    let mut access = Access::default();
    for change in changes {
        match change {
            Change::Identity(policies) => access.policies.identity.clone_from(policies),
            Change::Bucket { bucket, policy } if access.bucket.is_none() => {
                access.bucket = Some(bucket.clone());
                access.policies.bucket = Some(policy.clone());
            }
            _ => return None,
        }
    }
    Some(access)
}

/// What changes for requests of which none may have been recorded.
fn beyond(old: &Access, new: &Access) -> String {
    let difference = differences(old, new, World::S3);
    let line = |what: &str, proof: &Proof| match proof {
        Proof::Proved => format!("of all requests, {what}: none\n"),
        Proof::Unknown(limit) => format!("of all requests, {what}: unknown, {limit}\n"),
        Proof::Refuted(found) => {
            format!("of all requests, {what}: for example\n{}\n", request_line(&found.request))
        }
    };
    line("newly allowed", &difference.gained) + &line("newly denied", &difference.lost)
}
