//! Forty days of a small company, for questions whose answers are known.
//!
//! Each record has a name in its parameters, so that an answer can be written down as names.

use std::{path::Path, sync::Arc};

use audit::*;

const ORIGIN: &str = "audit.example.com/node1";
/// 2026-03-10T12:00:00Z: the moment at which all questions are asked.
pub(crate) const NOW_US: u64 = 1_773_144_000_000_000;
pub(crate) const SECOND_US: u64 = 1_000_000;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A record under way.
struct Fact {
    seconds_ago: i64,
    record: Record,
}

/// Begins a record that is so many seconds old.
fn fact(name: &str, seconds_ago: i64, class: Class, action: &str) -> Fact {
    let at_ms = (NOW_US - seconds_ago as u64 * SECOND_US) / 1000;
    let mut random = [0; 10];
    for (place, byte) in random.iter_mut().zip(name.bytes().rev()) {
        *place = byte;
    }
    let mut record = Record::new(class, action, EventId::new(at_ms, random));
    record.params.insert("scene".into(), name.into());
    Fact { seconds_ago, record }
}

impl Fact {
    fn by(mut self, name: &str) -> Self {
        let (kind, account) = match name {
            "root" => ("Root", "1"),
            "anonymous" => ("Anonymous", "1"),
            "mallory" => ("IAMUser", "2"),
            _ => ("IAMUser", "1"),
        };
        let known = name != "anonymous";
        self.record.principal = Some(Arc::new(Principal {
            kind: kind.into(),
            arn: known.then(|| format!("arn:aws:iam::{account}:user/{name}")),
            account: known.then(|| account.into()),
            name: known.then(|| name.into()),
            access_key: known.then(|| format!("AK{}", name.to_uppercase())),
            mfa: known.then_some(name == "alice"),
            sig: if known { "v4" } else { "none" }.into(),
            ..Default::default()
        }));
        self
    }

    fn from(mut self, src: &str) -> Self {
        let tls = Some("1.3/TLS_AES_128_GCM_SHA256".into());
        self.record.net = Some(Arc::new(Net { src: src.into(), tls, ..Default::default() }));
        self
    }

    fn on(mut self, bucket: &str, key: &str) -> Self {
        self.record.resources.push(Resource {
            bucket: Some(bucket.into()),
            key: Some(key.into()).filter(|key: &String| !key.is_empty()),
            arn: Some(format!("arn:aws:s3:::{bucket}/{key}")),
            ..Default::default()
        });
        self
    }

    fn decided(mut self, decision: Verdict, reason: &str, by: &str, us: u64) -> Self {
        let by = Some(by).filter(|by| !by.is_empty());
        self.record.auth = Some(Auth {
            decision,
            reason: reason.into(),
            by: by.map(|id| Matched { id: id.into(), ..Default::default() }).into_iter().collect(),
            digest: String::new(),
            ctx: Default::default(),
            implied: false,
            us,
        });
        self
    }

    fn allowed(self, by: &str) -> Self {
        self.decided(Verdict::Allow, "identity-allow", by, 10)
    }

    fn denied(self, reason: &str) -> Self {
        self.decided(Verdict::Deny, reason, "", 20)
    }

    fn ended(mut self, code: u16, bytes_out: u64) -> Self {
        self.record.outcome = Some(Outcome { code, bytes_out, us: 1000, ..Default::default() });
        self
    }

    fn key_use(mut self, op: &str, key: &str, context: Option<&str>) -> Self {
        let ec = context.map(|arn| ("aws:s3:arn".to_owned(), arn.to_owned()));
        self.record.kms = Some(Kms {
            op: op.into(),
            key: key.into(),
            ec: ec.into_iter().collect(),
            ..Default::default()
        });
        self
    }

    fn sealed(mut self, key: &str) -> Self {
        self.record.sse =
            Some(Sse { kind: "aws:kms".into(), key: Some(key.into()), bucket_key: false });
        self
    }

    fn says(mut self, name: &str, value: &str) -> Self {
        self.record.params.insert(name.into(), value.into());
        self
    }

    fn but(mut self, change: impl FnOnce(&mut Record)) -> Self {
        change(&mut self.record);
        self
    }
}

