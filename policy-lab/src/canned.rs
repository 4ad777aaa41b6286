//! The policies that are always there.
//!
//! Names and statements are MinIO's, so that `mc admin policy attach myminio readwrite --user alice` means here what
//! it means there. `auditor` and `recordsOfficer` are ours: the first sees the log and nothing else, the second decides
//! how long records of it stay, and sees none of them. A custom policy may take a canned name; then it
//! replaces it.

use std::sync::Arc;

use crate::{Attached, DocumentKind, Policy};

/// Name and text of every canned policy, sorted by name.
pub const CANNED: [(&str, &str); 7] = [
    ("auditor", AUDITOR),
    ("consoleAdmin", CONSOLE_ADMIN),
    ("diagnostics", DIAGNOSTICS),
    ("readonly", READONLY),
    ("readwrite", READWRITE),
    ("recordsOfficer", RECORDS_OFFICER),
    ("writeonly", WRITEONLY),
];

const AUDITOR: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": ["admin:AuditGet", "admin:AuditRetention", "admin:AuditSearch", "admin:AuditTail", "admin:AuditTile"] },
    { "Effect": "Allow", "Action": ["cloudtrail:*"], "Resource": ["*"] }
  ]
}
"#;

const RECORDS_OFFICER: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["admin:AuditConfirmPrune", "admin:AuditHold", "admin:AuditPrune", "admin:AuditRetention"]
    }
  ]
}
"#;

const CONSOLE_ADMIN: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": ["admin:*"] },
    { "Effect": "Allow", "Action": ["kms:*"] },
    { "Effect": "Allow", "Action": ["cloudtrail:*"], "Resource": ["*"] },
    { "Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"] }
  ]
}
"#;

const DIAGNOSTICS: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "admin:Profiling",
        "admin:ServerTrace",
        "admin:ConsoleLog",
        "admin:ServerInfo",
        "admin:TopLocksInfo",
        "admin:OBDInfo",
        "admin:BandwidthMonitor",
        "admin:Prometheus"
      ],
      "Resource": ["arn:aws:s3:::*"]
    }
  ]
}
"#;

const READONLY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:GetBucketLocation", "s3:GetObject"],
      "Resource": ["arn:aws:s3:::*"]
    }
  ]
}
"#;

const READWRITE: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"] }
  ]
}
"#;

const WRITEONLY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::*"] }
  ]
}
"#;

/// The text of a canned policy.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    CANNED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A canned policy, compiled, under its own name.
#[must_use]
pub fn attached(name: &str) -> Option<Attached> {
    let policy = Policy::parse(source(name)?, DocumentKind::Identity).ok()?;
    Some(Attached { name: Arc::from(name), policy: Arc::new(policy) })
}

#[cfg(test)]
mod tests {
    use super::{CANNED, attached};
    use crate::{Action, Context, PolicySet, Principal, Request, Resource, evaluate};

    #[test]
    fn grants() {
        let object = Resource::Object { bucket: "b".into(), key: "k".into() };
        let bucket = Resource::Bucket("b".into());
        let cases = [
            ("s3:GetObject", &object, "consoleAdmin readonly readwrite"),
            ("s3:PutObject", &object, "consoleAdmin readwrite writeonly"),
            ("s3:ListBucket", &bucket, "consoleAdmin readwrite"),
            ("s3:GetBucketLocation", &bucket, "consoleAdmin readonly readwrite"),
            ("s3:ListAllMyBuckets", &Resource::Any, "consoleAdmin readwrite"),
            ("admin:ServerInfo", &Resource::Any, "consoleAdmin diagnostics"),
            ("admin:AuditSearch", &Resource::Any, "auditor consoleAdmin"),
            ("admin:AuditRetention", &Resource::Any, "auditor consoleAdmin recordsOfficer"),
            ("admin:AuditConfirmPrune", &Resource::Any, "consoleAdmin recordsOfficer"),
            ("admin:CreateUser", &Resource::Any, "consoleAdmin"),
            ("cloudtrail:LookupEvents", &Resource::Any, "auditor consoleAdmin"),
            ("kms:CreateKey", &Resource::Any, "consoleAdmin"),
        ];
        for (action, resource, expected) in cases {
            let request = Request {
                action: Action::parse(action).expect("action"),
                resource: resource.clone(),
                principal: Principal::user("000000000000", "alice"),
                context: Context::new(),
            };
            let allows = |name: &&str| {
                let identity = vec![attached(name).expect("valid")];
                evaluate(&PolicySet { identity, ..PolicySet::default() }, &request).is_allowed()
            };
            let allowing: Vec<_> = CANNED.iter().map(|(name, _)| *name).filter(allows).collect();
            assert_eq!(allowing.join(" "), expected, "{action}");
        }
    }
}
