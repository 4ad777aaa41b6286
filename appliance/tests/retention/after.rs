//! What is left of a log that was pruned, for everybody who reads it: SIEM, CloudTrail, auditors, verifiers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::{Launch, Server};
use serde_json::Value;

use super::scene::{BOB_SECRET, DAYS, Operator, aged, text, verified};

/// Everything here takes seconds; two busy cores take their time.
const WITHIN: Duration = Duration::from_secs(120);

/// A receiver on loopback that takes nothing until it is opened. Its thread ends with the process.
struct Receiver {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<u64>>>,
}

impl Receiver {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (open, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_open, taking) = (Arc::clone(&open), Arc::clone(&taken));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks is the sender's to try again.
                let _ = answer(stream, &is_open, &taking);
            }
        });
        Ok(Self { address, open, taken })
    }

    fn has(&self, seq: u64) -> usize {
        let taken = self.taken.lock().map(|taken| taken.iter().filter(|t| **t == seq).count());
        taken.unwrap_or(0)
    }
}

/// One request, one answer.
fn answer(stream: TcpStream, open: &AtomicBool, taken: &Mutex<Vec<u64>>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = match open.load(Ordering::Acquire) {
        false => "503 Service Unavailable",
        true => {
            let batch: Value = serde_json::from_slice(&body)?;
            let records = batch["data"]["records"].as_array().context("no records")?;
            let seqs = records.iter().filter_map(|record| record["seq"].as_u64());
            taken.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.extend(seqs);
            "200 OK"
        }
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(())
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn add_bob(alice: &Operator<'_>, scratch: &Path) -> anyhow::Result<()> {
    let secret = scratch.join("bob");
    std::fs::write(&secret, BOB_SECRET)?;
    let path = secret.display().to_string();
    for arguments in [
        &["user", "add", "bob", "--secret-file", &path][..],
        &["policy", "attach", "recordsOfficer", "--user", "bob"],
    ] {
        let output = alice.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
    }
    Ok(())
}

/// Exit code and words of `aws cloudtrail validate-logs`.
fn validated(server: &Server, scratch: &Path) -> anyhow::Result<(bool, String)> {
    let script = "arn=$(aws cloudtrail describe-trails --query 'trailList[0].TrailARN' --output text) && \
                  aws cloudtrail validate-logs --trail-arn \"$arn\" --start-time 2020-01-01T00:00:00Z --verbose";
    let mut shell = clients::shell(script, scratch)?;
    Access::root(server)?.export(&mut shell);
    let output = shell.output()?;
    Ok((output.status.success(), clients::text(&output)))
}

fn digests(server: &Server, scratch: &Path) -> anyhow::Result<usize> {
    let script = "aws s3 ls --recursive s3://trail/ | grep -c CloudTrail-Digest/ || true";
    let mut shell = clients::shell(script, scratch)?;
    Access::root(server)?.export(&mut shell);
    let output = shell.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0))
}

/// Status and body of a place in the log, which is open to everybody here.
fn fetched(server: &Server, place: &str) -> anyhow::Result<(String, String)> {
    let ready = server.ready()?;
    let origin = text(&verified(server)?["origin"]).to_owned();
    let ca = ready.ca.clone().context("no CA")?;
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", "--cacert"])
        .arg(ca)
        .arg(format!("{}/_/log/{origin}/{place}", ready.endpoint))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').context("no status")?;
    Ok((status.to_owned(), body.to_owned()))
}

