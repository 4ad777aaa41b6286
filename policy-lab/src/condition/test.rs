//! The policy's values under one operator, typed.

use ipnet::IpNet;
use jiff::Timestamp;

use super::operator::{Comparison, Family, Operator};
use super::{Reading, arn, binary, date, ip, numeric, string};
use crate::Profile;
use crate::context::{Context, Wanted};
use crate::pattern::{Pattern, Syntax};

#[derive(Clone, Debug)]
pub(super) enum Test {
    Text(Vec<Pattern>),
    TextIgnoreCase(Vec<Pattern>),
    Arn(Vec<arn::ArnPattern>),
    Numeric(Comparison, Vec<numeric::Decimal>),
    Date(Comparison, Vec<Timestamp>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Ip(Vec<IpNet>),
    /// Whether the key shall be absent.
    Null(Vec<bool>),
}

impl Test {
    /// The error is the position of the first value that is not of the operator's type.
    pub(super) fn compile(
        operator: Operator,
        values: &[String],
        reading: Reading,
    ) -> Result<Self, (usize, String)> {
        let Reading { variables, profile } = reading;
        let raw = profile.variables_are_raw;
        let pattern =
            |wildcards| move |v: &str| Pattern::parse(v, Syntax { wildcards, variables, raw });
        if profile.scalars_are_plain && operator.is_ordered() {
            scalar(operator, values, profile)?;
        }
        Ok(match operator.family {
            Family::StringEquals => Self::Text(typed(values, pattern(false))?),
            Family::StringLike => Self::Text(typed(values, pattern(true))?),
            Family::StringEqualsIgnoreCase => Self::TextIgnoreCase(typed(values, pattern(false))?),
            Family::Arn => Self::Arn(typed(values, |v| arn::ArnPattern::parse(v, variables))?),
            Family::Numeric(by) => Self::Numeric(
                by,
                typed(values, |v| {
                    numeric::Decimal::parse(v).ok_or_else(|| format!("`{v}` is not a number"))
                })?,
            ),
            Family::Date(by) => Self::Date(
                by,
                typed(values, |v| date::parse(v).ok_or_else(|| format!("`{v}` is not a date")))?,
            ),
            Family::Bool if profile.bool_and_ip_are_fixed => {
                let plain = Syntax { wildcards: false, variables: false, raw };
                Self::Text(typed(values, |v| Pattern::parse(v, plain))?)
            }
            Family::Bool => Self::Bool(typed(values, boolean)?),
            Family::Binary => Self::Binary(typed(values, binary::decode)?),
            Family::Ip => Self::Ip(typed(values, |v| {
                network(v, profile)
                    .ok_or_else(|| format!("`{v}` is not an IP address or CIDR range"))
            })?),
            Family::Null if profile.bool_and_ip_are_fixed => Self::Null(typed(values, presence)?),
            Family::Null => Self::Null(typed(values, boolean)?),
        })
    }

    /// Whether one value of the request fits some value of the policy, negation aside.
    pub(super) fn matches_any(&self, value: &str, context: &Context) -> bool {
        match self {
            Self::Text(patterns) => patterns.iter().any(|p| p.matches(value, context)),
            Self::TextIgnoreCase(patterns) => {
                patterns.iter().any(|p| string::equals_ignore_case(p, value, context))
            }
            Self::Arn(patterns) => patterns.iter().any(|p| p.matches(value, context)),
            Self::Numeric(by, numbers) => numeric::Decimal::parse(value)
                .is_some_and(|value| numbers.iter().any(|number| by.holds(&value, number))),
            Self::Date(by, dates) => {
                date::parse(value).is_some_and(|value| dates.iter().any(|d| by.holds(&value, d)))
            }
            Self::Bool(wanted) => boolean(value).is_ok_and(|value| wanted.contains(&value)),
            Self::Binary(wanted) => wanted.iter().any(|bytes| bytes == value.as_bytes()),
            Self::Ip(networks) => ip::address(value)
                .is_some_and(|address| networks.iter().any(|net| net.contains(&address))),
            Self::Null(_) => false,
        }
    }
}

impl Test {
    /// Gathers the keys of the variables in it.
    pub(super) fn wants(&self, wanted: &mut Wanted) {
        match self {
            Self::Text(patterns) | Self::TextIgnoreCase(patterns) => {
                patterns.iter().for_each(|pattern| pattern.wants(wanted));
            }
            Self::Arn(patterns) => patterns.iter().for_each(|pattern| pattern.wants(wanted)),
            Self::Numeric(..)
            | Self::Date(..)
            | Self::Bool(_)
            | Self::Binary(_)
            | Self::Ip(_)
            | Self::Null(_) => {}
        }
    }

