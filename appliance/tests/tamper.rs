//! Someone with full access to the log's directory changes it; `appliance audit verify` says where.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::Launch;
use serde_json::Value;

#[path = "tamper/copies.rs"]
mod copies;
#[path = "tamper/witness.rs"]
mod witness;

const BATCH_END: &[u8] = b"{\"_c\":";
const BLOCK_BYTES: usize = 4096;
const VALID: i64 = 0;
const TAIL_UNPROVEN: i64 = 3;
const TRUNCATED: i64 = 13;
const MISSING: i64 = 11;
const MODIFIED: i32 = 10;
const BAD_SIGNATURE: i32 = 15;
/// A key that signed nothing here.
const STRANGER: &str =
    "audit.example.com/node1+50a5011a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n";

#[test]
fn a_flipped_byte_is_named_whatever_the_file() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    ensure!(
        log.verify(&["--since", &log.kept])?.code == VALID,
        "the log is not valid to begin with"
    );
    ensure!(log.verify(&[])?.code == TAIL_UNPROVEN, "a tail that nothing confirms must be said");
    let mut flips = 0;
    for name in log.files()? {
        let path = log.directory.join(&name);
        let length = std::fs::metadata(&path)?.len();
        for offset in [0, length / 3, length / 2, length - 1] {
            flip(&path, offset)?;
            let verdict = log.verify(&["--since", &log.kept])?;
            flip(&path, offset)?;
            let named = verdict.files.iter().any(|file| Path::new(file) == name);
            ensure!(
                verdict.code != VALID && verdict.code != TAIL_UNPROVEN && named,
                "byte {offset} of `{}`: {verdict:?}",
                name.display()
            );
            flips += 1;
        }
    }
    ensure!(flips >= 20, "only {flips} bytes were flipped");
    ensure!(log.verify(&["--since", &log.kept])?.code == VALID, "flipping back did not restore it");
    Ok(())
}

#[test]
fn a_batch_cut_off_is_named() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let segments: Vec<PathBuf> = log
        .files()?
        .into_iter()
        .filter(|name| name.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    let last = log.directory.join(segments.last().context("no segment")?);
    let bytes = std::fs::read(&last)?;
    let ends: Vec<usize> = memchr_all(&bytes, BATCH_END);
    let [.., previous, _] = ends[..] else { anyhow::bail!("the last segment has one batch") };
    let end = (previous + 1).next_multiple_of(BLOCK_BYTES);
    std::fs::write(&last, &bytes[..end])?;
    let verdict = log.verify(&["--since", &log.kept])?;
    ensure!(verdict.code == TRUNCATED, "{verdict:?}");
    Ok(())
}

#[test]
fn an_older_copy_of_the_whole_directory_is_named() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let older = Log { directory: log.older.clone(), ..log.clone() };
    ensure!(older.verify(&[])?.code == TAIL_UNPROVEN, "an older copy holds by itself");
    let verdict = older.verify(&["--since", &log.kept])?;
    ensure!(verdict.code == TRUNCATED, "{verdict:?}");
    Ok(())
}

#[test]
fn a_log_that_was_cut_is_not_continued() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    for name in log.files()?.into_iter().filter(|name| name.starts_with("seg")) {
        let path = log.directory.join(name);
        let bytes = std::fs::read(&path)?;
        std::fs::write(&path, &bytes[..bytes.len() / 2 / BLOCK_BYTES * BLOCK_BYTES])?;
    }
    let refused = log.launch.start().err().context("the server started on a cut log")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("audit") || said.contains("log"), "unclear refusal:\n{said}");
    Ok(())
}

