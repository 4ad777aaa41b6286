//! Which members of a record are indexed, and as what.

use std::{collections::HashMap, net::IpAddr};

use tantivy::{
    Index, IndexBuilder, IndexSettings,
    index::{IndexSortByField, Order},
    schema::{
        Field, IndexRecordOption, IpAddrOptions, NumericOptions, Schema, TextFieldIndexing,
        TextOptions,
    },
};

/// Raised when fields change: an index of another version is thrown away and made again.
pub(super) const VERSION: u32 = 4;

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
pub(super) const IP: &str = "ip";
/// HTTP status.
const STATUS: &str = "result.code";
/// Set on the documents whose columns do not say all that their records say.
pub(super) const ODD: &str = "odd";

/// The fields of an index.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) ip: Field,
    pub(super) status: Field,
    /// In order of their fields.
    pub(super) words: Vec<Word>,
    /// By [`NumberAt`]; those that only records have come last.
    pub(super) numbers: Vec<Number>,
    members: HashMap<&'static str, Member>,
}

/// A member that is a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) name: &'static str,
    pub(super) field: Field,
    pub(super) indexed: bool,
    pub(super) column: bool,
}

/// A column of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) name: &'static str,
}

/// Places of numbers that every index has.
pub(super) struct NumberAt;

impl NumberAt {
    pub(super) const SEQ: usize = 0;
    pub(super) const OFFSET: usize = 1;
    pub(super) const SUM: usize = 2;
    pub(super) const TIME_US: usize = 3;
    pub(super) const ODD: usize = 4;
    pub(super) const STATUS: usize = 5;
}

/// What a path of a record is to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// The string in this place of [`Fields::words`].
    Word(usize),
    /// The same, and an address.
    Source(usize),
    /// The number in this place of [`Fields::numbers`].
    Number(usize),
    Time,
    Seq,
    /// Below a member that ought to be a value; `exists` would find it.
    Odd,
    /// Not indexed.
    Nothing,
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
        for name in [SEQ, OFFSET, SUM, TIME_US, ODD] {
            schema.add_u64_field(name, fast.clone());
        }
        let ip = schema.add_ip_addr_field(IP, IpAddrOptions::default().set_indexed().set_fast());
        // Indexed for `TermQuery`. Without norms, which nothing here ranks by.
        let status = schema.add_u64_field(STATUS, fast.clone().set_indexed());
        let mut members = HashMap::from([("time", Member::Time), ("seq", Member::Seq)]);
        let mut words = Vec::new();
        let mut add_words = |names: &[&'static str], indexed: bool, column: bool| {
            for name in names {
                let options = if indexed { word.clone() } else { TextOptions::default() };
                let options = if column { options.set_fast("raw") } else { options };
                let field = schema.add_text_field(name, options);
                let at = words.len();
                let is_source = *name == "net.src";
                members
                    .insert(*name, if is_source { Member::Source(at) } else { Member::Word(at) });
                words.push(Word { name, field, indexed, column });
            }
        };
        add_words(WORDS, true, true);
        add_words(WORDS_WITHOUT_COLUMN, true, false);
        add_words(COLUMNS_OF_WORDS, false, true);
        let mut numbers: Vec<Number> =
            [SEQ, OFFSET, SUM, TIME_US, ODD, STATUS].map(|name| Number { name }).into();
        members.insert(STATUS, Member::Number(NumberAt::STATUS));
        for name in NUMBERS {
            schema.add_u64_field(name, fast.clone());
            members.insert(*name, Member::Number(numbers.len()));
            numbers.push(Number { name });
        }
        (schema.build(), Self { ip, status, words, numbers, members })
    }

    /// What a path of a record is.
    pub(super) fn member(&self, path: &str) -> Member {
        let is_odd = || {
            let dots = path.match_indices('.').map(|(dot, _)| dot);
            dots.filter_map(|dot| path.get(..dot)).any(|parent| self.members.contains_key(parent))
        };
        match self.members.get(path) {
            Some(member) => *member,
            None if is_odd() => Member::Odd,
            None => Member::Nothing,
        }
    }

    fn word_of(&self, path: &str) -> Option<&Word> {
        match self.members.get(path)? {
            Member::Word(at) | Member::Source(at) => self.words.get(*at),
            _ => None,
        }
    }

    /// The field of a member that is indexed as a whole string.
    pub(super) fn word(&self, path: &str) -> Option<Field> {
        self.word_of(path).filter(|word| word.indexed).map(|word| word.field)
    }

    /// The column of a member, if it has one.
    pub(super) fn column<'a>(&self, path: &'a str) -> Option<Column<'a>> {
        match self.members.get(path)? {
            Member::Word(_) | Member::Source(_) => {
                self.word_of(path)?.column.then_some(Column::Words(path))
            }
            Member::Number(_) => Some(Column::Numbers(path)),
            Member::Time => Some(Column::Times(TIME_US)),
            Member::Seq => Some(Column::Numbers(SEQ)),
            Member::Odd | Member::Nothing => None,
        }
    }

    /// All columns, by member.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, Column<'static>)> {
        self.members.keys().filter_map(|path| Some((*path, self.column(path)?)))
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
    let settings = IndexSettings {
        sort_by_field: Some(by_seq),
        // Nothing is stored, so there is nothing to do beside the thread that merges.
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    };
    (Index::builder().schema(schema).settings(settings), fields)
}
