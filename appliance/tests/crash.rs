//! The server is killed under load, again and again: what it acknowledged is there, and is in the log.
//!
//! The load comes from boto3 (`fixtures/clients/load.py`), which says each acknowledgement aloud before it sends the
//! next request. A kill falls after a number of acknowledgements that differs from round to round, so that it meets
//! the server in the middle of parts, commits and batches.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::{Launch, Server};
use serde_json::Value;

/// Rounds of one test run; `APPLIANCE_TEST_ROUNDS` asks for more.
const ROUNDS: u64 = 20;

#[test]
fn acknowledged_survives_kill() -> anyhow::Result<()> {
    let rounds =
        std::env::var("APPLIANCE_TEST_ROUNDS").map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let scratch = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let server = launch.start().with_context(|| format!("start of round {round}"))?;
        let before = acknowledged.len();
        write_until_killed(round, server, scratch.path(), &mut acknowledged)?;
        ensure!(acknowledged.len() > before, "round {round} acknowledged nothing");

        // Recovery is a start like any other; then everything of this round must be there.
        let server = launch.start().with_context(|| format!("restart after round {round}"))?;
        check(&server, scratch.path(), &acknowledged[before..])?;
        server.kill()?;
    }

    let server = launch.start()?;
    check(&server, scratch.path(), &acknowledged)?;
    let (launch, status) = server.stop()?;
    ensure!(status.success(), "the server ended with {status}");
    in_the_log(&launch.data_dir().join("audit"), &acknowledged)?;
    verified(&launch)?;
    println!("{rounds} rounds, {} acknowledgements", acknowledged.len());
    Ok(())
}

/// Collects the lines of the load until its server was killed and the load ended by itself.
fn write_until_killed(
    round: u64,
    server: Server,
    scratch: &Path,
    acknowledged: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut command = load(&server, scratch)?;
    let mut load = command.args(["write", &round.to_string()]).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(load.stdout.take().context("the load has no output")?).lines();
    let kill_after = 20 + (round * 37) % 101;
    let mut victim = Some(server);
    for (count, line) in lines.enumerate() {
        acknowledged.push(line?);
        if count as u64 >= kill_after
            && let Some(server) = victim.take()
        {
            server.kill()?;
        }
    }
    let status = load.wait()?;
    ensure!(status.success(), "the load of round {round} ended with {status}");
    ensure!(victim.is_none(), "the load of round {round} ended before the kill");
    Ok(())
}

fn check(server: &Server, scratch: &Path, acknowledged: &[String]) -> anyhow::Result<()> {
    let file = scratch.join("acknowledged");
    std::fs::write(&file, acknowledged.join("\n"))?;
    let output = load(server, scratch)?.arg("check").arg(&file).output()?;
    ensure!(output.status.success(), "{}\nserver log:\n{}", clients::text(&output), server.log());
    Ok(())
}

fn load(server: &Server, scratch: &Path) -> anyhow::Result<Command> {
    let mut command = clients::command("python", scratch)?;
    Access::root(server)?.export(&mut command);
    command.arg("-B").arg(data::checkout().join("fixtures/clients/load.py"));
    Ok(command)
}

/// Every acknowledged request has a decision and an outcome in the log, read here without any of our code.
fn in_the_log(audit: &Path, acknowledged: &[String]) -> anyhow::Result<()> {
    let (mut decided, mut finished) = (BTreeSet::new(), BTreeSet::new());
    for segment in data::files_below(&audit.join("seg"))? {
        for line in std::fs::read(&segment)?.split(|byte| *byte == b'\n') {
            let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
            let (Some(request), Some(phase)) =
                (record["request"].as_str(), record["phase"].as_str())
            else {
                continue;
            };
            match phase {
                "decision" => decided.insert(request.to_owned()),
                "outcome" => finished.insert(request.to_owned()),
                _ => false,
            };
        }
    }
    let requests = acknowledged.iter().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        matches!(words[0], "put" | "deleted").then(|| words[words.len() - 1])
    });
    let mut count = 0;
    for request in requests {
        ensure!(decided.contains(request), "no decision of acknowledged request {request}");
        ensure!(finished.contains(request), "no outcome of acknowledged request {request}");
        count += 1;
    }
    ensure!(count > 0, "no request was looked for");
    Ok(())
}

fn verified(launch: &Launch) -> anyhow::Result<()> {
    let output = Command::new(&launch.binary)
        .args(["audit", "verify", "--strict", "--data-dir"])
        .arg(launch.data_dir())
        .output()?;
    // 3 is TAIL-UNPROVEN: all bytes hold, and nothing outside the directory knows the newest size.
    ensure!(
        matches!(output.status.code(), Some(0 | 3)),
        "verify: {}\n{}",
        output.status,
        clients::text(&output)
    );
    Ok(())
}