#[test]
fn one_record_is_proven_to_somebody_without_the_log() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let bundle = scratch.path().join("bundle");
    let bundle = bundle.to_str().context("not UTF-8")?;
    let prove = ["prove", "3", "--out", bundle];
    ensure!(log.audit(&prove)?.0 == 0, "no proof: {:?}", log.audit(&prove)?);
    // The log is gone; the key came from elsewhere.
    std::fs::rename(&log.directory, scratch.path().join("gone"))?;
    let verify = ["audit", "verify", "--proof", bundle, "--vkey", &log.vkey];
    let verified = |path: &str| -> anyhow::Result<(i32, String)> {
        let mut arguments = verify;
        arguments[3] = path;
        run(Command::new(&log.launch.binary).args(arguments))
    };
    let (code, said) = verified(bundle)?;
    ensure!(code == 0 && said.starts_with("VALID: record 3 of "), "{code}: {said}");
    let (code, said) = verified(&format!("{bundle}/record.tlog-proof"))?;
    ensure!(code == 0, "the file by itself: {code}: {said}");
    let python = |key: &str| {
        run(Command::new("python3").arg("-B").arg(format!("{bundle}/check.py")).arg(key))
    };
    let (code, said) = python(&log.vkey)?;
    ensure!(code == 0 && said.starts_with("VALID: record 3 "), "{code}: {said}");

    // Somebody else's key, and a record that was not proven.
    let stranger = scratch.path().join("stranger.vkey");
    std::fs::write(&stranger, STRANGER)?;
    let stranger = stranger.to_str().context("not UTF-8")?;
    let (code, said) = run(Command::new(&log.launch.binary)
        .args(["audit", "verify", "--proof", bundle, "--vkey", stranger]))?;
    ensure!(code == BAD_SIGNATURE, "{code}: {said}");
    ensure!(python(stranger)?.0 == 1, "the script believes any key");
    let record = Path::new(bundle).join("record.json");
    let text = std::fs::read_to_string(&record)?;
    std::fs::write(&record, text.replace("\"seq\":3", "\"seq\":4"))?;
    let (code, said) = verified(bundle)?;
    ensure!(code == MODIFIED, "{code}: {said}");
    ensure!(python(&log.vkey)?.0 == 1, "the script believes any record");
    Ok(())
}

#[test]
fn programs_of_others_read_the_exported_log() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let [export, bundle] = ["export", "bundle"].map(|name| scratch.path().join(name));
    let text = |path: &Path| path.display().to_string();
    let (code, said) = log.audit(&["export", &text(&export)])?;
    ensure!(code == 0, "{code}: {said}");
    let (code, said) = log.audit(&["prove", "5", "--out", &text(&bundle)])?;
    ensure!(code == 0, "{code}: {said}");
    let readers = || -> anyhow::Result<(i32, String)> {
        let script = data::checkout().join("fixtures/clients/tlog_readers.py");
        let mut python = clients::command("python", scratch.path())?;
        run(python.arg("-B").arg(script).args([&export, &bundle]).arg(&log.vkey))
    };
    let (code, said) = readers()?;
    ensure!(code == 0, "{code}: {said}");
    flip(&data::files_below(&export.join("tile/entries"))?[0], 100)?;
    ensure!(readers()?.0 != 0, "a changed entry was believed");
    Ok(())
}

#[test]
fn what_was_seen_is_remembered_from_one_verification_to_the_next() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let seen = scratch.path().join("seen").display().to_string();
    let remember = ["--remember", seen.as_str()];
    ensure!(log.verify(&remember)?.code == TAIL_UNPROVEN, "nothing was seen before");
    ensure!(log.verify(&remember)?.code == VALID, "the first time was not remembered");
    let older = Log { directory: log.older.clone(), ..log.clone() };
    ensure!(older.verify(&remember)?.code == TRUNCATED, "an older copy was believed");
    ensure!(log.verify(&remember)?.code == VALID, "a bad verdict changed what is remembered");
    Ok(())
}

#[test]
fn a_policy_that_was_taken_away_is_named() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let log = Log::record(scratch.path())?;
    let blobs: Vec<_> = log.files()?.into_iter().filter(|name| name.starts_with("blob")).collect();
    ensure!(!blobs.is_empty(), "no decision named a policy set");
    for name in blobs {
        let path = log.directory.join(&name);
        let away = scratch.path().join("away");
        std::fs::rename(&path, &away)?;
        let verdict = log.verify(&["--since", &log.kept])?;
        ensure!(verdict.code == MISSING && verdict.files == [text_of(&name)], "{verdict:?}");
        std::fs::rename(&away, &path)?;
    }
    ensure!(log.verify(&["--since", &log.kept])?.code == VALID, "putting back did not restore it");
    Ok(())
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

