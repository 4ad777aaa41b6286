//! Compares the index with the records that it was made from.
//!
//! Where the index proposes candidates, each is read back and matched again; so it can hide a record but never invent
//! one. What is looked for there is what is missing: a record without a document, or a value of a record under which its
//! document is not found. Figures are made of the index's columns alone, so these are compared with the record, too.
#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use ipnet::IpNet;

use crate::{
    leaf,
    query::{Filter, Pred, Test},
    search::{SearchError, names, read_record},
};

use super::{Candidates, Days, Found, IndexError, Wanted, partition, schema};

/// Mismatches that are told one by one.
const MISMATCHES_MAX: usize = 100;

/// How an index compares with its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that the index says it has.
    pub indexed: u64,
    /// Records whose values were looked up.
    pub looked_up: u64,
    /// What is wrong, at most 100 of it.
    pub mismatches: Vec<Mismatch>,
}

/// Something that the index hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The record.
    pub seq: u64,
    /// In words.
    pub what: String,
}

/// Checks that every record up to the index's position has one document, and for `samples` records, spread evenly,
/// that the document is found under every value of the record that is indexed, and that its columns say what the record
/// says.
///
/// # Errors
/// [`IndexError`] when the index or the log cannot be read.
pub fn check(dir: &Path, samples: u64) -> Result<Checked, IndexError> {
    let days = Days::new(dir);
    let Some(index) = days.candidates()? else { return Ok(Checked::default()) };
    let mut checked = Checked { indexed: index.size, ..Checked::default() };
    for day in partition::days(dir)? {
        if let Some((_, position)) = partition::open(dir, &day)?
            && !position.fits(dir)
        {
            let what = format!("the index of {day} was not made from this log");
            checked.mismatch(position.size.saturating_sub(1), what);
        }
    }
    let first = first_position(dir)?;
    every_position(&index, first, &mut checked)?;
    let step = (index.size.saturating_sub(first) / samples.max(1)).max(1);
    let mut seq = first;
    while seq < index.size && samples > 0 && checked.mismatches.len() < MISMATCHES_MAX {
        look_up(dir, &index, seq, &mut checked)?;
        seq += step;
    }
    Ok(checked)
}

impl Checked {
    fn mismatch(&mut self, seq: u64, what: impl Into<String>) {
        if self.mismatches.len() < MISMATCHES_MAX {
            self.mismatches.push(Mismatch { seq, what: what.into() });
        }
    }
}

/// The first record that the log still has.
fn first_position(dir: &Path) -> Result<u64, IndexError> {
    Ok(names(dir)?.first().map_or(0, |name| name.first))
}

/// Positions must come one after the other, from the last to the first.
fn every_position(
    index: &Candidates<'_>,
    first: u64,
    checked: &mut Checked,
) -> Result<(), IndexError> {
    let wanted = Wanted { seqs: first..u64::MAX, times: 0..=u64::MAX };
    // Positions from here on were seen.
    let mut seen = index.size;
    index.newest_first(&Filter::All, &wanted, &mut |found: Found| {
        if found.seq >= seen {
            checked.mismatch(found.seq, "the index has more than one document, or one too many");
        } else {
            missing(checked, found.seq + 1, seen);
            seen = found.seq;
        }
        Ok::<_, IndexError>(checked.mismatches.len() < MISMATCHES_MAX)
    })?;
    if checked.mismatches.len() < MISMATCHES_MAX {
        missing(checked, first, seen);
    }
    Ok(())
}

fn missing(checked: &mut Checked, from: u64, to: u64) {
    if from < to {
        checked.mismatch(from, format!("the index has no document for records {from}..{to}"));
    }
}

