use proptest::prelude::*;

use super::{RULES, Severity, lint};
use crate::{DocumentKind, Policy, canned};

fn codes(text: &str, kind: DocumentKind) -> String {
    let found = lint(text, kind).found;
    let mut codes: Vec<_> = found.iter().map(|finding| finding.rule.code).collect();
    codes.dedup();
    codes.join(" ")
}

fn statement(kind: DocumentKind, body: &str) -> String {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{{{body}}}]}}"#);
    codes(&document, kind)
}

/// Every rule but the two that other tests reach has a policy that breaks it, and the policy breaks nothing else.
#[test]
fn one_policy_per_rule() {
    let identity = |body: &str| statement(DocumentKind::Identity, body);
    let get = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
    let deny = r#""Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
    let on = |resource: &str| {
        identity(&format!(r#""Effect":"Allow","Action":"s3:GetObject","Resource":{resource}"#))
    };
    let doing = |action: &str| {
        identity(&format!(
            r#""Effect":"Allow",{action},"Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"]"#
        ))
    };
    let under = |condition: &str| identity(&format!(r#"{get},"Condition":{condition}"#));
    let rows: Vec<(&str, String)> = vec![
        ("", identity(get)),
        (
            "ALLOW-EVERYTHING WORM-BYPASS-GRANTED",
            identity(r#""Effect":"Allow","Action":"*","Resource":"*""#),
        ),
        ("ALLOW-NOTACTION", doing(r#""NotAction":"s3:GetObject""#)),
        ("INVALID_ACTION", doing(r#""Action":"s3:GetObjcet""#)),
        ("INVALID_ACTION", doing(r#""Action":"GetObject""#)),
        ("INVALID_SERVICE_IN_ACTION", doing(r#""Action":"s3tables:GetTable""#)),
        ("REDUNDANT_ACTION", doing(r#""Action":["s3:Get*","s3:GetObject"]"#)),
        ("REDUNDANT_ACTION", doing(r#""Action":["s3:GetObject","s3:getobject"]"#)),
        ("PERMISSIONS-BY-WILDCARD", doing(r#""Action":"s3:Put*Policy""#)),
        ("WORM-BYPASS-GRANTED", doing(r#""Action":"s3:BypassGovernanceRetention""#)),
        ("PRIVILEGE-ESCALATION", identity(r#""Effect":"Allow","Action":"admin:CreatePolicy""#)),
        (
            "WORM-DELETE-VERSION-STAR",
            identity(r#""Effect":"Allow","Action":"s3:DeleteObjectVersion","Resource":"*""#),
        ),
        (
            "ALLOW-NOTRESOURCE",
            identity(
                r#""Effect":"Allow","Action":"s3:GetObject","NotResource":"arn:aws:s3:::b/*""#,
            ),
        ),
        ("INVALID_ARN_PREFIX", on(r#""b/*""#)),
        ("MISSING_ARN_FIELD", on(r#""arn:aws:s3:b/*""#)),
        ("INVALID_ARN_RESOURCE", on(r#"["arn:aws:s3:::","arn:aws:s3:::c/*"]"#)),
        ("INVALID_ARN_SERVICE_CASE", on(r#""arn:aws:S3:::b/*""#)),
        ("INVALID_PARTITION", on(r#""arn:minio:s3:::b/*""#)),
        ("ARN_REGION_NOT_ALLOWED", on(r#""arn:aws:s3:eu:::b/*""#)),
        ("ARN_ACCOUNT_NOT_ALLOWED", on(r#""arn:aws:s3::000000000000:b/*""#)),
        ("REDUNDANT_RESOURCE", on(r#"["arn:aws:s3:::b/*","arn:aws:s3:::b/x/*"]"#)),
        ("S3-BUCKET-GLOB-COVERS-OBJECTS", on(r#""arn:aws:s3:::logs-*""#)),
        ("S3-PREFIX-WITHOUT-SLASH", on(r#""arn:aws:s3:::b/home*""#)),
        ("S3-VARIABLE-WITHOUT-SLASH", on(r#""arn:aws:s3:::b/${aws:username}*""#)),
        ("S3-OBJECT-ACTION-ON-BUCKET-ARN", on(r#""arn:aws:s3:::b""#)),
        (
            "S3-BUCKET-ACTION-ON-OBJECT-ARN",
            identity(r#""Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b/*""#),
        ),
        (
            "S3-ACTION-NEEDS-STAR",
            identity(
                r#""Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"arn:aws:s3:::b""#,
            ),
        ),
        ("EMPTY_OBJECT_CONDITION", under("{}")),
        ("EMPTY_OBJECT_CONDITION", under(r#"{"Bool":{}}"#)),
        ("DATA_TYPE_MISMATCH", under("[]")),
        ("INVALID_CONDITION_OPERATOR", under(r#"{"stringequals":{"aws:username":"a"}}"#)),
        ("NULL_WITH_IF_EXISTS", under(r#"{"NullIfExists":{"aws:username":"true"}}"#)),
        ("INVALID_CONDITION_KEY_FORMAT", under(r#"{"StringEquals":{"username":"a"}}"#)),
        ("INVALID_GLOBAL_CONDITION_KEY", under(r#"{"StringEquals":{"aws:user":"a"}}"#)),
        ("INVALID_SERVICE_CONDITION_KEY", under(r#"{"StringEquals":{"s3:colour":"a"}}"#)),
        ("EMPTY_ARRAY", under(r#"{"StringEquals":{"aws:username":[]}}"#)),
        ("TYPE_MISMATCH_NUMBER", under(r#"{"NumericEquals":{"s3:signatureAge":"x"}}"#)),
        ("TYPE_MISMATCH_DATE", under(r#"{"DateLessThan":{"aws:CurrentTime":"soon"}}"#)),
        ("TYPE_MISMATCH_BOOLEAN", under(r#"{"Bool":{"aws:SecureTransport":"yes"}}"#)),
        ("TYPE_MISMATCH_IP_RANGE", under(r#"{"IpAddress":{"aws:SourceIp":"10.0.0"}}"#)),
        ("TYPE_MISMATCH", under(r#"{"StringEquals":{"aws:SourceIp":"10.0.0.1"}}"#)),
        ("IMPROVE_IP_RANGE", under(r#"{"IpAddress":{"aws:SourceIp":"10.0.0.1/8"}}"#)),
        ("REDUNDANT_CONDITION_VALUE_NUM", under(r#"{"StringEquals":{"aws:username":["a","a"]}}"#)),
        (
            "INVALID_CONDITION_MULTIPLE_BOOLEAN",
            under(r#"{"Bool":{"aws:SecureTransport":["true","false"]}}"#),
        ),
        ("WILDCARD_WITHOUT_LIKE_OPERATOR", under(r#"{"StringEquals":{"aws:username":"a*"}}"#)),
        ("EQUIVALENT_TO_NULL_FALSE", under(r#"{"StringLike":{"aws:username":"*"}}"#)),
        ("MISSING_QUALIFIER", under(r#"{"StringEquals":{"aws:groups":"a"}}"#)),
        (
            "FORALLVALUES_WITH_SINGLE_VALUED_KEY",
            under(r#"{"ForAllValues:StringEquals":{"aws:username":"a"}}"#),
        ),
        ("FORALL-ALLOW", under(r#"{"ForAllValues:StringEquals":{"aws:groups":"a"}}"#)),
        (
            "",
            under(
                r#"{"ForAllValues:StringEquals":{"aws:groups":"a"},"Null":{"aws:groups":"false"}}"#,
            ),
        ),
        ("FORANY-IFEXISTS", under(r#"{"ForAnyValue:StringEqualsIfExists":{"aws:groups":"a"}}"#)),
        ("UNSUPPORTED_ACTION_FOR_CONDITION_KEY", under(r#"{"StringEquals":{"s3:prefix":"a"}}"#)),
        (
            "S3-TAG-KEY-NOT-SUPPLIED",
            identity(&deny.replace("Get", "Delete").replace("]", "").replacen(
                r#""Effect""#,
                r#""Condition":{"StringEquals":{"s3:ExistingObjectTag/hold":"yes"}},"Effect""#,
                1,
            )),
        ),
        ("EMPTY_VARIABLE", on(r#""arn:aws:s3:::b/${}/*""#)),
        ("MISSING_BRACE_IN_VARIABLE", on(r#""arn:aws:s3:::b/${aws:username""#)),
        ("UNSUPPORTED_SPACE_IN_VARIABLE", on(r#""arn:aws:s3:::b/${aws :username}/*""#)),
        ("MISSING_QUOTE_IN_VARIABLE", on(r#""arn:aws:s3:::b/${aws:username, x}/*""#)),
        ("VARIABLE-OF-SEVERAL-VALUES", on(r#""arn:aws:s3:::b/${aws:groups}/*""#)),
        (
            "INVALID_ACTION VARIABLE_UNSUPPORTED_IN_ELEMENT",
            doing(r#""Action":"s3:${aws:username}""#),
        ),
        ("EMPTY_SID_VALUE", identity(&format!(r#""Sid":"",{get}"#))),
        ("SID-CHARACTERS", identity(&format!(r#""Sid":"a b",{get}"#))),
        ("MISSING_EFFECT", identity(r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#)),
        ("INVALID_EFFECT", identity(&get.replace("Allow", "allow"))),
        ("MISSING_ACTION", identity(r#""Effect":"Deny","Resource":"*""#)),
        ("MISSING_RESOURCE", identity(r#""Effect":"Deny","Action":"s3:*""#)),
        ("INVALID_POLICY_ELEMENT", identity(&format!(r#"{get},"Conditions":{{}}"#))),
        ("UNSUPPORTED_PRINCIPAL", identity(&format!(r#"{get},"Principal":"*""#))),
        ("UNSUPPORTED_ELEMENT_COMBINATION", identity(&format!(r#"{get},"NotResource":"*""#))),
    ];
    for (expected, found) in &rows {
        assert_eq!(found, expected);
    }
    let reached: Vec<_> = rows.iter().flat_map(|(expected, _)| expected.split(' ')).collect();
    let bucket = [
        "ALLOW_WITH_NOT_PRINCIPAL",
        "DENY-TLS-MISSING",
        "INVALID_PRINCIPAL_FORMAT",
        "INVALID_PRINCIPAL_KEY",
        "LOCKOUT-RISK",
        "MISSING_PRINCIPAL",
        "PUBLIC-ACCESS",
        "UNSUPPORTED_WILDCARD_IN_PRINCIPAL",
    ];
    let whole = [
        "DUPLICATE_KEYS_WITH_DIFFERENT_CASE",
        "INVALID_VERSION",
        "JSON_SYNTAX_ERROR",
        "MISSING_STATEMENT",
        "MISSING_VERSION",
        "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA",
        "POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA",
        "REDUNDANT_STATEMENT",
        "UNIQUE_SIDS_REQUIRED",
        "VARIABLE_UNSUPPORTED_IN_VERSION",
    ];
    // `REFUSED` is for what no family explains; the others come from the command line, those that need a proof too.
    let beyond = [
        "ALLOW-NEVER-FIRES",
        "DENY-NEVER-FIRES",
        "PROFILE-DIVERGENCE",
        "REFUSED",
        "REGO-ERROR",
        "REGO-FAILS",
        "SHADOWED-BY",
    ];
    for rule in RULES.iter().filter(|rule| !beyond.contains(&rule.code)) {
        let elsewhere = bucket.contains(&rule.code) || whole.contains(&rule.code);
        assert!(elsewhere || reached.contains(&rule.code), "{} has no row", rule.code);
    }
}

#[test]
fn bucket_policies() {
    let bucket = |body: &str| statement(DocumentKind::Bucket, body);
    let rest = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
    let allow = |principal: &str| bucket(&format!(r#""Effect":"Allow",{principal},{rest}"#));
    let tls = r#""Condition":{"Bool":{"aws:SecureTransport":"true"}}"#;
    for (expected, found) in [
        ("", allow(r#""Principal":{"AWS":"arn:aws:iam::000000000000:user/a"}"#)),
        ("DENY-TLS-MISSING PUBLIC-ACCESS", allow(r#""Principal":"*""#)),
        ("DENY-TLS-MISSING PUBLIC-ACCESS", allow(r#""Principal":{"AWS":["*"]}"#)),
        ("", allow(&format!(r#""Principal":"*",{tls}"#))),
        ("ALLOW_WITH_NOT_PRINCIPAL", allow(r#""NotPrincipal":{"AWS":"000000000000"}"#)),
        ("INVALID_PRINCIPAL_FORMAT", allow(r#""Principal":"alice""#)),
        ("INVALID_PRINCIPAL_FORMAT", allow(r#""Principal":{"AWS":"alice"}"#)),
        ("INVALID_PRINCIPAL_KEY", allow(r#""Principal":{"Aws":"000000000000"}"#)),
        (
            "UNSUPPORTED_WILDCARD_IN_PRINCIPAL",
            allow(r#""Principal":{"AWS":"arn:aws:iam::000000000000:user/*"}"#),
        ),
        ("MISSING_PRINCIPAL", bucket(&format!(r#""Effect":"Allow",{rest}"#))),
        (
            "LOCKOUT-RISK",
            bucket(r#""Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*""#),
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn whole_documents() {
    let identity = |text: &str| codes(text, DocumentKind::Identity);
    let s = r#""Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
    let document =
        |statements: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    let wide = format!(
        r#"{{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::{}"}}"#,
        "b".repeat(7000)
    );
    for (expected, found) in [
        ("JSON_SYNTAX_ERROR", identity("{")),
        ("DUPLICATE_KEYS_WITH_DIFFERENT_CASE", identity(r#"{"Statement":[],"statement":[]}"#)),
        ("DATA_TYPE_MISMATCH", identity("[]")),
        ("MISSING_STATEMENT", identity(r#"{"Version":"2012-10-17"}"#)),
        ("MISSING_STATEMENT", identity(&document(""))),
        ("MISSING_VERSION", identity(&format!(r#"{{"Statement":{{{s}}}}}"#))),
        ("INVALID_VERSION", identity(&format!(r#"{{"Version":"2012","Statement":{{{s}}}}}"#))),
        (
            "VARIABLE_UNSUPPORTED_IN_VERSION",
            identity(&format!(
                r#"{{"Version":"2008-10-17","Statement":{{{}}}}}"#,
                s.replace("b/", "b/${aws:username}/")
            )),
        ),
        ("REDUNDANT_STATEMENT", identity(&document(&format!(r#"{{{s}}},{{"Sid":"x",{s}}}"#)))),
        (
            "UNIQUE_SIDS_REQUIRED",
            identity(&document(&format!(
                r#"{{"Sid":"x",{s}}},{{"Sid":"x",{}}}"#,
                s.replace("Get", "Put")
            ))),
        ),
        (
            "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA S3-OBJECT-ACTION-ON-BUCKET-ARN",
            identity(&document(&wide)),
        ),
        (
            "POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA",
            codes(&" ".repeat(20 * 1024 + 1), DocumentKind::Bucket),
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn places_span_the_text_that_is_meant() {
    let text = "{\"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\": \"Allow\",\n  \"Action\": [\"s3:GetObject\", \"s3:Gté\"], \"Resource\": \"*\"}}";
    let findings = lint(text, DocumentKind::Identity);
    assert!(findings.refused);
    assert_eq!(findings.worst(), Some(Severity::Error));
    let [finding] = findings.found.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.line, finding.column, finding.end_column), (3, 30, 38));
}

#[test]
fn rules_are_sorted_and_canned_policies_are_never_refused() {
    assert!(
        RULES
            .windows(2)
            .all(|pair| { pair[0].code.replace('_', "-") < pair[1].code.replace('_', "-") })
    );
    for (name, text) in canned::CANNED {
        assert!(!lint(text, DocumentKind::Identity).refused, "{name}");
    }
}

proptest! {
    /// Whatever the text, what the server refuses has an error, and what it takes is looked at without a panic.
    #[test]
    fn refusals_are_errors(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"Statement\"", "\"Effect\"", "\"Allow\"", "\"Action\"",
            "\"s3:*\"", "\"Resource\"", "\"*\"", "\"arn:aws:s3:::b/${a\"", "\"Condition\"", "\"Bool\"",
            "{\"Statement\":[{\"Effect\":\"Allow\",", "1", "null", "\"Principal\"", "\"AWS\"", "\n",
            "\"Action\":\"s3:Get*\",", "\"Resource\":\"*\"", "\"aws:SourceIp\":", "}]}", "\"\\u00e9\"",
        ]), 0..24),
        kind in prop::sample::select(vec![DocumentKind::Identity, DocumentKind::Bucket]),
    ) {
        let text = pieces.concat();
        let findings = lint(&text, kind);
        prop_assert_eq!(findings.refused, Policy::parse(&text, kind).is_err());
        if findings.refused {
            prop_assert_eq!(findings.worst(), Some(Severity::Error));
        }
    }
}
