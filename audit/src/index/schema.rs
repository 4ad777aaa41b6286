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

use crate::{leaf, leaf::Scalar, search::Located, stamp};

/// Members that are indexed as whole strings. Events and request ids are not: their random terms alone were a third
/// of the index, and a raw scan finds them.
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
    "resources.key",
    "sse.key",
    "sse.type",
];

/// Position in the log, in descending order: the sort key and the only identity.
pub(super) const SEQ: &str = "seq";
/// Byte in the segment.
pub(super) const OFFSET: &str = "offset";
/// Microseconds; monotone in `seq`.
pub(super) const TIME_US: &str = "time_us";
/// Peer address as a number, for networks.
const IP: &str = "ip";
/// HTTP status.
const STATUS: &str = "result.code";

/// The fields of an index.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    seq: Field,
    offset: Field,
    time_us: Field,
    pub(super) ip: Field,
    pub(super) status: Field,
    words: HashMap<&'static str, Field>,
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
        let fields = Self {
            seq: schema.add_u64_field(SEQ, fast.clone()),
            offset: schema.add_u64_field(OFFSET, fast.clone()),
            time_us: schema.add_u64_field(TIME_US, fast),
            ip: schema.add_ip_addr_field(IP, IpAddrOptions::default().set_indexed().set_fast()),
            status: schema.add_u64_field(STATUS, INDEXED | FAST),
            words: WORDS
                .iter()
                .map(|name| (*name, schema.add_text_field(name, word.clone())))
                .collect(),
        };
        (schema.build(), fields)
    }

    /// The field of a member that is indexed as a whole string.
    pub(super) fn word(&self, path: &str) -> Option<Field> {
        self.words.get(path).copied()
    }

    /// A record as a document.
    pub(super) fn document(&self, located: &Located) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_u64(self.seq, located.row.seq);
        document.add_u64(self.offset, located.offset);
        // Bytes that are no record have no members; they still have their place.
        let visited = leaf::visit(&located.row.leaf, &mut |path, value| match (path, value) {
            ("time", Scalar::Text(text)) => {
                document.add_u64(self.time_us, stamp::parse(text.as_bytes()).unwrap_or(0));
            }
            (STATUS, Scalar::Number(digits)) => {
                digits.parse().into_iter().for_each(|code| document.add_u64(self.status, code));
            }
            (path, Scalar::Text(text)) => {
                if path == "net.src"
                    && let Ok(ip) = text.parse::<IpAddr>()
                {
                    document.add_ip_addr(self.ip, mapped(ip));
                }
                if let Some(field) = self.word(path) {
                    document.add_text(field, text);
                }
            }
            _ => {}
        });
        if visited.is_none() {
            tracing::warn!(seq = located.row.seq, "a record could not be read for the index");
        }
        document
    }
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
