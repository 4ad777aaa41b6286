//! Records that are in no segment of the index yet, member by member.
//!
//! The library's own writer takes documents, hashes every value for the term lists and once more for its column, and
//! sorts all of it again when a segment is written, because positions descend there. Here each value is looked up once,
//! or not at all where it is the one that the record before had, and lists are written in their final order from the
//! beginning. What reaches the disk is what the library's writer would have written, by the library's serializers.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
};

use foldhash::fast::RandomState;
use tantivy::{
    DocId, Segment, SegmentMeta, TantivyDocument, Term,
    columnar::{ColumnType, ColumnarWriter},
    directory::TerminatingWrite as _,
    fieldnorm::FieldNormsSerializer,
    index::SegmentComponent,
    postings::{FieldSerializer, InvertedIndexSerializer},
    schema::Field,
    store::StoreWriter,
};

use crate::{leaf::Scalar, search::Located, stamp};

use super::{
    IndexError,
    schema::{Fields, IP, Member, NumberAt, mapped},
    shapes::Shapes,
};

/// What a value costs in memory, roughly.
const VALUE_BYTES: usize = 16;

/// Records of one day in order of their positions.
#[derive(Debug)]
pub(super) struct Gathered {
    fields: Fields,
    shapes: Shapes,
    values: Values,
}

/// Values of all records, by member.
#[derive(Debug)]
struct Values {
    /// How many records.
    docs: DocId,
    words: Vec<Words>,
    numbers: Vec<Vec<(DocId, u64)>>,
    addresses: Vec<(DocId, Ipv6Addr)>,
    bytes: usize,
}

/// The values of one member, each as the number of its text.
#[derive(Debug, Default)]
struct Words {
    /// Seeded, so that nobody who names objects can aim at it.
    numbers: HashMap<Box<str>, u32, RandomState>,
    /// The text that came last: most members repeat the record before.
    last: (String, u32),
    /// In order of documents, and in order of the record for each of them.
    values: Vec<(DocId, u32)>,
}

impl Gathered {
    pub(super) fn new(fields: Fields) -> Self {
        let words = fields.words.iter().map(|_| Words::default()).collect();
        let numbers = fields.numbers.iter().map(|_| Vec::new()).collect();
        let values = Values { docs: 0, words, numbers, addresses: Vec::new(), bytes: 0 };
        Self { fields, shapes: Shapes::default(), values }
    }

