//! The server and its tools: parse, dispatch, exit code.

use std::process::ExitCode;

use appliance::cli::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    Cli::parse().run()
}