/// Writes the log, with every second half of it indexed only if `index` says so.
pub(crate) fn write(dir: &Path) {
    let mut facts = facts();
    facts.sort_by_key(|fact| std::cmp::Reverse(fact.seconds_ago));
    let clock = Arc::new(HandClock::at(NOW_US - 40 * DAY as u64 * SECOND_US).stepping(0));
    let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
    // The answers are written down record by record, so the log may hold no others.
    let finished = Finished::Left;
    let options = Options { origin: ORIGIN.to_owned(), finished, ..Options::default() };
    let files = Arc::new(LocalFiles::new(dir));
    let (log, _) = Log::open(files, signer, clock.clone(), options).unwrap();
    let indexer = Indexer::start(dir, &log).unwrap();
    let (most, rest) = facts.split_at(facts.len() - 20);
    append(&log, &clock, most);
    indexer.stop();
    // The newest records are not in the index; they are found all the same.
    append(&log, &clock, rest);
    clock.set(NOW_US);
    log.close().unwrap();
}

fn append(log: &Log, clock: &HandClock, facts: &[Fact]) {
    for at in facts.chunk_by(|a, b| a.seconds_ago == b.seconds_ago) {
        let seconds_ago = at.first().unwrap().seconds_ago as u64;
        clock.set(NOW_US - seconds_ago * SECOND_US);
        let records: Vec<Record> = at.iter().map(|fact| fact.record.clone()).collect();
        log.append_all(&records).unwrap().wait().unwrap();
    }
}

fn facts() -> Vec<Fact> {
    let mut facts = objects();
    facts.extend(keys());
    facts.extend(people());
    facts.extend(the_log_itself());
    facts.extend(crowds());
    facts
}

