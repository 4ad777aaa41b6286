//! The values of one column for a block of documents.
#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc};

use tantivy::{
    DocId, SegmentReader,
    columnar::{Column, ColumnIndex, StrColumn},
};

use crate::{index::IndexError, index::schema, stamp};

/// A column of one segment.
#[derive(Clone)]
pub(super) struct Values {
    pub(super) kind: Kind,
    pub(super) column: Column<u64>,
}

/// What the numbers of a column stand for.
#[derive(Clone)]
pub(super) enum Kind {
    /// Places in this dictionary.
    Words(Arc<StrColumn>),
    Numbers,
    /// Microseconds.
    Times,
}

impl Values {
    /// The column; `None` where no document of the segment has a value.
    pub(super) fn open(
        segment: &SegmentReader,
        column: schema::Column<'_>,
    ) -> Result<Option<Self>, IndexError> {
        let columns = segment.fast_fields();
        let of = |name, kind| -> Result<Option<Self>, IndexError> {
            Ok(columns.column_opt::<u64>(name)?.map(|column| Self { kind, column }))
        };
        match column {
            schema::Column::Numbers(name) => of(name, Kind::Numbers),
            schema::Column::Times(name) => of(name, Kind::Times),
            schema::Column::Words(name) => Ok(columns.str(name)?.map(|words| Self {
                column: words.ords().clone(),
                kind: Kind::Words(Arc::new(words)),
            })),
        }
    }

    /// Calls `each` with every value of every document, by the document's place in `docs`.
    pub(super) fn each(&self, docs: &[DocId], mut each: impl FnMut(usize, u64)) {
        if let Some(values) = self.one_each(docs) {
            values.into_iter().enumerate().for_each(|(at, value)| each(at, value));
            return;
        }
        // A document that is in several groups comes several times, and its values cannot be told apart below.
        if !docs.is_sorted_by(|before, after| before < after) {
            for (at, doc) in docs.iter().enumerate() {
                self.column.values_for_doc(*doc).for_each(|value| each(at, value));
            }
            return;
        }
        // All values at once, because one at a time costs several times as much.
        let (mut with, mut rows) = (Vec::new(), Vec::new());
        self.column.index.docids_to_rowids(docs, &mut with, &mut rows);
        let mut values = vec![0; rows.len()];
        self.column.values.get_vals(&rows, &mut values);
        let mut places = docs.iter().enumerate().peekable();
        for (doc, value) in with.into_iter().zip(values) {
            // Both ascend, and every document that has a value is one of those asked for.
            while places.next_if(|(_, place)| **place < doc).is_some() {}
            if let Some((at, _)) = places.peek() {
                each(*at, value);
            }
        }
    }

    /// The values, where the documents follow one another and each has exactly one: then so do the values, and unpacking
    /// them together costs a fraction of what finding each of them does.
    pub(super) fn one_each(&self, docs: &[DocId]) -> Option<Vec<u64>> {
        let (first, last) = (*docs.first()?, *docs.last()?);
        // Without a way out before the end, so that several are compared at once.
        let follow =
            |all: bool, (before, after): (&DocId, &DocId)| all & (*after == before.wrapping_add(1));
        if self.is_multiple() || !docs.iter().zip(docs.iter().skip(1)).fold(true, follow) {
            return None;
        }
        let rows = self.column.index.docid_range_to_rowids(first..last + 1);
        if rows.len() != docs.len() {
            return None;
        }
        let mut values = vec![0; docs.len()];
        self.column.values.get_range(rows.start.into(), &mut values);
        Some(values)
    }

    /// Whether a document may have more than one value.
    pub(super) fn is_multiple(&self) -> bool {
        matches!(self.column.index, ColumnIndex::Multivalued(_))
    }

    /// The text of each value, as its record has it; the values must ascend.
    pub(super) fn texts(&self, values: &[u64]) -> Result<Vec<String>, IndexError> {
        match &self.kind {
            Kind::Numbers => Ok(values.iter().map(u64::to_string).collect()),
            Kind::Times => Ok(values.iter().map(|us| stamp::string(*us)).collect()),
            Kind::Words(words) => {
                let mut texts = Vec::with_capacity(values.len());
                let all = words.dictionary().sorted_ords_to_term_cb(values, |term| {
                    texts.push(match std::str::from_utf8(term) {
                        Ok(text) => text.to_owned(),
                        Err(_) => String::from_utf8_lossy(term).into_owned(),
                    });
                });
                match all.map_err(|error| IndexError::Library(error.to_string()))? {
                    true => Ok(texts),
                    false => Err(IndexError::Library("a word is not in its dictionary".to_owned())),
                }
            }
        }
    }

    /// Calls `each` with every word of the dictionary, in order.
    pub(super) fn words(words: &StrColumn, mut each: impl FnMut(&str)) -> Result<(), IndexError> {
        let failed = |error: std::io::Error| IndexError::Library(error.to_string());
        let mut stream = words.dictionary().stream().map_err(failed)?;
        while stream.advance() {
            each(&String::from_utf8_lossy(stream.key()));
        }
        Ok(())
    }
}

/// The values of one document in every column.
pub(super) fn all_of(
    segment: &SegmentReader,
    doc: DocId,
) -> Result<BTreeMap<&'static str, Vec<String>>, IndexError> {
    let mut all = BTreeMap::new();
    for (path, column) in schema::builder().1.columns() {
        let Some(values) = Values::open(segment, column)? else { continue };
        let mut texts = Vec::new();
        for value in values.column.values_for_doc(doc) {
            texts.extend(values.texts(&[value])?);
        }
        if !texts.is_empty() {
            all.insert(path, texts);
        }
    }
    Ok(all)
}
