//! A local RFC 3161 authority, made of `openssl ts`, stamps the log's head; `openssl ts -verify` believes it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fixtures::authority::{Authority, Manner};
use fixtures::clients;
use fixtures::process::{Launch, Server};

/// A log with a running server, whose head grows with each call of the admin API.
struct Scene {
    server: Server,
    data_dir: PathBuf,
}

impl Scene {
    fn audit(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.arg("audit").args(arguments).arg("--data-dir").arg(&self.data_dir);
        Ok(command.output()?)
    }

    fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.data_dir.join("audit/checkpoint"))?)
    }

    /// Waits for another head.
    fn grow(&self) -> anyhow::Result<()> {
        let before = self.checkpoint()?;
        let endpoint = self.server.ready()?.endpoint.clone();
        let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
        let output = self.audit(&["key", "list", "--address", address])?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.checkpoint()? == before {
            ensure!(Instant::now() < deadline, "no head; log:\n{}", self.server.log());
        }
        Ok(())
    }

    fn stamped(&self) -> anyhow::Result<usize> {
        let kept = std::fs::read_dir(self.data_dir.join("audit/tsr"))?;
        let names = kept.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        let names = names.collect::<anyhow::Result<Vec<String>>>()?;
        Ok(names.iter().filter(|name| name.ends_with(".tsr")).count())
    }
}

#[test]
fn a_stamped_head_convinces_openssl_and_is_in_the_report() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let authority = Authority::start(&scratch.path().join("tsa"))?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let scene = Scene { server: launch.start()?, data_dir: launch.data_dir() };
    let stamp = ["timestamp", "--tsa", authority.url(), "--json"];
    let output = scene.audit(&stamp)?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["policy"] == "1.2.3.4.1", "{told}");
    let size = told["size"].as_u64().context("no size")?;
    let reply = scene.data_dir.join(format!("audit/tsr/{size}.tsr"));
    let stamped = reply.with_extension("checkpoint");
    let output = authority.verify(&stamped, &reply)?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let changed = scratch.path().join("changed");
    let note = std::fs::read_to_string(&stamped)?;
    std::fs::write(
        &changed,
        note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1),
    )?;
    ensure!(
        !authority.verify(&changed, &reply)?.status.success(),
        "openssl believes a changed head"
    );

    // What is no stamp of this head is not kept.
    for (manner, code) in [(Manner::Repeats, 8), (Manner::Fails, 9)] {
        scene.grow()?;
        authority.be(manner);
        let output = scene.audit(&stamp)?;
        ensure!(output.status.code() == Some(code), "{}", clients::text(&output));
    }
    ensure!(scene.stamped()? == 1);
    by_hand(&scene, &authority, scratch.path())?;

    scene.server.stop()?;
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.args(["audit", "verify", "--data-dir"]).arg(launch.data_dir()).output()
    };
    let output = verify()?;
    let said = clients::text(&output);
    ensure!(output.status.code() == Some(3) && said.contains("2 time-stamps, of 20"), "{said}");
    // A stamp over something else is named.
    std::fs::write(
        &stamped,
        note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1),
    )?;
    let output = verify()?;
    let said = clients::text(&output);
    ensure!(output.status.code() == Some(10), "{said}");
    ensure!(
        said.contains(&format!("MODIFIED tsr/{size}.tsr: the time-stamp is over something else")),
        "{said}"
    );
    std::fs::write(&stamped, &note)?;
    // What an authority saw, the log must still have.
    let newest = newest_segment(&launch.data_dir().join("audit/seg"))?;
    std::fs::remove_file(newest)?;
    let said = clients::text(&verify()?);
    ensure!(said.contains("TRUNCATED"), "{said}");
    Ok(())
}

/// A log in three copies has its stamps in each, and a copy that lost them gets them back.
#[test]
fn every_copy_keeps_the_stamps() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let place = scratch.path();
    let authority = Authority::start(&place.join("tsa"))?;
    let config = place.join("appliance.toml");
    let mirrors = [place.join("b/audit"), place.join("c/audit")];
    std::fs::write(&config, format!("[audit]\nmirrors = {:?}\n", mirrors))?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), place);
    let launch = launch.argument("--config").argument(&config);
    launch.start()?.stop()?;
    let copies = [launch.data_dir().join("audit"), mirrors[0].clone(), mirrors[1].clone()];
    let run = |verb: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.arg("audit").args(verb).arg("--config").arg(&config).arg("--data-dir");
        command.arg(launch.data_dir()).output()
    };
    let stamped = || -> anyhow::Result<()> {
        let output = run(&["timestamp", "--tsa", authority.url()])?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        for copy in &copies {
            let kept = fixtures::data::files_below(&copy.join("tsr"))?;
            ensure!(kept.len() == 2, "{}: {kept:?}", copy.display());
        }
        Ok(())
    };
    stamped()?;
    for copy in &copies {
        std::fs::remove_dir_all(copy.join("tsr"))?;
        let said = clients::text(&run(&["verify"])?);
        ensure!(said.contains("1 time-stamps"), "{said}");
        stamped()?;
    }
    Ok(())
}

/// Without a connection: the request and the reply are carried.
fn by_hand(scene: &Scene, authority: &Authority, scratch: &Path) -> anyhow::Result<()> {
    scene.grow()?;
    let query = scratch.join("head.tsq");
    let reply = scratch.join("head.tsr");
    let (asked, answered) = (query.display().to_string(), reply.display().to_string());
    let output = scene.audit(&["timestamp", "--request", &asked])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let take_in = || scene.audit(&["timestamp", "--response", &answered]);
    std::fs::copy(authority.newest_reply(), &reply)?;
    let output = take_in()?;
    ensure!(output.status.code() == Some(8), "an older reply: {}", clients::text(&output));
    authority.reply(&query, &reply)?;
    let output = take_in()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    ensure!(scene.stamped()? == 2);
    // It is not taken in twice, and a head is not stamped twice.
    ensure!(take_in()?.status.code() == Some(8));
    for wrong in [&["timestamp"][..], &["timestamp", "--tsa", "ftp://x", "--request", "y"]] {
        ensure!(scene.audit(wrong)?.status.code() == Some(2), "{wrong:?}");
    }
    Ok(())
}

fn newest_segment(seg: &Path) -> anyhow::Result<PathBuf> {
    let mut directories = vec![seg.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.sort();
    found.pop().context("no segment")
}
