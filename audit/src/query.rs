//! The query language: a filter, and stages that shape what it finds.
//!
//! ```text
//! query  = [ filter ] *( "|" stage )
//! filter = and *( "or" and )          and = not *( ["and"] not )          not = ["not"] ( "(" filter ")" | pred )
//! pred   = field op value | field "in" "(" value *("," value) ")" | field "in" cidr | field "exists" | flag | text
//! op     = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" (glob) | "=~" (regex, anchored) | "has" (token)
//! stage  = "fields" list | "sort" field ["asc"|"desc"] | "limit" n | "where" filter
//! ```
//! A field with several values matches if one of them does; `!=` means that none is equal. Rows come newest first.

use crate::leaf;

pub use error::QueryError;
pub(crate) use filter::{Filter, Pred, Test};

mod error;
pub(crate) mod field;
mod filter;
mod lexer;
mod parser;
mod value;

/// Longest query text in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most predicates and list values.
pub const TERMS_MAX: usize = 100;

/// A parsed query.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) filter: Filter,
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

    /// Whether a record's bytes match.
    pub fn matches(&self, leaf: &[u8]) -> bool {
        self.filter.matches(leaf)
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
