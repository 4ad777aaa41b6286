use proptest::prelude::*;

use super::*;

const NOW_US: u64 = 1_767_225_600_000_000;
const LEAF: &str = r#"{"action":"s3:GetObject","auth":{"by":[{"id":"pol-7f","sid":"AllowRead"}],"ctx":[{"k":"aws:Referer","v":["10.1.2.3"]}],"decision":"allow","reason":"identity-allow","us":41},"class":"data","event":"01JGG3ZQ0M8T5T3X6Z1Y2W3V4U","net":{"src":"10.1.2.3","tls":"1.3/TLS_AES_128_GCM_SHA256","ua":"aws-cli/2.17.1"},"node":"n1","params":[{"k":"target","v":"alice"}],"phase":"single","principal":{"account":"123456789012","arn":"arn:aws:iam::123456789012:user/alice","mfa":false,"name":"alice","type":"IAMUser"},"request":"17CDC1F4D7E69123","resources":[{"bucket":"reports","key":"q1/été.pdf"},{"bucket":"other"}],"result":{"bytes_in":0,"bytes_out":40960,"code":200,"us":3120},"seq":4711,"time":"2025-12-31T20:00:00.123456Z","v":1}"#;

fn matches(text: &str) -> bool {
    Query::parse(text, NOW_US).unwrap_or_else(|e| panic!("{text}: {e}")).matches(LEAF.as_bytes())
}

#[test]
fn predicates() {
    for yes in [
        "",
        "action=s3:GetObject",
        "action in (s3:PutObject, s3:GetObject) and bucket=reports",
        "action~\"s3:Get*\" readonly",
        "action~s3:???Object",
        "action=~\"s3:(Get|Head)Object\"",
        "bucket=other",
        "not bucket=third",
        "bucket != third and key=\"q1/été.pdf\"",
        "decision=allow and time>-24h",
        "time>=2025-12-31 and time<2026-01-01T00:00:00Z",
        "ip in 10.0.0.0/8",
        "net.src in (10.1.2.3)",
        "result.code<300 and bytes_out>=40KB and bytes_out<1MiB",
        "result.us>1ms",
        "principal exists and auth.by exists and auth.ctx exists and not kms.ec exists",
        "auth.ctx.aws:Referer=10.1.2.3",
        "principal.name=request.target",
        "principal.account != resource.key",
        "net.ua has CLI",
        "été",
        "\"USER/alice\"",
        "allowed and not denied",
        "(action=x or class=data) and (v=1)",
        "request=17CDC1F4D7E69123 | fields time,principal.arn,auth.by | sort time asc | limit 5",
        "| where principal.mfa=false",
        "seq=4711",
        "hour(time) in (20..23) and hour(time)=20 and not hour(time)<20",
        "result.code in (100..199, 200) and not code in (201..300)",
    ] {
        assert!(matches(yes), "{yes}");
    }
    for no in [
        "action=s3:Get",
        "action~\"Get*\"",
        "bucket!=other",
        "not (bucket=reports)",
        "time>-1h",
        "ip in 192.168.0.0/16",
        "result.code>200",
        "kms exists",
        "aws has aw",
        "not action exists",
        "principal.name=principal.arn",
        "denied",
        "hour(time) in (0..5)",
        "principal.account != resource.account",
        "principal.account != principal.account",
    ] {
        let query = Query::parse(no, NOW_US);
        assert!(query.is_err() || !query.unwrap().matches(LEAF.as_bytes()), "{no}");
    }
}

#[test]
fn shape_of_the_answer() {
    let query = Query::parse("class=data | fields time,auth.by | sort bytes_out | limit 7", NOW_US)
        .unwrap();
    assert_eq!(query.fields().unwrap(), ["time", "auth.by.id"]);
    assert_eq!(query.limit(), Some(7));
    assert_eq!(query.sort().unwrap().field, "result.bytes_out");
    assert_eq!(query.sort().unwrap().order, Order::Descending);
    let columns = query.project(LEAF.as_bytes());
    assert_eq!(columns, [vec!["2025-12-31T20:00:00.123456Z"], vec!["pol-7f"]]);
}

