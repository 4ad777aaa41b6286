//! What stages make of the records that match: groups, series, sequences, and the table that comes of them.
#![deny(clippy::indexing_slicing)]

use std::net::IpAddr;

use ipnet::IpNet;

use crate::stamp;

use super::{Filter, Order};

/// Bits of a version 6 address where the query names bits that fit version 4.
const V6_BITS: u8 = 64;

/// What to group by: a field, or something made of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Field(String),
    /// Start of the interval that a record's time falls into.
    Bin {
        width_us: u64,
        text: String,
    },
    /// Hour of the day, UTC.
    Hour,
    /// The network of an address.
    Net {
        field: String,
        bits: u8,
    },
}

impl Key {
    /// The column's name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Field(field) => field.clone(),
            Self::Bin { text, .. } => format!("bin(time,{text})"),
            Self::Hour => "hour(time)".to_owned(),
            Self::Net { field, bits } => format!("{field}/{bits}"),
        }
    }

    /// The field whose values it is made of.
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::Field(field) | Self::Net { field, .. } => field,
            Self::Bin { .. } | Self::Hour => "time",
        }
    }

    /// Whether it cuts time into pieces, so that a table reads in order of time.
    pub(crate) fn is_time(&self) -> bool {
        matches!(self, Self::Bin { .. } | Self::Hour)
    }

    /// What one value of the field becomes; `None` where it cannot.
    pub(crate) fn of(&self, text: &str) -> Option<String> {
        match self {
            Self::Field(_) => Some(text.to_owned()),
            Self::Bin { width_us, .. } => {
                let at = stamp::parse(text.as_bytes())?;
                Some(stamp::string(at - at.checked_rem(*width_us)?))
            }
            Self::Hour => hour(text).map(|hour| format!("{hour:02}")),
            Self::Net { bits, .. } => {
                let ip = text.parse::<IpAddr>().ok()?.to_canonical();
                let bits = if ip.is_ipv6() && *bits <= 32 { V6_BITS } else { *bits };
                let longest = if ip.is_ipv4() { 32 } else { 128 };
                Some(IpNet::new(ip, bits.min(longest)).ok()?.trunc().to_string())
            }
        }
    }
}

/// The hour in a time's text.
pub(super) fn hour(text: &str) -> Option<u8> {
    stamp::parse(text.as_bytes())?;
    text.get(11..13)?.parse().ok()
}

/// A figure over the records of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agg {
    Count,
    Sum(String),
    Min(String),
    Max(String),
    Avg(String),
    /// Number of distinct values.
    Distinct(String),
    /// The value below or at which so many percent of the values lie; exact, by nearest rank.
    Percentile(u8, String),
}

impl Agg {
    /// The column's name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::Sum(field) => format!("sum({field})"),
            Self::Min(field) => format!("min({field})"),
            Self::Max(field) => format!("max({field})"),
            Self::Avg(field) => format!("avg({field})"),
            Self::Distinct(field) => format!("dcount({field})"),
            Self::Percentile(percent, field) => format!("p{percent}({field})"),
        }
    }

    /// The field that it reads.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field)
            | Self::Min(field)
            | Self::Max(field)
            | Self::Avg(field)
            | Self::Distinct(field)
            | Self::Percentile(_, field) => Some(field),
        }
    }
}

/// What makes a table of records.
#[derive(Clone, Debug)]
pub(crate) enum Make {
    /// One row per combination of values.
    Groups { aggs: Vec<Agg>, by: Vec<Key> },
    /// One row per value.
    Distinct(Key),
    /// One row per silence longer than this.
    Gaps { longer_us: u64 },
    /// One row whenever a value comes that was not there for a while.
    FirstSeen { key: Key, baseline_us: u64 },
    /// One row per run of steps in order, within a time, for each combination of values.
    Sequence { by: Vec<Key>, within_us: u64, steps: Vec<Step> },
    /// One row per statement in force that no match names.
    Unused,
    /// One row per decision, beside what a policy would have decided.
    Replay { policy: String, instead_of: Option<String> },
}

/// The columns of `replay`: what was decided about whom, and what would have been.
pub(crate) const REPLAY_COLUMNS: [&str; 11] = [
    "time",
    "seq",
    "event",
    "principal.arn",
    "action",
    "resources.bucket",
    "resources.key",
    "auth.decision",
    "auth.reason",
    "replay.decision",
    "replay.reason",
];

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) filter: Filter,
    pub(crate) at_least: usize,
}

impl Make {
    /// The names of the table's columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        let fixed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Groups { aggs, by } => {
                by.iter().map(Key::name).chain(aggs.iter().map(Agg::name)).collect()
            }
            Self::Distinct(key) => vec![key.name()],
            Self::Gaps { .. } => fixed(&["from", "to", "seconds", "after_seq"]),
            Self::FirstSeen { key, .. } => {
                vec!["time".to_owned(), key.name(), "seq".to_owned(), "event".to_owned()]
            }
            Self::Sequence { by, .. } => {
                let ends = ["from", "to", "first_seq", "last_seq"];
                by.iter().map(Key::name).chain(ends.map(str::to_owned)).collect()
            }
            Self::Unused => fixed(&["auth.by.id"]),
            Self::Replay { .. } => fixed(&REPLAY_COLUMNS),
        }
    }
}

/// A table and what is done with its rows.
#[derive(Clone, Debug)]
pub(crate) struct Tabular {
    pub(crate) make: Make,
    pub(crate) then: Vec<Rework>,
    /// Names of the columns after everything.
    pub(crate) columns: Vec<String>,
}

/// What a later stage does with a table.
#[derive(Clone, Debug)]
pub(crate) enum Rework {
    Where(Filter),
    Sort { column: usize, order: Order },
    Limit(usize),
    Fields(Vec<usize>),
}

/// Records that belong to those that match.
#[derive(Clone, Debug)]
pub(crate) struct Expand {
    pub(crate) related: Related,
    /// What must hold for them.
    pub(crate) then: Filter,
}

/// What records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Related {
    Request,
    Session,
}

impl Related {
    /// The fields that hold the name of what they have in common. A call that makes a session names it in its
    /// parameters.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Request => &["request"],
            Self::Session => &["principal.session", "params.session"],
        }
    }
}
