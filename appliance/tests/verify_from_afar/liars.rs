//! Web servers that hold an exported log and lie about it: each gets its state, and none holds up the verifier.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use fixtures::clients;
use fixtures::process::Launch;

use super::hosts::{Manner, serve};
use super::{Verdict, store, text, verify};

/// Exports the log of a deployment.
fn export(data_dir: &Path, to: &Path) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "export", "--data-dir"])
        .arg(data_dir)
        .arg(to)
        .output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}

#[test]
fn a_lie_has_a_state_and_silence_an_end() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let place = scratch.path();
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), place);
    let server = launch.start()?;
    let (data_dir, older, log) = (launch.data_dir(), place.join("older"), place.join("log"));
    store(&server, place, "one", 10)?;
    export(&data_dir, &older)?;
    store(&server, place, "two", 150)?;
    server.stop()?;
    export(&data_dir, &log)?;
    let vkey = text(&data_dir.join("config/audit.vkey"));
    let since = text(&log.join("checkpoint"));
    let ask = |url: &str| -> anyhow::Result<Verdict> {
        verify(place, &[url, "--vkey", &vkey, "--since", &since, "--timeout", "2"])
    };
    // At the root of a web server and below it.
    let verdict = ask(&serve(&log, "", Manner::Honest)?)?;
    ensure!(verdict.code == 0 && verdict.report["seen"] == "records", "{verdict:?}");
    let verdict = ask(&format!("{}log/", serve(place, "", Manner::Honest)?))?;
    ensure!(verdict.code == 0, "{verdict:?}");

    let read = |name: &str| std::fs::read(log.join(name)).context(name.to_owned());
    let bundle = read("tile/entries/000")?;
    let shorter = Manner::Gives(bundle[..bundle.len() - 5].to_vec());
    let tile = read("tile/0/000")?;
    let mut swapped = tile.clone();
    swapped.rotate_left(32);
    let stale = Manner::Gives(std::fs::read(older.join("checkpoint"))?);
    let (checkpoint, first, records) = ("checkpoint", "tile/0/000", "tile/entries/000");
    for (path, manner, code, words) in [
        (checkpoint, stale, 13, "TRUNCATED"),
        (checkpoint, Manner::Gives(b"nonsense".to_vec()), 10, "MODIFIED"),
        (checkpoint, Manner::Status("404 Not Found"), 13, "TRUNCATED"),
        (checkpoint, Manner::Status("403 Forbidden"), 2, "not open to us"),
        (checkpoint, Manner::Status("301 Moved Permanently"), 2, "give that address"),
        (checkpoint, Manner::Endless, 10, "longer than any signed head"),
        (checkpoint, Manner::Silent, 2, "no whole answer within 2 s"),
        (checkpoint, Manner::Babbles, 2, "asking for the newest head"),
        (records, shorter, 10, "ends before its last record"),
        (records, Manner::Gives(tile), 10, "MODIFIED"),
        (records, Manner::Status("404 Not Found"), 11, "MISSING"),
        (records, Manner::Status("410 Gone"), 11, "no record says that they were pruned"),
        (records, Manner::Status("500 Internal Server Error"), 11, "the server answers 500"),
        (records, Manner::Status("503 Service Unavailable"), 2, "still answers 503"),
        (records, Manner::Endless, 10, "longer than any file"),
        (records, Manner::BreaksOff, 2, records),
        (first, Manner::Gives(swapped), 10, "MODIFIED"),
        (first, Manner::Gives(Vec::new()), 10, "should have 256 hashes"),
        (first, Manner::Endless, 10, "longer than any file"),
        (first, Manner::Trickles, 2, "no whole answer within 2 s"),
        (first, Manner::Status("403 Forbidden"), 2, "not open to us"),
    ] {
        let verdict = ask(&serve(&log, path, manner.clone())?)?;
        ensure!(
            verdict.code == code && verdict.said.contains(words),
            "{path} {manner:?}: {verdict:?}"
        );
    }
    let verdict = ask("http://127.0.0.1:1/")?;
    ensure!(verdict.code == 2, "{verdict:?}");
    for wrong in ["ftp://127.0.0.1/", "http://me:secret@127.0.0.1/", "http://127.0.0.1/?x"] {
        let verdict = ask(wrong)?;
        ensure!(verdict.code == 2 && !verdict.said.contains("secret"), "{wrong}: {verdict:?}");
    }
    Ok(())
}
