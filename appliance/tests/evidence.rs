//! Evidence that is handed over: one archive, checked where there is nothing of ours but the key.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use fixtures::authority::Authority;
use fixtures::clients::{self, Access};
use fixtures::process::{Launch, Server};

/// A key that signed nothing here.
const STRANGER: &str =
    "audit.example.com/node1+50a5011a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n";

#[test]
fn a_bundle_convinces_strangers_and_a_changed_one_nobody() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let server = launch.start()?;
    let script = "aws s3 mb s3://ledger && echo 1 | aws s3 cp - s3://ledger/q1 \
                  && aws s3 cp s3://ledger/q1 - && aws s3 rm s3://ledger/q1";
    let mut shell = clients::shell(script, scratch.path())?;
    Access::root(&server)?.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));

    // What comes after lets the head be an earlier one.
    let authority = Authority::start(&scratch.path().join("authority"))?;
    let stamp = ["audit", "timestamp", "--tsa", authority.url()];
    let output = appliance(&server.launch().data_dir(), &stamp).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let output = asked(&server, &["audit", "key", "list"])?;
    ensure!(output.status.success(), "{}", clients::text(&output));

    let tar = scratch.path().join("evidence.tar");
    let output = bundle(&server, &["key=q1", "--out", &text(&tar)])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    // What is there already is not written over, and what is wrong leaves nothing behind.
    ensure!(!bundle(&server, &["key=q1", "--out", &text(&tar)])?.status.success());
    let none = scratch.path().join("none.tar");
    for wrong in [&["| count by user"][..], &["--event", "01J0"], &["desicion=deny"]] {
        let output = bundle(&server, &[wrong, &["--out", &text(&none)]].concat())?;
        ensure!(
            !output.status.success() && !none.exists(),
            "{wrong:?}: {}",
            clients::text(&output)
        );
    }
    let vkey = server.launch().data_dir().join("config/audit.vkey");
    let elsewhere = scratch.path().join("log.vkey");
    std::fs::copy(&vkey, &elsewhere)?;
    server.stop()?;

    let opened = unpacked(&tar, &scratch.path().join("evidence"))?;
    let check = |dir: &Path, key: &Path| {
        Command::new("python3").arg("-B").arg(dir.join("check.py")).arg(key).output()
    };
    let output = check(&opened, &elsewhere)?;
    let said = clients::text(&output);
    ensure!(output.status.success() && said.starts_with("VALID: "), "{said}");
    let records = std::fs::read_to_string(opened.join("records.jsonl"))?;
    ensure!(records.lines().count() >= 6, "decisions, keys and outcomes of three calls: {records}");
    guide_is_right(&opened, &elsewhere, Some(&authority))?;
    for kind in ["heads", "tsr"] {
        let files = fixtures::data::files_below(&opened.join(kind))?;
        ensure!(files.len() >= 2, "{kind}: {files:?}");
    }

    let stranger = scratch.path().join("stranger.vkey");
    std::fs::write(&stranger, STRANGER)?;
    ensure!(!check(&opened, &stranger)?.status.success(), "the script believes any key");
    // One letter in each of its files, and one file more.
    for path in fixtures::data::files_below(&opened)? {
        if path.ends_with("check.py") {
            continue;
        }
        let bytes = std::fs::read(&path)?;
        if bytes.is_empty() {
            continue;
        }
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] = if changed[middle] == b'a' { b'b' } else { b'a' };
        std::fs::write(&path, &changed)?;
        ensure!(!check(&opened, &elsewhere)?.status.success(), "{} was changed", path.display());
        std::fs::write(&path, &bytes)?;
    }
    std::fs::write(opened.join("proofs/more"), "")?;
    ensure!(!check(&opened, &elsewhere)?.status.success(), "a file more was not noticed");
    std::fs::remove_file(opened.join("proofs/more"))?;
    ensure!(check(&opened, &elsewhere)?.status.success(), "putting back did not restore it");
    Ok(())
}

