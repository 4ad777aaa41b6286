//! The server decides without the analysis: it is neither linked nor called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_server_does_not_link_the_analysis() {
    let tree = |package: &str| {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package"])
            .args([package, "--format", "{p} [{f}]"])
            .current_dir(CRATE)
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let is_ours = |line: &&str| line.starts_with("policy-lab ");
    let server = tree("appliance");
    let linked: Vec<_> = server.lines().filter(is_ours).collect();
    assert!(
        !linked.is_empty() && linked.iter().all(|line| !line.contains("analyze")),
        "{linked:?}"
    );
    // The same question about the binary has the other answer, so it is the right question.
    assert!(tree("policy-lab").lines().any(|line| is_ours(&line) && line.contains("analyze")));
}

#[test]
fn only_the_command_line_asks_the_analysis() {
    let mut files = vec![Path::new(CRATE).join("src")];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        let within = path.strip_prefix(CRATE).expect("inside").to_string_lossy().into_owned();
        let exempt = ["src/analyze", "src/cli", "src/main.rs", "src/lib.rs"];
        if exempt.iter().any(|exempt| within.starts_with(exempt)) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("listed");
            files.extend(entries.map(|entry| -> PathBuf { entry.expect("listed").path() }));
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(!text.contains("crate::analyze"), "{within}");
    }
    assert!(seen > 20, "the sources are elsewhere");
}
