use std::collections::BTreeMap;
use std::io::Write as _;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn error(sources: &Sources) -> String {
    load(sources).unwrap_err().to_string()
}

#[test]
fn the_strongest_layer_wins() {
    let written =
        file("region = \"from-file\"\naddress = \"127.0.0.1:1\"\n[limits]\nconnections = 7\n");
    for (flag, ours, alias, use_file, region) in [
        (Some("from-flag"), Some("from-env"), Some("from-alias"), true, "from-flag"),
        (None, Some("from-env"), Some("from-alias"), true, "from-env"),
        (None, None, Some("from-alias"), true, "from-alias"),
        (None, Some(""), None, true, "from-file"),
        (None, None, None, true, "from-file"),
        (None, None, None, false, "us-east-1"),
    ] {
        let mut sources = Sources::default();
        if let Some(flag) = flag {
            sources.flags.insert("region", vec![flag.into()]);
        }
        for (name, value) in [("APPLIANCE_REGION", ours), ("MINIO_SITE_REGION", alias)] {
            if let Some(value) = value {
                sources.environment.insert(name.into(), value.into());
            }
        }
        sources.file = use_file.then(|| written.path().to_owned());
        assert_eq!(load(&sources).unwrap().resolved.region, region);
    }
}

#[test]
fn origins_are_told_and_secrets_are_not() {
    let written = file("[limits]\nconnections = 7\n");
    let loaded = load(&Sources {
        flags: BTreeMap::from([("region", vec!["eu-1".into()])]),
        environment: environment(&[
            ("MINIO_ROOT_USER", "operator"),
            ("MINIO_ROOT_PASSWORD", "correct-horse-battery"),
        ]),
        file: Some(written.path().to_owned()),
    })
    .unwrap();
    let show = |name| loaded.settings.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(show("region").origin, Origin::Flag);
    assert_eq!(show("limits.connections").origin, Origin::File(written.path().to_owned()));
    assert_eq!(show("data_dir").origin, Origin::Default);
    assert_eq!(show("certs_dir").value, "./appliance-data/config/certs");
    assert_eq!(show("root_password").value, "(set)");
    assert_eq!(show("root_password").origin, Origin::Environment("MINIO_ROOT_PASSWORD".into()));
    assert!(!format!("{loaded:?}").contains("horse"));
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    for (text, expected) in [
        ("regoin = \"x\"", "unknown key `regoin`"),
        ("regoin = \"x\"", "did you mean `region`?"),
        ("[limits]\nconections = 1", "did you mean `limits.connections`?"),
        ("[nothing]\nx = 1", "unknown key `nothing`"),
        ("[limits.deeper]\nx = 1", "unknown key `limits.deeper`"),
        ("region = [1]", "a array does not belong here"),
        ("region = ", "is not TOML"),
    ] {
        let written = file(text);
        let sources = Sources { file: Some(written.path().to_owned()), ..Sources::default() };
        let error = error(&sources);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_mistyped_variable_is_a_warning() {
    let sources = Sources {
        environment: environment(&[("APPLIANCE_REGOIN", "x"), ("APPLIANCE_LOG", "debug")]),
        ..Sources::default()
    };
    let warnings = load(&sources).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("did you mean `APPLIANCE_REGION`?"), "{warnings:?}");
}

#[test]
fn values_that_mean_nothing_are_refused_with_their_place() {
    for (name, value, expected) in [
        ("APPLIANCE_ADDRESS", "example.com:9000", "is no address"),
        ("APPLIANCE_ADDRESS", "127.0.0.1", "is no address"),
        ("APPLIANCE_ADDRESS", "127.0.0.1:99999", "is no address"),
        ("APPLIANCE_AUDIT__DATA", "maybe", "`maybe` is none of strict, response, async"),
        ("APPLIANCE_AUDIT__KMS", "async", "there is only strict: a key is not used before"),
        ("APPLIANCE_AUDIT__AUTHN", "response", "there is only strict"),
        ("APPLIANCE_AUDIT__ADMIN", "async", "there is only strict"),
        ("APPLIANCE_AUDIT__QUERY", "async", "who reads the log is in the log first"),
        ("APPLIANCE_AUDIT__WAIT", "never", "is no duration"),
        ("APPLIANCE_LIMITS__CONNECTIONS", "0", "is no whole number"),
        ("APPLIANCE_LIMITS__HEADER_TIMEOUT", "10", "is no duration"),
        ("APPLIANCE_LIMITS__HEADER_TIMEOUT", "25h", "is no duration"),
        ("APPLIANCE_LIMITS__HEADER_TIMEOUT", "0s", "is no duration"),
        ("APPLIANCE_REGION", "Moon Base", "is no region"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "is no http:// address"),
        ("MINIO_VOLUMES", "/d{1,2}", "is no range"),
    ] {
        let sources = Sources { environment: environment(&[(name, value)]), ..Sources::default() };
        let error = error(&sources);
        assert!(error.contains(expected) && error.contains(name), "{name}={value}: {error}");
    }
}

#[test]
fn addresses() {
    for (text, address) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("localhost:0", "127.0.0.1:0"),
        (":9000", "[::]:9000"),
        ("[::1]:9", "[::1]:9"),
    ] {
        let sources =
            Sources { environment: environment(&[("MINIO_ADDRESS", text)]), ..Sources::default() };
        assert_eq!(load(&sources).unwrap().resolved.address.to_string(), address);
    }
}

