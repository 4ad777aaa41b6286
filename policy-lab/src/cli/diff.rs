//! `policy-lab diff OLD NEW`

mod beyond;

use policy_lab::replay::{Change, Class};

use self::beyond::Beyond;
use super::events::Events;
use super::reading::Reading;
use super::simulate::{self, Review};
use super::{Failure, Verdict, output, spec};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab diff old.json new.json --requests month.jsonl\n  \
    policy-lab diff world.json next-world.json --audit appliance-data/audit --fail-on newly-allowed\n\n\
    Counted are the recorded requests. Then it is said for every other request, too, whether it gains or loses anything, \
    with an example. Of whole worlds it is said for every caller of either; policies or a directory beside a world are \
    that world with them. Of named policies and of buckets it is said one by one, whatever else somebody has. --fail-on \
    counts these as well.\n\n\
    Exit codes: 0 no change that --fail-on names; 1 such a change, or a past that was not reproduced; 2 invalid input; \
    4 only --fail-on unknown was met; 8 the log fails verification.")]
pub(super) struct Arguments {
    /// What is compared with: as for `simulate --draft`
    #[arg(value_name = "OLD")]
    old: String,
    /// What is compared: as for `simulate --draft`
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    events: Events,
    /// How the given policies and worlds are read
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    #[command(flatten)]
    review: Review,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let reading = arguments.profile;
    let changes = |spec: &String| reading.changes(spec::changes(std::slice::from_ref(spec))?);
    let (old, new) = (changes(&arguments.old)?, changes(&arguments.new)?);
    let beyond = Beyond::of(&old, &new, reading.profile())?;
    let world = |changes: &[Change]| {
        let start = arguments.events.world();
        changes.iter().cloned().fold(start, policy_lab::replay::World::with)
    };
    let worlds = || (world(&old), world(&new));
    let title = simulate::title(arguments.old.clone(), vec![arguments.new.clone()]);
    let verdict = simulate::review(&arguments.events, &arguments.review, &worlds, title)?;
    let Some(beyond) = beyond else { return Ok(verdict) };
    let text = beyond.text();
    // A report for a program is one document: what is said beside it must not be in it.
    if arguments.review.is_table() {
        output::print(&text)?;
    } else {
        eprint!("{text}");
    }
    let fails = |class| arguments.review.fails_on(class) && beyond.has(class);
    Ok(match verdict {
        _ if fails(Class::NewlyAllowed) || fails(Class::NewlyDenied) => Verdict::Negative,
        Verdict::Fine if fails(Class::Unknown) => Verdict::Unknown,
        verdict => verdict,
    })
}