/// Exit code and output of a program.
fn run(command: &mut Command) -> anyhow::Result<(i32, String)> {
    let output = command.output()?;
    Ok((output.status.code().context("killed")?, clients::text(&output)))
}

/// A log of some traffic over two runs, its server stopped.
#[derive(Clone, Debug)]
struct Log {
    launch: Launch,
    directory: PathBuf,
    /// A copy of the directory between the runs.
    older: PathBuf,
    /// The newest checkpoint, as an auditor keeps it elsewhere.
    kept: String,
    vkey: String,
}

#[derive(Debug)]
struct Verdict {
    code: i64,
    /// Files that the findings name.
    files: Vec<String>,
    said: String,
}

impl Log {
    fn record(scratch: &Path) -> anyhow::Result<Self> {
        let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch);
        let directory = launch.data_dir().join("audit");
        let older = scratch.join("older");
        for script in [
            "aws s3 mb s3://bucket && echo 1 | aws s3 cp - s3://bucket/1",
            "aws s3 cp s3://bucket/1 -",
        ] {
            let server = launch.start()?;
            let mut shell = clients::shell(script, scratch)?;
            Access::root(&server)?.export(&mut shell);
            let output = shell.output()?;
            ensure!(output.status.success(), "{}", clients::text(&output));
            server.stop()?;
            if !older.exists() {
                copy(&directory, &older)?;
            }
        }
        let kept = scratch.join("kept.checkpoint");
        std::fs::copy(directory.join("checkpoint"), &kept)?;
        let vkey = launch.data_dir().join("config/audit.vkey").display().to_string();
        Ok(Self { launch, directory, older, kept: kept.display().to_string(), vkey })
    }

    /// Everything that belongs to the log; the index is derived from it and the lock is empty.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in data::files_below(&self.directory)? {
            let name = path.strip_prefix(&self.directory)?.to_owned();
            if !name.starts_with("idx") && std::fs::metadata(&path)?.len() > 0 {
                files.push(name);
            }
        }
        Ok(files)
    }

    /// Runs a verb on this log.
    fn audit(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let mut command = Command::new(&self.launch.binary);
        command.arg("audit").args(arguments).args(["--vkey", &self.vkey, "--audit-dir"]);
        run(command.arg(&self.directory))
    }

    fn verify(&self, more: &[&str]) -> anyhow::Result<Verdict> {
        self.verdict(&["--vkey", &self.vkey, "--audit-dir"], &self.directory, more)
    }

    /// Verifies what the running server at `url` gives out, with the deployment's authority and credentials.
    fn verify_from_afar(&self, url: &str, more: &[&str]) -> anyhow::Result<Verdict> {
        self.verdict(&[url, "--data-dir"], &self.launch.data_dir(), more)
    }

    fn verdict(&self, log: &[&str], place: &Path, more: &[&str]) -> anyhow::Result<Verdict> {
        let output = Command::new(&self.launch.binary)
            .args(["audit", "verify", "--json"])
            .args(log)
            .arg(place)
            .args(more)
            .output()?;
        let said = clients::text(&output);
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
        let code = report["exit_code"].as_i64().context("no exit code")?;
        ensure!(output.status.code().map(i64::from) == Some(code), "two codes: {said}");
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let files =
            findings.iter().filter_map(|finding| finding["file"].as_str().map(str::to_owned));
        Ok(Verdict { code, files: files.collect(), said })
    }
}

fn flip(path: &Path, offset: u64) -> anyhow::Result<()> {
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 0x01;
    file.write_all_at(&byte, offset)?;
    Ok(())
}

fn memchr_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    windows.filter(|(_, window)| *window == wanted).map(|(at, _)| at).collect()
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for path in data::files_below(from)? {
        let target = to.join(path.strip_prefix(from)?);
        std::fs::create_dir_all(target.parent().context("no parent")?)?;
        std::fs::copy(&path, &target)?;
    }
    Ok(())
}