#[test]
fn plain_http_stays_on_loopback() {
    for (address, allowed) in [
        ("127.0.0.1:9000", true),
        ("[::1]:9000", true),
        ("0.0.0.0:9000", false),
        (":9000", false),
        ("192.0.2.1:9000", false),
    ] {
        let sources = Sources {
            environment: environment(&[("APPLIANCE_NO_TLS", "on"), ("APPLIANCE_ADDRESS", address)]),
            ..Sources::default()
        };
        match load(&sources) {
            Ok(loaded) => {
                assert!(allowed, "{address}");
                assert_eq!(loaded.resolved.transport, Transport::PlainLoopback);
            }
            Err(error) => {
                assert!(!allowed, "{address}");
                assert!(error.to_string().contains("loopback"), "{error}");
            }
        }
    }
}

#[test]
fn root_credentials_come_from_variables_or_their_files() {
    let user = file("operator\n");
    let password = file("correct-horse-battery\r\n");
    let paths = (user.path().to_str().unwrap(), password.path().to_str().unwrap());
    let loaded = load(&Sources {
        environment: environment(&[
            ("MINIO_ROOT_USER_FILE", paths.0),
            ("MINIO_ROOT_PASSWORD_FILE", paths.1),
        ]),
        ..Sources::default()
    })
    .unwrap();
    let root = loaded.resolved.root.unwrap();
    assert_eq!(root.access_key, "operator");
    assert_eq!(root.secret_key.as_str(), "correct-horse-battery");
}

#[test]
fn root_credentials_that_cannot_be_used_are_refused() {
    for (pairs, expected) in [
        (&[("MINIO_ROOT_USER", "operator")][..], "root_password is missing"),
        (&[("MINIO_ROOT_PASSWORD", "correct-horse-battery")], "root_user is missing"),
        (
            &[("MINIO_ROOT_USER", "minioadmin"), ("MINIO_ROOT_PASSWORD", "minioadmin")],
            "equals the user",
        ),
        (
            &[("MINIO_ROOT_USER", "operator"), ("MINIO_ROOT_PASSWORD", "minioadmin")],
            "every attacker",
        ),
        (&[("MINIO_ROOT_USER", "operator"), ("MINIO_ROOT_USER_FILE", "/x")], "given twice"),
        (&[("MINIO_ROOT_USER_FILE", "/nowhere/at/all")], "reading the secret file"),
    ] {
        let sources = Sources { environment: environment(pairs), ..Sources::default() };
        let error = error(&sources);
        assert!(error.contains(expected), "{pairs:?}: {error}");
    }
}

