//! The main job end to end: people work through real clients; an auditor asks the log who was denied what and
//! verifies it; a reviewer replays it against drafts and sees exactly the requests that flip.
//!
//! Who does what, and what must come of it, is in `fixtures/data/scene`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::{Launch, Server};
use serde_json::Value;

/// Principal, action, key; a bucket operation has no key.
type Line = (String, String, Option<String>);

#[test]
fn the_log_tells_and_the_lab_foretells() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let guardrails = data::path("scene/guardrails");
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
        .argument("--guardrails-dir")
        .argument(guardrails.as_os_str());
    let server = launch.start()?;
    let people = introduce(&server, scratch.path())?;
    play(&server, scratch.path(), &people, "tls")?;
    let world = exported(&server)?;
    server.stop()?;

    // The same deployment without TLS, to see the guardrail that forbids that.
    let server = launch.clone().argument("--no-tls").start()?;
    play(&server, scratch.path(), &people, "plain")?;
    server.stop()?;

    let kept = scratch.path().join("kept.checkpoint");
    std::fs::copy(launch.data_dir().join("audit/checkpoint"), &kept)?;
    let kept = kept.display().to_string();
    expect(0, &appliance(&launch, &["audit", "verify", "--strict", "--since", &kept])?)?;
    asked_who_was_denied_what(&launch)?;
    decisions_are_explained(&launch)?;
    key_use_is_recorded(&launch)?;
    records_are_what_their_schema_says(&launch, scratch.path())?;
    simulated(&launch)?;
    nothing_changes(&launch, &world)
}

/// Makes alice and the writer with the command line; returns their secrets.
fn introduce(server: &Server, scratch: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let launch = server.launch();
    let endpoint = server.ready()?.endpoint.clone();
    let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address).to_owned();
    let writer = data::path("scene/writer.json").display().to_string();
    let mut people = BTreeMap::new();
    for (name, secret) in [("alice", "alice-reads-only-0"), ("writer", "writer-has-rules-0")] {
        let file = scratch.join(name);
        std::fs::write(&file, secret)?;
        let file = file.display().to_string();
        let add = ["user", "add", name, "--secret-file", &file, "--address", &address];
        expect(0, &appliance(launch, &add)?)?;
        people.insert(name.to_owned(), secret.to_owned());
    }
    for verb in [
        &["policy", "create", "writer", &writer][..],
        &["policy", "attach", "writer", "--user", "writer"],
        &["policy", "attach", "readonly", "--user", "alice"],
    ] {
        expect(0, &appliance(launch, &[verb, &["--address", &address]].concat())?)?;
    }
    Ok(people)
}

/// Lets the clients do one part of the traffic; the driver checks every answer.
fn play(
    server: &Server,
    scratch: &Path,
    people: &BTreeMap<String, String>,
    part: &str,
) -> anyhow::Result<()> {
    let mut command = clients::command("python", scratch)?;
    Access::root(server)?.export(&mut command);
    command.env("SCENE_SECRETS", serde_json::to_string(people)?);
    if part == "tls" {
        command.env("SCENE_PREPARE", data::path("scene/bucket-policy.json"));
    }
    let output = command
        .arg("-B")
        .arg(data::checkout().join("fixtures/clients/scene.py"))
        .arg(data::path("scene/traffic.json"))
        .arg(part)
        .output()?;
    let said = clients::text(&output);
    ensure!(output.status.success(), "{part}:\n{said}\nserver log:\n{}", server.log());
    Ok(())
}

fn asked_who_was_denied_what(launch: &Launch) -> anyhow::Result<()> {
    let mut told =
        search(launch, "decision=deny not class=authn")?.iter().map(line).collect::<Vec<_>>();
    told.sort();
    ensure!(told == denials()?, "the log tells of {told:#?}");

    let alice = search(launch, "decision=deny principal.name=alice action=s3:DeleteObject")?;
    ensure!(alice.len() == 1, "alice's deletion: {alice:#?}");
    let by_guardrail = search(launch, "decision=deny reason=guardrail key~records/*")?;
    ensure!(by_guardrail.len() >= 2, "deletions that the guardrail stopped: {by_guardrail:#?}");
    let stranger = search(launch, "class=authn access_key=mallory")?;
    ensure!(stranger.len() == 1, "mallory: {stranger:#?}");

    let event = alice[0]["event"].as_str().context("no event id")?;
    let shown = appliance(launch, &["audit", "show", event])?;
    expect(0, &shown)?;
    ensure!(clients::text(&shown).contains("records/2025.csv"), "{}", clients::text(&shown));
    expect(1, &appliance(launch, &["audit", "search", "decision=deny key=no-such-key"])?)
}

