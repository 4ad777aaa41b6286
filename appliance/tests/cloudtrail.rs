//! Unmodified `aws cloudtrail validate-logs` against the running server: what it accepts, what it refuses, and the one
//! thing that it cannot see.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::process::{Credentials, Launch, Server};
use serde_json::Value;

/// Several digests have to be written meanwhile, on a machine that does other things.
const DIGESTS_WITHIN: Duration = Duration::from_secs(240);
const BUCKET: &str = "trail";

struct Scene {
    scratch: tempfile::TempDir,
    config: PathBuf,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let config = scratch.path().join("appliance.toml");
        Ok(Self { scratch, config })
    }

    /// Starts the server with this long a period.
    fn start(&self, period: &str) -> anyhow::Result<Server> {
        let text = format!("[audit.cloudtrail]\nbucket = \"{BUCKET}\"\nperiod = \"{period}\"\n");
        std::fs::write(&self.config, text)?;
        let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), self.scratch.path());
        launch.argument("--config").argument(&self.config).start()
    }

    fn aws(&self, server: &Server, arguments: &[&str]) -> anyhow::Result<Output> {
        self.aws_as(server, server.root()?, arguments)
    }

    fn aws_as(
        &self,
        server: &Server,
        who: Credentials,
        arguments: &[&str],
    ) -> anyhow::Result<Output> {
        let mut command = clients::command("aws", self.scratch.path())?;
        Access::with(server, who)?.export(&mut command);
        Ok(command.args(arguments).output()?)
    }

    fn json(&self, server: &Server, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.aws(server, &[arguments, &["--output", "json"]].concat())?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// Keys of digest files, oldest first.
    fn digests(&self, server: &Server) -> anyhow::Result<Vec<String>> {
        self.keys(server, "CloudTrail-Digest/")
    }

    fn keys(&self, server: &Server, part: &str) -> anyhow::Result<Vec<String>> {
        let found = self.json(server, &["s3api", "list-objects", "--bucket", BUCKET])?;
        let contents = found["Contents"].as_array().cloned().unwrap_or_default();
        let keys = contents.iter().filter_map(|object| object["Key"].as_str());
        Ok(keys.filter(|key| key.contains(part)).map(str::to_owned).collect())
    }

    /// Waits until there are so many digests.
    fn wait_for(&self, server: &Server, count: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + DIGESTS_WITHIN;
        while self.digests(server)?.len() < count {
            ensure!(Instant::now() < deadline, "no {count} digests; log:\n{}", server.log());
        }
        Ok(())
    }

    /// Exit code and words of `validate-logs`.
    fn validate(&self, server: &Server) -> anyhow::Result<(i32, String)> {
        let trails = self.json(server, &["cloudtrail", "describe-trails"])?;
        let arn = trails["trailList"][0]["TrailARN"].as_str().context("no trail")?;
        let from = "2020-01-01T00:00:00Z";
        let arguments =
            ["cloudtrail", "validate-logs", "--trail-arn", arn, "--start-time", from, "--verbose"];
        let output = self.aws(server, &arguments)?;
        Ok((output.status.code().context("killed")?, clients::text(&output)))
    }

    /// Stores what `from` holds, metadata and all, as `to`.
    fn copy(&self, server: &Server, from: &str, to: &str) -> anyhow::Result<()> {
        let (from, to) = (format!("s3://{BUCKET}/{from}"), format!("s3://{BUCKET}/{to}"));
        let output = self.aws(server, &["s3", "cp", "--only-show-errors", &from, &to])?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        Ok(())
    }

    fn remove(&self, server: &Server, key: &str) -> anyhow::Result<()> {
        let output =
            self.aws(server, &["s3api", "delete-object", "--bucket", BUCKET, "--key", key])?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        Ok(())
    }
}

#[test]
fn validate_logs_accepts_the_chain_and_refuses_a_changed_one() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    // A run that is killed, and one that is stopped: the chain goes on over both.
    let server = scene.start("3s")?;
    scene.wait_for(&server, 2)?;
    server.kill()?;
    let server = scene.start("3s")?;
    let there = scene.digests(&server)?.len();
    scene.wait_for(&server, there + 2)?;
    server.stop()?;
    // From here on no digest is due, and the bucket stands still.
    let server = scene.start("24h")?;
    let digests = scene.digests(&server)?;
    let logs = scene.keys(&server, "/CloudTrail/")?;
    ensure!(digests.len() >= 4 && !logs.is_empty(), "{digests:#?}");
    let (code, said) = scene.validate(&server)?;
    ensure!(code == 0, "{said}\nserver log:\n{}", server.log());
    let all = digests.len();
    ensure!(said.contains(&format!("{all}/{all} digest files valid")), "{said}");
    ensure!(said.contains(&format!("{0}/{0} log files valid", logs.len())), "{said}");
    ensure!(!said.contains("No log files were delivered"), "the chain has a gap: {said}");

    let kept = "kept";
    let refused = |what: &str, key: &str, words: &str| -> anyhow::Result<()> {
        let (code, said) = scene.validate(&server)?;
        ensure!(code == 1 && said.contains(words), "{what}: {code}: {said}");
        scene.copy(&server, kept, key)?;
        let (code, said) = scene.validate(&server)?;
        ensure!(code == 0, "putting back after `{what}` did not restore it: {said}");
        Ok(())
    };
    let (log, middle) = (&logs[0], &digests[1]);
    scene.copy(&server, log, kept)?;
    let other = scene.scratch.path().join("other.gz");
    compressed(b"{\"Records\":[]}", &other)?;
    let to = format!("s3://{BUCKET}/{log}");
    let output = scene.aws(&server, &["s3", "cp", "--only-show-errors", &text(&other), &to])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    refused("another log file", log, "INVALID: hash value doesn't match")?;

    scene.copy(&server, log, kept)?;
    scene.remove(&server, log)?;
    refused("a log file that is gone", log, "INVALID: not found")?;

    scene.copy(&server, middle, kept)?;
    scene.copy(&server, &digests[0], middle)?;
    refused("a digest in another's place", middle, "INVALID: has been moved")?;

    scene.copy(&server, middle, kept)?;
    scene.remove(&server, middle)?;
    refused("a digest that is gone", middle, "INVALID: not found")?;
    the_newest_digest_is_not_missed(&scene, &server, &digests)?;
    server.stop()?;
    Ok(())
}

