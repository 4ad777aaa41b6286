//! Where recorded requests come from: an audit log, a file of requests, a log of another server.

pub(super) mod audit_log;
mod requests;
mod since;

use std::path::PathBuf;

use policy_lab::replay::{Detail, Foreign, Outcome, Recorded, World, simulate_in_detail};

use self::since::Since;
use super::Failure;

/// The options of every verb that reads requests.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(super) struct Events {
    /// Directory of an audit log; it is verified first
    #[arg(long, value_name = "DIR", group = "input")]
    audit: Option<PathBuf>,
    /// Requests, one JSON object per line; `-` is stdin
    #[arg(long, value_name = "FILE", group = "input")]
    requests: Option<PathBuf>,
    /// What the file of requests is, if not ours: minio, cloudtrail or s3-access-log
    #[arg(long, value_name = "LOG", conflicts_with = "audit")]
    from: Option<Foreign>,
    /// The log's verifier key or the file that holds it, from a place you trust; by default what the log says of itself
    #[arg(long, value_name = "KEY", conflicts_with = "requests")]
    vkey: Option<String>,
    /// Replay a log that fails verification
    #[arg(long, conflicts_with = "requests")]
    unverified: bool,
    /// Only later events: a time (2026-11-05T10:00:00Z), a date, or an age such as 30d, 12h, 45m
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// Replay every Nth event only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// What was made of the events, where they come from, and how many records could not be read as requests.
pub(super) struct Replayed<T> {
    pub(super) value: T,
    pub(super) source: String,
    pub(super) unreadable: u64,
}

/// What became of the events in two worlds.
pub(super) struct Simulated {
    pub(super) outcome: Outcome,
    /// Proposed policies that nobody had.
    pub(super) unmatched: Vec<String>,
}

impl Events {
    /// Replays every event that is wanted in two worlds, which `worlds` makes; for a log, on all processors.
    pub(super) fn simulate(
        &self,
        worlds: &(dyn Fn() -> (World, World) + Sync),
        detail: Detail,
    ) -> Result<Replayed<Simulated>, Failure> {
        let mut replayed = if self.is_audit() {
            audit_log::simulate(self, worlds, detail)?
        } else {
            let (baseline, draft) = worlds();
            let visit = |events: &mut dyn Iterator<Item = Recorded>| {
                simulate_in_detail(events, &baseline, &draft, detail)
            };
            let Replayed { value: outcome, source, unreadable } = self.one_by_one(visit)?;
            let unmatched = draft.unmatched().into_iter().map(str::to_owned).collect();
            Replayed { value: Simulated { outcome, unmatched }, source, unreadable }
        };
        self.say_every(&mut replayed.source);
        Ok(replayed)
    }

    /// Lets `visit` see every event that is wanted.
    pub(super) fn replay<T>(
        &self,
        visit: impl FnOnce(&mut dyn Iterator<Item = Recorded>) -> T,
    ) -> Result<Replayed<T>, Failure> {
        let mut replayed = self.one_by_one(visit)?;
        self.say_every(&mut replayed.source);
        Ok(replayed)
    }

    fn say_every(&self, source: &mut String) {
        if self.every > 1 {
            *source += &format!(", one of {}", self.every);
        }
    }

    fn one_by_one<T>(
        &self,
        visit: impl FnOnce(&mut dyn Iterator<Item = Recorded>) -> T,
    ) -> Result<Replayed<T>, Failure> {
        let mut number = 0;
        let visit = |events: &mut dyn Iterator<Item = Recorded>| {
            visit(&mut events.filter(|_| {
                number += 1;
                u64::is_multiple_of(number, self.every)
            }))
        };
        match &self.requests {
            Some(path) => requests::replay(path, self.from, self.since, visit),
            None => audit_log::replay(self, visit),
        }
    }

    /// The events carry decisions of their own.
    pub(super) fn is_audit(&self) -> bool {
        self.audit.is_some()
    }

    /// What was in force then; with a file of requests, nothing.
    pub(super) fn world(&self) -> World {
        match &self.audit {
            Some(directory) => World::recorded(audit_log::blobs(directory)),
            None => World::empty(),
        }
    }

    /// A world that also finds what was recorded, where there is a log.
    pub(super) fn beside(&self, world: World) -> World {
        match &self.audit {
            Some(directory) => world.with_blobs(audit_log::blobs(directory)),
            None => world,
        }
    }
}
