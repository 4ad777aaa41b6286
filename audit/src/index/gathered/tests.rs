//! What is written here is compared with what the library's own writer makes of the same records.

use proptest::prelude::*;
use tantivy::{
    Index, IndexWriter, SegmentReader,
    columnar::DynamicColumn,
    schema::{FieldType, IndexRecordOption},
};

use super::*;
use crate::{index::schema, leaf, search::Row, segment::check};

/// The model: one document for each record.
fn document(fields: &Fields, index: &Index, located: &Located) -> TantivyDocument {
    let schema = index.schema();
    let field = |name: &str| schema.get_field(name).unwrap();
    let mut document = TantivyDocument::default();
    document.add_u64(field(schema::SEQ), located.row.seq);
    document.add_u64(field(schema::OFFSET), located.offset);
    document.add_u64(field(schema::SUM), check::crc(&located.row.leaf).into());
    let (mut odd, mut times, mut seqs) = (false, 0, 0);
    let visited = leaf::visit(&located.row.leaf, &mut |path, value| {
        let number = match value {
            Scalar::Number(digits) => {
                let number = digits.parse::<i64>().ok().filter(|n| n.to_string() == *digits);
                number.and_then(|number| u64::try_from(number).ok())
            }
            _ => None,
        };
        match (fields.member(path), value, number) {
            (Member::Word(_) | Member::Source(_), Scalar::Text(text), _) => {
                document.add_text(field(path), text);
                if let (Member::Source(_), Ok(ip)) = (fields.member(path), text.parse::<IpAddr>()) {
                    document.add_ip_addr(field(IP), mapped(ip));
                }
            }
            (Member::Number(_), _, Some(number)) => document.add_u64(field(path), number),
            (Member::Time, Scalar::Text(text), _) => {
                let at = stamp::parse(text.as_bytes());
                odd |= at.is_none();
                document.add_u64(field(schema::TIME_US), at.unwrap_or(0));
                times += 1;
            }
            (Member::Seq, _, Some(number)) => {
                odd |= number != located.row.seq;
                seqs += 1;
            }
            (Member::Nothing, ..) => {}
            _ => odd = true,
        }
    });
    if odd || visited.is_none() || (times, seqs) != (1, 1) {
        document.add_u64(field(schema::ODD), 1);
    }
    document
}

/// Everything that a segment says: terms with their documents, and the values of each column.
fn all(segment: &SegmentReader) -> Vec<String> {
    let mut said = vec![format!("{} documents", segment.max_doc())];
    for (field, entry) in segment.schema().fields() {
        let name = entry.name();
        if entry.is_indexed() {
            let index = segment.inverted_index(field).unwrap();
            let mut terms = index.terms().stream().unwrap();
            while let Some((term, info)) = terms.next() {
                let option = IndexRecordOption::Basic;
                let mut postings = index.read_postings_from_terminfo(info, option).unwrap();
                let count = postings.doc_freq();
                let mut docs = Vec::new();
                while tantivy::DocSet::doc(&postings) != tantivy::TERMINATED {
                    docs.push(tantivy::DocSet::doc(&postings));
                    tantivy::DocSet::advance(&mut postings);
                }
                assert_eq!((info.doc_freq, count), (docs.len() as u32, docs.len() as u32));
                said.push(format!("{name}: {term:?} in {docs:?}"));
            }
        }
        if entry.is_fast() {
            let columns = segment.fast_fields();
            for handle in columns.dynamic_column_handles(name).unwrap() {
                let column = handle.open().unwrap();
                for doc in 0..segment.max_doc() {
                    let values = match (&column, entry.field_type()) {
                        (DynamicColumn::Str(words), FieldType::Str(_)) => {
                            let text = |ord| {
                                let mut text = String::new();
                                words.ord_to_str(ord, &mut text).unwrap();
                                text
                            };
                            format!("{:?}", words.term_ords(doc).map(text).collect::<Vec<_>>())
                        }
                        (DynamicColumn::U64(numbers), FieldType::U64(_)) => {
                            format!("{:?}", numbers.values_for_doc(doc).collect::<Vec<_>>())
                        }
                        (DynamicColumn::IpAddr(ips), FieldType::IpAddr(_)) => {
                            format!("{:?}", ips.values_for_doc(doc).collect::<Vec<_>>())
                        }
                        other => panic!("{name} is {other:?}"),
                    };
                    said.push(format!("{name} of {doc}: {values}"));
                }
            }
        }
    }
    said
}

