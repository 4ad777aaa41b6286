//! Names of files and of the trail, as AWS's tools expect them.

use sha2::{Digest as _, Sha256};

/// The trail has one name, because there is one log.
pub(super) const TRAIL: &str = "appliance";

/// What is in every name.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Twelve digits.
    pub(super) account: String,
    pub(super) region: String,
}

impl Names {
    /// The key of a log file: of the period that ends at `until_s`, beginning with the record `first` of this leaf hash.
    /// Behind a gap the log gives numbers of lost records again, and their file must not be written over.
    pub(super) fn log_file(&self, until_s: u64, first: u64, leaf: &[u8; 32]) -> String {
        let Self { account, region } = self;
        let (day, minute) = (utc(until_s, "%Y/%m/%d"), utc(until_s, "%Y%m%dT%H%MZ"));
        // AWS writes sixteen random letters and digits; ours are the same when the file is written again.
        let digest = Sha256::digest(format!("{account} {until_s} {first} {}", hex::encode(leaf)));
        let unique: String = hex::encode_upper(digest).chars().take(16).collect();
        format!(
            "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{minute}_{unique}.json.gz"
        )
    }

    /// The key of the digest file of the period that ends at `until_s`.
    pub(super) fn digest(&self, until_s: u64) -> String {
        let Self { account, region } = self;
        let (day, second) = (utc(until_s, "%Y/%m/%d"), utc(until_s, "%Y%m%dT%H%M%SZ"));
        format!(
            "AWSLogs/{account}/CloudTrail-Digest/{region}/{day}/\
             {account}_CloudTrail-Digest_{region}_{TRAIL}_{region}_{second}.json.gz"
        )
    }

    pub(super) fn trail_arn(&self) -> String {
        format!("arn:aws:cloudtrail:{}:{}:trail/{TRAIL}", self.region, self.account)
    }
}

/// A time as it stands in digests.
pub(super) fn time(unix_s: u64) -> String {
    utc(unix_s, "%Y-%m-%dT%H:%M:%SZ")
}

fn utc(unix_s: u64, format: &str) -> String {
    let second = i64::try_from(unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    second.unwrap_or_default().strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_user_guide() {
        let names = Names { account: "123456789012".into(), region: "us-east-1".into() };
        let digest = names.digest(1_767_229_200);
        assert_eq!(
            digest,
            "AWSLogs/123456789012/CloudTrail-Digest/us-east-1/2026/01/01/\
             123456789012_CloudTrail-Digest_us-east-1_appliance_us-east-1_20260101T010000Z.json.gz"
        );
        let log = names.log_file(1_767_229_200, 7, &[1; 32]);
        let (begin, end) = log.split_at(log.rfind('_').unwrap());
        assert_eq!(
            begin,
            "AWSLogs/123456789012/CloudTrail/us-east-1/2026/01/01/\
             123456789012_CloudTrail_us-east-1_20260101T0100Z"
        );
        assert_eq!(end.len(), "_0123456789ABCDEF.json.gz".len());
        assert_eq!(log, names.log_file(1_767_229_200, 7, &[1; 32]));
        assert_ne!(log, names.log_file(1_767_229_200, 8, &[1; 32]));
        assert_ne!(log, names.log_file(1_767_229_200, 7, &[2; 32]));
        assert_eq!(names.trail_arn(), "arn:aws:cloudtrail:us-east-1:123456789012:trail/appliance");
        assert_eq!(time(1_767_229_200), "2026-01-01T01:00:00Z");
    }
}
