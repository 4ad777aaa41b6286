//! Proposed, held, confirmed by somebody else, and proven.

use anyhow::ensure;
use fixtures::clients;
use fixtures::process::Launch;

use super::scene::{BOB_SECRET, DAYS, Operator, aged, offline, shown, text, verified};

#[test]
fn records_go_when_two_people_want_it_and_no_hold_keeps_them() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let settings = scratch.path().join("appliance.toml");
    std::fs::write(&settings, "[audit]\nretention = \"3d\"\n")?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
        .argument("--config")
        .argument(settings.as_os_str());
    aged(&launch.data_dir())?;
    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    let secret = scratch.path().join("bob");
    std::fs::write(&secret, BOB_SECRET)?;
    let path = secret.display().to_string();
    for arguments in [
        &["user", "add", "bob", "--secret-file", &path][..],
        &["user", "add", "carol", "--secret-file", &path],
        &["policy", "attach", "recordsOfficer", "--user", "bob"],
        &["policy", "attach", "auditor", "--user", "carol"],
    ] {
        let output = alice.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
    }
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };

    // The eighth day before now to the third one.
    let whole = alice.propose(DAYS - 2)?;
    ensure!(whole["first"] == 0 && text(&whole["by"]).ends_with(":root"), "{whole}");
    // A hold keeps the day of its record, and what comes after.
    let hold = ["audit", "hold", "--prefix", "ledger/q2", "--reason", "case 7"];
    let held = text(&alice.json(&hold)?["hold"]).to_owned();
    let (id, digest) = (text(&whole["id"]), text(&whole["digest"]));
    let said = bob.refused(7, &["audit", "prune", "confirm", id, "--digest", digest])?;
    ensure!(said.contains("case 7"), "{said}");
    let two = alice.propose(2)?;
    ensure!(two["because"].as_array().is_some_and(|why| text(&why[0]).contains(&held)), "{two}");

    // The state survives a restart, because it is in the log.
    let (launch, _) = server.stop()?;
    let server = launch.start()?;
    let alice = Operator { server: &server, credentials: None };
    let bob = Operator { server: &server, credentials: Some(("bob", BOB_SECRET)) };
    let carol = Operator { server: &server, credentials: Some(("carol", BOB_SECRET)) };
    let status = carol.json(&["audit", "retention"])?;
    ensure!(status["proposal"]["id"] == two["id"], "{status}");
    ensure!(status["holds"][0]["id"] == held.as_str(), "{status}");

    // Neither who proposed it, nor who may only look, nor anybody with another digest.
    let (id, digest) = (text(&two["id"]), text(&two["digest"]));
    let words = ["audit", "prune", "confirm", id, "--digest", digest];
    let said = alice.refused(5, &words)?;
    ensure!(said.contains("SamePerson"), "{said}");
    carol.refused(5, &words)?;
    carol.refused(5, &hold)?;
    let other = "0".repeat(64);
    let said = bob.refused(7, &["audit", "prune", "confirm", id, "--digest", &other])?;
    ensure!(said.contains("digest"), "{said}");
    let done = bob.json(&words)?;
    ensure!(done["first"] == two["end"], "{done}");
    bob.refused(6, &words)?;

    // What is gone is said to be, and what is left proves itself.
    let said = offline(&server, "show")?;
    ensure!(said.contains(&format!("pruned by record {}", done["record"])), "{said}");
    let record = shown(&server, &done["record"].to_string())?;
    let param = |name: &str| {
        let params = record["params"].as_array().into_iter().flatten();
        params.filter(|pair| pair["k"] == name).map(|pair| text(&pair["v"])).next()
    };
    ensure!(param("proposal") == Some(id) && param("digest") == Some(digest), "{record}");
    ensure!(param("proposed_by").is_some_and(|by| by.ends_with(":root")), "{record}");
    ensure!(param("confirmed_by").is_some_and(|by| by.ends_with("/bob")), "{record}");
    let verified = verified(&server)?;
    ensure!(verified["state"] == "TAIL-UNPROVEN", "{verified}");
    ensure!(verified["pruned"]["end"] == two["end"], "{verified}");

    // Released, the rest can go; refused, it stays.
    let release = ["audit", "release", &held, "--reason", "closed"];
    ensure!(bob.run(&release)?.status.success());
    let rest = alice.propose(4)?;
    ensure!(rest["first"] == two["end"] && rest["end"] == whole["end"], "{rest}");
    let id = text(&rest["id"]);
    ensure!(bob.run(&["audit", "prune", "refuse", id, "--reason", "not yet"])?.status.success());
    bob.refused(6, &["audit", "prune", "confirm", id, "--digest", text(&rest["digest"])])?;
    server.stop()?;
    Ok(())
}
