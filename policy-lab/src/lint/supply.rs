//! Which condition keys come with which actions.
//!
//! Source: service authorization reference for Amazon S3, June 2026, "Condition keys" of each action. Keys that are not
//! listed here come with every action of their service, or depend on the caller.

use crate::action::ActionInfo;

/// Keys in lower case (`/`: any tag), and the actions they come with.
const SUPPLIED: [(&[&str], &[&str]); 11] = [
    (&["s3:prefix", "s3:delimiter", "s3:max-keys"], &["ListBucket", "ListBucketVersions"]),
    (
        &["s3:existingobjecttag/"],
        &[
            "GetObject",
            "GetObjectAcl",
            "GetObjectAttributes",
            "GetObjectTagging",
            "GetObjectVersion",
            "GetObjectVersionAcl",
            "GetObjectVersionAttributes",
            "GetObjectVersionTagging",
            "PutObjectTagging",
            "PutObjectVersionTagging",
            "DeleteObjectTagging",
            "DeleteObjectVersionTagging",
            "PutObjectAcl",
            "PutObjectVersionAcl",
        ],
    ),
    (
        &["s3:requestobjecttag/", "s3:requestobjecttagkeys"],
        &["PutObject", "PutObjectTagging", "PutObjectVersionTagging", "BypassGovernanceRetention"],
    ),
    (&["s3:if-match"], &["PutObject", "DeleteObject"]),
    (&["s3:if-none-match", "s3:objectcreationoperation"], &["PutObject"]),
    (
        &[
            "s3:x-amz-copy-source",
            "s3:x-amz-metadata-directive",
            "s3:x-amz-server-side-encryption",
            "s3:x-amz-server-side-encryption-aws-kms-key-id",
            "s3:x-amz-server-side-encryption-customer-algorithm",
            "s3:x-amz-storage-class",
            "s3:x-amz-website-redirect-location",
        ],
        &["PutObject", "BypassGovernanceRetention"],
    ),
    (
        &[
            "s3:object-lock-mode",
            "s3:object-lock-retain-until-date",
            "s3:object-lock-remaining-retention-days",
        ],
        &["PutObject", "PutObjectRetention", "BypassGovernanceRetention"],
    ),
    (
        &["s3:object-lock-legal-hold"],
        &["PutObject", "PutObjectLegalHold", "BypassGovernanceRetention"],
    ),
    (&["s3:locationconstraint", "s3:x-amz-bucket-namespace"], &["CreateBucket"]),
    (&["s3:inventoryaccessibleoptionalfields"], &["PutInventoryConfiguration"]),
    (&["s3:isreplicationpauserequest", "s3:destinationregion"], &["PutReplicationConfiguration"]),
];

/// Whether the action comes with the key; true where we do not know better.
pub(super) fn comes_with(action: &ActionInfo, key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let Some((_, name)) = action.name.split_once("s3:").filter(|(head, _)| head.is_empty()) else {
        return !key.starts_with("s3:");
    };
    if key == "s3:versionid" {
        return name.contains("Version") && name.contains("Object");
    }
    let is_row = |keys: &[&str]| {
        keys.iter().any(|known| {
            *known == key
                || known.ends_with('/') && key.starts_with(known) && key.len() > known.len()
        })
    };
    match SUPPLIED.iter().find(|(keys, _)| is_row(keys)) {
        Some((_, actions)) => actions.contains(&name),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{SUPPLIED, comes_with};
    use crate::action::CATALOGUE;
    use crate::context;

    #[test]
    fn rows_are_of_the_catalogues() {
        for (keys, actions) in SUPPLIED {
            for action in actions {
                let name = format!("s3:{action}");
                assert!(CATALOGUE.iter().any(|info| info.name == name), "{name}");
            }
            for key in keys.iter().filter(|key| !key.ends_with('/')) {
                let known = |info: &context::KeyInfo| info.name.eq_ignore_ascii_case(key);
                assert!(context::CATALOGUE.iter().any(known), "{key}");
            }
        }
    }

    #[test]
    fn tags_are_not_known_to_a_delete() {
        let action = |name: &str| CATALOGUE.iter().find(|i| i.name == name).expect("there");
        assert!(comes_with(action("s3:GetObject"), "s3:ExistingObjectTag/class"));
        assert!(!comes_with(action("s3:DeleteObject"), "s3:ExistingObjectTag/class"));
        assert!(comes_with(action("s3:DeleteObjectVersion"), "s3:VersionId"));
        assert!(!comes_with(action("s3:ListBucket"), "s3:x-amz-storage-class"));
        assert!(comes_with(action("admin:CreateUser"), "aws:SourceIp"));
        assert!(!comes_with(action("admin:CreateUser"), "s3:prefix"));
    }
}