/// Asks the index for the record by all its values at once.
fn look_up(
    dir: &Path,
    index: &Candidates<'_>,
    seq: u64,
    checked: &mut Checked,
) -> Result<(), IndexError> {
    checked.looked_up += 1;
    let Some(leaf) = read_record(dir, seq).map_err(IndexError::Log)? else {
        checked.mismatch(seq, "the index has a document, but the log has no record");
        return Ok(());
    };
    let wanted = Wanted { seqs: seq..seq + 1, times: 0..=u64::MAX };
    let mut place = None;
    index.newest_first(&values(&leaf), &wanted, &mut |found: Found| {
        place = Some(found);
        Ok::<_, SearchError>(false)
    })?;
    if place.is_none_or(|found| found.seq != seq) {
        checked.mismatch(seq, "the document is not found under the values of its record");
        return Ok(());
    }
    let Some(columns) = index.columns_of(seq)? else { return Ok(()) };
    let mut says: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let fields = schema::builder().1;
    leaf::visit(&leaf, &mut |path, value| {
        if let Some((path, _)) = fields.columns().find(|(name, _)| *name == path) {
            says.entry(path).or_default().push(value.as_text().to_owned());
        }
    });
    if says != columns {
        checked.mismatch(seq, "the columns do not say what the record says");
    }
    Ok(())
}

