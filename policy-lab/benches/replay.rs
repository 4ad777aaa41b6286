//! How fast a log on disk is replayed: `cargo bench -p policy-lab --no-default-features --bench replay`.
//!
//! Records as the server writes them, a hundred thousand in one file, of fifty users with policies of their own; read,
//! parsed, decided in both worlds and held against what was recorded. Records per second of one core.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use policy_lab::replay::{Change, Outcome, World, audit_line, simulate};
use policy_lab::{Attached, DocumentKind, Policy, PolicySet};

const RECORDS: u64 = 100_000;
const USERS: u64 = 50;

fn policy(user: u64) -> Attached {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket-{}/home/${{aws:username}}/*"}},
        {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket-{}","Condition":{{"StringLike":{{"s3:prefix":"home/*"}}}}}},
        {{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}]}}"#,
        user % 10,
        user % 10,
    );
    let policy = Policy::parse(&text, DocumentKind::Identity).expect("valid");
    Attached { name: Arc::from("team"), policy: Arc::new(policy) }
}

/// The draft: nobody writes from outside.
fn draft() -> Change {
    let text = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:Put*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#;
    let policy = Policy::parse(text, DocumentKind::Identity).expect("valid");
    Change::Named(Attached { name: Arc::from("team"), policy: Arc::new(policy) })
}

type Blobs = HashMap<[u8; 32], String>;

fn sets() -> (Vec<String>, Blobs) {
    let mut blobs = Blobs::new();
    let mut digests = Vec::new();
    for user in 0..USERS {
        let set = PolicySet { identity: vec![policy(user)], ..PolicySet::default() };
        blobs.extend(set.documents().map(|(digest, text)| (digest, text.to_owned())));
        blobs.insert(set.digest(), set.manifest());
        digests.push(set.digest().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("written");
            hex
        }));
    }
    (digests, blobs)
}

fn line(number: u64, digest: &str) -> String {
    let user = number % USERS;
    let action = if number.is_multiple_of(3) { "s3:PutObject" } else { "s3:GetObject" };
    let bucket = user % 10;
    let minute = number / 60 % 60;
    let second = number % 60;
    format!(
        concat!(
            r#"{{"action":"{action}","auth":{{"by":[{{"id":"identity:team#0"}}],"ctx":["#,
            r#"{{"k":"aws:CurrentTime","v":["2026-11-23T10:{minute:02}:{second:02}Z"]}},{{"k":"aws:EpochTime","v":["{epoch}"]}},"#,
            r#"{{"k":"aws:PrincipalArn","v":["arn:aws:iam::000000000000:user/u{user}"]}},{{"k":"aws:PrincipalType","v":["User"]}},"#,
            r#"{{"k":"aws:SecureTransport","v":["true"]}},{{"k":"aws:SourceIp","v":["10.1.2.{second}"]}},{{"k":"aws:UserAgent","v":["aws-sdk-rust/1.3"]}},"#,
            r#"{{"k":"aws:userid","v":["u{user}"]}},{{"k":"aws:username","v":["u{user}"]}},{{"k":"s3:TlsVersion","v":["1.3"]}},"#,
            r#"{{"k":"s3:authType","v":["REST-HEADER"]}},{{"k":"s3:signatureversion","v":["AWS4-HMAC-SHA256"]}}],"#,
            r#""decision":"allow","digest":"{digest}","reason":"identity-allow","us":3}},"class":"data","event":"01JDBZ6V0G{number:016}","phase":"decision","#,
            r#""principal":{{"access_key":"u{user}","account":"000000000000","arn":"arn:aws:iam::000000000000:user/u{user}","name":"u{user}","type":"IAMUser"}},"#,
            r#""resources":[{{"arn":"arn:aws:s3:::bucket-{bucket}/home/u{user}/{number}","bucket":"bucket-{bucket}","key":"home/u{user}/{number}"}}],"#,
            r#""seq":{number},"time":"2026-11-23T10:{minute:02}:{second:02}.000001Z","v":1}}"#,
        ),
        action = action,
        minute = minute,
        second = second,
        epoch = 1_795_428_000 + number,
        user = user,
        bucket = bucket,
        digest = digest,
        number = number,
    )
}

fn world(blobs: &Blobs) -> World {
    let blobs = blobs.clone();
    World::recorded(move |digest| blobs.get(&digest).cloned())
}

/// Reads the file to its end; every line is a decision.
fn replayed(path: &Path, baseline: &World, draft: &World) -> Outcome {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).expect("opened"));
    let mut line = Vec::new();
    let mut seq = 0;
    let events = std::iter::from_fn(|| {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).expect("read");
        (length > 0).then(|| {
            seq += 1;
            audit_line(seq, &line).expect("a record").expect("a decision").recorded
        })
    });
    simulate(events, baseline, draft)
}

fn replay(criterion: &mut Criterion) {
    let (digests, blobs) = sets();
    let file = tempfile::NamedTempFile::new().expect("scratch");
    let mut text = String::new();
    for number in 0..RECORDS {
        let user = usize::try_from(number % USERS).expect("few");
        let digest = digests.get(user).expect("one per user");
        writeln!(text, "{}", line(number, digest)).expect("written");
    }
    std::fs::write(file.path(), &text).expect("written");
    let baseline = world(&blobs);
    let draft = world(&blobs).with(draft());
    let outcome = replayed(file.path(), &baseline, &draft);
    assert_eq!(outcome.self_check.reproduced, RECORDS, "the past is reproduced");
    let mut group = criterion.benchmark_group("replay of a log on disk");
    group
        .throughput(Throughput::Elements(RECORDS))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10);
    group.bench_function("two worlds and the self-check", |bencher| {
        bencher.iter(|| black_box(replayed(file.path(), &baseline, &draft)));
    });
    let lines: Vec<_> = text.lines().map(str::as_bytes).collect();
    group.bench_function("parsing alone", |bencher| {
        bencher.iter(|| {
            for (seq, line) in (0..).zip(&lines) {
                black_box(audit_line(seq, line)).expect("a record");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