#[test]
fn errors_say_where_and_what() {
    let mut wrong = Vec::new();
    for (text, offset, part) in [
        ("desicion=deny", 0, "did you mean `decision`?"),
        ("auth.ctx.aws:sourceip=1", 0, "records say it as `net.src`"),
        ("action=", 7, "a value is missing"),
        ("action=a)", 8, "missing before this"),
        ("(action=a", 9, "`)` is missing"),
        ("key=\"open", 4, "not closed"),
        ("time>yesterday", 5, "not a time"),
        ("ip in nowhere", 6, "not a network"),
        ("action=~\"(\"", 8, "pattern"),
        ("| count by action | sum(auth.us)", 20, "cannot follow another table"),
        ("x | limit 5 | count", 14, "cannot follow `limit`"),
        ("x | top 5", 4, "after `count`"),
        ("x | count by action | where code=1", 28, "not a column; there are action, count"),
        ("x | count by action | sort reason", 27, "not a column"),
        ("| count by bin(action,1h)", 15, "only `time`"),
        ("| count by bin(time,soon)", 20, "not a duration"),
        ("| count by net.src/200", 11, "bits"),
        ("| gaps(0s)", 7, "not a duration"),
        ("| firstseen net.src", 19, "`baseline` is missing"),
        ("| sum(auth.us", 13, "`)` is missing"),
        ("| p0(auth.us)", 2, "not a stage"),
        ("| expand bucket", 9, "`request` or `session`"),
        ("| count | expand session", 10, "right after the filter"),
        ("sequence by action", 18, "`within` is missing"),
        ("sequence by action within 1m denied", 29, "`[` is missing"),
        ("sequence by action within 1m [denied]>=0", 39, "from 1"),
        ("hour(action) in (1)", 5, "only `time`"),
        ("hour(time) in (1..x)", 15, "not a range"),
        ("bin(time,1h)=1", 0, "no condition"),
        ("replay policy v3", 14, "`=` is missing"),
        ("replay policy=v3 | where reason=x | count", 36, "another table"),
        ("replay policy=v3 | where bukcet=x", 25, "not a column"),
        ("policies() minus (all)", 21, "`| distinct auth.by` is missing"),
        ("policies() minus (all | distinct action)", 33, "only be compared with `auth.by`"),
        ("policies() minus all", 17, "`(` is missing"),
        ("denied | policies() minus (all | distinct auth.by)", 9, "begins a query"),
        ("x | nonsense", 4, "not a stage"),
        ("| limit 0", 8, "from 1"),
        ("and", 3, "missing"),
    ] {
        match Query::parse(text, NOW_US) {
            Err(error) if error.message.contains(part) && error.offset == offset => {}
            // `and` alone is a text to look for, like any other word.
            Ok(_) if text == "and" => {}
            other => wrong.push(format!("{text}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn hostile_queries_are_refused_quickly() {
    let deep = "(".repeat(2000);
    let nots = "not ".repeat(1000) + "a";
    let many = "a ".repeat(101);
    let list_of = |values| format!("action in ({})", vec!["a"; values].join(","));
    let list = list_of(TERMS_MAX + 1);
    let automaton = "action=~\"(a{1000}){1000}\"";
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    for text in [deep.as_str(), &many, &list, automaton, &long, "\u{0}=\u{0}", "a=~\"\\\"", "||||"]
    {
        assert!(Query::parse(text, NOW_US).is_err(), "{:.20}", text);
    }
    for text in [&nots, &list_of(TERMS_MAX)] {
        assert!(Query::parse(text, NOW_US).is_ok(), "{text:.20}");
    }
}

/// Texts that get past the first token of a stage.
fn stages() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "count",
        "by",
        "action",
        ",",
        "bin",
        "(",
        ")",
        "time",
        "1h",
        "hour",
        "sum",
        "bytes_out",
        "p99",
        "top",
        "5",
        "|",
        "where",
        ">=",
        "distinct",
        "gaps",
        "firstseen",
        "net.src/24",
        "baseline",
        "sequence",
        "within",
        "[",
        "]",
        "denied",
        "then",
        "expand",
        "session",
        "sort",
        "fields",
        "limit",
        "0..5",
        "in",
        "not",
        "and",
        "\"",
        "10GB",
        "resources.key",
        "=",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_parses_or_points_into_itself(
        text in prop_oneof![".{0,60}", stages(), r#"[a-c =~!<>()|,"\\*\-0-9hinort.]{0,40}"#], now in any::<u64>()) {
        match Query::parse(&text, now) {
            Ok(query) => { query.matches(LEAF.as_bytes()); }
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }
}
