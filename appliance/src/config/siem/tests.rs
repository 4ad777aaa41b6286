use std::io::Write as _;

use super::*;
use crate::config::{Sources, load};
use crate::siem::Guarantee;

fn loaded(text: &str) -> Result<Vec<Destination>, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load(&sources).map(|loaded| loaded.resolved.siem).map_err(|error| error.to_string())
}

fn block(lines: &str) -> Result<Vec<Destination>, String> {
    loaded(&format!("[[siem]]\nname = \"soc\"\n{lines}\n"))
}

#[test]
fn a_block_is_a_destination_with_its_kind_s_defaults() {
    let read =
        block("kind = \"splunk\"\nurl = \"https://splunk.example:8088/\"\nbatch_records = 9");
    let [splunk] = &read.unwrap()[..] else { panic!("not one destination") };
    assert_eq!(splunk.kind, Kind::Splunk);
    assert_eq!(splunk.format, Format::Native);
    assert_eq!(splunk.guarantee(), Guarantee::Indexed);
    assert_eq!((splunk.endpoint.port, splunk.endpoint.path.as_str()), (8088, ""));
    assert_eq!(splunk.bounds.records, 9);
    assert_eq!(splunk.start, Start::Beginning);
    let syslog = block("kind = \"syslog\"\nurl = \"tls://log.example\"\nformat = \"cef\"").unwrap();
    assert_eq!((syslog[0].endpoint.port, syslog[0].format), (6514, Format::Cef));
    let minio = block("kind = \"minio\"\nurl = \"http://127.0.0.1:9/audit\"").unwrap();
    assert_eq!((minio[0].bounds.records, minio[0].filter.as_str()), (1, MINIO_FILTER));
}

#[test]
fn what_means_nothing_is_refused_with_its_reason() {
    let https = "url = \"https://h\"\n";
    for (lines, expected) in [
        ("kind = \"webhook\"", "is no address"),
        ("url = \"https://h\"", "is none of webhook, minio"),
        ("kind = \"webhook\"\nurl = \"http://siem.example/\"", "in clear text beyond"),
        ("kind = \"webhook\"\nurl = \"https://u:p@h/\"", "credentials do not belong"),
        ("kind = \"webhook\"\nurl = \"https://h/?a=b\"", "has a query"),
        ("kind = \"syslog\"\nurl = \"https://h\"", "is no address of this kind"),
        (&format!("{https}kind = \"webhook\"\nfilter = \"class=\""), "filter:"),
        (&format!("{https}kind = \"webhook\"\nfilter = \"class=kms | limit 3\""), "has no stages"),
        (&format!("{https}kind = \"webhook\"\nformat = \"xml\""), "is none of native"),
        (&format!("{https}kind = \"elastic\"\nformat = \"cef\""), "takes no cef"),
        (&format!("{https}kind = \"minio\"\nformat = \"ocsf\""), "has one format"),
        (&format!("{https}kind = \"webhook\"\nbatch_records = 0"), "is no whole number from 1"),
        (&format!("{https}kind = \"webhook\"\nclient_cert = \"a\""), "belong together"),
        (&format!("{https}kind = \"webhook\"\ntimeout = \"soon\""), "is no duration"),
        (&format!("{https}kind = \"webhook\"\ntoken = \"a\"\ntoken_file = \"b\""), "both given"),
        (&format!("{https}kind = \"webhook\"\ntoken_file = \"/nowhere/x\""), "/nowhere/x"),
        (&format!("{https}kind = \"webhook\"\nfromat = \"x\""), "did you mean `format`?"),
    ] {
        let error = block(lines).unwrap_err();
        assert!(error.contains(expected), "{lines}: {error}");
    }
    let twice = "[[siem]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://h\"\n".repeat(2);
    assert!(loaded(&twice).unwrap_err().contains("two of this name"));
    assert!(loaded("siem = 3\n").unwrap_err().contains("write [[siem]]"));
    let bad = "[[siem]]\nname = \"a/b\"\nkind = \"webhook\"\nurl = \"https://h\"\n";
    assert!(loaded(bad).unwrap_err().contains("`name` has"));
}

#[test]
fn variables_of_minio_are_destinations() {
    let environment = [
        ("MINIO_AUDIT_WEBHOOK_ENABLE", "on"),
        ("MINIO_AUDIT_WEBHOOK_ENDPOINT", "https://one.example/audit"),
        ("MINIO_AUDIT_WEBHOOK_AUTH_TOKEN", "Bearer hidden-word"),
        ("MINIO_AUDIT_WEBHOOK_QUEUE_DIR", "/tmp/queue"),
        ("MINIO_AUDIT_WEBHOOK_ENABLE_SECOND", "on"),
        ("MINIO_AUDIT_WEBHOOK_ENDPOINT_SECOND", "https://two.example"),
        ("MINIO_AUDIT_WEBHOOK_BATCH_SIZE_SECOND", "50"),
        ("MINIO_AUDIT_WEBHOOK_RETRY_INTERVAL_SECOND", "3s"),
        ("MINIO_AUDIT_WEBHOOK_ENDPOINT_OFF", "https://three.example"),
        ("MINIO_AUDIT_WEBHOOK_ENDPIONT", "x"),
    ];
    let environment =
        environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let loaded = load(&Sources { environment, ..Sources::default() }).unwrap();
    let [first, second] = &loaded.resolved.siem[..] else { panic!("{:?}", loaded.resolved.siem) };
    assert_eq!((first.name.as_str(), first.kind, first.start), ("minio", Kind::Minio, Start::Now));
    assert_eq!(first.token.as_ref().unwrap().expose(), "Bearer hidden-word");
    assert_eq!((second.name.as_str(), second.bounds.records), ("second", 50));
    assert_eq!(second.retry.min, Duration::from_secs(3));
    assert!(!format!("{loaded:?}").contains("hidden-word"), "the secret is shown");
    for expected in ["QUEUE_DIR is not needed", "of `off` does not count", "ENDPIONT means nothing"]
    {
        let said = loaded.warnings.iter().any(|warning| warning.contains(expected));
        assert!(said, "{expected}: {:?}", loaded.warnings);
    }
    let setting = loaded.settings.iter().find(|setting| setting.name == "siem").unwrap();
    assert_eq!(
        setting.value,
        "minio:minio:https://one.example/audit second:minio:https://two.example"
    );
}