/// What happened to objects.
fn objects() -> Vec<Fact> {
    use Class::{Data, Mgmt};
    let data = |name: &str, ago: i64, action: &str| fact(name, ago, Data, action);
    let mgmt = |name: &str, ago: i64, action: &str| fact(name, ago, Mgmt, action);
    vec![
        data("put-k", 39 * DAY, "s3:PutObject")
            .by("alice")
            .from("10.0.0.5")
            .on("b", "k")
            .sealed("K")
            .allowed("pol-write")
            .ended(200, 0),
        data("read-k", 38 * DAY, "s3:GetObject")
            .by("alice")
            .from("10.0.0.5")
            .on("b", "k")
            .allowed("pol-read")
            .ended(200, 100),
        data("read-k-abroad", 35 * DAY, "s3:GetObject")
            .by("alice")
            .from("192.0.2.9")
            .on("b", "k")
            .allowed("pol-read")
            .ended(200, 100),
        data("head-k", 2 * DAY, "s3:HeadObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "k")
            .allowed("pol-read")
            .ended(200, 0),
        data("delete-k", 26 * HOUR, "s3:DeleteObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "k")
            .allowed("pol-admin")
            .ended(204, 0),
        data("put-plain", 25 * HOUR, "s3:PutObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "plain")
            .allowed("pol-write")
            .ended(200, 0),
        data("put-wrong-key", 25 * HOUR, "s3:PutObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "other")
            .sealed("K2")
            .allowed("pol-write")
            .ended(200, 0),
        data("anonymous-read", 23 * HOUR, "s3:GetObject")
            .by("anonymous")
            .from("198.51.100.7")
            .on("public", "logo")
            .allowed("bucket:public")
            .ended(200, 50),
        data("anonymous-denied", 23 * HOUR, "s3:GetObject")
            .by("anonymous")
            .from("198.51.100.7")
            .on("b", "k")
            .denied("implicit-deny")
            .ended(403, 0),
        data("cross-account", 22 * HOUR, "s3:GetObject")
            .by("mallory")
            .from("203.0.113.50")
            .on("b", "k")
            .denied("implicit-deny")
            .ended(403, 0)
            .but(|r| r.resources[0].arn = Some("arn:aws:s3::1:b/k".into())),
        data("same-account", 22 * HOUR, "s3:GetObject")
            .by("bob")
            .from("203.0.113.51")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10)
            .but(|r| r.resources[0].arn = Some("arn:aws:s3::1:b/j".into())),
        data("plain-http", 21 * HOUR, "s3:GetObject")
            .by("bob")
            .from("127.0.0.1")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10)
            .but(|r| Arc::make_mut(r.net.as_mut().unwrap()).tls = None),
        data("old-tls", 21 * HOUR, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10)
            .but(|r| Arc::make_mut(r.net.as_mut().unwrap()).tls = Some("1.2/ECDHE".into())),
        data("presigned", 20 * HOUR, "s3:GetObject")
            .by("alice")
            .from("10.0.0.5")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10)
            .but(|r| Arc::make_mut(r.principal.as_mut().unwrap()).sig = "presigned".into()),
        // 02:00 and 05:59 UTC on the tenth; 06:00 is day.
        data("at-two", 10 * HOUR, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10),
        data("before-six", 6 * HOUR + MINUTE, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10),
        data("at-six", 6 * HOUR, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(200, 10),
        data("broken", 5 * HOUR, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(500, 0),
        data("broken-again", 5 * HOUR - 30, "s3:GetObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "j")
            .allowed("pol-read")
            .ended(503, 0),
        data("hold", 4 * HOUR, "s3:PutObjectLegalHold")
            .by("alice")
            .from("10.0.0.5")
            .on("b", "held")
            .allowed("pol-admin")
            .ended(200, 0),
        data("delete-held", 3 * HOUR, "s3:DeleteObject")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "held")
            .denied("object-lock")
            .ended(403, 0),
        mgmt("bucket-policy", 3 * HOUR, "s3:PutBucketPolicy")
            .by("root")
            .from("10.0.0.1")
            .on("b", "")
            .decided(Verdict::Allow, "admin-bypass", "", 5)
            .ended(204, 0),
        mgmt("by-endpoint", 2 * HOUR, "s3:GetBucketLocation")
            .by("bob")
            .from("10.0.0.6")
            .on("b", "")
            .denied("implicit-deny")
            .ended(403, 0)
            .but(|r| Arc::make_mut(r.net.as_mut().unwrap()).endpoint = Some("vpce-1".into())),
    ]
}

/// What happened with keys.
fn keys() -> Vec<Fact> {
    let kms = |name: &str, ago: i64, op: &str, key: &str, context: Option<&str>| {
        fact(name, ago, Class::Kms, &format!("kms:{op}")).key_use(op, key, context)
    };
    let object = Some("arn:aws:s3:::b/k");
    vec![
        kms("new-data-key", 39 * DAY, "GenerateDataKey", "K", object).by("alice"),
        kms("decrypt-k", 38 * DAY, "Decrypt", "K", object).by("alice"),
        kms("decrypt-again", 35 * DAY, "Decrypt", "K", object).by("alice"),
        kms("decrypt-other", 2 * DAY, "Decrypt", "K2", object).by("bob"),
        kms("decrypt-alone", DAY, "Decrypt", "K", None).by("bob"),
        // 09:40 and 10:10 UTC: two hours of a clock, though half an hour apart.
        kms("data-key-early", 2 * HOUR + 20 * MINUTE, "GenerateDataKey", "K", object).by("bob"),
        kms("data-key-late", HOUR + 50 * MINUTE, "GenerateDataKey", "K", object).by("bob"),
        kms("data-key-later", HOUR + 40 * MINUTE, "GenerateDataKey", "K", object).by("bob"),
        fact("disable-key", HOUR, Class::Kms, "kms:DisableKey").by("root"),
    ]
}

/// What happened to people.
fn people() -> Vec<Fact> {
    use Class::{Admin, Authn, Data};
    let admin = |name: &str, ago: i64, action: &str, who: &str| {
        fact(name, ago, Admin, action).by(who).from("10.0.0.1").allowed("pol-admin").ended(200, 0)
    };
    let refused = |name: &str, ago: i64, reason: &str, src: &str| {
        fact(name, ago, Authn, "s3:unresolved").by("anonymous").from(src).denied(reason)
    };
    let role = |name: &str, ago: i64, action: &str, session: &str| {
        fact(name, ago, Data, action)
            .by("carol")
            .from("10.0.0.7")
            .on("b", "r")
            .allowed("pol-role")
            .but(|r| Arc::make_mut(r.principal.as_mut().unwrap()).session = Some(session.into()))
    };
    vec![
        admin("attach-policy", 30 * HOUR, "iam:AttachUserPolicy", "alice").says("target", "bob"),
        admin("attach-self", 29 * HOUR, "iam:AttachUserPolicy", "bob").says("target", "bob"),
        admin("list-policies", 29 * HOUR, "iam:ListPolicies", "bob"),
        admin("new-key", 28 * HOUR, "iam:CreateAccessKey", "alice").says("target", "carol"),
        fact("assume", 90 * MINUTE, Class::Mgmt, "sts:AssumeRole")
            .by("carol")
            .from("10.0.0.7")
            .allowed("pol-role")
            .says("role", "R")
            .says("session", "S1"),
        role("in-session", 89 * MINUTE, "s3:GetObject", "S1"),
        role("in-session-put", 88 * MINUTE, "s3:ListBucket", "S1"),
        role("in-another", 87 * MINUTE, "s3:GetObject", "S2"),
        refused("bad-signature", 86 * MINUTE, "bad-signature", "203.0.113.9"),
        refused("bad-signature-again", 85 * MINUTE, "bad-signature", "203.0.113.9"),
        refused("unknown-key", 84 * MINUTE, "unknown-key", "198.51.100.7"),
        // One request: decision, key use, outcome.
        fact("whole-decision", 80 * MINUTE, Data, "s3:GetObject")
            .by("dave")
            .from("10.0.0.8")
            .on("b", "d")
            .allowed("pol-read")
            .but(|r| {
                r.request = Some("17CDC1F4D7E69123".into());
                r.phase = Phase::Decision;
            }),
        fact("whole-key", 80 * MINUTE, Class::Kms, "kms:Decrypt")
            .by("dave")
            .key_use("Decrypt", "K", Some("arn:aws:s3:::b/d"))
            .but(|r| r.request = Some("17CDC1F4D7E69123".into())),
        fact("whole-outcome", 80 * MINUTE, Data, "s3:GetObject")
            .by("dave")
            .from("10.0.0.8")
            .on("b", "d")
            .ended(200, 7)
            .but(|r| {
                r.request = Some("17CDC1F4D7E69123".into());
                r.phase = Phase::Outcome;
            }),
    ]
}

/// What the log says about itself and about those who read it.
fn the_log_itself() -> Vec<Fact> {
    use Class::{Audit, Delivery, Query};
    let beat =
        |minute: i64| fact(&format!("beat-{minute}"), minute * MINUTE, Audit, "audit:heartbeat");
    let mut facts: Vec<Fact> = [60, 59, 58, 54, 53, 1].map(beat).into();
    facts.extend([
        fact("orphan", 50 * MINUTE, Audit, "audit:orphan"),
        fact("shred", 49 * MINUTE, Audit, "audit:shred"),
        fact("reject", 48 * MINUTE, Delivery, "delivery:reject"),
        fact("query-alice", 47 * MINUTE, Query, "audit:Search")
            .by("eve")
            .says("text", "principal.name=Alice denied"),
        fact("query-malice", 46 * MINUTE, Query, "audit:Search").by("eve").says("text", "malice"),
    ]);
    facts
}

/// Many of a kind.
fn crowds() -> Vec<Fact> {
    let mut facts = Vec::new();
    for i in 0..1200 {
        facts.push(
            fact("spree", 44 * MINUTE - i / 2, Class::Data, "s3:ListBucket")
                .by("frank")
                .from("10.0.0.9")
                .on("lists", "")
                .allowed("pol-read"),
        );
    }
    // 11 GB within the hour from 11:00.
    for i in 0..11 {
        facts.push(
            fact("bulk", 30 * MINUTE - i, Class::Data, "s3:GetObject")
                .by("grace")
                .from("10.0.0.10")
                .on("bulk", &format!("part-{}", i % 3))
                .allowed("pol-read")
                .ended(200, 1_000_000_000),
        );
    }
    // Six refusals and a success, twice; the second time it takes too long.
    for (i, ago) in [620, 610, 600, 590, 580, 570].into_iter().enumerate() {
        facts.push(
            fact(&format!("knock-{i}"), ago, Class::Data, "s3:GetObject")
                .by("mallory")
                .from("203.0.113.50")
                .on("b", "k")
                .denied("implicit-deny"),
        );
        facts.push(
            fact(&format!("slow-knock-{i}"), ago, Class::Data, "s3:PutObject")
                .by("mallory")
                .from("203.0.113.50")
                .on("b", "k")
                .denied("implicit-deny"),
        );
    }
    facts.push(
        fact("let-in", 560, Class::Data, "s3:GetObject")
            .by("mallory")
            .from("203.0.113.50")
            .on("b", "k")
            .allowed("pol-oops"),
    );
    facts.push(
        fact("let-in-late", 5, Class::Data, "s3:PutObject")
            .by("mallory")
            .from("203.0.113.50")
            .on("b", "k")
            .sealed("K")
            .allowed("pol-oops"),
    );
    facts
}