fn index() -> (Index, Fields, IndexWriter) {
    let (builder, fields) = schema::builder();
    let index = builder.create_in_ram().unwrap();
    let writer = index.writer_with_num_threads(1, 32 << 20).unwrap();
    writer.set_merge_policy(Box::new(tantivy::indexer::NoMergePolicy));
    (index, fields, writer)
}

fn segments(index: &Index, merged: Option<&mut IndexWriter>) -> Vec<Vec<String>> {
    if let Some(writer) = merged {
        let ids = index.searchable_segment_ids().unwrap();
        writer.merge(&ids).wait().unwrap();
    }
    let searcher = index.reader().unwrap().searcher();
    searcher.segment_readers().iter().map(all).collect()
}

fn compare(records: &[(u64, Vec<u8>)]) {
    let (model, fields, mut model_writer) = index();
    let (ours, _, mut our_writer) = index();
    let mut gathered = Gathered::new(fields.clone());
    // In two parts, so that they can be merged.
    for part in records.chunks(records.len().div_ceil(2).max(1)) {
        for (seq, leaf) in part {
            let row = Row { seq: *seq, leaf: leaf.clone() };
            let located = Located { row, offset: 100 + 7 * seq };
            model_writer.add_document(document(&fields, &model, &located)).unwrap();
            gathered.add(&located, check::crc(&located.row.leaf));
        }
        let segment = gathered.write(our_writer.new_segment()).unwrap().unwrap();
        our_writer.add_segment(segment).unwrap();
        model_writer.commit().unwrap();
        our_writer.commit().unwrap();
    }
    assert!(gathered.write(our_writer.new_segment()).unwrap().is_none());
    let mut both = [segments(&model, None), segments(&ours, None)];
    both.iter_mut().for_each(|segments| segments.sort());
    assert_eq!(both[0], both[1]);
    if records.len() > 1 {
        assert_eq!(
            segments(&model, Some(&mut model_writer)),
            segments(&ours, Some(&mut our_writer))
        );
    }
    model_writer.wait_merging_threads().unwrap();
    our_writer.wait_merging_threads().unwrap();
}

/// A record as it is, or with something wrong.
fn leaf(seq: u64, choice: u64) -> Vec<u8> {
    let time = stamp::string(1_767_225_600_000_000 + seq);
    let pick = |of: u64| choice / 7 % of;
    let mut leaf = format!(
        r#"{{"action":"s3:A{}","auth":{{"by":[{{"id":"p{}"}},{{"id":"p{}"}}],"ctx":[{{"k":"c{}","v":["1"]}}],"decision":"allow","us":{}}},"#,
        pick(3),
        pick(4),
        pick(2),
        pick(9),
        pick(50),
    );
    if !choice.is_multiple_of(3) {
        leaf += &format!(r#""net":{{"src":"10.0.{}.{}"}},"#, pick(3), pick(200));
    }
    if !choice.is_multiple_of(5) {
        leaf += &format!(
            r#""resources":[{{"arn":"arn:aws:s3:eu:{}:x","bucket":"b{}","key":"k/{seq}"}},{{"bucket":"b1","key":"k\"{}","size":{}}}],"#,
            pick(4),
            pick(3),
            pick(5),
            pick(1000),
        );
    }
    let code = ["200", "404", "-1", "007", "18446744073709551615", "\"200\"", "{\"a\":1}"];
    leaf += &format!(
        r#""result":{{"code":{}}},"seq":{seq},"time":"{time}"}}"#,
        code[choice as usize % 7]
    );
    match choice % 23 {
        0 => leaf.truncate(leaf.len() / 2),
        1 => leaf = leaf.replace("\"time\"", "\"when\""),
        2 => leaf = leaf.replace("10.0.", "::ffff:10.0."),
        3 => leaf = leaf.replace("\"seq\":", "\"seq\":1"),
        4 => leaf = leaf.replace("\"decision\":\"allow\"", "\"decision\":{\"x\":\"y\"}"),
        _ => {}
    }
    leaf.into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn segments_are_those_of_the_library(choices in proptest::collection::vec(any::<u32>(), 1..60)) {
        let records: Vec<_> =
            (0..).zip(&choices).map(|(seq, choice)| (seq, leaf(seq, (*choice).into()))).collect();
        compare(&records);
    }
}

#[test]
fn lists_are_longer_than_a_block() {
    let records: Vec<_> = (0..3000).map(|seq| (seq, leaf(seq, seq * 31))).collect();
    compare(&records);
}
