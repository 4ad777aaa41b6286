//! Which members of a record are indexed, and as what.

use std::{collections::HashMap, net::IpAddr};

use tantivy::{
    Index, IndexBuilder, IndexSettings, TantivyDocument,
    index::{IndexSortByField, Order},
    schema::{
        FAST, Field, INDEXED, IndexRecordOption, IpAddrOptions, NumericOptions, Schema,
        TextFieldIndexing, TextOptions,
    },
};

use crate::{leaf, leaf::Scalar, search::Located, segment::check, stamp};

/// Raised when fields change: an index of another version is thrown away and made again.
pub(super) const VERSION: u32 = 3;

/// Members that are indexed as whole strings, and have a column. Events and request ids do not: their random terms
/// alone were a third of the index, and a raw scan finds them.
const WORDS: &[&str] = &[
    "action",
    "auth.by.id",
    "auth.decision",
    "auth.reason",
    "class",
    "err.code",
    "kms.key",
    "kms.op",
    "net.src",
    "net.tls",
    "node",
    "phase",
    "principal.access_key",
    "principal.account",
    "principal.arn",
    "principal.name",
    "principal.session",
    "principal.sig",
    "principal.type",
    "resources.bucket",
    "sse.key",
    "sse.type",
];
/// Strings that are looked for and seldom counted: nearly every record has one of its own.
const WORDS_WITHOUT_COLUMN: &[&str] = &["resources.key"];
/// Strings that are counted and seldom looked for.
const COLUMNS_OF_WORDS: &[&str] =
    &["auth.digest", "net.endpoint", "net.ua", "principal.groups", "resources.account"];
/// Numbers. What is above `i64::MAX` is no number of a record.
const NUMBERS: &[&str] = &[
    "auth.us",
    "resources.size",
    "result.bytes_in",
    "result.bytes_out",
    "result.ttfb_us",
    "result.us",
];

/// Position in the log, in descending order: the sort key and the only identity.
pub(super) const SEQ: &str = "seq";
/// Byte in the segment.
pub(super) const OFFSET: &str = "offset";
/// CRC-32C of the record: whoever reads it back knows that it is the one that was indexed.
pub(super) const SUM: &str = "sum";
/// Microseconds; monotone in `seq`.
pub(super) const TIME_US: &str = "time_us";
/// Peer address as a number, for networks.
const IP: &str = "ip";
/// HTTP status.
const STATUS: &str = "result.code";
/// Set on the documents whose columns do not say all that their records say.
pub(super) const ODD: &str = "odd";

/// The fields of an index.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    seq: Field,
    offset: Field,
    /// Checksums.
    pub(super) sum: Field,
    time_us: Field,
    odd: Field,
    pub(super) ip: Field,
    pub(super) status: Field,
    members: HashMap<&'static str, Member>,
}

/// How a member of a record is kept.
#[derive(Clone, Copy, Debug)]
enum Member {
    Word { field: Field, indexed: bool, column: bool },
    Number(Field),
    Time,
    Seq,
}

