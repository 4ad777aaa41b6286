//! The chain of digest files: each names the log files of its period and the digest before it, and is signed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::file::Listed;
use super::names::{Names, time};

/// A digest that is there, for the next one to name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Hexadecimal, over the uncompressed bytes.
    pub(super) sha256: String,
    /// Hexadecimal.
    pub(super) signature: String,
}

/// What a digest is about: a period in whole seconds, its files, and what came before.
#[derive(Debug)]
pub(super) struct Digest<'a> {
    pub(super) bucket: &'a str,
    pub(super) from_s: u64,
    pub(super) until_s: u64,
    pub(super) files: &'a [Listed],
    pub(super) previous: Option<&'a Link>,
}

impl Digest<'_> {
    /// The file before it is compressed.
    pub(super) fn body(&self, names: &Names, fingerprint: &str) -> Vec<u8> {
        let seconds = |us: u64| time(us / 1_000_000);
        let log_file = |file: &Listed| {
            json!({
                "s3Bucket": self.bucket,
                "s3Object": file.key,
                "hashValue": file.sha256,
                "hashAlgorithm": "SHA-256",
                "newestEventTime": seconds(file.newest_us),
                "oldestEventTime": seconds(file.oldest_us),
            })
        };
        let previous = |part: fn(&Link) -> &str| self.previous.map(part);
        let value = json!({
            "awsAccountId": names.account,
            "digestStartTime": time(self.from_s),
            "digestEndTime": time(self.until_s),
            "digestS3Bucket": self.bucket,
            "digestS3Object": names.digest(self.until_s),
            "digestPublicKeyFingerprint": fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": self.files.last().map(|file| seconds(file.newest_us)),
            "oldestEventTime": self.files.first().map(|file| seconds(file.oldest_us)),
            "previousDigestS3Bucket": previous(|link| &link.bucket),
            "previousDigestS3Object": previous(|link| &link.key),
            "previousDigestHashValue": previous(|link| &link.sha256),
            "previousDigestHashAlgorithm": self.previous.map(|_| "SHA-256"),
            "previousDigestSignature": previous(|link| &link.signature),
            "logFiles": self.files.iter().map(log_file).collect::<Vec<Value>>(),
        });
        value.to_string().into_bytes()
    }

    /// What is signed of it.
    pub(super) fn to_sign(&self, names: &Names, body: &[u8]) -> String {
        format!(
            "{}\n{}/{}\n{}\n{}",
            time(self.until_s),
            self.bucket,
            names.digest(self.until_s),
            hex::encode(Sha256::digest(body)),
            self.previous.map_or("null", |link| &link.signature),
        )
    }
}

/// Where the period ends that holds this second: at the next whole multiple.
pub(super) const fn period_end(from_s: u64, period_s: u64) -> u64 {
    (from_s / period_s + 1) * period_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_its_files_and_the_one_before() {
        let names = Names { account: "123456789012".into(), region: "us-east-1".into() };
        let link = Link {
            bucket: "trail".into(),
            key: "before".into(),
            sha256: "aa".into(),
            signature: "bb".into(),
        };
        let files = [
            Listed {
                key: "1".into(),
                sha256: "11".into(),
                oldest_us: 1_000_000,
                newest_us: 2_000_000,
            },
            Listed {
                key: "2".into(),
                sha256: "22".into(),
                oldest_us: 2_000_000,
                newest_us: 3_500_000,
            },
        ];
        let digest = Digest {
            bucket: "trail",
            from_s: 0,
            until_s: 3600,
            files: &files,
            previous: Some(&link),
        };
        let body = digest.body(&names, "ff");
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["oldestEventTime"], "1970-01-01T00:00:01Z");
        assert_eq!(value["newestEventTime"], "1970-01-01T00:00:03Z");
        assert_eq!(value["logFiles"][1]["hashValue"], "22");
        assert_eq!(value["previousDigestSignature"], "bb");
        let signed = digest.to_sign(&names, &body);
        let lines: Vec<&str> = signed.split('\n').collect();
        assert_eq!(lines[0], "1970-01-01T01:00:00Z");
        assert_eq!(lines[1], format!("trail/{}", names.digest(3600)));
        assert_eq!(lines[3], "bb");

        let first =
            Digest { bucket: "trail", from_s: 0, until_s: 3600, files: &[], previous: None };
        let body = first.body(&names, "ff");
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert!(value["previousDigestSignature"].is_null() && value["newestEventTime"].is_null());
        assert!(value["logFiles"].as_array().unwrap().is_empty());
        assert!(first.to_sign(&names, &body).ends_with("\nnull"));
    }

    #[test]
    fn periods_end_at_whole_multiples() {
        assert_eq!(period_end(0, 3600), 3600);
        assert_eq!(period_end(3599, 3600), 3600);
        assert_eq!(period_end(3600, 3600), 7200);
        assert_eq!(period_end(5, 1), 6);
    }
}