#[test]
fn drives_default_to_four_beside_the_configuration() {
    let sources = Sources {
        environment: environment(&[("APPLIANCE_DATA_DIR", "/srv/a")]),
        ..Sources::default()
    };
    let resolved = load(&sources).unwrap().resolved;
    assert_eq!(resolved.drives.len(), 4);
    assert_eq!(resolved.drives[3], PathBuf::from("/srv/a/drive4"));
    assert_eq!(resolved.certs_dir, PathBuf::from("/srv/a/config/certs"));
    assert_eq!(resolved.audit_dir(), PathBuf::from("/srv/a/audit"));
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_limits() {
    assert_eq!(load(&Sources::default()).unwrap().resolved.limits, Limits::default());
}

#[test]
fn the_rules_of_the_log_have_defaults_and_say_what_departs_from_them() {
    let usual = load(&Sources::default()).unwrap().resolved;
    assert_eq!(usual.audit_rules, AuditRules::default());
    assert_eq!(usual.audit_wait, Resolved::in_directory("x").audit_wait);
    assert_eq!(usual.audit_rules.departures(), []);
    let sources = Sources {
        environment: environment(&[
            ("APPLIANCE_AUDIT__DATA", "async"),
            ("APPLIANCE_AUDIT__MGMT", "strict"),
        ]),
        ..Sources::default()
    };
    let rules = load(&sources).unwrap().resolved.audit_rules;
    assert_eq!(rules.departures(), [("audit.data", Rule::Async, Rule::Response)]);
    // No choice reaches what has none.
    for class in [audit::Class::Kms, audit::Class::Authn, audit::Class::Admin, audit::Class::Query]
    {
        assert_eq!(rules.of_read(class), Rule::Strict);
    }
}

#[test]
fn domains_are_names_and_a_key_of_the_operator_is_never_repeated() {
    let resolved = |pairs: &[(&str, &str)]| {
        load(&Sources { environment: environment(pairs), ..Sources::default() })
    };
    let domains =
        resolved(&[("MINIO_DOMAIN", "S3.example.com,minio.local")]).unwrap().resolved.domains;
    assert_eq!(domains, ["s3.example.com", "minio.local"]);
    for junk in ["a..b", "-a.b", "a b_c", "127.0.0.1", "https://a.b"] {
        assert!(resolved(&[("MINIO_DOMAIN", junk)]).is_err(), "{junk}");
    }
    let key = "minio-key:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let loaded = resolved(&[("MINIO_KMS_SECRET_KEY", key)]).unwrap();
    assert!(loaded.resolved.kms_secret_key.is_some());
    let shown = format!("{:?} {:?}", loaded.settings, loaded.resolved);
    assert!(shown.contains("minio-key") && !shown.contains("AAEC"), "{shown}");
    let short = resolved(&[("MINIO_KMS_SECRET_KEY", "minio-key:AAEC")]).unwrap_err().to_string();
    assert!(short.contains("32 bytes") && !short.contains("AAEC"), "{short}");
}

#[test]
fn a_retention_is_whole_days_and_an_archive_is_whole() {
    let read = |text: &str| {
        let written = file(text);
        load(&Sources { file: Some(written.path().to_owned()), ..Sources::default() })
    };
    let days = |text: &str| {
        let loaded = read(&format!("[audit]\nretention = \"{text}\"\n"));
        loaded.map(|it| it.resolved.audit_retention.map(|kept| kept.as_secs() / 86_400))
    };
    for (text, expected) in [("", None), ("1d", Some(1)), ("52w", Some(364)), ("6y", Some(2196))] {
        assert_eq!(days(text).unwrap(), expected, "{text}");
    }
    for text in ["0d", "d", "12h", "-1d", "400", "101y", "18446744073709551615y"] {
        assert!(days(text).is_err(), "{text}");
    }
    let archive = |lines: &str| {
        let text = format!("[audit.archive]\nurl = \"https://s3.example.com/vault\"\n{lines}");
        read(&text).map(|loaded| loaded.resolved.archive.map(|archive| archive.lock))
    };
    let keys = "access_key = \"a\"\nsecret_key = \"hush\"\n";
    assert_eq!(archive(keys).unwrap(), Some(None));
    let locked = archive(&format!("{keys}lock = \"1d\"\n")).unwrap();
    assert_eq!(locked, Some(Some(std::time::Duration::from_secs(86_400))));
    assert!(archive("").is_err() && archive("access_key = \"a\"\n").is_err());
    let wrong = archive(&format!("{keys}region = \"x y\"\n")).unwrap_err();
    assert!(!format!("{wrong:?}").contains("hush"));
}
