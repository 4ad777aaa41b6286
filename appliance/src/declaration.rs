//! The configuration in the log: a start whose configuration is another than that of the start before says what changed,
//! before the first request is served.
//!
//! The whole configuration is a blob of the log, so that what was in force at any time can be read from the log alone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use audit::{Class, Log, Query, Record, SearchOptions};

use crate::recorder::event_id;

/// The record's action.
const ACTION: &str = "audit:config";
/// Bytes of changes that a record names; the rest is in the blobs.
const CHANGES_BYTES_MAX: usize = 3000;

/// Values by key.
type Shown = BTreeMap<String, String>;

/// Records `now` if it differs from what the newest record of this kind has; durable on return.
///
/// # Errors
/// The log cannot be searched, or does not take the record.
pub(crate) fn record(log: &Log, dir: &Path, now: &Shown, now_us: u64) -> anyhow::Result<()> {
    let text = serde_json::to_vec(now).context("writing the configuration as JSON")?;
    let digest = log.put_blob(&text).context("storing the configuration")?;
    let before = newest(dir, now_us)?;
    if before.as_deref() == Some(digest.as_str()) {
        return Ok(());
    }
    let mut record = Record::new(Class::Audit, ACTION, event_id(now_us));
    record.params.insert("sha256".into(), digest.into());
    if let Some(before) = before {
        // A blob that is gone is for `verify` to tell; everything is new then.
        let was = audit::read_blob(dir, &before).ok();
        let was = was.and_then(|bytes| serde_json::from_slice::<Shown>(&bytes).ok());
        name_changes(&mut record.params, &was.unwrap_or_default(), now);
        record.params.insert("before".into(), before);
    } else {
        name_changes(&mut record.params, &Shown::new(), now);
    }
    log.append(&record)?.wait()?;
    Ok(())
}

/// The digest of the configuration before this start.
fn newest(dir: &Path, now_us: u64) -> anyhow::Result<Option<String>> {
    let text = format!("action={ACTION} | fields params.sha256");
    let query = Query::parse(&text, now_us)?;
    let options = SearchOptions { limit: 1, ..SearchOptions::default() };
    let answer = audit::search(dir, &query, options).context("searching the log")?;
    let columns = answer.rows.first().map(|row| query.project(&row.leaf)).unwrap_or_default();
    Ok(columns.into_iter().flatten().next())
}

/// `now.KEY` and `was.KEY` for each key that changed, as far as they fit.
fn name_changes(params: &mut BTreeMap<String, String>, was: &Shown, now: &Shown) {
    let (mut bytes, mut more) = (0, 0_u32);
    let names = was.keys().chain(now.keys().filter(|name| !was.contains_key(*name)));
    for name in names.filter(|name| was.get(*name) != now.get(*name)) {
        let sides = [("was", was.get(name)), ("now", now.get(name))];
        let change: Vec<_> = sides
            .into_iter()
            .filter_map(|(side, value)| Some((format!("{side}.{name}"), value?.clone())))
            .collect();
        let size = change.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if bytes + size > CHANGES_BYTES_MAX {
            more += 1;
        } else {
            bytes += size;
            params.extend(change);
        }
    }
    if more > 0 {
        params.insert("more".into(), more.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::{Ed25519Signer, LocalFiles, Options, SystemClock};

    use super::*;

    fn shown(pairs: &[(&str, &str)]) -> Shown {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The parameters of all such records, newest first.
    fn records(dir: &Path) -> Vec<serde_json::Value> {
        let query = Query::parse("action=audit:config", 0).unwrap();
        let rows = audit::search(dir, &query, SearchOptions::default()).unwrap().rows;
        let params = |row: audit::Row| {
            let record: serde_json::Value = serde_json::from_slice(&row.leaf).unwrap();
            record["params"].clone()
        };
        rows.into_iter().map(params).collect()
    }

    #[test]
    fn a_start_with_another_configuration_says_what_changed() {
        let scratch = tempfile::tempdir().unwrap();
        let origin = "audit.example.com/node1";
        let options = Options { origin: origin.to_owned(), ..Options::default() };
        let signer = Arc::new(Ed25519Signer::from_seed(origin, &[7; 32]));
        let files = Arc::new(LocalFiles::new(scratch.path()));
        let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options).unwrap();
        let first = shown(&[("region", "eu-1"), ("siem.soc.url", "https://a")]);
        record(&log, scratch.path(), &first, 1).unwrap();
        record(&log, scratch.path(), &first, 2).unwrap();
        assert_eq!(records(scratch.path()).len(), 1, "the same again is no change");
        let second = shown(&[("region", "eu-2"), ("domains", "s3.example.com")]);
        record(&log, scratch.path(), &second, 3).unwrap();
        let newest = records(scratch.path())[0].to_string();
        for part in [
            r#"{"k":"was.region","v":"eu-1"}"#,
            r#"{"k":"now.region","v":"eu-2"}"#,
            r#"{"k":"was.siem.soc.url","v":"https://a"}"#,
            r#"{"k":"now.domains","v":"s3.example.com"}"#,
            r#""k":"before""#,
        ] {
            assert!(newest.contains(part), "{part} is missing in {newest}");
        }
        // What does not fit is counted, and is in the blob.
        let large = shown(&[("domains", &"x".repeat(2 * CHANGES_BYTES_MAX))]);
        record(&log, scratch.path(), &large, 4).unwrap();
        let newest = records(scratch.path())[0].to_string();
        assert!(newest.contains(r#"{"k":"more","v":"1"}"#), "{newest}");
        let digest = super::newest(scratch.path(), 5).unwrap().unwrap();
        let blob = audit::read_blob(scratch.path(), &digest).unwrap();
        assert_eq!(serde_json::from_slice::<Shown>(&blob).unwrap(), large);
    }
}
