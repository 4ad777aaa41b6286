//! How fast a log on disk is replayed: `cargo bench -p policy-lab --no-default-features --bench replay`.
//!
//! A hundred thousand records as the server writes them, in one file, of fifty users with policies of their own; read,
//! parsed, decided in both worlds and held against what was recorded. Reported is the processor time of one core, so
//! that the figure holds on a machine that others use. The slow reader, one event at a time, stands beside it.

#![expect(clippy::expect_used, reason = "a benchmark that cannot build its question has failed")]

#[path = "measure/thread_time.rs"]
mod thread_time;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use policy_lab::replay::{
    Change, Chunk, Detail, LogOptions, Outcome, World, audit_line, simulate, simulate_log,
};
use policy_lab::{Attached, DocumentKind, Guardrails, Policy, PolicySet};

use self::thread_time::ThreadTime;

const RECORDS: u64 = 100_000;
const USERS: u64 = 50;
const PIECE_BYTES: usize = 512 << 10;

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

/// Two rules on where a request comes from, as every guardrail file begins.
const FROM: &str = r#"package s3.authz
import rego.v1
deny contains {"id": "tls", "msg": "plain HTTP"} if not input.env.tls
deny contains {"id": "outside", "msg": "not from here"} if not net.cidr_contains("10.0.0.0/8", input.env.source_ip)
"#;

/// One more, on the key: no two records ask it the same question.
const FROM_AND_KEY: &str = r#"package s3.authz
import rego.v1
deny contains {"id": "tls", "msg": "plain HTTP"} if not input.env.tls
deny contains {"id": "secret", "msg": "not by this door"} if startswith(input.resource.key, "secret/")
"#;

type Blobs = HashMap<[u8; 32], String>;

/// A log in a file, with the documents that it names.
struct Log {
    file: tempfile::NamedTempFile,
    blobs: Arc<Blobs>,
}

impl Log {
    fn write(rego: Option<&str>) -> Self {
        let guardrails = rego.map(|text| {
            Arc::new(Guardrails::load(vec![("g.rego".into(), text.into())]).expect("loads"))
        });
        let mut blobs = Blobs::new();
        let mut digests = Vec::new();
        for user in 0..USERS {
            let set = PolicySet {
                identity: vec![policy(user)],
                guardrails: guardrails.clone(),
                ..PolicySet::default()
            };
            blobs.extend(set.documents().map(|(digest, text)| (digest, text.to_owned())));
            blobs.insert(set.digest(), set.manifest());
            digests.push(hex::encode(set.digest()));
        }
        let mut text = String::new();
        for number in 0..RECORDS {
            let user = usize::try_from(number % USERS).expect("few");
            writeln!(text, "{}", line(number, digests.get(user).expect("one per user")))
                .expect("written");
        }
        let file = tempfile::NamedTempFile::new().expect("scratch");
        std::fs::write(file.path(), text).expect("written");
        Self { file, blobs: Arc::new(blobs) }
    }

    fn world(&self) -> World {
        let blobs = Arc::clone(&self.blobs);
        World::recorded(move |digest| blobs.get(&digest).cloned())
    }

    fn worlds(&self) -> (World, World) {
        (self.world(), self.world().with(draft()))
    }

    fn replayed(&self) -> Outcome {
        let options = LogOptions {
            detail: Detail::default(),
            threads: NonZeroUsize::MIN,
            since_us: None,
            every: 1,
        };
        let chunks = Chunks::open(self.file.path());
        let replayed = simulate_log(chunks, &|| self.worlds(), options, &|_| {}).expect("read");
        assert_eq!(replayed.unreadable, 0);
        replayed.outcome
    }

    /// The same by an event of its own for every line.
    fn replayed_slowly(&self) -> Outcome {
        let file = File::open(self.file.path()).expect("opened");
        let mut reader = BufReader::with_capacity(1 << 20, file);
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
        let (baseline, draft) = self.worlds();
        simulate(events, &baseline, &draft)
    }
}

/// A record as the server writes it: 0.8 KiB, one in sixty from outside.
fn line(number: u64, digest: &str) -> String {
    let user = number % USERS;
    let action = if number.is_multiple_of(3) { "s3:PutObject" } else { "s3:GetObject" };
    let bucket = user % 10;
    let minute = number / 60 % 60;
    let second = number % 60;
    let ip = if second == 9 { "192.0.2.9".to_owned() } else { format!("10.1.2.{second}") };
    format!(
        concat!(
            r#"{{"action":"{action}","auth":{{"by":[{{"id":"identity:team#0"}}],"decision":"allow","digest":"{digest}","implied":true,"reason":"identity-allow","us":3}},"class":"data","event":"01JDBZ6V0G{number:016}","#,
            r#""net":{{"endpoint":"s3.example.com","port":43210,"src":"{ip}","tls":"1.3/TLS13_AES_256_GCM_SHA384","ua":"aws-sdk-rust/1.3"}},"node":"node1","phase":"decision","#,
            r#""principal":{{"access_key":"u{user}","account":"000000000000","arn":"arn:aws:iam::000000000000:user/u{user}","name":"u{user}","sig":"v4","sig_sha256":"{digest}","type":"IAMUser"}},"#,
            r#""request":"18F{number:013}","resources":[{{"arn":"arn:aws:s3:::bucket-{bucket}/home/u{user}/{number}","bucket":"bucket-{bucket}","key":"home/u{user}/{number}"}}],"#,
            r#""seq":{number},"time":"2026-11-23T10:{minute:02}:{second:02}.000001Z","v":1}}"#,
        ),
        action = action,
        minute = minute,
        second = second,
        user = user,
        bucket = bucket,
        ip = ip,
        digest = digest,
        number = number,
    )
}

/// A file in pieces that end with a line, as the log is read.
struct Chunks {
    file: File,
    /// What follows the last newline of the piece before.
    rest: Vec<u8>,
    first: u64,
}

impl Chunks {
    fn open(path: &Path) -> Self {
        Self { file: File::open(path).expect("opened"), rest: Vec::new(), first: 0 }
    }
}

impl Iterator for Chunks {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut lines = Vec::with_capacity(2 * PIECE_BYTES);
        lines.append(&mut self.rest);
        let taken = (&mut self.file).take(PIECE_BYTES as u64).read_to_end(&mut lines);
        if let Err(error) = taken {
            return Some(Err(error));
        }
        let end = memchr::memrchr(b'\n', &lines)? + 1;
        self.rest = lines.split_off(end);
        let first = self.first;
        self.first += memchr::memchr_iter(b'\n', &lines).count() as u64;
        Some(Ok(Chunk { first, lines }))
    }
}

fn replay(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("replay of a log on disk, both worlds");
    group
        .throughput(Throughput::Elements(RECORDS))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10);
    let log = Log::write(None);
    let outcome = log.replayed();
    assert_eq!(outcome, log.replayed_slowly());
    assert_eq!(outcome.self_check.reproduced, RECORDS, "the past is reproduced");
    assert!(outcome.totals.newly_denied > 0, "the draft takes something away");
    group.bench_function("JSON policies", |bencher| bencher.iter(|| black_box(log.replayed())));
    group.bench_function("JSON policies, an event at a time", |bencher| {
        bencher.iter(|| black_box(log.replayed_slowly()));
    });
    for (name, rego) in
        [("and two Rego rules", FROM), ("and two Rego rules, one on the key", FROM_AND_KEY)]
    {
        let log = Log::write(Some(rego));
        assert_eq!(log.replayed().totals.evaluated, RECORDS);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(log.replayed())));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime::new());
    targets = replay
}
criterion_main!(benches);