/// What a column holds, and its name in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column<'a> {
    /// Strings, each as its place in a dictionary.
    Words(&'a str),
    /// Numbers as they are.
    Numbers(&'a str),
    /// Times in microseconds.
    Times(&'a str),
}

impl Fields {
    fn build() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let fast = NumericOptions::default().set_fast();
        let raw = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let word = TextOptions::default().set_indexing_options(raw);
        let seq = schema.add_u64_field(SEQ, fast.clone());
        let offset = schema.add_u64_field(OFFSET, fast.clone());
        let sum = schema.add_u64_field(SUM, fast.clone());
        let time_us = schema.add_u64_field(TIME_US, fast.clone());
        let odd = schema.add_u64_field(ODD, fast.clone());
        let ip = schema.add_ip_addr_field(IP, IpAddrOptions::default().set_indexed().set_fast());
        let status = schema.add_u64_field(STATUS, INDEXED | FAST);
        let mut members = HashMap::from([
            ("time", Member::Time),
            ("seq", Member::Seq),
            (STATUS, Member::Number(status)),
        ]);
        let mut words = |names: &[&'static str], indexed: bool, column: bool| {
            for name in names {
                let options = if indexed { word.clone() } else { TextOptions::default() };
                let options = if column { options.set_fast("raw") } else { options };
                let field = schema.add_text_field(name, options);
                members.insert(*name, Member::Word { field, indexed, column });
            }
        };
        words(WORDS, true, true);
        words(WORDS_WITHOUT_COLUMN, true, false);
        words(COLUMNS_OF_WORDS, false, true);
        for name in NUMBERS {
            members.insert(*name, Member::Number(schema.add_u64_field(name, fast.clone())));
        }
        (schema.build(), Self { seq, offset, sum, time_us, odd, ip, status, members })
    }

    /// The field of a member that is indexed as a whole string.
    pub(super) fn word(&self, path: &str) -> Option<Field> {
        match self.members.get(path) {
            Some(Member::Word { field, indexed: true, .. }) => Some(*field),
            _ => None,
        }
    }

    /// The column of a member, if it has one.
    pub(super) fn column<'a>(&self, path: &'a str) -> Option<Column<'a>> {
        match self.members.get(path)? {
            Member::Word { column, .. } => column.then_some(Column::Words(path)),
            Member::Number(_) => Some(Column::Numbers(path)),
            Member::Time => Some(Column::Times(TIME_US)),
            Member::Seq => Some(Column::Numbers(SEQ)),
        }
    }

    /// All columns, by member.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, Column<'static>)> {
        self.members.keys().filter_map(|path| Some((*path, self.column(path)?)))
    }

    /// A record as a document.
    ///
    /// INVARIANT: unless the document is marked as odd, every column holds exactly the values that its member has in
    /// the record, in their order. Figures are made of columns alone because of it.
    pub(super) fn document(&self, located: &Located) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_u64(self.seq, located.row.seq);
        document.add_u64(self.offset, located.offset);
        document.add_u64(self.sum, check::crc(&located.row.leaf).into());
        let mut odd = false;
        let (mut times, mut seqs) = (0, 0);
        // Bytes that are no record have no members; they still have their place.
        let visited = leaf::visit(&located.row.leaf, &mut |path, value| match (
            self.members.get(path),
            value,
        ) {
            (Some(Member::Word { field, .. }), Scalar::Text(text)) => {
                if path == "net.src"
                    && let Ok(ip) = text.parse::<IpAddr>()
                {
                    document.add_ip_addr(self.ip, mapped(ip));
                }
                document.add_text(*field, text);
            }
            (Some(Member::Number(field)), Scalar::Number(digits)) => match number(digits) {
                Some(number) => document.add_u64(*field, number),
                None => odd = true,
            },
            (Some(Member::Time), Scalar::Text(text)) => {
                let at = stamp::parse(text.as_bytes());
                document.add_u64(self.time_us, at.unwrap_or(0));
                times += if at.is_some() { 1 } else { 2 };
            }
            (Some(Member::Seq), Scalar::Number(digits)) => {
                seqs += if number(digits) == Some(located.row.seq) { 1 } else { 2 };
            }
            (Some(_), _) => odd = true,
            (None, _) => odd |= self.is_below_member(path),
        });
        if visited.is_none() {
            tracing::warn!(seq = located.row.seq, "a record could not be read for the index");
        }
        if odd || visited.is_none() || (times, seqs) != (1, 1) {
            document.add_u64(self.odd, 1);
        }
        document
    }

    /// Whether a member of ours, which is a value, is an object here; `exists` would find it.
    fn is_below_member(&self, path: &str) -> bool {
        let dots = path.match_indices('.').map(|(dot, _)| dot);
        dots.filter_map(|dot| path.get(..dot)).any(|parent| self.members.contains_key(parent))
    }
}

/// A number that its digits can be made of again.
fn number(digits: &str) -> Option<u64> {
    let canonical = digits == "0" || !digits.starts_with(['0', '-']);
    u64::try_from(digits.parse::<i64>().ok()?).ok().filter(|_| canonical)
}

/// An address as the index keeps it: version 4 inside version 6.
pub(super) fn mapped(ip: IpAddr) -> std::net::Ipv6Addr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// How a new index is made.
pub(super) fn builder() -> (IndexBuilder, Fields) {
    let (schema, fields) = Fields::build();
    let by_seq = IndexSortByField { field: SEQ.to_owned(), order: Order::Desc };
    let settings = IndexSettings { sort_by_field: Some(by_seq), ..IndexSettings::default() };
    (Index::builder().schema(schema).settings(settings), fields)
}