    /// Memory that is held, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes
    }

    /// Adds a record, whose position is above those of all before. `sum` is its CRC-32C, for whoever reads it back.
    ///
    /// INVARIANT: unless the document is marked as odd, every column holds exactly the values that its member has in
    /// the record, in their order. Figures are made of columns alone because of it.
    pub(super) fn add(&mut self, located: &Located, sum: u32) {
        let Self { fields, shapes, values } = self;
        let seq = located.row.seq;
        values.number(NumberAt::SEQ, seq);
        values.number(NumberAt::OFFSET, located.offset);
        values.number(NumberAt::SUM, sum.into());
        let mut odd = false;
        let (mut times, mut seqs) = (0, 0);
        // Bytes that are no record have no members; they still have their place.
        let visited =
            shapes.read(&located.row.leaf, fields, &mut |member, value| match (member, value) {
                (Member::Word(at), Scalar::Text(text)) => values.word(at, text),
                (Member::Source(at), Scalar::Text(text)) => {
                    if let Ok(ip) = text.parse::<IpAddr>() {
                        values.addresses.push((values.docs, mapped(ip)));
                    }
                    values.word(at, text);
                }
                (Member::Number(at), Scalar::Number(digits)) => match number(digits) {
                    Some(number) => values.number(at, number),
                    None => odd = true,
                },
                (Member::Time, Scalar::Text(text)) => {
                    let at = stamp::parse(text.as_bytes());
                    values.number(NumberAt::TIME_US, at.unwrap_or(0));
                    times += if at.is_some() { 1 } else { 2 };
                }
                (Member::Seq, Scalar::Number(digits)) => {
                    seqs += if number(digits) == Some(seq) { 1 } else { 2 };
                }
                _ => odd = true,
            });
        if visited.is_none() {
            tracing::warn!(seq, "a record could not be read for the index");
        }
        if odd || visited.is_none() || (times, seqs) != (1, 1) {
            values.number(NumberAt::ODD, 1);
        }
        values.docs += 1;
    }

    /// Writes what was gathered as a segment, and begins again; `None` where there is nothing.
    pub(super) fn write(&mut self, segment: Segment) -> Result<Option<SegmentMeta>, IndexError> {
        if self.values.docs == 0 {
            return Ok(None);
        }
        self.write_terms(&segment)?;
        self.write_columns(&segment).map_err(failed)?;
        self.write_nothing(&segment)?;
        let meta = segment.with_max_doc(self.values.docs).meta().clone();
        // There is none: documents need not be sorted.
        meta.untrack_temp_docstore();
        self.values.clear();
        Ok(Some(meta))
    }

    /// Under each value the documents that have it.
    fn write_terms(&self, segment: &Segment) -> Result<(), IndexError> {
        let norms = segment.open_write(SegmentComponent::FieldNorms).map_err(failed)?;
        // No field has norms: nothing is ranked.
        FieldNormsSerializer::from_write(norms).and_then(|norms| norms.close()).map_err(failed)?;
        let mut serializer = InvertedIndexSerializer::open(segment)?;
        self.write_addresses(&mut serializer).map_err(failed)?;
        self.write_status(&mut serializer).map_err(failed)?;
        for (words, word) in self.values.words.iter().zip(&self.fields.words) {
            if word.indexed && !words.values.is_empty() {
                let mut terms: Vec<(&[u8], u32)> =
                    words.numbers.iter().map(|(text, number)| (text.as_bytes(), *number)).collect();
                terms.sort_unstable();
                self.write_field(&mut serializer, word.field, &terms, &words.values)
                    .map_err(failed)?;
            }
        }
        serializer.close().map_err(failed)
    }

    fn write_addresses(&self, serializer: &mut InvertedIndexSerializer) -> io::Result<()> {
        let term = |ip| Term::from_field_ip_addr(self.fields.ip, ip);
        self.write_values(serializer, self.fields.ip, &self.values.addresses, term)
    }

    fn write_status(&self, serializer: &mut InvertedIndexSerializer) -> io::Result<()> {
        let codes = self.values.numbers.get(NumberAt::STATUS).map_or(&[][..], Vec::as_slice);
        let term = |code| Term::from_field_u64(self.fields.status, code);
        self.write_values(serializer, self.fields.status, codes, term)
    }

    /// Values that are no words are few enough to be sorted; their terms ascend as they do.
    fn write_values<T: Copy + Ord>(
        &self,
        serializer: &mut InvertedIndexSerializer,
        field: Field,
        values: &[(DocId, T)],
        term: impl Fn(T) -> Term,
    ) -> io::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let mut distinct: Vec<T> = values.iter().map(|(_, value)| *value).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let terms: Vec<Term> = distinct.iter().map(|value| term(*value)).collect();
        let terms: Vec<(&[u8], u32)> =
            terms.iter().map(Term::serialized_value_bytes).zip(0_u32..).collect();
        let number = |value| distinct.binary_search(value).unwrap_or_default() as u32;
        let values: Vec<(DocId, u32)> =
            values.iter().map(|(doc, value)| (*doc, number(value))).collect();
        self.write_field(serializer, field, &terms, &values)
    }

    /// Writes one field: terms in order, each with its number, and the numbers of all documents.
    fn write_field(
        &self,
        serializer: &mut InvertedIndexSerializer,
        field: Field,
        terms: &[(&[u8], u32)],
        values: &[(DocId, u32)],
    ) -> io::Result<()> {
        let lists = Lists::new(terms.len(), values, self.values.docs);
        let mut serializer = serializer.new_field(field, values.len() as u64, None)?;
        for (term, number) in terms {
            write_term(&mut serializer, term, lists.of(*number))?;
        }
        serializer.close()
    }

    fn write_columns(&self, segment: &Segment) -> io::Result<()> {
        let mut columns = ColumnarWriter::default();
        let newest = self.values.docs - 1;
        columns.record_column_type(IP, ColumnType::IpAddr, false);
        for (doc, ip) in self.values.addresses.chunk_by(of_one_document).rev().flatten() {
            columns.record_ip_addr(newest - doc, IP, *ip);
        }
        for (numbers, number) in self.values.numbers.iter().zip(&self.fields.numbers) {
            columns.record_column_type(number.name, ColumnType::U64, false);
            for (doc, value) in numbers.chunk_by(of_one_document).rev().flatten() {
                columns.record_numerical(newest - doc, number.name, *value);
            }
        }
        for (words, word) in
            self.values.words.iter().zip(&self.fields.words).filter(|(_, w)| w.column)
        {
            columns.record_column_type(word.name, ColumnType::Str, false);
            let mut texts: Vec<&str> = vec![""; words.numbers.len()];
            for (text, number) in &words.numbers {
                if let Some(place) = texts.get_mut(*number as usize) {
                    *place = text;
                }
            }
            for (doc, number) in words.values.chunk_by(of_one_document).rev().flatten() {
                let text = texts.get(*number as usize).copied().unwrap_or_default();
                columns.record_str(newest - doc, word.name, text);
            }
        }
        let mut file =
            segment.open_write(SegmentComponent::FastFields).map_err(io::Error::other)?;
        columns.serialize(self.values.docs, None, &mut file)?;
        file.terminate()
    }

    /// The library wants a stored document for each one, which is empty: rows are read from the log.
    fn write_nothing(&self, segment: &Segment) -> Result<(), IndexError> {
        let file = segment.open_write(SegmentComponent::Store).map_err(failed)?;
        let settings = segment.index().settings();
        let (compression, block) = (settings.docstore_compression, settings.docstore_blocksize);
        let mut store = StoreWriter::new(file, compression, block, false).map_err(failed)?;
        let (nothing, schema) = (TantivyDocument::default(), segment.schema());
        (0..self.values.docs).try_for_each(|_| store.store(&nothing, &schema)).map_err(failed)?;
        store.close().map_err(failed)
    }
}

