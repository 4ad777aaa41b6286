use std::sync::Arc;

use super::{Guardrails, REVIEW_TIME_MAX, RegoError};
use crate::{
    Action, Context, Decision, PolicySet, Principal, PrincipalKind, Reason, Request, Resource,
    canned, evaluate,
};

const HEAD: &str = "package s3.authz\nimport rego.v1\n";

fn load(body: &str) -> Result<Guardrails, RegoError> {
    Guardrails::load(vec![("rules.rego".to_owned(), format!("{HEAD}{body}\n"))])
}

fn request() -> Request {
    let mut context = Context::new();
    context.set("aws:SourceIp", "10.0.0.1");
    context.set("aws:SecureTransport", "true");
    context.set("aws:CurrentTime", "2026-11-23T10:00:00Z");
    context.set("s3:RequestObjectTag/class", "secret");
    Request {
        action: Action::parse("s3:PutObject").expect("action"),
        resource: Resource::Object { bucket: "ledger".into(), key: "2026/q3.csv".into() },
        principal: Principal::user("000000000000", "alice"),
        context,
    }
}

fn decide(body: &str, request: &Request) -> Decision {
    let set = PolicySet {
        identity: vec![canned::attached("readwrite").expect("canned")],
        // The probes are about rules, not about how busy the machine is.
        guardrails: Some(Arc::new(load(body).expect("loads").with_time_limit(REVIEW_TIME_MAX))),
        ..PolicySet::default()
    };
    evaluate(&set, request)
}

#[test]
fn a_denying_rule_wins_over_policies_and_root() {
    let body = r#"deny contains {"id": "frozen", "msg": "ledger is frozen", "severity": "block"} if {
        input.resource.bucket == "ledger"
        input.action == "s3:PutObject"
    }"#;
    let mut request = request();
    for kind in [PrincipalKind::User, PrincipalKind::Root] {
        request.principal.kind = kind;
        let decision = decide(body, &request);
        assert_eq!(decision.reason, Reason::Guardrail);
        assert!(!decision.is_allowed());
        assert_eq!(decision.denials[0].id, "frozen");
        assert_eq!(decision.denials[0].msg, "ledger is frozen");
    }
    request.resource = Resource::Bucket("other".into());
    assert_eq!(decide(body, &request).reason, Reason::AdminBypass);
}