/// Everything that a record says, as a filter.
fn values(leaf: &[u8]) -> Filter {
    let mut all = Vec::new();
    leaf::visit(leaf, &mut |path, value| {
        let text = value.as_text();
        let mut must = |test| all.push(Filter::Pred(Pred { field: path.to_owned(), test }));
        if path == "net.src"
            && let Ok(ip) = text.parse::<IpAddr>()
        {
            must(Test::Cidr(IpNet::from(ip)));
        }
        must(Test::OneOf(vec![text.to_owned()]));
    });
    Filter::And(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tantivy::{IndexWriter, schema::TantivyDocument};

    use super::*;
    use crate::{
        Class, Ed25519Signer, EventId, LocalFiles, Log, Net, Options, Query, Record, SystemClock,
        index::{gathered::Gathered, rebuild},
        search::{Located, Method, Row, SearchOptions, Source, search},
        segment::check,
    };

    const RECORDS: u64 = 40;

    fn log(dir: &Path) {
        let signer = Arc::new(Ed25519Signer::from_seed("audit.example.com/n", &[7; 32]));
        let options = Options { origin: "audit.example.com/n".to_owned(), ..Options::default() };
        let files = Arc::new(LocalFiles::new(dir));
        let (log, _) = Log::open(files, signer, Arc::new(SystemClock), options).unwrap();
        for i in 0..RECORDS {
            let event = EventId::new(1_767_225_600_000 + i, [i as u8; 10]);
            let mut record = Record::new(Class::Data, format!("s3:Action{i}"), event);
            let ua = Some("agent".to_owned());
            record.net = Some(Arc::new(Net { src: format!("10.0.0.{i}"), ua, ..Net::default() }));
            log.append(&record).unwrap().wait().unwrap();
        }
        log.close().unwrap();
        rebuild(dir, &|_| {}).unwrap();
    }

    /// Makes the index again, with `change` between the records and their documents.
    fn remake(dir: &Path, change: &dyn Fn(Located) -> Option<Located>) {
        let day = partition::days(dir).unwrap().pop().unwrap();
        let (index, _) = partition::open(dir, &day).unwrap().unwrap();
        let payload = index.load_metas().unwrap().payload.unwrap();
        partition::remove(dir, &day).unwrap();
        let (index, fields) = partition::open_or_create(dir, &day).unwrap();
        let mut writer: IndexWriter<TantivyDocument> =
            index.writer_with_num_threads(1, 32 << 20).unwrap();
        let mut gathered = Gathered::new(fields);
        let mut tail = crate::search::tail(dir, None);
        while let Some(brought) = tail.poll_located(u64::MAX).unwrap() {
            for located in brought.rows {
                // What is read back is still the record.
                let sum = check::crc(&located.row.leaf);
                if let Some(changed) = change(located) {
                    gathered.add(&changed, sum);
                }
            }
        }
        let segment = gathered.write(writer.new_segment()).unwrap().unwrap();
        writer.add_segment(segment).unwrap();
        let mut prepared = writer.prepare_commit().unwrap();
        prepared.set_payload(&payload);
        prepared.commit().unwrap();
        writer.wait_merging_threads().unwrap();
    }

    fn renamed(located: Located) -> Located {
        let text = String::from_utf8(located.row.leaf).unwrap();
        let leaf = text.replace("s3:Action7\"", "s3:Nothing\"").into_bytes();
        Located { row: Row { seq: located.row.seq, leaf }, offset: located.offset }
    }

    #[test]
    fn what_the_index_hides_is_found() {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path());
        let whole = check(dir.path(), u64::MAX).unwrap();
        assert_eq!(whole.mismatches, []);
        assert_eq!((whole.indexed, whole.looked_up), (RECORDS + 2, RECORDS + 2));
        // A record that was left out.
        remake(dir.path(), &|located| Some(located).filter(|located| located.row.seq != 8));
        let checked = check(dir.path(), 0).unwrap();
        assert_eq!(checked.mismatches.len(), 1, "{checked:?}");
        assert_eq!(checked.mismatches[0].seq, 8);
        // A record that is there under another name.
        remake(dir.path(), &|located| Some(renamed(located)));
        assert_eq!(check(dir.path(), 0).unwrap().mismatches, []);
        let checked = check(dir.path(), u64::MAX).unwrap();
        assert_eq!(checked.mismatches.len(), 1, "{checked:?}");
        assert_eq!(checked.mismatches[0].seq, 8);
        assert!(checked.mismatches[0].what.contains("not found under"), "{checked:?}");
        // A value that only a column has.
        remake(dir.path(), &|located| {
            let text = String::from_utf8(located.row.leaf).unwrap();
            let text = if located.row.seq == 12 { text.replace("agent", "other") } else { text };
            let row = Row { seq: located.row.seq, leaf: text.into_bytes() };
            Some(Located { row, offset: located.offset })
        });
        let checked = check(dir.path(), u64::MAX).unwrap();
        assert_eq!(checked.mismatches.len(), 1, "{checked:?}");
        assert_eq!(checked.mismatches[0].seq, 12);
        assert!(checked.mismatches[0].what.contains("columns"), "{checked:?}");
    }

    #[test]
    fn a_document_that_cannot_say_all_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path());
        // Whatever cannot be kept in columns as it is.
        let odd = |seq: u64, leaf: &[u8]| -> Vec<u8> {
            let text = String::from_utf8(leaf.to_vec()).unwrap();
            match seq {
                3 => text.replace("\"s3:Action2\"", "7"),
                5 => text.replace("\"time\":", "\"when\":"),
                9 => text.replace("\"class\":\"data\"", "\"class\":{\"x\":1}"),
                11 => text.replace("\"s3:Action10\"", "\"s3:Action10"),
                _ => text,
            }
            .into_bytes()
        };
        let change = |located: Located| {
            let leaf = odd(located.row.seq, &located.row.leaf);
            assert_eq!(leaf != located.row.leaf, [3, 5, 9, 11].contains(&located.row.seq));
            Some(Located { row: Row { seq: located.row.seq, leaf }, offset: located.offset })
        };
        remake(dir.path(), &change);
        for text in ["count by action", "distinct class", "class=data | count, max(time)"] {
            let query = Query::parse(text, 0).unwrap();
            let ask = |method| {
                let options = SearchOptions { method, ..SearchOptions::default() };
                search(dir.path(), &query, options).unwrap()
            };
            let (index, scan) = (ask(Method::Index), ask(Method::Scan));
            assert_eq!(index.coverage.source, Source::Columns);
            assert_eq!(index.table, scan.table, "{text}");
        }
    }
}
