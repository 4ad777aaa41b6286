//! `check` where a proof is needed, and what it remembers and rewrites.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn check(directory: &Path, arguments: &[&str]) -> String {
    transcript::run(directory, &[&["check"], arguments].concat(), "")
}

const POLICY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:Get*"], "Resource": "arn:aws:s3:::team/*" },
    { "Sid": "Again", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::team/in/*" },
    { "Sid": "Never", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::team" },
    { "Sid": "Hidden", "Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::team/held/*" },
    { "Sid": "Hold", "Effect": "Deny", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::team/held/*" }
  ]
}
"#;

fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("scratch");
    fs::write(scratch.path().join("team.json"), POLICY).expect("written");
    scratch
}

#[test]
fn findings_that_need_a_proof() {
    let scratch = scratch();
    let mut transcript = check(scratch.path(), &["team.json"]);
    transcript += &check(scratch.path(), &["team.json", "--quick"]);
    transcript += &check(scratch.path(), &["team.json", "--profile", "minio"]);
    fs::write(
        scratch.path().join("arn.json"),
        POLICY.replace(
            r#""Action": "s3:GetObject","#,
            r#""Action": "s3:GetObject", "Condition": { "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:user/a" } },"#,
        ),
    )
    .expect("written");
    transcript += &check(scratch.path(), &["arn.json", "--profile", "minio", "--quick"]);
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_fix_shows_writes_and_ends() {
    let scratch = scratch();
    let path = scratch.path().join("team.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    let mut transcript = check(scratch.path(), &["team.json", "--diff"]);
    assert_eq!(fs::read_to_string(&path).expect("read"), POLICY, "--diff changes nothing");
    transcript += &check(scratch.path(), &["team.json", "--fix"]);
    transcript += &fs::read_to_string(&path).expect("read");
    transcript += &check(scratch.path(), &["team.json", "--diff"]);
    insta::assert_snapshot!(transcript);
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(fs::read_dir(scratch.path()).expect("listed").count(), 1, "nothing is left behind");
}

#[test]
fn what_is_known_is_not_counted() {
    let scratch = scratch();
    let directory = scratch.path();
    let everything = ["team.json", "--fail-on", "suggestion"];
    let with = |more: &[&'static str]| [&everything[..], more].concat();
    let mut transcript = check(directory, &with(&["--write-baseline", "known.json", "--json"]));
    transcript = transcript
        .lines()
        .filter(|line| line.starts_with(['2', '=']))
        .collect::<Vec<_>>()
        .join("\n");
    transcript += "\n";
    transcript += &check(directory, &with(&["--baseline", "known.json"]));
    // An edit above does not bring back what is known; what is new is shown.
    let wider = POLICY.replace("\"Statement\"", "\n  \"Statement\"").replace("s3:Get*", "s3:*");
    fs::write(directory.join("team.json"), wider).expect("written");
    transcript += &check(directory, &with(&["--baseline", "known.json"]));
    fs::write(
        directory.join("known.json"),
        "{\"schema\":\"policy-lab/baseline\",\"v\":2,\"findings\":[]}",
    )
    .expect("written");
    transcript += &check(directory, &with(&["--baseline", "known.json"]));
    // A refusal is never old news.
    fs::write(directory.join("team.json"), POLICY.replace("Deny", "Dény")).expect("written");
    transcript += &check(directory, &["team.json", "--write-baseline", "refused.json", "--quick"]);
    transcript += &check(directory, &["team.json", "--baseline", "refused.json", "--quick"]);
    insta::assert_snapshot!(transcript);
}
