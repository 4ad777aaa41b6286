//! The query language: a filter, and stages that shape what it finds.
//!
//! ```text
//! query  = [ filter | stage ] *( "|" stage )
//! filter = and *( "or" and )          and = not *( ["and"] not )          not = ["not"] ( "(" filter ")" | pred )
//! pred   = field op value | field "in" "(" item *("," item) ")" | field "in" cidr | field "exists" | flag | text
//!        | "hour(time)" ( op value | "in" list )
//! op     = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" (glob) | "=~" (regex, anchored) | "has" (token)
//! item   = value | n ".." m
//! stage  = "where" filter | "expand" ("request"|"session")
//!        | "fields" list | "sort" field ["asc"|"desc"] | "limit" n
//!        | agg *("," agg) ["by" key *("," key)] | "distinct" key | "gaps(" duration ")"
//!        | "firstseen" key "baseline" duration | "sequence by" keys "within" duration step *("then" step) | "top" n
//!        | "policies() minus (" filter "| distinct auth.by )" | "replay policy=" name ["as" name] ["over" filter]
//! agg    = "count" | ("sum"|"min"|"max"|"avg"|"dcount"|"pNN") "(" field ")"
//! key    = field | field "/" bits | "bin(time," duration ")" | "hour(time)"          step = "[" filter "]" [">=" n]
//! ```
//! A field with several values matches if one of them does; `!=` means that none is equal; between two fields, both
//! must have values. Rows come newest first. After a stage that makes a table, `where`, `sort`, `limit`, `top` and
//! `fields` speak of its columns: `sum` alone is `sum(result.bytes_out)` if there is only one.

use crate::leaf;

pub use error::QueryError;
pub(crate) use filter::{Filter, Pred, Test};
pub(crate) use lexer::Op;
pub(crate) use stage::Tabular;
use stage::{Expand, Make};

mod error;
pub(crate) mod field;
mod filter;
mod lexer;
mod parser;
pub(crate) mod stage;
mod value;

/// Longest query text in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most predicates; each value of a list is one.
pub const TERMS_MAX: usize = 100;

/// A parsed query.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) filter: Filter,
    pub(crate) expand: Option<Expand>,
    pub(crate) table: Option<Tabular>,
    /// What `now` meant.
    pub(crate) now_us: u64,
    fields: Option<Vec<String>>,
    sort: Option<Sort>,
    limit: Option<usize>,
}

/// The order that a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Canonical field name.
    pub field: String,
    /// Direction.
    pub order: Order,
}

/// Direction of a [`Sort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest or oldest first.
    Ascending,
    /// Largest or newest first.
    Descending,
}

impl Query {
    /// Parses a query; `now_us` is what `-24h` counts from.
    ///
    /// # Errors
    /// [`QueryError`] with the byte offset of what is wrong; also for what the language knows but this release does
    /// not, which is never skipped.
    pub fn parse(text: &str, now_us: u64) -> Result<Self, QueryError> {
        parser::parse(text, now_us)
    }

    /// Whether a record's bytes match the filter. What `expand` and tables make of the matches is for
    /// [`crate::search()`] to say.
    pub fn matches(&self, leaf: &[u8]) -> bool {
        self.filter.matches(leaf)
    }

    /// Whether the answer is a table of figures; records otherwise.
    pub fn makes_table(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the answer depends on policies, for [`crate::Searcher::search_with`].
    pub fn asks_policies(&self) -> bool {
        let make = self.table.as_ref().map(|table| &table.make);
        matches!(make, Some(Make::Unused | Make::Replay { .. }))
    }

    /// Whether the filter alone decides about each record, as a reader needs it that follows the log.
    pub fn is_filter(&self) -> bool {
        self.table.is_none() && self.expand.is_none()
    }

    /// The columns that `| fields` asked for, as canonical names.
    pub fn fields(&self) -> Option<&[String]> {
        self.fields.as_deref()
    }

    /// The values of each column of [`Query::fields`] in one record.
    pub fn project(&self, leaf: &[u8]) -> Vec<Vec<String>> {
        let columns = self.fields.as_deref().unwrap_or_default();
        columns.iter().map(|field| leaf::values(leaf, field)).collect()
    }

    /// What `| sort` asked for.
    pub fn sort(&self) -> Option<&Sort> {
        self.sort.as_ref()
    }

    /// What `| limit` asked for.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }
}

#[cfg(test)]
mod tests;
