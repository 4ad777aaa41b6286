//! Records that a destination will never take, kept whole: one JSON line each, appended and synced before the log says
//! so. A torn last line of a crash is ended, and its record comes again.
//!
//! A line of `siem/NAME/rejected.jsonl` is `{"answer":…,"event":…,"record":"…","seq":SEQ,"time":…}`; `record` holds the
//! exact bytes. A crash between file and cursor can name a record twice, under the same `seq` and `event`.

use std::io;

use audit::Files;
use serde_json::json;

use super::delivery::Rejected;

/// `NAME/rejected.jsonl` of one destination.
#[derive(Debug)]
pub(super) struct DeadLetter {
    path: String,
}

impl DeadLetter {
    pub(super) fn new(destination: &str) -> Self {
        Self { path: format!("{destination}/rejected.jsonl") }
    }

    /// Appends and syncs.
    ///
    /// # Errors
    /// Those of the file system; then nothing may be counted as kept.
    pub(super) fn keep(
        &self,
        files: &dyn Files,
        rejected: &[Rejected],
        time: &str,
    ) -> io::Result<()> {
        let existing = match files.read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut lines = Vec::new();
        if existing.as_ref().is_some_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n')) {
            lines.push(b'\n');
        }
        for Rejected { item, answer } in rejected {
            let line = json!({
                "seq": item.seq,
                "event": item.event,
                "time": time,
                "answer": answer,
                // A string and not an object: these are the exact bytes that the log proves.
                "record": String::from_utf8_lossy(&item.leaf),
            });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        let mut file = match existing {
            Some(_) => files.open(&self.path)?,
            None => files.create(&self.path)?,
        };
        let end = file.size()?;
        file.write_at(end, &lines)?;
        file.sync()
    }
}

#[cfg(test)]
mod tests {
    use audit::LocalFiles;
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::siem::delivery::Item;

    fn rejected(seq: u64) -> Rejected {
        let leaf = format!("{{\"seq\":{seq},\"text\":\"\\n\"}}");
        let item = Item {
            seq,
            event: format!("e{seq}"),
            time_us: seq,
            leaf: leaf.into(),
            body: Bytes::new(),
        };
        Rejected { item, answer: "400".into() }
    }

    #[test]
    fn a_torn_line_harms_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::new(dir.path());
        let dead_letter = DeadLetter::new("soc");
        dead_letter.keep(&files, &[rejected(1), rejected(2)], "t").unwrap();
        let path = dir.path().join("soc/rejected.jsonl");
        let whole = std::fs::read(&path).unwrap();
        // The crash that loses the end of the second line.
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        dead_letter.keep(&files, &[rejected(2), rejected(3)], "t").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Option<Value>> =
            text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        let seqs: Vec<Option<u64>> =
            lines.iter().map(|line| line.as_ref()?["seq"].as_u64()).collect();
        assert_eq!(seqs, [Some(1), None, Some(2), Some(3)]);
        let record = lines[2].as_ref().unwrap()["record"].as_str().unwrap();
        assert_eq!(record.as_bytes(), rejected(2).item.leaf);
    }
}
