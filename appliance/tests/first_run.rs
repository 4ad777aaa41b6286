//! The first minutes of an operator: what the first run prints works as printed, and the second start is quiet.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::Server;

const HEADING: &str = "Three commands to begin with:";
const PRINTED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn printed_commands_work_as_printed() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    // A directory that a shell would split: the printed commands must quote it.
    let data = scratch.path().join("it's data");
    let operator = Operator::start(scratch.path(), &data)?;
    let commands = operator.commands()?;
    ensure!(commands.len() == 3, "not three commands but {commands:?}");
    let output = clients::shell(&commands.join("\n"), scratch.path())?.output()?;
    let said = clients::text(&output);
    ensure!(output.status.success(), "the commands failed:\n{commands:#?}\n{said}");
    ensure!(said.contains("make_bucket: first"), "no bucket was made:\n{said}");
    ensure!(said.contains("hello.txt"), "the log does not tell of the object:\n{said}");
    Ok(())
}

#[test]
fn secrets_are_for_the_owner_alone() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let config = server.launch().data_dir().join("config");
    let mut secrets = 0;
    let mut directories = vec![config];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
            // A certificate and the verifier key are made to be handed out; nobody but the owner may write them.
            let public = path.extension().is_some_and(|kind| kind == "crt" || kind == "vkey");
            let forbidden = if public { 0o022 } else { 0o077 };
            ensure!(mode & forbidden == 0, "`{}` has mode {mode:o}", path.display());
            secrets += usize::from(path.extension().is_some_and(|kind| kind == "key"));
            if path.is_dir() {
                directories.push(path);
            }
        }
    }
    ensure!(secrets >= 3, "only {secrets} keys were found");
    ensure!(
        !server.log().contains(&server.root()?.secret_key),
        "the root secret is in the server's log"
    );
    Ok(())
}

#[test]
fn second_start_reuses_everything() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let root = server.root()?;
    let ca = std::fs::read(server.ready()?.ca.as_deref().context("no CA")?)?;
    let access = Access::root(&server)?;
    run_aws(
        &access,
        scratch.path(),
        "aws s3 mb s3://kept && echo kept | aws s3 cp - s3://kept/key",
    )?;
    let (launch, status) = server.stop()?;
    ensure!(status.success(), "the first server ended with {status}");

    let server = launch.start()?;
    ensure!(std::fs::read(server.ready()?.ca.as_deref().context("no CA")?)? == ca, "another CA");
    let access = Access::with(&server, root)?;
    let said = run_aws(&access, scratch.path(), "aws s3 cp s3://kept/key -")?;
    ensure!(said == "kept\n", "the object is {said:?}");
    Ok(())
}

#[test]
fn a_drive_may_be_lost_before_a_start_and_while_running() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let access = Access::root(&server)?;
    let store = "aws s3 mb s3://kept && echo small | aws s3 cp - s3://kept/small \
                 && head -c 3000000 /dev/zero | aws s3 cp - s3://kept/large";
    let read = "aws s3 cp s3://kept/small - && aws s3 cp s3://kept/large - | wc -c";
    run_aws(&access, scratch.path(), store)?;
    std::fs::remove_dir_all(server.launch().data_dir().join("drive2"))?;
    let said = run_aws(&access, scratch.path(), read).context("while running")?;
    ensure!(said == "small\n3000000\n", "while running: {said:?}");
    let (launch, _) = server.stop()?;

    let server = launch.start()?;
    let access = Access::root(&server)?;
    let said = run_aws(&access, scratch.path(), read).context("after a restart")?;
    ensure!(said == "small\n3000000\n", "after a restart: {said:?}");
    run_aws(&access, scratch.path(), "echo more | aws s3 cp - s3://kept/more")?;
    Ok(())
}

#[test]
fn nothing_readable_is_on_the_drives() -> anyhow::Result<()> {
    const SECRET: &str = "the-patient-of-bed-seven";
    let scratch = tempfile::tempdir()?;
    let server = Server::start(env!("CARGO_BIN_EXE_appliance"), scratch.path())?;
    let access = Access::root(&server)?;
    let script = format!(
        "aws s3 mb s3://private && yes {SECRET} | head -c 500000 | aws s3 cp --metadata note={SECRET} - s3://private/large \
         && echo {SECRET} | aws s3 cp - s3://private/small"
    );
    run_aws(&access, scratch.path(), &script)?;
    let (launch, _) = server.stop()?;
    let files = data::files_below(&launch.data_dir())?;
    for path in &files {
        let bytes = std::fs::read(path)?;
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        ensure!(!found, "`{}` holds plain text", path.display());
    }
    ensure!(files.len() > 10, "only {} files were looked at", files.len());
    Ok(())
}

/// A shell with awscli that finds the server.
fn run_aws(access: &Access, scratch: &Path, script: &str) -> anyhow::Result<String> {
    let mut shell = clients::shell(script, scratch)?;
    access.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "`{script}` failed:\n{}", clients::text(&output));
    Ok(String::from_utf8(output.stdout)?)
}

/// A server as a person starts it: without `--json`, reading what it prints.
struct Operator {
    child: Child,
    printed: mpsc::Receiver<String>,
}

impl Operator {
    fn start(scratch: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_appliance"))
            .args(["serve", "--address", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, printed) = mpsc::channel();
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let copies = sender.clone();
        std::thread::spawn(move || copy(stdout, &copies));
        std::thread::spawn(move || copy(stderr, &sender));
        Ok(Self { child, printed })
    }

    /// The indented lines below the heading, up to the empty line after them.
    fn commands(&self) -> anyhow::Result<Vec<String>> {
        let mut commands = Vec::new();
        let mut heading = false;
        loop {
            let Ok(line) = self.printed.recv_timeout(PRINTED_WITHIN) else {
                bail!("the first run printed no commands");
            };
            match line.strip_prefix("  ") {
                _ if line == HEADING => heading = true,
                Some(command) if heading => commands.push(command.to_owned()),
                None if !commands.is_empty() => return Ok(commands),
                _ => {}
            }
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: impl Read, to: &mpsc::Sender<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        // The receiver may be gone; the pipe must be emptied all the same.
        let _ = to.send(line);
    }
}
