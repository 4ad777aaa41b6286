//! What each operator must answer for each shape of a key, from the rules alone: who fits (`hit`) and who does not
//! (`miss`) is said by hand in `samples.tsv`, so no value is compared here and no line of the library is used.

/// The base operators of both profiles.
pub(super) const BASES: [&str; 27] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "ArnEquals",
    "ArnNotEquals",
    "ArnLike",
    "ArnNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "Null",
];

/// What a key holds: its values by whether they are the `hit`.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// `None`: the key is absent.
    pub(super) hits: Option<&'static [bool]>,
    /// The key has several values by nature, also when it has one.
    pub(super) is_list: bool,
}

const fn shape(name: &'static str, hits: Option<&'static [bool]>) -> Shape {
    Shape { name, hits, is_list: false }
}

pub(super) const SHAPES: [Shape; 9] = [
    shape("absent", None),
    shape("empty", Some(&[])),
    shape("[hit]", Some(&[true])),
    shape("[miss]", Some(&[false])),
    shape("[hit,hit]", Some(&[true, true])),
    shape("[hit,miss]", Some(&[true, false])),
    shape("[miss,miss]", Some(&[false, false])),
    Shape { name: "{hit}", hits: Some(&[true]), is_list: true },
    Shape { name: "{miss}", hits: Some(&[false]), is_list: true },
];

/// A row of `samples.tsv` with a set operator and `IfExists`.
pub(super) struct Question<'a> {
    pub(super) profile: &'a str,
    pub(super) base: &'a str,
    /// ``, `ForAllValues` or `ForAnyValue`.
    pub(super) set: &'a str,
    pub(super) if_exists: bool,
    pub(super) key: &'a str,
    pub(super) policy: &'a [String],
}

const REFUSED: char = 'E';
const UNSURE: char = 'U';

fn said(holds: bool) -> char {
    if holds { 'T' } else { 'F' }
}

impl Question<'_> {
    pub(super) fn operator(&self) -> String {
        let colon = if self.set.is_empty() { "" } else { ":" };
        format!("{}{colon}{}{}", self.set, self.base, if self.if_exists { "IfExists" } else { "" })
    }

    fn is_negated(&self) -> bool {
        self.base.contains("Not")
    }

    fn is(&self, families: &[&str]) -> bool {
        families.iter().any(|family| self.base.contains(family))
    }

    /// The rule that decides, beside the one of the family.
    pub(super) fn source(&self) -> &'static str {
        match (self.profile, self.set, self.if_exists) {
            _ if self.base == "Null" && (self.if_exists || !self.set.is_empty()) => {
                "Null takes neither a set operator nor IfExists"
            }
            ("aws", "", false) => "several values need a set operator, without one nothing is sure",
            ("aws", "", true) => "IfExists: true when absent",
            ("aws", "ForAllValues", _) => "ForAllValues: true without values",
            ("aws", "ForAnyValue", false) => "ForAnyValue: false without values",
            ("aws", ..) => {
                "ForAnyValue with IfExists on an absent key: the sources conflict, unsure"
            }
            (_, _, true) if self.base != "NumericGreaterThan" => "no IfExists of this function",
            _ if !self.is(&["String"]) => {
                "set operators count for strings only; several values: unsure"
            }
            (_, "", _) => "one of several values is enough; negation is of the answer",
            _ => "negation is of the answer of the set operator",
        }
    }

    /// `T` the condition holds, `F` it does not, `U` no sure answer, `E` the policy is refused.
    pub(super) fn answer(&self, shape: Shape) -> char {
        if self.base == "Null" && (self.if_exists || !self.set.is_empty()) {
            return REFUSED;
        }
        match self.profile {
            "aws" => self.aws(shape),
            _ => self.minio(shape),
        }
    }

    fn null(&self, shape: Shape) -> char {
        let wants = |words: &[&str]| self.policy.iter().any(|word| words.contains(&word.as_str()));
        let is_absent = shape.hits.is_none_or(<[bool]>::is_empty);
        said(if is_absent { wants(&["true", "1"]) } else { wants(&["false", "f"]) })
    }

    fn aws(&self, shape: Shape) -> char {
        let holds = |hit: &bool| *hit != self.is_negated();
        match (self.set, shape.hits) {
            _ if self.base == "Null" => self.null(shape),
            ("ForAllValues", hits) => said(hits.unwrap_or_default().iter().all(holds)),
            ("ForAnyValue", None) if self.if_exists => UNSURE,
            ("ForAnyValue", hits) => said(hits.unwrap_or_default().iter().any(holds)),
            (_, None) => said(self.if_exists || self.is_negated()),
            (_, Some([hit])) if !shape.is_list => said(holds(hit)),
            _ => UNSURE,
        }
    }

    fn minio(&self, shape: Shape) -> char {
        let is_ordered = self.is(&["Numeric", "Date"]);
        let only_on = match self.base {
            "Bool" => Some("aws:SecureTransport"),
            "IpAddress" | "NotIpAddress" => Some("aws:SourceIp"),
            _ => None,
        };
        if self.is(&["Arn"])
            || self.if_exists && self.base != "NumericGreaterThan"
            || is_ordered && self.policy.len() != 1
            || only_on.is_some_and(|only| only != self.key)
        {
            return REFUSED;
        }
        if self.base == "Null" {
            return self.null(shape);
        }
        let hits = shape.hits.unwrap_or_default();
        if self.is(&["String"]) {
            let answer = match self.set {
                "ForAllValues" => hits.iter().all(|hit| *hit),
                _ => hits.contains(&true),
            };
            return said(answer != self.is_negated());
        }
        match hits {
            [] if is_ordered => said(self.if_exists),
            [] => said(self.is_negated()),
            [hit] if !shape.is_list => said(*hit != self.is_negated()),
            _ => UNSURE,
        }
    }
}
