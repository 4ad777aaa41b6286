//! A witness of another author signs the log's head; a verifier with a policy asks for that.

use std::path::Path;

use anyhow::{Context, ensure};
use fixtures::clients;

use super::{BAD_SIGNATURE, Log, STRANGER, TAIL_UNPROVEN, TRUNCATED, VALID};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tamper/witness.py");

/// Has a new witness sign a checkpoint. Returns its key.
fn witness(log: &Log, name: &str, checkpoint: &str, cosigned: &Path) -> anyhow::Result<String> {
    let vkey = std::fs::read_to_string(&log.vkey)?;
    let mut command = clients::command("python", &log.launch.scratch)?;
    let output = command.args([SCRIPT, name, vkey.trim(), checkpoint]).arg(cosigned).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn a_policy_asks_for_witnesses() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let (seen, other, policy) = (path("seen"), path("other"), path("policy.txt"));
    let one = witness(&log, "one.example.org/w", &log.kept, Path::new(&seen))?;
    let two = witness(&log, "two.example.org/w", &log.kept, Path::new(&other))?;
    let vkey = std::fs::read_to_string(&log.vkey)?;
    let ask = |quorum: &str| {
        let groups = "group both all one two\n";
        let text =
            format!("log {vkey}witness one {one}\nwitness two {two}\n{groups}quorum {quorum}\n");
        std::fs::write(&policy, text)
    };
    ask("none")?;
    ensure!(log.verify(&["--policy", &policy])?.code == TAIL_UNPROVEN, "nobody was asked");

    ask("one")?;
    let verdict = log.verify(&["--policy", &policy, "--since", &seen])?;
    ensure!(
        verdict.code == VALID && verdict.said.contains("witnessed by one at 20"),
        "{verdict:?}"
    );
    for (since, said) in [(&other, ": two signed it"), (&log.kept, ": no witness signed it")] {
        let verdict = log.verify(&["--policy", &policy, "--since", since])?;
        ensure!(
            verdict.code == i64::from(BAD_SIGNATURE) && verdict.said.contains(said),
            "{verdict:?}"
        );
    }
    let unseen = log.verify(&["--policy", &policy])?;
    ensure!(unseen.code == i64::from(BAD_SIGNATURE), "{unseen:?}");

    ask("both")?;
    let half = log.verify(&["--policy", &policy, "--since", &seen])?;
    ensure!(
        half.code == i64::from(BAD_SIGNATURE) && half.said.contains(": one signed it"),
        "{half:?}"
    );
    // Their lines belong to one text, so they can be put together.
    let theirs = std::fs::read_to_string(&other)?;
    let line = theirs.lines().find(|line| line.contains("two.example")).context("no line")?;
    std::fs::write(&other, format!("{}{line}\n", std::fs::read_to_string(&seen)?))?;
    ensure!(log.verify(&["--policy", &policy, "--since", &other])?.code == VALID, "both signed");

    // A cosignature of something else counts for nothing, and is named.
    let forged = std::fs::read_to_string(&other)?.replace(line, &line.replacen("AAAA", "AAAB", 1));
    std::fs::write(&other, forged)?;
    let verdict = log.verify(&["--policy", &policy, "--since", &other])?;
    ensure!(
        verdict.code == i64::from(BAD_SIGNATURE) && verdict.files == [other.clone()],
        "{verdict:?}"
    );

    // The same of a running log, by its address; that has grown since.
    ask("one")?;
    let server = log.launch.start()?;
    let url = server.ready()?.endpoint.clone();
    let afar = |more: &[&str]| {
        log.verify_from_afar(&url, &[&["--policy", policy.as_str()], more].concat())
    };
    let verdict = afar(&["--since", &seen])?;
    ensure!(
        verdict.code == VALID && verdict.said.contains("witnessed by one at 20"),
        "{verdict:?}"
    );
    for (since, said) in [(&log.kept, ": no witness signed it"), (&other, "of a witness: ")] {
        let verdict = afar(&["--since", since])?;
        ensure!(
            verdict.code == i64::from(BAD_SIGNATURE) && verdict.said.contains(said),
            "{verdict:?}"
        );
    }
    let unseen = afar(&[])?;
    ensure!(unseen.code == i64::from(BAD_SIGNATURE), "{unseen:?}");
    server.stop()?;

    // Witnesses remember what an older copy does not have.
    let older = Log { directory: log.older.clone(), ..log.clone() };
    let verdict = older.verify(&["--policy", &policy, "--since", &seen])?;
    ensure!(verdict.code == TRUNCATED, "{verdict:?}");
    Ok(())
}

#[test]
fn a_policy_that_cannot_be_used_is_told() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let policy = scratch.path().join("policy.txt").display().to_string();
    let vkey = std::fs::read_to_string(&log.vkey)?;
    for (text, said) in [
        (String::new(), "line 1: the policy has no `log`"),
        (format!("log {vkey}"), "line 1: the policy has no `quorum`"),
        (format!("log {vkey}quorum all"), "line 2: no witness or group"),
        (format!("log {STRANGER}quorum none"), "does not name this key"),
    ] {
        std::fs::write(&policy, &text)?;
        let (code, output) = log.audit(&["verify", "--policy", &policy])?;
        ensure!(code == 2 && output.contains(said), "{text}: {code} {output}");
    }
    Ok(())
}