/// The hole of this exit, as it is: the chain holds without its last link. The log itself has no such hole, and has who
/// took the link away.
fn the_newest_digest_is_not_missed(
    scene: &Scene,
    server: &Server,
    digests: &[String],
) -> anyhow::Result<()> {
    let newest = digests.last().context("no digests")?;
    scene.remove(server, newest)?;
    let (code, said) = scene.validate(server)?;
    ensure!(code == 0, "validate-logs has learned to see it; say so in the README: {said}");
    let found = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args([
            "audit",
            "search",
            "action=s3:DeleteObject allowed | limit 1",
            "--json",
            "--data-dir",
        ])
        .arg(server.launch().data_dir())
        .output()?;
    let said = clients::text(&found);
    ensure!(found.status.success() && said.contains(newest.as_str()), "{said}");
    Ok(())
}

#[test]
fn the_calls_are_the_auditors_and_answer_as_cloudtrail_does() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let server = scene.start("3s")?;
    let output = scene.aws(&server, &["s3", "mb", "s3://looked-up"])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    scene.wait_for(&server, 1)?;

    let found = scene.json(
        &server,
        &[
            "cloudtrail",
            "lookup-events",
            "--lookup-attributes",
            "AttributeKey=ResourceName,AttributeValue=looked-up",
        ],
    )?;
    let events = found["Events"].as_array().context("no events")?;
    ensure!(events.iter().any(|event| event["EventName"] == "CreateBucket"), "{found}");
    let record: Value =
        serde_json::from_str(events[0]["CloudTrailEvent"].as_str().context("no record")?)?;
    ensure!(record["eventID"] == events[0]["EventId"], "{found}");
    let by_id = format!(
        "AttributeKey=EventId,AttributeValue={}",
        events[0]["EventId"].as_str().context("no id")?
    );
    let one =
        scene.json(&server, &["cloudtrail", "lookup-events", "--lookup-attributes", &by_id])?;
    ensure!(one["Events"].as_array().is_some_and(|events| events.len() == 1), "{one}");
    // The client pages by itself, with our tokens.
    let paged = ["cloudtrail", "lookup-events", "--page-size", "2", "--max-items", "7"];
    let paged = scene.json(&server, &paged)?;
    ensure!(paged["Events"].as_array().is_some_and(|events| events.len() == 7), "{paged}");
    let status = scene.json(&server, &["cloudtrail", "get-trail-status", "--name", "appliance"])?;
    ensure!(
        status["IsLogging"] == true && !status["LatestDigestDeliveryTime"].is_null(),
        "{status}"
    );
    let keys = scene.json(&server, &["cloudtrail", "list-public-keys"])?;
    ensure!(keys["PublicKeyList"].as_array().is_some_and(|keys| keys.len() == 1), "{keys}");

    let calls = [
        &["describe-trails"][..],
        &["get-trail-status", "--name", "appliance"],
        &["list-public-keys"],
        &["lookup-events", "--max-items", "1"],
    ];
    for (name, policy, may) in [("nobody", None, false), ("eve", Some("auditor"), true)] {
        let who = add_user(&server, scene.scratch.path(), name, policy)?;
        for call in calls {
            let output = scene.aws_as(&server, who.clone(), &[&["cloudtrail"], call].concat())?;
            let said = clients::text(&output);
            ensure!(output.status.success() == may, "{name}: {call:?}: {said}");
            ensure!(may || said.contains("AccessDenied"), "{name}: {call:?}: {said}");
        }
    }
    let denied = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args([
            "audit",
            "search",
            "action~\"cloudtrail:*\" denied phase=decision",
            "--json",
            "--data-dir",
        ])
        .arg(server.launch().data_dir())
        .output()?;
    let denied = String::from_utf8(denied.stdout)?;
    ensure!(denied.lines().count() == calls.len(), "{denied}");
    let wrong = scene.aws(&server, &["cloudtrail", "get-trail-status", "--name", "other"])?;
    ensure!(clients::text(&wrong).contains("TrailNotFoundException"), "{}", clients::text(&wrong));
    server.stop()?;
    Ok(())
}

fn add_user(
    server: &Server,
    scratch: &Path,
    name: &str,
    policy: Option<&str>,
) -> anyhow::Result<Credentials> {
    let secret = format!("{name}-has-a-secret-0");
    let file = scratch.join(name);
    std::fs::write(&file, &secret)?;
    let run = |arguments: &[&str]| -> anyhow::Result<()> {
        let endpoint = server.ready()?.endpoint.clone();
        let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.args(arguments).args(["--address", address, "--data-dir"]);
        let output = command.arg(server.launch().data_dir()).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
        Ok(())
    };
    run(&["user", "add", name, "--secret-file", &text(&file)])?;
    if let Some(policy) = policy {
        run(&["policy", "attach", policy, "--user", name])?;
    }
    Ok(Credentials { access_key: name.to_owned(), secret_key: secret })
}

fn compressed(bytes: &[u8], to: &Path) -> anyhow::Result<()> {
    let plain = to.with_extension("");
    std::fs::write(&plain, bytes)?;
    let output = Command::new("gzip").arg("-n").arg("-f").arg(&plain).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