/// What the engines do with doubtful rules, measured: an upgrade that changes one of these must be noticed.
#[test]
fn probes_of_the_interpreter() {
    let rule = |body: &str| format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
    for (name, body, reason) in [
        ("no rule fires", rule("input.v == 2"), Reason::IdentityAllow),
        ("a rule fires", rule("input.v == 1"), Reason::Guardrail),
        ("error in a body", rule(r#"net.cidr_contains("junk", "10.0.0.1")"#), Reason::EngineError),
        (
            "negated error in a body",
            rule(r#"not net.cidr_contains("junk", "10.0.0.1")"#),
            Reason::EngineError,
        ),
        (
            "conflicting complete rules",
            format!("a := 1\na := 2\n{}", rule("a == 1")),
            Reason::EngineError,
        ),
        (
            "function default",
            format!("default f(_) := false\nf(x) if x == 2\n{}", rule("f(1) == false")),
            Reason::Guardrail,
        ),
        ("with", rule(r#"y with input as {"z": 1}"#) + "\ny if input.z == 1", Reason::Guardrail),
        (
            "30 000 iterations",
            rule("count([x | some x in numbers.range(1, 30000)]) == 30000"),
            Reason::Guardrail,
        ),
        ("unknown field under not", rule("not input.resource.buckett"), Reason::Guardrail),
        (
            "partial set with an iterating body",
            "deny contains {\"id\": x} if some x in [\"a\", \"b\"]".to_owned(),
            Reason::Guardrail,
        ),
    ] {
        let decision = decide(&body, &request());
        assert_eq!(decision.reason, reason, "{name}: {:?}", decision.denials);
        let both = name.starts_with("partial");
        assert!(!both || decision.denials.len() == 2, "{name}");
    }
}

/// What the library does not have, and does not read: the rest of the table of probes.
#[test]
fn probes_of_what_is_refused_at_load() {
    let wide = format!("x := \"{}\"\ndeny contains {{\"id\": \"x\"}} if x", "x".repeat(1100));
    let rule = |call: &str| format!("deny contains {{\"id\": \"x\"}} if {call}");
    for (body, message) in [
        (rule("crypto.md5(\"x\")"), "there is no function"),
        (rule("crypto.x509.parse_certificates(\"x\")"), "there is no function"),
        (rule("io.jwt.decode(\"x\")"), "no repeatable answer"),
        (rule("http.send({})"), "no repeatable answer"),
        (rule("net.cidr_intersects(\"::/0\", \"::/1\")"), "there is no function"),
        (rule("net.cidr_merge([])"), "there is no function"),
        (rule("net.lookup_ip_addr(\"x\")"), "no repeatable answer"),
        (rule("rego.parse_module(\"x\", \"y\")"), "no repeatable answer"),
        (rule("providers.aws.sign_req({}, {}, 1)"), "no repeatable answer"),
        (rule("json.marshall(1)"), "there is no function"),
        (wide, "column"),
    ] {
        let error = load(&body).expect_err(&body);
        assert!(error.message.contains(message), "{error}");
    }
}

/// Every refusal says where, in lines and columns of an editor, and what to do.
#[test]
fn refusals_name_place_and_remedy() {
    let mut wrong: Vec<String> = Vec::new();
    let rule = |body: &str| format!("\tdeny contains {{\"id\": \"é\"}} if {body}");
    for (body, line, column, remedy) in [
        (rule("time.now_ns() > 1"), 3, 31, "input.env.time"),
        (rule("foo.bar(1)"), 3, 31, "functions of Rego"),
        (rule("count(numbers.range(1, input.v)) > 1"), 3, 37, "write its bounds out"),
        (rule(&format!("{}true{}", "(".repeat(15), ")".repeat(15))), 3, 43, "a name"),
        (rule(&format!("{}1", "-".repeat(12))), 3, 39, "leave out"),
        (rule("input.x ==\n"), 5, 1, "a rule is written"),
        (rule("\"open"), 3, 36, "a text ends on its line"),
        (rule("1x"), 3, 32, "a number has digits"),
        (rule("input.x == 1 y"), 3, 44, "a rule is written"),
        (rule("not y"), 3, 35, "give it a value"),
        ("deny contains {\"id\": x} if true".to_owned(), 3, 22, "give it a value"),
        ("deny[{\"id\": \"x\"}] { true }".to_owned(), 3, 19, "since 1.0"),
        (format!("f(x) := x\n{}", rule("f(1) with f as 3")), 4, 41, "a parameter"),
        (format!("a if b\nb if a\n{}", rule("a")), 3, 1, "no recursion"),
        (rule(&format!("{{ {} }}", "true\n".repeat(300))), 3, 31, "several rules"),
        (rule(&format!("\"{}\"", "x".repeat(1100))), 3, 32, "break the line"),
        ("x := 1".to_owned(), 1, 1, "deny contains"),
    ] {
        let error = load(&body).expect_err(&body);
        let hint = error.hint.as_deref().unwrap_or_default();
        if (error.line, error.column) != (line, column) || !hint.contains(remedy) {
            wrong.push(format!("{error}, not at {line}:{column} with {remedy}"));
        }
    }
    for (text, line, column, remedy) in [
        ("", 1, 1, "package s3.authz"),
        ("# é\n package foo\n", 2, 2, "package s3.authz"),
        ("#  guardrail-input: mini\npackage s3.authz\n", 1, 21, "guardrail-input: minio"),
        ("package s3.authz\nimport  foo.bar\n", 2, 9, "rego.v1"),
    ] {
        let loaded = Guardrails::load(vec![("f.rego".to_owned(), text.to_owned())]);
        let error = loaded.expect_err(text);
        let hint = error.hint.as_deref().unwrap_or_default();
        if (error.line, error.column) != (line, column) || !hint.contains(remedy) {
            wrong.push(format!("{error}, not at {line}:{column} with {remedy}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One call of these would make what no memory holds, and no limit of time stops it.
#[test]
fn calls_that_make_as_much_as_they_are_told_are_refused() {
    for (call, is_refused) in [
        ("numbers.range(1, 99999)", false),
        ("numbers.range(-5, 5)", false),
        ("numbers.range_step(1, 100, 7)", false),
        ("numbers.range(1, 100000)", true),
        ("numbers.range(1, input.v)", true),
        ("numbers[\"range\"](1, 1000000000000)", true),
        ("numbers[\"ran\\u0067e\"](1, 1000000000000)", true),
        ("numbers.range(1, 10 * 1000000)", true),
        ("numbers.range_step(1, 1000000000000, 1)", true),
        ("net.cidr_expand(\"10.0.0.0/24\")", false),
        ("net.cidr_expand(\"::/0\")", true),
        ("net.cidr_expand(input.env.source_ip)", true),
        ("bits.lsh(1, 64)", false),
        ("bits.lsh(1, 1000000000000)", true),
        ("bits.lsh(1, input.v)", true),
        ("count([1]) with count as numbers.range", true),
    ] {
        let body = format!("deny contains {{\"id\": \"x\"}} if {{ input.v == 2; {call} }}");
        let loaded = load(&body);
        assert_eq!(loaded.is_err(), is_refused, "{call}");
        assert!(loaded.err().is_none_or(|error| error.message.contains("as much as")), "{call}");
    }
}

#[test]
fn a_result_that_is_too_large_denies_as_an_error() {
    let many = |count: usize| {
        format!(
            "deny contains {{\"id\": format_int(x, 10)}} if some x in numbers.range(1, {count})"
        )
    };
    let long = |length: usize| {
        format!(
            "deny contains {{\"id\": \"x\", \"msg\": concat(\"\", [\"x\" | some _ in numbers.range(1, {length})])}}"
        )
    };
    let all = |count: usize| {
        format!(
            "long := concat(\"\", [\"x\" | some _ in numbers.range(1, 4000)])\n\
             deny contains {{\"id\": format_int(x, 10), \"msg\": long}} if some x in numbers.range(1, {count})"
        )
    };
    for (body, reason) in [
        (many(1000), Reason::Guardrail),
        (many(1001), Reason::EngineError),
        (long(4096), Reason::Guardrail),
        (long(4097), Reason::EngineError),
        (all(16), Reason::Guardrail),
        (all(17), Reason::EngineError),
    ] {
        let decision = decide(&body, &request());
        assert_eq!(decision.reason, reason, "{body}");
        assert!(!decision.is_allowed());
    }
}

/// The functions that are counted answer as the library's own do.
#[test]
fn counted_functions_answer_as_ever() {
    for fact in [
        "array.concat([1], [2]) == [1, 2]",
        "base64.encode(\"a\") == \"YQ==\"",
        "concat(\", \", [\"a\", \"b\"]) == \"a, b\"",
        "concat(\"\", {\"b\", \"a\"}) == \"ab\"",
        "format_int(255, 16) == \"ff\"",
        "hex.encode(\"a\") == \"61\"",
        "indexof_n(\"aba\", \"a\") == [0, 2]",
        "json.marshal({\"a\": [1]}) == `{\"a\":[1]}`",
        "json.unmarshal(`{\"a\": [1]}`).a[0] == 1",
        "product([2, 3]) == 6",
        "regex.replace(\"a1b2\", \"[0-9]\", \"-\") == \"a-b-\"",
        "regex.split(\"[0-9]\", \"a1b\") == [\"a\", \"b\"]",
        "replace(\"aXbX\", \"X\", \"yy\") == \"ayybyy\"",
        "split(\"a/b\", \"/\") == [\"a\", \"b\"]",
        "split(\"a/b\", \"/\")[0] == \"a\"",
        "split(\"a/b\", \"/\")[_] == \"b\"",
        "sprintf(\"%s: %05d %.2f %d%%\", [\"a\", 42, 1.5, 7]) == \"a: 00042 1.50 7%\"",
        "strings.count(\"aba\", \"a\") == 2",
        "strings.replace_n({\"<\": \"&lt;\"}, \"<a<\") == \"&lt;a&lt;\"",
        "to_number(\"1.5e2\") == 150",
        "units.parse(\"10K\") == 10000",
        "units.parse_bytes(\"1KiB\") == 1024",
        "not concat(\",\", input.nothing)",
        "every part in split(\"a/a\", \"/\") { part == \"a\" }",
    ] {
        let body = format!("deny contains {{\"id\": \"x\"}} if {{ {fact} }}");
        let decision = decide(&body, &request());
        assert_eq!(decision.reason, Reason::Guardrail, "{fact}: {:?}", decision.denials);
    }
    let wrong = decide("deny contains {\"id\": \"x\"} if concat(1, [\"a\"])", &request());
    assert_eq!(wrong.reason, Reason::EngineError);
    let message = &wrong.denials[0].msg;
    assert!(message.contains("rules.rego:3") && message.contains("string"), "{message}");
}

/// Members that rules make are counted by a call around each, which changes none of them.
#[test]
fn counted_members_are_what_they_are() {
    for fact in [
        "[(x + 1) | some x in [1, 2]] == [2, 3]",
        "[((x + 1) * (x + 2)) | some x in [1, 2]] == [6, 12]",
        "[(x == \"a\") | some x in [\"a\"]] == [true]",
        "[(x == `a`) | some x in [\"a\"]] == [true]",
        "[x[\"a\"] | some x in [{\"a\": \"b\"}]] == [\"b\"]",
        "[object.get(x, \"a)\", \"b\") | some x in [{}]] == [\"b\"]",
        "[{\"a\": x, \"b\": {\"c\": x, \"d\": [x]}} | some x in [1]][0].b.d == [1]",
        "{x: {\"a\": x, \"b\": 1} | some x in [\"k\"]}.k.b == 1",
        "[ ({\"a\": x, \"b\": 1}) | some x in [1]] == [{\"a\": 1, \"b\": 1}]",
        "[ x | some x in [1] ] == [1]",
        "[[x, [y | some y in [x]]] | some x in [1, 2]] == [[1, [1]], [2, [2]]]",
        "[[y | some y in [x]] | some x in [1, 2]] == [[1], [2]]",
        "{x: [x] | some x in [\"a\"]} == {\"a\": [\"a\"]}",
        "{upper(x): [y | some y in [x]] | some x in [\"a\"]} == {\"A\": [\"a\"]}",
        "{{\"k\": x} | some x in [1]} == {{\"k\": 1}}",
        "[x.y | some x in [{\"y\": 1}]] == [1]",
        "[x[\"y\"] | some x in [{\"y\": 1}]] == [1]",
        "[x.y[_] | some x in [{\"y\": [1, 2]}]] == [1, 2]",
        "[x.z | some x in [{\"y\": 1}, {\"z\": 2}]] == [2]",
        "[input.v | true] == [1]",
        "[\"a | [b]\" | true] == [\"a | [b]\"]",
        "[`a\"` | true] == [\"a\\\"\"]",
        "[array.concat(x, [2]) | some x in [[1]]] == [[1, 2]]",
        "[split(x, \"/\")[0] | some x in [\"a/b\"]] == [\"a\"]",
        "[null | true] == [null]",
        "{x | x := {y | some y in [1]}} == {{1}}",
        "\"é—☃\" != \"\"; [x | some x in [\"é\"]] == [\"é\"]",
        "[\nx\n|\nsome x in [1]\n] == [1]",
        "[x | # [y | z]\nsome x in [1]] == [1]",
        "count([x | some x in numbers.range(1, 99999)]) == 99999",
    ] {
        let body = format!("deny contains {{\"id\": \"x\"}} if {{ {fact} }}");
        let decision = decide(&body, &request());
        assert_eq!(decision.reason, Reason::Guardrail, "{fact}: {:?}", decision.denials);
    }
    for rule in [
        "deny contains {\"id\": id} if some id in [\"x\"]",
        "deny contains {\"msg\": \"a: b\", \"id\": id} if some id in [\"x\"]",
        "deny contains {\n\"id\": \"x\",\n\"msg\": \"m\",\n} if true",
        "deny contains member if { some id in [\"x\"]; member := {\"id\": id} }",
        "deny contains {\"id\": [id | some id in [\"x\"]][0]}",
        "deny contains object.union({\"id\": \"x\"}, {}) if true",
        "deny := {{\"id\": id} | some id in [\"x\"]}",
        "deny := {d | some d in all}\nall contains {\"id\": \"x\"}",
        "deny contains {\"id\": name[\"a\"]}\nname[key] := \"x\" if some key in [\"a\", \"b\"]",
    ] {
        let decision = decide(rule, &request());
        assert_eq!(decision.reason, Reason::Guardrail, "{rule}: {:?}", decision.denials);
        assert_eq!(decision.denials[0].id, "x", "{rule}");
    }
    let line = format!("[x | some x in [{}]]", "1, ".repeat(300) + "1");
    let body = format!("deny contains {{\"id\": \"x\"}} if count({line}) == 301");
    assert_eq!(decide(&body, &request()).reason, Reason::Guardrail, "a line near the bound");
    let wrong =
        decide("\tdeny contains {\"id\": \"x\"} if [concat(1, x) | some x in [[]]]", &request());
    let excerpt = "--> rules.rego:3:38\n  |\n\
        3 | \tdeny contains {\"id\": \"x\"} if [concat(1, x) | some x in [[]]]\n\
        \x20 | \t                                    ^\n\
        error: `concat` expects string argument. Got `1` instead";
    assert_eq!(wrong.denials[0].msg.trim(), excerpt);
    let own =
        load("deny contains {\"id\": \"x\"} if __weighed(1) == 1").expect_err("not for rules");
    assert!(own.message.contains("no function"), "{own}");
}

/// Rules `name0` to `nameN`, each from the one before.
fn chain(links: usize, first: &str, link: impl Fn(usize, usize) -> String) -> String {
    (1..links).fold(format!("{first}\n"), |text, n| text + &link(n, n - 1) + "\n")
}

/// Sources that ended the process, or that would not have ended, when the library evaluated them.
#[test]
fn what_nests_too_deep_is_refused() {
    let deny = |body: &str| format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
    let steps =
        |first: &str, links, link: fn(usize, usize) -> String| deny(&chain(links, first, link));
    for (body, message) in [
        ("f(x) := f([x])\n".to_owned() + &deny("f(1)"), "builds on itself"),
        (
            "f(x) := g(x)\ng(x) := data.s3.authz.f(x)\n".to_owned() + &deny("f(1)"),
            "builds on itself",
        ),
        (chain(200, "r0 := 1", |n, m| format!("r{n} := r{m}")) + &deny("r199 == 1"), "too deep"),
        (chain(9_000, "r0 := 1", |n, m| format!("r{n} := r{m}")) + &deny("r8999 == 1"), "too deep"),
        (
            chain(200, "f0(x) := x", |n, m| format!("f{n}(x) := f{m}(x)")) + &deny("f199(1) == 1"),
            "too deep",
        ),
        // 2^k levels from k functions.
        (
            chain(14, "f0(x) := [x]", |n, m| format!("f{n}(x) := f{m}(f{m}(x))"))
                + &deny("count({f13(input), f13(1)}) == 1"),
            "nest more than",
        ),
        (deny(&format!("1{} > 1", " + 1\n".repeat(15_000))), "too deep"),
        (deny(&format!("1{}", "\nin [1]".repeat(15_000))), "too deep"),
        (deny(&format!("count({{1}}{}) > 1", "\n| {1}".repeat(15_000))), "too deep"),
        (deny(&format!("x := {}1", "-\n".repeat(15_000))), "signs"),
        (deny(&format!("x := 1{}1", " -".repeat(15))), "signs"),
        (deny(&"some x in [1]\n".repeat(200)), "too deep"),
        (deny(&"input.a[_]\n".repeat(200)), "too deep"),
        (deny(&"true\n".repeat(300)), "statements"),
        (steps("a0 := [input]", 200, |n, m| format!("a{n} := [a{m}, a{m}]")), "double"),
        (
            chain(6, "f0(x) := [x, x, x]", |n, m| format!("f{n}(x) := f{m}(f{m}(x))"))
                + &deny("f5(1) == f5(2)"),
            "double",
        ),
        (steps("a0 := input.v", 30, |n, m| format!("a{n} := a{m} * a{m}")), "multiplied"),
        (deny("count([1]) with count as data.s3.authz.f") + "\nf(x) := 1", "not functions"),
    ] {
        let error = load(&body).expect_err(message);
        assert!(error.message.contains(message), "{error}");
    }
    // As people write them.
    for body in [
        "f(x) := upper(x)\n".to_owned() + &deny("f(\"a\") == f(\"b\")"),
        chain(10, "r0 := 1", |n, m| format!("r{n} := r{m} + 1")) + &deny("r9 == 1"),
        deny("bucket := input.resource.bucket; frozen[bucket]") + "\nfrozen := {\"ledger\"}",
        deny("some tag in tags; owner(tag)")
            + "\ntags := {tag | some tag in input.resource.tags}\nowner(tag) if tag == \"me\"",
        deny("not data.s3.authz.exempt; input.v with input.v as 2") + "\nexempt if input.v == 3",
        "import data.s3.authz.f as g\nf := 1\n".to_owned() + &deny("g == 1"),
    ] {
        let loaded = load(&body);
        assert!(loaded.is_ok(), "{body}: {:?}", loaded.err());
    }
}

/// The deepest rules that are taken, evaluated on a thread of the usual size.
#[test]
fn what_is_taken_fits_the_stack() {
    let deny = |body: &str| format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
    let deepest = |body: &dyn Fn(usize) -> String| {
        let taken = (1..200).take_while(|links| load(&body(*links)).is_ok()).last().expect("some");
        assert!(taken > 5, "{taken}");
        body(taken)
    };
    let bodies: [&dyn Fn(usize) -> String; 6] = [
        &|n| chain(n + 1, "r0 := 1", |n, m| format!("r{n} := r{m}")) + &deny(&format!("r{n} == 1")),
        &|n| {
            chain(n + 1, "r0 if true", |n, m| {
                format!(
                    "r{n} if {{ some x in [1]; y := [z | z := [1][_]; not not_{n} ]; x + 1 == 1 + x; r{m} }}\nnot_{n} if 1 + (1 + 1) == 2"
                )
            }) + &deny(&format!("r{n}"))
        },
        &|n| {
            chain(n + 1, "f0(x) := x", |n, m| format!("f{n}(x) := f{m}(x)"))
                + &deny(&format!("f{n}(1) == 1"))
        },
        &|n| deny(&format!("1{} > 1", " + 1".repeat(n))),
        &|n| deny(&"some x in [1]\n".repeat(n).replace('x', "_")),
        &|n| deny(&format!("x := {}[1]{}; count(x) == 1", "[y | y := ".repeat(n), "]".repeat(n))),
    ];
    for body in bodies {
        let body = deepest(body);
        assert_eq!(decide(&body, &request()).reason, Reason::Guardrail, "{body}");
    }
}

/// Whatever a rule makes, the request is denied with a reason, and soon.
#[test]
fn hostile_rules_deny_with_a_reason() {
    let deny = |body: &str| format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
    let doubled = |first: &str, link: fn(usize, usize) -> String| {
        deny(&(chain(60, first, link) + "count(a59) == 0"))
    };
    let long = "long := concat(\"\", [\"abcdefgh\" | some i in numbers.range(1, 5000)])\n";
    for (body, reason) in [
        (
            doubled("a0 := input.resource.key", |n, m| {
                format!("a{n} := concat(\"\", [a{m}, a{m}])")
            }),
            "make more",
        ),
        (
            doubled("a0 := \"a\"", |n, m| {
                format!("a{n} := replace(concat(\"\", [a{m}, \"a\"]), \"a\", a{m})")
            }),
            "make more",
        ),
        (
            doubled("a0 := \"a\"", |n, m| format!("a{n} := sprintf(\"%s%s\", [a{m}, a{m}])")),
            "make more",
        ),
        (doubled("a0 := \"a\"", |n, m| format!("a{n} := hex.encode(a{m})")), "make more"),
        (
            doubled("a0 := \"a\"", |n, m| format!("a{n} := json.marshal({{\"\\\"\\\"\": a{m}}})")),
            "make more",
        ),
        (
            doubled("a0 := \"a\"", |n, m| format!("a{n} := regex.replace(a{m}, \".\", \"$0$0\")")),
            "make more",
        ),
        (
            doubled("a0 := \"a\"", |n, m| {
                format!("a{n} := strings.replace_n({{\"a\": \"aa\"}}, a{m})")
            }),
            "make more",
        ),
        (doubled("a0 := [input]", |n, m| format!("a{n} := array.concat(a{m}, a{m})")), "make more"),
        (deny("sprintf(\"%1000000000d\", [1]) == \"\""), "make more"),
        (deny("sprintf(\"%.70000f\", [1.5]) == \"\""), "make more"),
        (deny("sprintf(\"%½d\", [1.5]) == \"\""), "make more"),
        (deny("sprintf(\"%99999999999999999999d\", [1]) == \"\""), "make more"),
        (deny("strings.count(\"aaa\", \"\") == 1"), "make more"),
        (deny("units.parse(\"1e1000000000\") == 1"), "make more"),
        (deny("units.parse_bytes(\"1E1000000000k\") == 1"), "make more"),
        (deny("product(numbers.range(1, 99999)) == 1"), "make more"),
        (deny("json.unmarshal(\"1e1000000000\") == 1"), "json"),
        (deny("regex.match(\"((a{0,1000}){0,1000}){0,1000}\", \"a\")"), "size limit"),
        (
            long.to_owned()
                + &deny(
                    "count([concat(\"\", [long, format_int(i, 10)]) | some i in numbers.range(1, 99999)]) == 0",
                ),
            "make more",
        ),
        (
            deny(
                "a := numbers.range(1, 99999); count([1 | some x in a; some y in a; x + y == -1]) > 0",
            ),
            "time limit",
        ),
        // Compared, these two are 3 000 times 3 000 values and more, in one step.
        (
            "x := [1 | some i in numbers.range(1, 3000)]\ny := [x | some i in numbers.range(1, 3000)]\n\
             z := [x | some i in numbers.range(1, 3000)]\n"
                .to_owned()
                + &deny("count({y, z}) == 0"),
            "more than 1000000 values",
        ),
        (
            "x := [1 | some i in numbers.range(1, 3000)]\n\
             y contains x if some i in numbers.range(1, 3000)\n"
                .to_owned()
                + &deny("count(y) == 0"),
            "more than 1000000 values",
        ),
        (
            deny("a := numbers.range(1, 99999); count([[x, y] | some x in a; some y in a]) > 0"),
            "time limit",
        ),
    ] {
        let guardrails = load(&body).expect(reason);
        let implicit = evaluate(&PolicySet::default(), &request());
        let error = guardrails.denials(&request(), &implicit).expect_err(&body);
        assert!(error.contains(reason) || error.contains("time limit"), "{body}: {error}");
        // With time enough it is the bound that holds, but for what a slow build does not get to.
        let roomy = guardrails.with_time_limit(REVIEW_TIME_MAX);
        if reason != "time limit" {
            let error = roomy.denials(&request(), &implicit).expect_err(&body);
            let is_slow = body.contains("regex.replace") && error.contains("time limit");
            assert!(error.contains(reason) || is_slow, "{body}: {error}");
        }
    }
}

#[test]
fn malformed_results_deny() {
    for body in [
        "deny := true",
        "deny := {\"id\": \"x\"}",
        "deny contains \"x\"",
        "deny contains {\"msg\": \"no id\"}",
        "deny contains {\"id\": 7}",
        "deny contains {\"id\": \"\"}",
        "deny contains {\"id\": \"x\", \"severity\": \"fatal\"}",
        "deny := x if { x := 1; input.v == 2 }",
    ] {
        assert_eq!(decide(body, &request()).reason, Reason::EngineError, "{body}");
    }
    for severity in ["warn", "audit"] {
        let body = format!("deny contains {{\"id\": \"x\", \"severity\": \"{severity}\"}}");
        assert!(decide(&body, &request()).is_allowed());
    }
}

#[test]
fn an_endless_rule_is_stopped() {
    let body = "deny contains {\"id\": \"x\"} if {
        some a in numbers.range(1, 99999)
        some b in numbers.range(1, 99999)
        a * b == -1
    }";
    let guardrails = load(body).expect("loads");
    let implicit = evaluate(&PolicySet::default(), &request());
    let error = guardrails.denials(&request(), &implicit).expect_err("stopped");
    assert!(error.contains("time limit"), "{error}");
}

#[test]
fn input_has_every_field() {
    let mut paths = Vec::new();
    for path in [
        "v",
        "action",
        "actions",
        "api",
        "principal.arn",
        "principal.type",
        "principal.id",
        "principal.parent",
        "principal.groups",
        "principal.tags",
        "principal.policies",
        "principal.claims",
        "resource.arn",
        "resource.bucket",
        "resource.key",
        "resource.version_id",
        "resource.tags",
        "resource.bucket_tags",
        "resource.lock.mode",
        "resource.lock.retain_until",
        "resource.lock.legal_hold",
        "resource.size",
        "resource.exists",
        "request.id",
        "request.method",
        "request.headers",
        "request.headers_all",
        "request.query",
        "request.tags",
        "request.object_lock.mode",
        "request.copy_source",
        "request.content_sha256",
        "request.auth_type",
        "request.signature_version",
        "request.signature_age_ms",
        "env.time",
        "env.time_ns",
        "env.source_ip",
        "env.tls",
        "env.tls_version",
        "env.user_agent",
        "env.referer",
        "context",
        "iam.effect",
        "iam.statements",
    ] {
        paths.push(format!(
            "deny contains {{\"id\": \"{path}\"}} if object.get(input, {:?}, \"absent\") == \"absent\"",
            path.split('.').collect::<Vec<_>>()
        ));
    }
    let mut bare = request();
    bare.context = Context::new();
    for request in [request(), bare] {
        let decision = decide(&paths.join("\n"), &request);
        assert!(decision.is_allowed(), "{:?}", decision.denials);
    }
}

#[test]
fn input_says_what_the_request_says() {
    for fact in [
        r#"input.env.tls == true"#,
        r#"input.env.source_ip == "10.0.0.1""#,
        r#"input.env.time_ns == 1795428000000000000"#,
        r#"input.request.tags["class"] == "secret""#,
        r#"input.context["aws:SourceIp"] == ["10.0.0.1"]"#,
        r#"input.principal.type == "user""#,
        r#"input.iam.effect == "allow""#,
        r#"input.iam.statements[0].policy == "readwrite""#,
        r#"input.resource.arn == "arn:aws:s3:::ledger/2026/q3.csv""#,
    ] {
        let body = format!("deny contains {{\"id\": \"x\"}} if {fact}");
        assert_eq!(decide(&body, &request()).reason, Reason::Guardrail, "{fact}");
    }
}

#[test]
fn sources_without_repeatable_answers_are_refused() {
    for (call, line) in [
        ("x := time.now_ns()", 3),
        ("x := time . now_ns()", 3),
        ("x := time[\"now_ns\"]()", 3),
        ("x := time[\"now\\u005fns\"]()", 3),
        ("y := 1\n\nx := rand.intn(\"a\", 6)", 5),
        ("x := uuid.rfc4122(\"a\")", 3),
        ("x := opa.runtime()", 3),
        ("x := http.send({})", 3),
        ("x if print(\"hello\")", 3),
    ] {
        let body = format!("{call}\ndeny contains {{\"id\": \"x\"}} if x");
        let error = load(&body).expect_err(call);
        assert_eq!((error.file.as_str(), error.line), ("rules.rego", line), "{error}");
    }
    load("f(x) := upper(x)\ndeny contains {\"id\": \"x\"} if (f(\"a\") == data.s3.authz.f(\"b\"))")
        .expect("own functions");
    let harmless = "# time.now_ns() in a comment\n\
        deny contains {\"id\": \"time.now_ns\"} if input.time.now_ns == `rand.intn(`";
    load(harmless).expect("only mentions them");
}

#[test]
fn sources_that_do_not_compile_are_refused() {
    for (body, line) in [
        ("deny contains {\"id\": \"x\"} if {", 4),
        ("deny contains {\"id\": x} if true", 3),
        ("deny contains {\"id\": \"x\"} if { input.v == 7; x == y }", 3),
        ("deny contains {\"id\": \"x\"} if {\ninput.v == 7\nnot crypto.sha256(\"a\") }", 5),
        ("f(x) := x\ndeny contains {\"id\": \"x\"} if ff(1)", 4),
        ("allow := true", 1),
    ] {
        let error = load(body).expect_err(body);
        assert_eq!((error.file.as_str(), error.line), ("rules.rego", line), "{body}: {error}");
    }
    let foreign = vec![("other.rego".to_owned(), "package other\ndeny := true".to_owned())];
    assert_eq!(Guardrails::load(foreign).expect_err("package").file, "other.rego");
    assert!(Guardrails::load(Vec::new()).is_err(), "nothing to load");
}

#[test]
fn engines_are_reused_between_threads() {
    let guardrails = Arc::new(
        load("deny contains {\"id\": \"k\"} if endswith(input.resource.key, \"7\")")
            .expect("loads")
            .with_time_limit(REVIEW_TIME_MAX),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50 {
                    let mut request = request();
                    let key = format!("k{n}");
                    request.resource = Resource::Object { bucket: "b".into(), key };
                    let set = PolicySet {
                        identity: vec![canned::attached("readwrite").expect("canned")],
                        guardrails: Some(Arc::clone(&guardrails)),
                        ..PolicySet::default()
                    };
                    assert_eq!(evaluate(&set, &request).is_allowed(), n % 10 != 7);
                }
            });
        }
    });
    assert!(guardrails.packages[0].idle_count() <= 4, "one engine per thread at most");
}

/// Each level doubles the time of the library's parser; without the bound the second load does not end.
#[test]
fn brackets_that_the_parser_could_not_finish_are_refused() {
    let nested = |levels: usize| {
        let inner = levels - 1; // The body is a level of its own.
        format!(
            "deny contains {{\"id\": \"d\"}} if {{\n x := {}1{}\n count(x) > 1\n}}",
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };
    load(&nested(super::certify::NESTING_MAX)).expect("deep enough for people");
    for levels in [super::certify::NESTING_MAX + 1, 66] {
        let error = load(&nested(levels)).expect_err("too deep");
        assert!(error.message.contains("nested"), "{error}");
        assert_eq!(error.line, 4);
    }
    let text = format!(
        "deny contains {{\"id\": \"{}\"}} if {{ false }} # {}",
        "[".repeat(99),
        "{".repeat(99)
    );
    load(&text).expect("text and comments nest nothing");
}

/// A guardrail is shown only what it can see: the answers are those to the whole document, and requests that look
/// alike to it get equal ones.
#[test]
fn what_a_guardrail_cannot_see_changes_nothing() {
    let bodies = [
        "not input.env.tls",
        "input.env.tls; startswith(input.resource.key, \"2026/\")",
        "not input.env.bogus",
        "not input.bogus.tls",
        "not input.action.part",
        "input.action == \"s3:PutObject\"; input.action.part",
        "input.actions[0] == \"s3:PutObject\"",
        "some group in input.principal.groups; group == \"eng\"",
        "input.principal; input.principal.id == \"alice\"",
        "input.context[\"aws:SourceIp\"][_] == \"10.0.0.1\"",
        "not input.context[\"aws:sourceip\"]",
        "input.request.tags.class == \"secret\"",
        "input.request.headers[\"user-agent\"] == \"curl\"",
        "count(input.iam.statements) > 0; input.iam.effect == \"allow\"",
        "net.cidr_contains(\"10.0.0.0/8\", input.env.source_ip)",
        "object.get(input, [\"env\", \"tls\"], null) == true",
        "x := input; not x.env.tls",
        "[x | some x in input.principal.groups][_] == \"eng\"",
        "every g in input.principal.groups { g != \"eng\" }",
        "input[\"env\"].tls == false",
        "input.resource; not input.resource.version_id",
        "not input.request.copy_source.bucket",
        "object.union(input.env, {})[\"source_ip\"] == \"junk\"",
        "json.marshal(input.env) == \"{}\"",
        "count(input.env) != 7",
        "input.principal.tags == {}",
        "startswith(input.resource.key, \"2026/\")",
        "input.env.tls with input.env.tls as true",
    ];
    let mut requests = vec![request()];
    for (key, value) in [
        ("aws:SecureTransport", "false"),
        ("aws:SourceIp", "junk"),
        ("aws:SourceIp", "192.0.2.1"),
        ("aws:UserAgent", "curl"),
        ("s3:RequestObjectTag/class", "public"),
        ("aws:PrincipalTag/x", "secret"),
    ] {
        let mut request = request();
        request.context.set(key, value);
        request.principal.groups.push("eng".to_owned());
        requests.push(request);
    }
    requests.push(Request { context: Context::new(), resource: Resource::Any, ..request() });
    let sets = [vec![canned::attached("readwrite").expect("canned")], Vec::new()];
    let sets = sets.map(|identity| PolicySet { identity, ..PolicySet::default() });
    for body in bodies {
        let rule = format!("deny contains {{\"id\": \"x\"}} if {{ {body} }}");
        let guardrails = load(&rule).expect(body).with_time_limit(REVIEW_TIME_MAX);
        let mut answers = std::collections::HashMap::new();
        for (request, set) in
            requests.iter().flat_map(|request| sets.iter().map(move |set| (request, set)))
        {
            let policies = evaluate(set, request);
            let whole = guardrails.denials_of_all(request, &policies);
            let seen = guardrails.denials(request, &policies);
            assert_eq!(seen.is_ok(), whole.is_ok(), "{body}");
            assert_eq!(seen.as_ref().ok(), whole.as_ref().ok(), "{body}");
            let mut fingerprint = Vec::new();
            if guardrails.fingerprint(request, &policies, &mut fingerprint) {
                let before = answers.entry(fingerprint).or_insert_with(|| whole.clone().ok());
                assert_eq!(*before, whole.ok(), "{body}");
            }
        }
    }
}
