use proptest::prelude::*;

use super::{ANOTHER_LOG, Foreign, import};
use crate::replay::request_line;

const MINIO: &str = r#"{"version":"1","deploymentid":"d","time":"2026-11-05T10:00:00.5Z","event":"","trigger":"incoming","api":{"name":"PutObject","bucket":"team","object":"in/1","status":"OK","statusCode":200,"rx":5},"remotehost":"10.1.2.3","requestID":"17A","userAgent":"MinIO (linux)","requestPath":"/team/in/1","requestHeader":{"X-Amz-Server-Side-Encryption":"aws:kms","Authorization":"secret"},"requestQuery":{},"accessKey":"svc","parentUser":"alice"}"#;
const DELETE: &str = r#"{"version":"1","time":"2026-11-05T10:00:01Z","api":{"name":"DeleteMultipleObjects","bucket":"team","objects":[{"objectName":"a"},{"objectName":"b"}],"statusCode":403},"remotehost":"[::1]:999","requestID":"17B","accessKey":"alice"}"#;
const TRAIL: &str = r#"{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","userName":"bob"},"eventTime":"2026-11-05T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"ListObjects","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.1","userAgent":"[aws-cli/2]","requestParameters":{"bucketName":"team","prefix":"in/","Host":"x"},"additionalEventData":{"SignatureVersion":"SigV4","AuthenticationMethod":"AuthHeader"},"eventID":"e-1","tlsDetails":{"tlsVersion":"TLSv1.3"}},{"eventSource":"kms.amazonaws.com","eventName":"Decrypt"},{"eventSource":"s3.amazonaws.com","eventName":"GetObject","errorCode":"AccessDenied","eventID":"e-2","userIdentity":{"type":"AWSAccount","accountId":"anonymous"},"requestParameters":{"bucketName":"team","key":"x","versionId":"v1"}}]}"#;
const ACCESS: &str = r#"79a5 team [06/Feb/2026:00:00:38 +0000] 192.0.2.3 arn:aws:iam::111122223333:user/bob 3E57 REST.GET.BUCKET - "GET /team?list-type=2&prefix=in%2F HTTP/1.1" 403 AccessDenied 243 - 11 - "-" "curl/8" - hostid SigV4 ECDHE-RSA AuthHeader team.s3.amazonaws.com TLSv1.2 - -"#;
const PLAIN: &str = r#"79a5 team [06/Feb/2026:00:00:39 +0000] 192.0.2.3 - 3E58 REST.GET.OBJECT a%20b "GET /team/a%20b HTTP/1.1" 200 - 243 9 11 7 "-" "curl/8" - hostid - - - team.s3.amazonaws.com - - -"#;

#[test]
fn every_log_becomes_requests() {
    let mut text = String::new();
    for (log, line) in [
        (Foreign::MinioAudit, MINIO),
        (Foreign::MinioAudit, DELETE),
        (Foreign::CloudTrail, TRAIL),
        (Foreign::AccessLog, ACCESS),
        (Foreign::AccessLog, PLAIN),
        (Foreign::AccessLog, &ACCESS.replace("GET.BUCKET ", "GET.TORRENT ")),
    ] {
        let imported = import(log, line).expect("a line of that log");
        for line in imported.lines {
            request_line(1, &line).expect("a request").expect("one");
            text += &format!("{line}\n");
        }
        for name in imported.skipped {
            text += &format!("skipped {name}\n");
        }
    }
    assert!(!text.contains("secret"), "credentials stay behind");
    insta::assert_snapshot!(text);
}

#[test]
fn lines_of_another_log_are_refused_where_they_differ() {
    let trail = |from: &str, to: &str| TRAIL.replacen(from, to, 1);
    let column_of = |line: &str, what: &str| line.find(what).map_or(1, |at| at + 1);
    let number = trail(r#""key":"x""#, r#""key":7"#);
    let twice = MINIO.replacen(r#""event":"""#, r#""time":"""#, 1);
    let deleted = DELETE.replacen(r#"{"objectName":"b"}"#, r#"{"objectName":[]}"#, 1);
    let february = ACCESS.replace("06/Feb", "06/Fev");
    let open = ACCESS.replace(']', "");
    for (log, line, column) in [
        (Foreign::MinioAudit, "{}", 1),
        (Foreign::MinioAudit, ACCESS, 3),
        (Foreign::MinioAudit, r#"{"time":"x","api":7}"#, 19),
        (Foreign::MinioAudit, &twice, column_of(&twice, r#"":"","trigger""#)),
        (Foreign::MinioAudit, &deleted, column_of(&deleted, "[]")),
        (Foreign::CloudTrail, MINIO, 1),
        (Foreign::CloudTrail, r#"{"Records":1}"#, 12),
        (Foreign::CloudTrail, &number, column_of(&number, r#"7,"versionId""#)),
        (Foreign::AccessLog, MINIO, MINIO.chars().count() + 1),
        (Foreign::AccessLog, &february, column_of(&february, "[")),
        (Foreign::AccessLog, &open, column_of(&open, "[")),
    ] {
        let error = import(log, line).expect_err(line);
        assert_eq!(error.column, column, "{log:?} {line}: {error}");
        assert!(error.hint.is_some(), "{log:?} {line}: {error}");
    }
}

#[test]
fn the_remedy_names_every_log() {
    for (name, _) in Foreign::ALL {
        assert!(ANOTHER_LOG.contains(name), "{name}");
    }
}

proptest! {
    #[test]
    fn hostile_lines(line in r#"[\[\]{}",:a-c0-9 \\"-]{0,60}"#, cut in 0_usize..600) {
        for (_, log) in Foreign::ALL {
            let _ = import(log, &line);
            for whole in [MINIO, TRAIL, ACCESS] {
                let _ = import(log, whole.get(..cut).unwrap_or(whole));
            }
        }
    }
}
