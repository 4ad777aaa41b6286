//! The binary as people call it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the binary in `directory`; answers the command with everything it printed and its exit code.
pub(crate) fn run(directory: &Path, arguments: &[&str], stdin: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_policy-lab"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    // It may end before it has read everything.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).replace('\r', "\\r");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr: String = stderr.lines().map(|line| format!("2> {line}\n")).collect();
    let code = output.status.code().unwrap_or(-1);
    format!("$ policy-lab {}\n{stdout}{stderr}=> {code}\n\n", arguments.join(" "))
}
