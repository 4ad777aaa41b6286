//! Golden vectors: one input record per line, and its shape in each format. `APPLIANCE_BLESS=1` writes the files
//! again; read the difference.

use std::fs;
use std::path::PathBuf;

use super::*;

fn about() -> About {
    About {
        origin: "appliance.local/00000000".into(),
        account: "123456789012".into(),
        region: "us-east-1".into(),
        deployment: "00000000-0000-4000-8000-000000000000".into(),
        version: "0.1.0",
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/data/siem").join(name)
}

fn records() -> Vec<String> {
    let text = fs::read_to_string(file("records.jsonl")).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn every_format_writes_its_golden_lines() {
    for (name, format) in Format::ALL {
        let lines: Vec<String> = records()
            .iter()
            .map(|leaf| format.encode(&about(), &Bytes::from(leaf.to_owned())).unwrap())
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
            .collect();
        let written = format!("{}\n", lines.join("\n"));
        let path = file(&format!("{name}.txt"));
        if std::env::var_os("APPLIANCE_BLESS").is_some() {
            fs::write(&path, &written).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap();
        for (index, (line, expected)) in written.lines().zip(golden.lines()).enumerate() {
            assert_eq!(line, expected, "{name}, record {index}");
        }
        assert_eq!(written.lines().count(), golden.lines().count(), "{name}");
    }
}

#[test]
fn what_is_required_is_there() {
    for leaf in records() {
        let value = |format: Format| -> Value {
            serde_json::from_slice(&format.encode(&about(), &Bytes::from(leaf.to_owned())).unwrap())
                .unwrap()
        };
        let ocsf = value(Format::Ocsf);
        for member in
            ["activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time"]
        {
            assert!(ocsf[member].is_u64(), "{member} of {ocsf}");
        }
        assert_eq!(
            ocsf["type_uid"].as_u64().unwrap(),
            ocsf["class_uid"].as_u64().unwrap() * 100 + ocsf["activity_id"].as_u64().unwrap()
        );
        assert!(ocsf["metadata"]["version"].is_string() && ocsf["metadata"]["product"].is_object());
        assert_eq!(ocsf["raw_data"], leaf);
        match ocsf["class_uid"].as_u64().unwrap() {
            6005 => assert!(ocsf["actor"].is_object() && ocsf["databucket"]["type_id"] == 1),
            6003 => assert!(ocsf["api"]["operation"].is_string() && ocsf["actor"].is_object()),
            3002 => assert!(ocsf["user"].is_object()),
            1008 => assert!(ocsf["log_name"].is_string()),
            other => panic!("class {other}"),
        }
        let cloudtrail = value(Format::CloudTrail);
        for member in
            ["eventVersion", "eventTime", "eventSource", "eventName", "eventID", "eventType"]
        {
            assert!(cloudtrail[member].is_string(), "{member} of {cloudtrail}");
        }
        let ecs = value(Format::Ecs);
        assert!(ecs["@timestamp"].is_string() && ecs["event"]["sequence"].is_u64());
        let minio = value(Format::Minio);
        assert!(minio["version"] == "1" && minio["event"] == "" && minio["trigger"] == "incoming");
    }
}

/// Names in the log are an attacker's: none may begin a field, a line or a header of its own.
#[test]
fn hostile_names_stay_inside_their_field() {
    let leaf = r#"{"action":"s3:Get|Object","class":"data","event":"01K","node":"n1","phase":"outcome","principal":{"name":"eve=1\nact=allow \\ |"},"resources":[{"bucket":"b","key":"k\r\nCEF:0|x act=allow"}],"seq":1,"time":"2026-01-01T00:00:00.000000Z","v":1}"#;
    let line = Format::Cef.encode(&about(), &Bytes::from(leaf.to_owned())).unwrap();
    let line = String::from_utf8(line.to_vec()).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(r"s3:Get\|Object"), "{line}");
    assert!(line.contains(r"suser=eve\=1\nact\=allow \\ |"), "{line}");
    assert!(line.contains(r"filePath=b/k\r\nCEF:0|x act\=allow"), "{line}");
}

#[test]
fn a_batch_is_one_body() {
    let item = |seq: u64, body: &'static str| Item {
        seq,
        event: format!("e{seq}"),
        time_us: 1_767_225_600_000_000 + seq,
        leaf: Bytes::from_static(body.as_bytes()),
        body: Bytes::from_static(body.as_bytes()),
    };
    let items = [item(4, r#"{"a":1}"#), item(9, r#"{"b":2}"#)];
    for (format, expected) in [
        (
            Format::Native,
            r#"{"type":"audit.records","timestamp":"2026-01-01T00:00:00.000009Z","data":{"origin":"appliance.local/00000000","first":4,"last":9,"count":2,"records":[{"a":1},{"b":2}]}}"#,
        ),
        (Format::CloudTrail, r#"{"Records":[{"a":1},{"b":2}]}"#),
        (Format::Ocsf, r#"[{"a":1},{"b":2}]"#),
        (Format::Minio, "{\"a\":1}\n{\"b\":2}\n"),
        (Format::Cef, "{\"a\":1}\n{\"b\":2}\n"),
    ] {
        let body = format.frame(&about(), &items).body;
        assert_eq!(body, expected.as_bytes(), "{format:?}");
        if !matches!(format, Format::Minio | Format::Cef) {
            assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
    }
}
