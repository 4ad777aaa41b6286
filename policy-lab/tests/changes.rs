//! What a change means for requests that nobody recorded, and how the other profile reads what is given.

#![expect(clippy::expect_used, reason = "a test that cannot build its question has failed")]

#[path = "support/transcript.rs"]
mod transcript;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

fn run(directory: &Path, arguments: &[&str]) -> String {
    transcript::run(directory, arguments, "")
}

fn document(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn allow(action: &str, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

/// Ana reads one directory; olaf, who may be away, does everything in the bucket.
fn world(ana_reads: &str, olaf: bool) -> String {
    json!({
        "schema": "appliance/world", "v": 1, "account": "000000000000",
        "users": {
            "ana": { "enabled": true, "policies": ["reader"] },
            "olaf": { "enabled": olaf, "policies": ["owner"] },
        },
        "policies": {
            "reader": document(json!([allow("s3:GetObject", ana_reads)])),
            "owner": document(json!([allow("s3:*", "arn:aws:s3:::team/*")])),
        },
        "buckets": { "team": document(json!([{
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::team/secret/*",
        }])) },
    })
    .to_string()
}

fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("scratch");
    let write = |name: &str, text: &str| {
        fs::write(scratch.path().join(name), text).expect("written");
    };
    write("now.json", &world("arn:aws:s3:::team/in/*", true));
    write("wider.json", &world("arn:aws:s3:::team/*", true));
    write("away.json", &world("arn:aws:s3:::team/in/*", false));
    let line = |key: &str| {
        json!({ "id": key, "op": "PutObject", "bucket": "team", "key": key, "principal": "ana",
            "ctx": { "aws:username": "ana" } })
    };
    let lines: String = (0..4)
        .map(|n| line(&format!("home/ana/{n}")))
        .chain([line("=1+1,\"x\"")])
        .map(|line| format!("{line}\n"))
        .collect();
    write("requests.jsonl", &lines);
    write(
        "home.json",
        &document(json!([allow("s3:*", "arn:aws:s3:::team/home/${aws:username}/*")])),
    );
    write("keys.json", &document(json!([allow("s3:*", "arn:aws:s3:::team/*")])));
    scratch
}

#[test]
fn worlds_are_compared_for_every_request() {
    let scratch = scratch();
    let mut transcript = String::new();
    for arguments in [
        &["diff", "now.json", "wider.json", "--fail-on", "newly-allowed"][..],
        &["diff", "wider.json", "now.json", "--fail-on", "newly-allowed"],
        &["diff", "now.json", "away.json", "--fail-on", "newly-denied"],
        &["diff", "now.json", "now.json", "--fail-on", "newly-denied,newly-allowed,unknown"],
        &["diff", "keys.json", "home.json", "--format", "csv", "--fail-on", "newly-denied"],
    ] {
        transcript +=
            &run(scratch.path(), &[arguments, &["--requests", "requests.jsonl"]].concat());
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_generated_policy_is_proved() {
    let scratch = scratch();
    let mut transcript = String::new();
    let generate = ["generate", "--requests", "requests.jsonl", "--prefix-depth", "2"];
    for more in [
        &["--principal", "ana", "--current", "keys.json"][..],
        &["--principal", "ana", "--current", "home.json"],
        &["--current", "readonly"],
    ] {
        transcript += &run(scratch.path(), &[&generate[..], more].concat());
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn the_other_profile_reads_what_is_given() {
    let scratch = scratch();
    let mut transcript = String::new();
    let bucket = ["--action", "s3:ListBucket", "--resource", "arn:aws:s3:::team"];
    for arguments in [
        &[&["prove", "not-granted", "keys.json"][..], &bucket].concat()[..],
        &[&["prove", "not-granted", "keys.json", "--profile", "minio"][..], &bucket].concat(),
        &["who-can", "s3:ListBucket", "team", "--world", "now.json"],
        &["who-can", "s3:ListBucket", "team", "--world", "now.json", "--profile", "minio"],
    ] {
        transcript += &run(scratch.path(), arguments);
    }
    insta::assert_snapshot!(transcript);
}

/// Policies by name, a directory, and a world with one of its policies changed.
#[test]
fn what_has_a_name_is_compared_by_it() {
    let scratch = scratch();
    let write = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("made");
        fs::write(path, text).expect("written");
    };
    let deny =
        json!({ "Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::team/*" });
    let public = |key: &str| {
        let mut statement = allow("s3:GetObject", &format!("arn:aws:s3:::team/{key}"));
        statement["Principal"] = json!("*");
        document(json!([statement]))
    };
    let reads = |key: &str| allow("s3:GetObject", &format!("arn:aws:s3:::team/{key}"));
    write("old/reader.json", &document(json!([reads("in/*"), deny])));
    write("new/reader.json", &document(json!([reads("*")])));
    write("old/same.json", &document(json!([reads("in/*")])));
    write("new/same.json", &document(json!([reads("in/*"), reads("in/x*")])));
    write("old/gone.json", &document(json!([reads("in/*")])));
    write("old/bucket/team.json", &public("*"));
    write("new/bucket/team.json", &public("in/*"));
    write("none.jsonl", "");
    let mut transcript = String::new();
    for arguments in [
        &["diff", "old", "new", "--requests", "none.jsonl"][..],
        &["diff", "old", "old", "--requests", "none.jsonl"],
        &["diff", "r=old/reader.json", "r=new/reader.json", "--requests", "none.jsonl"],
        &["diff", "now.json", "reader=new/reader.json", "--requests", "none.jsonl"],
        &[
            "diff",
            "owner=old/same.json",
            "now.json",
            "--requests",
            "none.jsonl",
            "--fail-on",
            "newly-allowed",
        ],
        &["diff", "now.json", "readonly", "--requests", "none.jsonl"],
        &["diff", "readonly", "r=new/reader.json", "--requests", "none.jsonl"],
    ] {
        transcript += &run(scratch.path(), arguments);
    }
    insta::assert_snapshot!(transcript);
}
