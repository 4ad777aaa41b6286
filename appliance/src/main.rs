//! The server and its tools: parse, dispatch, exit code.

use std::process::ExitCode;

use appliance::cli::Cli;
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