    pub(super) fn resolves(&self, context: &Context) -> bool {
        match self {
            Self::Text(patterns) | Self::TextIgnoreCase(patterns) => {
                patterns.iter().all(|pattern| pattern.resolves(context))
            }
            Self::Arn(patterns) => patterns.iter().all(|pattern| pattern.resolves(context)),
            _ => true,
        }
    }

    /// Some values inside and outside of what the policy lists, without order.
    pub(super) fn examples(&self, context: &Context) -> Vec<String> {
        let other = "other".to_owned();
        match self {
            Self::Text(patterns) | Self::TextIgnoreCase(patterns) => {
                patterns.iter().filter_map(|p| p.example(context)).chain([other]).collect()
            }
            Self::Arn(patterns) => patterns
                .iter()
                .filter_map(|pattern| pattern.example(context))
                .chain(["arn:aws:s3:::other".to_owned()])
                .collect(),
            Self::Numeric(_, numbers) => {
                numbers.iter().flat_map(numeric::Decimal::neighbours).collect()
            }
            Self::Date(_, dates) => dates.iter().flat_map(date::neighbours).collect(),
            Self::Bool(_) => vec!["true".to_owned(), "false".to_owned()],
            Self::Binary(wanted) => wanted
                .iter()
                .filter_map(|bytes| String::from_utf8(bytes.clone()).ok())
                .chain([other])
                .collect(),
            // Addresses set aside for documentation: outside of every list that means somebody.
            Self::Ip(networks) => networks
                .iter()
                .map(|net| net.addr().to_string())
                .chain(["192.0.2.1".to_owned(), "2001:db8::1".to_owned()])
                .collect(),
            Self::Null(_) => vec![other],
        }
    }
}

/// Exactly one value, an integer or an RFC 3339 date.
fn scalar(operator: Operator, values: &[String], profile: Profile) -> Result<(), (usize, String)> {
    let [value] = values else {
        return Err((1, format!("profile `{}` has one value here", profile.name)));
    };
    let is_plain = match operator.family {
        Family::Numeric(_) => value.parse::<i64>().is_ok(),
        _ => value.contains('T') && value.parse::<Timestamp>().is_ok(),
    };
    let refused =
        || (0, format!("profile `{}` has integers and RFC 3339 dates only", profile.name));
    if is_plain { Ok(()) } else { Err(refused()) }
}

fn typed<T>(
    values: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, (usize, String)> {
    values
        .iter()
        .enumerate()
        .map(|(position, value)| parse(value).map_err(|message| (position, message)))
        .collect()
}

/// A range of a policy.
pub(super) fn network(text: &str, profile: Profile) -> Option<IpNet> {
    let is_wide = profile.bare_ipv6_is_wide && text.contains(':') && !text.contains('/');
    if is_wide { ip::network(&format!("{text}/32")) } else { ip::network(text) }
}

/// A value of `Null`, as MinIO spells it; AWS's spellings are among them.
pub(super) fn presence(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" => Ok(true),
        "0" | "f" | "F" => Ok(false),
        other => boolean(other),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(format!("`{text}` is neither `true` nor `false`"))
    }
}