/// `audit show` says of a decision by what it came about, from the policies that the log kept.
fn decisions_are_explained(launch: &Launch) -> anyhow::Result<()> {
    let shown = |query: &str, more: &[&str]| -> anyhow::Result<String> {
        let found = search(launch, query)?;
        let event = found.first().and_then(|record| record["event"].as_str());
        let event = event.with_context(|| format!("nothing is {query}"))?;
        let output = appliance(launch, &[&["audit", "show", event], more].concat())?;
        expect(0, &output)?;
        Ok(clients::text(&output))
    };
    let deleted = "decision=deny principal.name=alice action=s3:DeleteObject";
    for (query, words) in [
        (
            "decision=deny principal.name=alice action=s3:PutObject",
            &[
                "DENIED: s3:PutObject on arn:aws:s3:::ledger/incoming/alice.csv by",
                "no statement allows it",
            ][..],
        ),
        (
            deleted,
            &[
                "DENIED: s3:DeleteObject on arn:aws:s3:::ledger/records/2025.csv by",
                "guardrail records-stay: records are not deleted",
            ],
        ),
        (
            "decision=allow principal.name=writer action=s3:PutObject key~incoming/2026/*",
            &[
                "ALLOWED: s3:PutObject on arn:aws:s3:::ledger/incoming/2026/",
                "writer#0 (WriteIncoming) Allow",
            ],
        ),
    ] {
        let text = shown(query, &[])?;
        for word in words {
            ensure!(text.contains(word), "{query}: `{word}` is not in\n{text}");
        }
    }
    ensure!(!shown(deleted, &["--json"])?.contains("DENIED:"), "--json is the record alone");

    // Without the policies the record still stands, and says what is missing.
    let audit = launch.data_dir().join("audit");
    let (blobs, away) = (audit.join("blob"), audit.join("away"));
    std::fs::rename(&blobs, &away)?;
    let text = shown(deleted, &[]);
    std::fs::rename(&away, &blobs)?;
    let text = text?;
    ensure!(text.contains("the decision cannot be explained"), "{text}");
    ensure!(text.contains("records/2025.csv"), "{text}");
    Ok(())
}

/// The scene's own expectation, from the traffic: every refusal of somebody known.
fn denials() -> anyhow::Result<Vec<Line>> {
    let traffic: Value = json(&data::path("scene/traffic.json"))?;
    let mut denied = Vec::new();
    for step in ["tls", "plain"].iter().filter_map(|part| traffic[part].as_array()).flatten() {
        if step["answer"] != "AccessDenied" {
            continue;
        }
        let action = match step["do"].as_str() {
            Some("put") => "s3:PutObject",
            Some("get") => "s3:GetObject",
            Some("list") => "s3:ListBucket",
            _ => "s3:DeleteObject",
        };
        let key = step["key"].as_str().filter(|_| step["do"] != "list").map(str::to_owned);
        let who = step["who"].as_str().unwrap_or_default().to_owned();
        denied.push((who, action.to_owned(), key));
    }
    denied.sort();
    Ok(denied)
}

fn key_use_is_recorded(launch: &Launch) -> anyhow::Result<()> {
    let writes = search(launch, "kms_op=GenerateDataKey")?;
    let reads = search(launch, "kms_op=Decrypt")?;
    // Seven objects are stored and four are read; each has its own key.
    ensure!(writes.len() == 7, "{} data keys were made", writes.len());
    ensure!(reads.len() == 4, "{} data keys were opened", reads.len());
    Ok(())
}

/// Every record of the scene, before a validator of other people; and one that is none.
fn records_are_what_their_schema_says(launch: &Launch, scratch: &Path) -> anyhow::Result<()> {
    let schema = scratch.join("schema.json");
    std::fs::write(&schema, audit::record::SCHEMA)?;
    let output = appliance(launch, &["audit", "search", "", "--json", "--limit", "100000"])?;
    expect(0, &output)?;
    let records = scratch.join("records.jsonl");
    std::fs::write(&records, &output.stdout)?;
    let validate = || {
        let script = data::checkout().join("fixtures/clients/record_schema.py");
        let mut python = clients::command("python", scratch)?;
        Ok::<_, anyhow::Error>(python.arg("-B").arg(script).arg(&schema).arg(&records).output()?)
    };
    expect(0, &validate()?)?;
    let text = String::from_utf8(output.stdout)?;
    std::fs::write(&records, text.replacen("\"action\"", "\"aktion\"", 1))?;
    expect(1, &validate()?)
}

