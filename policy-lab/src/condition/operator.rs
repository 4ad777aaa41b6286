//! Operator names: `[ForAllValues:|ForAnyValue:]Base[IfExists]`.

use crate::Profile;

/// The set operator in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    None,
    All,
    Any,
}

/// How two ordered values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn holds<T: Ord>(self, value: &T, policy: &T) -> bool {
        match self {
            Self::Equal => value == policy,
            Self::Less => value < policy,
            Self::LessOrEqual => value <= policy,
            Self::Greater => value > policy,
            Self::GreaterOrEqual => value >= policy,
        }
    }
}

/// What one value is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Arn,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Ip,
    Null,
}

/// A parsed operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) family: Family,
    pub(crate) negated: bool,
    pub(crate) quantifier: Quantifier,
    pub(crate) if_exists: bool,
}

/// Every base operator: name, family, negated.
///
/// Source: IAM user guide, "IAM JSON policy elements: Condition operators".
const BASES: [(&str, Family, bool); 27] = [
    ("StringEquals", Family::StringEquals, false),
    ("StringNotEquals", Family::StringEquals, true),
    ("StringEqualsIgnoreCase", Family::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Family::StringEqualsIgnoreCase, true),
    ("StringLike", Family::StringLike, false),
    ("StringNotLike", Family::StringLike, true),
    ("ArnEquals", Family::Arn, false),
    ("ArnLike", Family::Arn, false),
    ("ArnNotEquals", Family::Arn, true),
    ("ArnNotLike", Family::Arn, true),
    ("NumericEquals", Family::Numeric(Comparison::Equal), false),
    ("NumericNotEquals", Family::Numeric(Comparison::Equal), true),
    ("NumericLessThan", Family::Numeric(Comparison::Less), false),
    ("NumericLessThanEquals", Family::Numeric(Comparison::LessOrEqual), false),
    ("NumericGreaterThan", Family::Numeric(Comparison::Greater), false),
    ("NumericGreaterThanEquals", Family::Numeric(Comparison::GreaterOrEqual), false),
    ("DateEquals", Family::Date(Comparison::Equal), false),
    ("DateNotEquals", Family::Date(Comparison::Equal), true),
    ("DateLessThan", Family::Date(Comparison::Less), false),
    ("DateLessThanEquals", Family::Date(Comparison::LessOrEqual), false),
    ("DateGreaterThan", Family::Date(Comparison::Greater), false),
    ("DateGreaterThanEquals", Family::Date(Comparison::GreaterOrEqual), false),
    ("Bool", Family::Bool, false),
    ("BinaryEquals", Family::Binary, false),
    ("IpAddress", Family::Ip, false),
    ("NotIpAddress", Family::Ip, true),
    ("Null", Family::Null, false),
];

impl Operator {
    /// What to write in place of a name that is none.
    pub(crate) const REMEDY: &'static str = "an operator is a base such as StringLike, NumericLessThan, DateEquals, Bool, \
        BinaryEquals, IpAddress, ArnLike or Null, with ForAllValues: or ForAnyValue: before and IfExists behind it, where the \
        profile has that";

    /// What to write in place of a value that is none.
    pub(crate) const fn remedy(self) -> &'static str {
        match self.family {
            Family::StringEquals | Family::StringEqualsIgnoreCase | Family::StringLike => {
                "a variable is written as ${aws:username} or ${aws:username, 'default'}"
            }
            Family::Arn => {
                "write arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, each with * and ? as needed"
            }
            Family::Numeric(_) => "write one number, such as 100 or 0.5",
            Family::Date(_) => "write 2026-01-31, 2026-01-31T12:00:00Z or seconds since 1970",
            Family::Bool | Family::Null => "write \"true\" or \"false\"",
            Family::Binary => "write the bytes in base64, with its padding",
            Family::Ip => "write 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32",
        }
    }

    /// Reads an operator name; the error is the complaint.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::None, name),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some((other, _)) => return Err(format!("`{other}` is not a set operator")),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let Some((_, family, negated)) = BASES.iter().find(|(name, ..)| *name == base) else {
            return Err(format!("`{name}` is not a condition operator"));
        };
        if *family == Family::Null && (if_exists || quantifier != Quantifier::None) {
            return Err("`Null` takes neither a set operator nor `IfExists`".to_owned());
        }
        Ok(Self { family: *family, negated: *negated, quantifier, if_exists })
    }

    /// Whether the reading has the operator; the error is the complaint.
    pub(crate) fn exists_in(self, profile: Profile) -> Result<Self, String> {
        let greater = self.family == Family::Numeric(Comparison::Greater);
        let is_missing = self.family == Family::Arn || self.if_exists && !greater;
        if profile.few_operators && is_missing {
            return Err(format!("profile `{}` does not have this operator", profile.name));
        }
        // Other families take no notice of a set operator there.
        let keeps_set = !profile.sets_overlap || self.is_textual();
        let quantifier = if keeps_set { self.quantifier } else { Quantifier::None };
        Ok(Self { quantifier, ..self })
    }

    /// Compares text.
    pub(crate) fn is_textual(self) -> bool {
        matches!(
            self.family,
            Family::StringEquals | Family::StringEqualsIgnoreCase | Family::StringLike
        )
    }

    /// Compares numbers or dates.
    pub(crate) fn is_ordered(self) -> bool {
        matches!(self.family, Family::Numeric(_) | Family::Date(_))
    }

    /// The documented spelling of a name that differs in letter case only.
    pub(crate) fn spelling(name: &str) -> Option<&'static str> {
        let base = name.rsplit(':').next().unwrap_or(name);
        BASES.iter().map(|(known, ..)| *known).find(|known| known.eq_ignore_ascii_case(base))
    }
}