#[test]
fn everybody_who_reads_the_log_is_told_what_was_pruned() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let settings = scratch.path().join("appliance.toml");
    let written = format!(
        "[audit]\nretention = \"3d\"\nopen = \"records\"\n[audit.cloudtrail]\nbucket = \"trail\"\nperiod = \"2s\"\n\
         [[siem]]\nname = \"soc\"\nkind = \"webhook\"\nurl = \"http://{}/\"\nretry_min = \"100ms\"\nretry_max = \"1s\"\n",
        receiver.address
    );
    std::fs::write(&settings, written)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
        .argument("--config")
        .argument(settings.as_os_str());
    aged(&launch.data_dir())?;
    let server = launch.start()?;
    let config = settings.display().to_string();
    let alice = Operator { server: &server, credentials: None };
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };
    add_bob(&alice, scratch.path())?;

    // Who has not had the records holds them back, and is named.
    until("a refusal that names the receiver", || {
        let propose = ["audit", "prune", "propose", "--reason", "over"];
        Ok(alice.refused(7, &propose)?.contains("the SIEM destination soc is at record 0"))
    })?;
    receiver.open.store(true, Ordering::Release);
    let proposed = alice.propose(DAYS - 2)?;
    ensure!(receiver.has(0) == 1 && receiver.has(5) == 1, "all of it went out before");
    let rotate = ["audit", "key", "rotate"];
    ensure!(alice.run(&rotate)?.status.success());
    let (id, digest) = (text(&proposed["id"]), text(&proposed["digest"]));
    let done = bob.json(&["audit", "prune", "confirm", id, "--digest", digest])?;
    ensure!(alice.run(&rotate)?.status.success());
    let (first, record) = (done["first"].as_u64().context("no first")?, &done["record"]);
    let pruned_by = format!("pruned by record {record}");

    // A receiver that wants pruned records again hears where the log begins, and may have it from there.
    let said = alice.refused(2, &["siem", "replay", "soc", "--from", "5"])?;
    ensure!(said.contains(&pruned_by) && said.contains(&format!("record {first}")), "{said}");
    let said = alice.refused(2, &["siem", "replay", "soc", "--since", "7d"])?;
    ensure!(said.contains(&pruned_by) && said.contains(&format!("record {first} of ")), "{said}");
    let again = alice.json(&["siem", "replay", "soc", "--from", &first.to_string()])?;
    ensure!(again["next"] == first, "{again}");
    until("the first record again", || Ok(receiver.has(first) == 2))?;
    ensure!(receiver.has(5) == 1);
    ensure!(alice.run(&["siem", "replay", "soc", "--since", "1h"])?.status.success());

    // Over HTTP the records are gone for good, with who let them go; their hashes are there.
    let (status, body) = fetched(&server, "tile/entries/000")?;
    ensure!(status == "410" && body.contains(&pruned_by), "{status}: {body}");
    let (status, _) = fetched(&server, "tile/0/000")?;
    ensure!(status == "200", "{status}");
    // Of the bundle that begins with pruned records, the others are not given out either.
    let (status, _) = fetched(&server, &format!("tile/entries/{:03}", first / 256))?;
    ensure!(status == "410" || first.is_multiple_of(256), "{status}");

    // CloudTrail's chain does not hang on the records.
    let there = digests(&server, scratch.path())?;
    until("two more digests", || Ok(digests(&server, scratch.path())? >= there + 2))?;
    let (valid, said) = validated(&server, scratch.path())?;
    ensure!(valid && !said.contains("INVALID"), "{said}");

    // Evidence of what is there, under the newest of three keys.
    let tar = scratch.path().join("evidence.tar");
    let out = tar.display().to_string();
    let bundle = ["audit", "bundle", "action=audit:prune", "--out", &out];
    ensure!(alice.run(&bundle)?.status.success() && tar.is_file());
    let opened = scratch.path().join("evidence");
    std::fs::create_dir(&opened)?;
    let untar = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&opened).output()?;
    ensure!(untar.status.success(), "{}", clients::text(&untar));
    let vkey = launch.data_dir().join("config/audit.vkey");
    let check =
        Command::new("python3").arg("-B").arg(opened.join("check.py")).arg(&vkey).output()?;
    ensure!(check.status.success(), "{}", clients::text(&check));

    let whole = verified(&server)?;
    ensure!(whole["state"] == "TAIL-UNPROVEN" && whole["pruned"]["end"] == first, "{whole}");
    // All of this is so after a restart.
    let (launch, _) = server.stop()?;
    let server = launch.start()?;
    let (status, body) = fetched(&server, "tile/entries/000")?;
    ensure!(status == "410" && body.contains(&pruned_by), "{status}: {body}");
    let (valid, said) = validated(&server, scratch.path())?;
    ensure!(valid, "{said}");
    ensure!(verified(&server)?["state"] == "TAIL-UNPROVEN", "{config}");
    server.stop()?;
    Ok(())
}