fn simulated(launch: &Launch) -> anyhow::Result<()> {
    let events: BTreeMap<String, Value> = search(launch, "phase=decision or phase=single")?
        .into_iter()
        .filter_map(|record| Some((record["event"].as_str()?.to_owned(), record)))
        .collect();
    let expected: Value = json(&data::path("scene/expected.json"))?;
    for draft in expected["drafts"].as_array().context("no drafts")? {
        let name = draft["draft"].as_str().context("a draft without a name")?;
        let report = simulate(launch, name)?;
        for class in ["newly-denied", "newly-allowed", "reason-changed"] {
            let mut flips = Vec::new();
            let groups = report["groups"].as_array().context("no groups")?;
            for group in groups.iter().filter(|group| group["class"] == class) {
                let samples = group["samples"].as_array().context("no samples")?;
                ensure!(group["count"] == samples.len(), "not all samples are there: {group}");
                for event in samples.iter().filter_map(Value::as_str) {
                    flips.push(line(events.get(event).with_context(|| format!("event {event}"))?));
                }
            }
            flips.sort();
            let wanted: Vec<Line> = serde_json::from_value(draft[class].clone())?;
            ensure!(flips == wanted, "{name}: {class} are {flips:#?}");
        }
    }
    Ok(())
}

/// Exports what is in force; answers the file.
fn exported(server: &Server) -> anyhow::Result<String> {
    let launch = server.launch();
    let world = launch.data_dir().join("world.json").display().to_string();
    let endpoint = server.ready()?.endpoint.clone();
    let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address).to_owned();
    let export = ["iam", "export", "--out", &world, "--address", &address];
    expect(0, &appliance(launch, &export)?)?;
    Ok(world)
}

/// The exported world against itself changes nothing, and the past is reproduced beside it.
fn nothing_changes(launch: &Launch, world: &str) -> anyhow::Result<()> {
    let output = Command::new(launch.binary.with_file_name("policy-lab"))
        .args(["simulate", "--json", "--world", world, "--draft", world])
        .args(["--fail-on", "newly-denied,newly-allowed,unknown", "--audit"])
        .arg(launch.data_dir().join("audit"))
        .arg("--vkey")
        .arg(launch.data_dir().join("config/audit.vkey"))
        .output()?;
    expect(0, &output)?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["self_check"]["compared"].as_u64() > Some(25), "{report}");
    ensure!(report["totals"]["unresolved"] == 0, "{report}");
    Ok(())
}

/// Runs the lab against the log; the self-check must reproduce every recorded decision.
fn simulate(launch: &Launch, draft: &str) -> anyhow::Result<Value> {
    let scene = data::path("scene");
    let absolute = draft.replace("drafts/", &format!("{}/drafts/", scene.display()));
    let lab = launch.binary.with_file_name("policy-lab");
    let vkey = launch.data_dir().join("config/audit.vkey");
    let output = Command::new(&lab)
        .args(["simulate", "--format", "json", "--samples", "100", "--draft", &absolute])
        .args(["--fail-on", "newly-denied", "--audit"])
        .arg(launch.data_dir().join("audit"))
        .arg("--vkey")
        .arg(vkey)
        .output()
        .with_context(|| format!("cannot run `{}`; `./test` builds it", lab.display()))?;
    // Every draft denies something, and `--fail-on` makes that exit code 1.
    expect(1, &output)?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let check = &report["self_check"];
    ensure!(check["compared"].as_u64() > Some(25), "self-check: {check}");
    ensure!(check["reproduced"] == check["compared"], "self-check: {check}");
    Ok(report)
}

fn search(launch: &Launch, query: &str) -> anyhow::Result<Vec<Value>> {
    let output = appliance(launch, &["audit", "search", query, "--json", "--limit", "1000"])?;
    expect(0, &output).with_context(|| query.to_owned())?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn line(record: &Value) -> Line {
    let principal = &record["principal"];
    let name = match principal["type"].as_str() {
        Some("Root") => "root",
        Some("Anonymous") => "anonymous",
        _ => principal["name"].as_str().unwrap_or("nobody"),
    };
    let action = record["action"].as_str().unwrap_or_default();
    let key = record["resources"][0]["key"].as_str().map(str::to_owned);
    (name.to_owned(), action.to_owned(), key)
}

fn appliance(launch: &Launch, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(&launch.binary);
    command.args(arguments).arg("--data-dir").arg(launch.data_dir());
    Ok(command.output()?)
}

fn expect(code: i32, output: &Output) -> anyhow::Result<()> {
    ensure!(output.status.code() == Some(code), "{}:\n{}", output.status, clients::text(output));
    Ok(())
}

fn json(path: &PathBuf) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
