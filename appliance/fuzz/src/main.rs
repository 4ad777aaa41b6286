//! One binary for all fuzz targets, because linking the appliance is what takes the time.
//!
//! `FUZZ_TARGET` names the target; without it the names are listed. `./test fuzz` builds this with the coverage
//! instrumentation that libFuzzer steers by and runs each target for a while, beginning with its committed seeds.

#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = (&'static str, fn(&[u8]));

/// The entry point that libFuzzer calls takes no argument of ours.
static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fn targets() -> impl Iterator<Item = &'static Target> {
    [
        appliance::fuzz::TARGETS,
        audit::fuzz::TARGETS,
        policy_lab::fuzz::TARGETS,
        storage::fuzz::TARGETS,
    ]
    .into_iter()
    .flatten()
}

fn chosen() -> fn(&[u8]) {
    let Ok(name) = std::env::var("FUZZ_TARGET") else {
        targets().for_each(|(name, _)| println!("{name}"));
        exit(0);
    };
    match targets().find(|(known, _)| *known == name) {
        Some((_, run)) => *run,
        None => {
            eprintln!("`{name}` is not a fuzz target");
            exit(2);
        }
    }
}

fuzz_target!(
    init: {
        let _ = RUN.set(chosen());
    },
    |bytes: &[u8]| {
        if let Some(run) = RUN.get() {
            run(bytes);
        }
    }
);
