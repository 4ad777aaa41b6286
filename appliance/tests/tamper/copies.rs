//! The log on three drives: one is lost, one is changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::Launch;

use super::{MODIFIED, TAIL_UNPROVEN, flip, run};

/// A deployment whose log has three copies, after some traffic; its server stopped.
struct Copies {
    launch: Launch,
    config: PathBuf,
    /// The first is the deployment's own.
    directories: [PathBuf; 3],
}

impl Copies {
    fn record(scratch: &Path) -> anyhow::Result<Self> {
        let [b, c] = ["b", "c"].map(|drive| scratch.join(drive).join("audit"));
        let config = scratch.join("appliance.toml");
        std::fs::write(&config, format!("[audit]\nmirrors = [{b:?}, {c:?}]\n"))?;
        let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch)
            .argument("--config")
            .argument(&config)
            .argument("--metrics")
            .argument("public");
        let directories = [launch.data_dir().join("audit"), b, c];
        let copies = Self { launch, config, directories };
        copies.traffic("aws s3 mb s3://bucket && echo 1 | aws s3 cp - s3://bucket/1")?;
        Ok(copies)
    }

    fn traffic(&self, script: &str) -> anyhow::Result<()> {
        let server = self.launch.start()?;
        let mut shell = clients::shell(script, &self.launch.scratch)?;
        Access::root(&server)?.export(&mut shell);
        let output = shell.output()?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        server.stop()?;
        Ok(())
    }

    fn audit(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let mut command = Command::new(&self.launch.binary);
        command.arg("audit").args(arguments).arg("--config").arg(&self.config);
        run(command.arg("--data-dir").arg(self.launch.data_dir()))
    }

    /// What all copies must have alike, by name.
    fn contents(&self, directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut contents = BTreeMap::new();
        for path in data::files_below(directory)? {
            let name = path.strip_prefix(directory)?.to_owned();
            if !name.starts_with("idx") && !name.starts_with("quarantine") {
                let mut bytes = std::fs::read(&path)?;
                // Zeros are written ahead, on each drive as far as it came.
                let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(written);
                contents.insert(name, bytes);
            }
        }
        Ok(contents)
    }

    fn are_equal(&self) -> anyhow::Result<()> {
        let [own, others @ ..] = &self.directories;
        let own = self.contents(own)?;
        ensure!(own.keys().any(|name| name.starts_with("seg")), "no records in {:?}", own.keys());
        for other in others {
            let theirs = self.contents(other)?;
            ensure!(own.keys().eq(theirs.keys()), "{:?} and {:?}", own.keys(), theirs.keys());
            for (name, bytes) in &own {
                ensure!(theirs.get(name) == Some(bytes), "`{}` differs", name.display());
            }
        }
        Ok(())
    }
}

#[test]
fn a_lost_copy_is_filled_and_the_log_says_so() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let copies = Copies::record(scratch.path())?;
    copies.are_equal()?;
    let (code, said) = copies.audit(&["verify"])?;
    ensure!(
        i64::from(code) == TAIL_UNPROVEN && said.matches(" agrees, with ").count() == 2,
        "{said}"
    );

    std::fs::remove_dir_all(&copies.directories[2])?;
    copies.traffic("echo 2 | aws s3 cp - s3://bucket/2")?;
    copies.are_equal()?;
    let (code, said) = copies.audit(&["search", "action=audit:copy", "--json"])?;
    let drive = copies.directories[2].to_str().context("not UTF-8")?;
    ensure!(code == 0 && said.contains(drive), "{code}: {said}");
    Ok(())
}

/// The first copy is taken away under the running server.
#[test]
fn what_is_asked_is_answered_from_a_copy_that_is_in_use() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let copies = Copies::record(scratch.path())?;
    let [own, other, _] = copies.directories.each_ref().map(|directory| directory.display());
    let link = copies.launch.data_dir().join("config").join("audit-copy");
    let link = link.display();
    copies.traffic(&format!(
        "rm -r '{own}/seg' && for i in $(seq 100); do
           echo 2 | aws s3 cp - s3://bucket/2 || exit 1
           [ \"$(readlink '{link}')\" != '{other}' ] || break
         done
         echo 3 | aws s3 cp - s3://bucket/3 || exit 1
         curl -sSf \"$AWS_ENDPOINT_URL/minio/v2/metrics/cluster\" --cacert \"$AWS_CA_BUNDLE\" > \"$SCRATCH/metrics\" || exit 1
         [ \"$(readlink '{link}')\" = '{other}' ] && exit; echo 'the log is still read where nothing is'; exit 1"
    ))?;
    let metrics = std::fs::read_to_string(scratch.path().join("metrics"))?;
    for (state, count) in [("whole", 2), ("damaged", 0), ("lost", 1)] {
        let line = format!("\nappliance_audit_copies{{state=\"{state}\"}} {count}\n");
        ensure!(metrics.contains(&line), "no {line} in {metrics}");
    }
    let (code, said) = copies.audit(&["search", "key=3", "--json"])?;
    ensure!(code == 0 && said.contains("s3:PutObject"), "{code}: {said}");
    // The next start fills it, and reads it again.
    copies.traffic("aws s3 cp s3://bucket/3 -")?;
    copies.are_equal()?;
    let (code, said) = copies.audit(&["search", "action=audit:copy", "--json"])?;
    ensure!(code == 0 && said.contains("lost: ") && said.contains("rebuilt: "), "{code}: {said}");
    Ok(())
}

#[test]
fn a_changed_copy_is_named_and_never_written_over() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let copies = Copies::record(scratch.path())?;
    let changed = data::files_below(&copies.directories[1].join("seg"))?
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .context("no segment")?;
    flip(&changed, 100)?;
    let bytes = std::fs::read(&changed)?;
    let named = changed.to_str().context("not UTF-8")?;

    let (code, said) = copies.audit(&["verify"])?;
    ensure!(code == MODIFIED && said.contains(named), "{code}: {said}");
    let refused =
        copies.launch.start().err().context("the server started beside a changed copy")?;
    let said = format!("{refused:#}");
    let drive = copies.directories[1].to_str().context("not UTF-8")?;
    ensure!(said.contains(drive), "the refusal does not name the copy:\n{said}");
    ensure!(std::fs::read(&changed)? == bytes, "the evidence was written over");

    flip(&changed, 100)?;
    copies.traffic("aws s3 cp s3://bucket/1 -")?;
    copies.are_equal()
}