/// Whoever has the first key believes what a later one signed, and with a kept checkpoint the whole log.
#[test]
fn evidence_outlives_a_change_of_the_key() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let server = launch.start()?;
    let first = scratch.path().join("first.vkey");
    std::fs::copy(server.launch().data_dir().join("config/audit.vkey"), &first)?;
    let seen = scratch.path().join("seen");
    let verify = |data_dir: &Path| {
        let mut command = appliance(data_dir, &["audit", "verify", "--strict", "--remember"]);
        command.arg(&seen).output()
    };
    let output = verify(&server.launch().data_dir())?;
    ensure!(output.status.code() == Some(3), "{}", clients::text(&output));
    let key = |arguments: &[&str]| asked(&server, &[&["audit", "key"], arguments].concat());
    let output = key(&["rotate"])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let output = key(&["list", "--json"])?;
    let keys: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let (old, new) = (keys[0]["id"].as_str(), keys[1]["vkey"].as_str());
    let (old, new) = (old.context("no key")?.to_owned(), new.context("no second key")?.to_owned());
    let output = key(&["revoke", &old, "--good", "0"])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    ensure!(key(&["revoke", "ffffffff", "--good", "0"])?.status.code() == Some(2));

    let tar = scratch.path().join("evidence.tar");
    let output = bundle(&server, &["class=admin", "--out", &text(&tar)])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let opened = unpacked(&tar, &scratch.path().join("evidence"))?;
    let proof = scratch.path().join("proof");
    let data_dir = server.launch().data_dir();
    let output = appliance(&data_dir, &["audit", "prove", "1", "--out"]).arg(&proof).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    server.stop()?;
    // What was kept before the change still confirms the log after it.
    let output = verify(&data_dir)?;
    ensure!(output.status.code() == Some(0), "{}", clients::text(&output));

    let second = scratch.path().join("second.vkey");
    std::fs::write(&second, format!("{new}\n"))?;
    let stranger = scratch.path().join("stranger.vkey");
    std::fs::write(&stranger, STRANGER)?;
    for dir in [&opened, &proof] {
        for (vkey, believed) in [(&first, true), (&second, true), (&stranger, false)] {
            let output =
                Command::new("python3").arg("-B").arg(dir.join("check.py")).arg(vkey).output()?;
            ensure!(output.status.success() == believed, "{vkey:?}: {}", clients::text(&output));
        }
        // A change that is not there leads nowhere.
        let change = dir.join("key/0001.note");
        let note = std::fs::read(&change)?;
        std::fs::remove_file(&change)?;
        let output =
            Command::new("python3").arg("-B").arg(dir.join("check.py")).arg(&first).output()?;
        ensure!(!output.status.success(), "{}", clients::text(&output));
        std::fs::write(&change, &note)?;
    }
    let output = appliance(&data_dir, &["audit", "verify", "--proof"]).arg(&proof).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    guide_is_right(&opened, &second, None)
}

/// The commands of VERIFY.md, as they stand there, but for what would need the network.
fn guide_is_right(opened: &Path, vkey: &Path, authority: Option<&Authority>) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let output =
        Command::new("cp").arg("-r").arg(opened).arg(scratch.path().join("here")).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let here = scratch.path().join("here");
    let guide = std::fs::read_to_string(here.join("VERIFY.md"))?;
    // `check.py` finds files that the manifest does not name, so the key lies beside the directory.
    let key = scratch.path().join("log.vkey");
    std::fs::copy(vkey, &key)?;
    let block = guide.split("```").nth(1).context("no commands")?.trim_start_matches("sh");
    let mut block = block.replace("log.vkey", &text(&key));
    ensure!(block.contains("openssl ts") == authority.is_some(), "{block}");
    if let Some(authority) = authority {
        block = block.replace("tsa-ca.pem", &text(&authority.ca()));
    }
    let commands: Vec<&str> = block.lines().filter(|line| !line.starts_with("pip ")).collect();
    let mut shell = clients::shell(&commands.join("\n"), &here)?;
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_appliance"));
    let binaries = binary.parent().context("no directory")?.display().to_string();
    let path =
        format!("{}:{binaries}:{}", clients::executables()?.display(), std::env::var("PATH")?);
    // The home of the client is made in its directory, which must hold nothing that was not signed.
    std::fs::remove_dir_all(here.join("home"))?;
    let output = shell.env("PATH", path).env("HOME", scratch.path()).output()?;
    ensure!(output.status.success(), "{block}\n{}", clients::text(&output));
    Ok(())
}

fn appliance(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    command.args(arguments.iter().take(2)).arg("--data-dir").arg(data_dir);
    command.args(arguments.iter().skip(2));
    command
}

/// A verb that asks the running server.
fn asked(server: &Server, arguments: &[&str]) -> anyhow::Result<Output> {
    let endpoint = server.ready()?.endpoint.clone();
    let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
    command.args(arguments).args(["--address", address, "--data-dir"]);
    Ok(command.arg(server.launch().data_dir()).output()?)
}

fn bundle(server: &Server, arguments: &[&str]) -> anyhow::Result<Output> {
    asked(server, &[&["audit", "bundle"], arguments].concat())
}

fn unpacked(tar: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir(to)?;
    let output = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(to).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(to.to_owned())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
