//! One log file: records of one period in CloudTrail's shape, compressed.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

/// Records of one file, at most.
const RECORDS_MAX: u64 = 10_000;
/// Uncompressed bytes after which a file is full.
const BYTES_MAX: usize = 8 << 20;

/// A file that is being filled.
#[derive(Debug)]
pub(super) struct Draft {
    /// `seq` of its first record, and that record's leaf hash.
    pub(super) first: (u64, [u8; 32]),
    json: Vec<u8>,
    records: u64,
    oldest_us: u64,
    newest_us: u64,
}

/// A file that is full, or whose period is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) gzip: Vec<u8>,
    pub(super) listed: Listed,
}

/// What a digest says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    /// Hexadecimal, over the uncompressed bytes.
    pub(super) sha256: String,
    pub(super) oldest_us: u64,
    pub(super) newest_us: u64,
}

impl Draft {
    pub(super) fn new(first: (u64, [u8; 32])) -> Self {
        Self { first, json: b"{\"Records\":[".to_vec(), records: 0, oldest_us: 0, newest_us: 0 }
    }

    /// Takes in one record; times do not step back.
    pub(super) fn push(&mut self, record: &[u8], time_us: u64) {
        if self.records == 0 {
            self.oldest_us = time_us;
        } else {
            self.json.push(b',');
        }
        self.json.extend_from_slice(record);
        self.newest_us = time_us;
        self.records += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX || self.json.len() >= BYTES_MAX
    }

    /// The file under its key.
    pub(super) fn finish(mut self, key: String) -> io::Result<File> {
        self.json.extend_from_slice(b"]}");
        let sha256 = hex::encode(Sha256::digest(&self.json));
        let (oldest_us, newest_us) = (self.oldest_us, self.newest_us);
        Ok(File { gzip: gzip(&self.json)?, listed: Listed { key, sha256, oldest_us, newest_us } })
    }
}

/// One gzip member without a name or a time, so that equal bytes stay equal.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    writer.write_all(bytes)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_file_is_one_object_and_the_same_bytes_every_time() {
        let file = || {
            let mut draft = Draft::new((7, [1; 32]));
            draft.push(b"{\"a\":1}", 5);
            draft.push(b"{\"a\":2}", 6);
            draft.finish("k".into()).unwrap()
        };
        assert_eq!(file(), file());
        let File { gzip, listed } = file();
        let mut json = String::new();
        flate2::read::GzDecoder::new(gzip.as_slice()).read_to_string(&mut json).unwrap();
        assert_eq!(json, r#"{"Records":[{"a":1},{"a":2}]}"#);
        assert_eq!(listed.sha256, hex::encode(Sha256::digest(json)));
        assert_eq!((listed.oldest_us, listed.newest_us), (5, 6));
    }
}