impl Values {
    fn number(&mut self, at: usize, number: u64) {
        if let Some(numbers) = self.numbers.get_mut(at) {
            numbers.push((self.docs, number));
            self.bytes += VALUE_BYTES;
        }
    }

    fn word(&mut self, at: usize, text: &str) {
        if let Some(words) = self.words.get_mut(at) {
            self.bytes += words.add(self.docs, text) + VALUE_BYTES;
        }
    }

    fn clear(&mut self) {
        self.words.iter_mut().for_each(Words::clear);
        self.numbers.iter_mut().for_each(Vec::clear);
        self.addresses.clear();
        (self.docs, self.bytes) = (0, 0);
    }
}

fn of_one_document<T>(a: &(DocId, T), b: &(DocId, T)) -> bool {
    a.0 == b.0
}

fn failed(error: impl std::fmt::Display) -> IndexError {
    IndexError::Library(error.to_string())
}

/// A number that its digits can be made of again.
fn number(digits: &str) -> Option<u64> {
    let canonical = digits == "0" || !digits.starts_with(['0', '-']);
    u64::try_from(digits.parse::<i64>().ok()?).ok().filter(|_| canonical)
}

impl Words {
    /// Adds a value; gives the bytes that its text takes if it is new.
    fn add(&mut self, doc: DocId, text: &str) -> usize {
        let mut bytes = 0;
        if self.numbers.is_empty() || self.last.0 != text {
            let number = match self.numbers.get(text) {
                Some(number) => *number,
                None => {
                    let number = self.numbers.len() as u32;
                    self.numbers.insert(text.into(), number);
                    bytes = text.len() + size_of::<(Box<str>, u32)>();
                    number
                }
            };
            self.last.0.clear();
            self.last.0.push_str(text);
            self.last.1 = number;
        }
        self.values.push((doc, self.last.1));
        bytes
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.values.clear();
    }
}

/// The documents of each term, one list after the other.
struct Lists {
    docs: Vec<DocId>,
    /// Where the list of each term ends.
    ends: Vec<usize>,
}

impl Lists {
    /// Documents are counted from the newest of `count` on, in which order they are in the segment.
    fn new(terms: usize, values: &[(DocId, u32)], count: DocId) -> Self {
        let mut ends = vec![0_usize; terms + 1];
        for (_, number) in values {
            if let Some(next) = ends.get_mut(*number as usize + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        // Each is the beginning of a list until that is filled, and its end then.
        let mut docs = vec![0; values.len()];
        for (doc, number) in values.iter().rev() {
            if let Some(end) = ends.get_mut(*number as usize) {
                if let Some(place) = docs.get_mut(*end) {
                    *place = count - 1 - doc;
                }
                *end += 1;
            }
        }
        Self { docs, ends }
    }

    /// A document comes twice where a record has the value twice.
    fn of(&self, number: u32) -> &[DocId] {
        let number = number as usize;
        let begin = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(number).copied().unwrap_or_default();
        self.docs.get(begin.unwrap_or_default()..end).unwrap_or_default()
    }
}

fn write_term(serializer: &mut FieldSerializer<'_>, term: &[u8], docs: &[DocId]) -> io::Result<()> {
    serializer.new_term_without_freq(term)?;
    for same in docs.chunk_by(|a, b| a == b) {
        if let [doc, ..] = same {
            serializer.write_doc(*doc, 0, &[]);
        }
    }
    serializer.close_term()
}

#[cfg(test)]
mod tests;