/// What all copies of a log must have alike.
fn contents(dir: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut contents = Vec::new();
    for path in data::files_below(dir)? {
        let name = path.strip_prefix(dir)?.to_owned();
        let own = ["idx", "quarantine", "tsr", "LOCK"];
        let tiles = name.starts_with("tile") && !name.starts_with("tile/0");
        if own.iter().any(|own| name.starts_with(own)) || tiles {
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        // Zeros are written ahead, on each drive as far as it came.
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(written);
        contents.push((name, bytes));
    }
    contents.sort();
    Ok(contents)
}

#[test]
fn a_copy_that_was_lost_after_a_prune_is_made_again_without_what_was_pruned() -> anyhow::Result<()>
{
    let scratch = tempfile::tempdir()?;
    let elsewhere = scratch.path().join("store");
    std::fs::create_dir(&elsewhere)?;
    let store = Server::start(env!("CARGO_BIN_EXE_appliance"), &elsewhere)?;
    let access = Access::root(&store)?;
    let mut shell = clients::shell("aws s3 mb s3://vault", scratch.path())?;
    access.export(&mut shell);
    ensure!(shell.output()?.status.success());
    let [b, c] = ["b", "c"].map(|drive| scratch.path().join(drive).join("audit"));
    let settings = scratch.path().join("appliance.toml");
    let written = format!(
        "[audit]\nretention = \"3d\"\nmirrors = [{b:?}, {c:?}]\n[audit.archive]\nurl = \"{}/vault\"\n\
         access_key = \"{}\"\nsecret_key = \"{}\"\nca = {:?}\n",
        access.endpoint,
        access.credentials.access_key,
        access.credentials.secret_key,
        access.ca.as_ref().context("no CA")?,
    );
    std::fs::write(&settings, written)?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
        .argument("--config")
        .argument(settings.as_os_str());
    aged(&launch.data_dir())?;
    let a = launch.data_dir().join("audit");
    for copy in [&b, &c] {
        std::fs::create_dir_all(copy.parent().context("no parent")?)?;
        let copied = Command::new("cp").arg("-a").arg(&a).arg(copy).output()?;
        ensure!(copied.status.success(), "{}", clients::text(&copied));
    }

    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };
    add_bob(&alice, scratch.path())?;
    let rotate = ["audit", "key", "rotate"];
    ensure!(alice.run(&rotate)?.status.success());
    let proposed = alice.propose(DAYS - 2)?;
    let (id, digest) = (text(&proposed["id"]), text(&proposed["digest"]));
    let done = bob.json(&["audit", "prune", "confirm", id, "--digest", digest])?;
    ensure!(alice.run(&rotate)?.status.success());
    server.stop()?;

    // A drive dies between two runs.
    std::fs::remove_dir_all(&b)?;
    let verify = |dir: Option<&Path>| -> anyhow::Result<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.args(["audit", "verify", "--json"]);
        match dir {
            Some(dir) => {
                let vkey = launch.data_dir().join("config/audit.vkey");
                command.arg("--audit-dir").arg(dir).arg("--vkey").arg(vkey)
            }
            None => command.arg("--config").arg(&settings).arg("--data-dir").arg(launch.data_dir()),
        };
        let output = command.output()?;
        serde_json::from_slice(&output.stdout).with_context(|| clients::text(&output))
    };
    launch.start()?.stop()?;
    let found = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "search", "action=audit:copy", "--json", "--config"])
        .arg(&settings)
        .arg("--data-dir")
        .arg(launch.data_dir())
        .output()?;
    let said = clients::text(&found);
    ensure!(said.contains("rebuilt: ") && said.contains(&b.display().to_string()), "{said}");
    let together = verify(None)?;
    ensure!(together["state"] == "TAIL-UNPROVEN", "{together}");
    for copy in [&a, &b, &c] {
        let report = verify(Some(copy))?;
        ensure!(report["state"] == "TAIL-UNPROVEN", "{}: {report}", copy.display());
        ensure!(report["pruned"]["end"] == done["first"], "{}: {report}", copy.display());
        ensure!(report["size"] == together["size"], "{}: {report}", copy.display());
    }
    let whole = contents(&a)?;
    ensure!(whole.len() > 10, "{}", whole.len());
    for copy in [&b, &c] {
        let other = contents(copy)?;
        let names = |all: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
            all.iter().map(|(name, _)| name.clone()).collect()
        };
        ensure!(names(&other) == names(&whole), "{:?}\n{:?}", names(&other), names(&whole));
        ensure!(other == whole, "{} has other bytes", copy.display());
    }
    store.stop()?;
    Ok(())
}
