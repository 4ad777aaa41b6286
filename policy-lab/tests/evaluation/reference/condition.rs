//! Conditions read naively, in both profiles: values are compared as texts and by counting, with nothing of the library
//! but [`Context`], which is plain data.

use std::cmp::Ordering;
use std::net::IpAddr;

use policy_lab::Context;
use serde_json::Value;

use super::{Sign, covers, list, signs};

/// The policy is not accepted.
#[derive(Debug)]
pub(crate) struct Refused;

/// Whether one operator on one key holds; `None`: no sure answer.
pub(crate) fn holds(
    profile: &str,
    operator: &str,
    key: &str,
    values: &Value,
    context: &Context,
) -> Result<Option<bool>, Refused> {
    holds_as(&[], profile, operator, key, values, context)
}

/// The same with the rules of another author in the place of ours, by the names in `differences.tsv`.
pub(crate) fn holds_as(
    otherwise: &[&str],
    profile: &str,
    operator: &str,
    key: &str,
    values: &Value,
    context: &Context,
) -> Result<Option<bool>, Refused> {
    let clause = Clause { otherwise, ..Clause::read(profile, operator, key, list(values))? };
    let present = context.get(key).unwrap_or_default();
    Ok(match clause.base.as_str() {
        "Null" => Some(clause.wants(present.is_empty())),
        _ if profile == "minio" => clause.minio(present, context),
        _ => clause.aws(context.get(key), context),
    })
}

struct Clause<'a> {
    otherwise: &'a [&'a str],
    is_minio: bool,
    /// Without `Not`.
    base: String,
    negated: bool,
    set: &'a str,
    if_exists: bool,
    key: &'a str,
    values: Vec<String>,
}

impl<'a> Clause<'a> {
    fn read(
        profile: &str,
        operator: &'a str,
        key: &'a str,
        values: Vec<String>,
    ) -> Result<Self, Refused> {
        let is_minio = profile == "minio";
        let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let base = name.replacen("Not", "", 1);
        let clause = Self {
            otherwise: &[],
            is_minio,
            negated: base != name,
            base,
            set,
            if_exists,
            key,
            values,
        };
        let lacks = is_minio
            && (name.starts_with("Arn")
                || if_exists && name != "NumericGreaterThan"
                || clause.is_ordered() && clause.values.len() != 1
                || name == "Bool" && !key.eq_ignore_ascii_case("aws:SecureTransport")
                || name.ends_with("IpAddress") && !key.eq_ignore_ascii_case("aws:SourceIp"));
        let is_bare_null = name != "Null" || set.is_empty() && !if_exists;
        let is_known = ["", "ForAllValues", "ForAnyValue"].contains(&set)
            && clause.values.iter().all(|value| clause.admits(value));
        if lacks || !is_bare_null || !is_known { Err(Refused) } else { Ok(clause) }
    }

    fn is_ordered(&self) -> bool {
        self.base.starts_with("Numeric") || self.base.starts_with("Date")
    }

    /// Whether a value of the policy is of the operator's type; false for an unknown operator.
    fn admits(&self, value: &str) -> bool {
        match self.base.as_str() {
            "StringEquals" | "StringEqualsIgnoreCase" | "StringLike" => {
                self.is_minio || has_sound_variables(value)
            }
            "ArnEquals" | "ArnLike" => has_sound_variables(value),
            numeric if numeric.strip_prefix("Numeric").is_some_and(is_comparison) => {
                if self.is_minio { value.parse::<i64>().is_ok() } else { number(value).is_some() }
            }
            date if date.strip_prefix("Date").is_some_and(is_comparison) => {
                instant(value).is_some()
                    && (!self.is_minio || value.len() >= "2026-01-01T00:00:00Z".len())
            }
            "Bool" if self.is_minio => true,
            "Null" if self.is_minio => self.truth(value).is_some(),
            "Bool" | "Null" => ["true", "false"].contains(&&*value.to_lowercase()),
            "BinaryEquals" => bytes(value).is_some(),
            "IpAddress" => network(value).is_some(),
            _ => false,
        }
    }

    fn truth(&self, value: &str) -> Option<bool> {
        match value {
            "1" | "t" | "T" if self.is_minio => Some(true),
            "0" | "f" | "F" if self.is_minio => Some(false),
            other => other.to_lowercase().parse().ok(),
        }
    }

    /// `Null`: one of the values is whether the key is absent.
    fn wants(&self, absent: bool) -> bool {
        self.values.iter().any(|value| self.truth(value) == Some(absent))
    }

    fn is_list(&self) -> bool {
        ["aws:tagkeys", "aws:calledvia"].contains(&&*self.key.to_lowercase())
    }

    fn aws(&self, present: Option<&[String]>, context: &Context) -> Option<bool> {
        let lacks_value = |policy: &String| signs(policy, false, context).is_none();
        let is_void = self.negated
            && self.otherwise.contains(&"negated-condition-without-value")
            && self.values.iter().any(lacks_value);
        let one = |value: &String| !is_void && self.listed(value, context) != self.negated;
        let instead = |name| self.otherwise.contains(&name).then_some(false);
        match (self.set, present) {
            ("ForAllValues", present) => Some(present.unwrap_or_default().iter().all(one)),
            ("ForAnyValue", None) if self.if_exists => instead("any-value-if-exists-absent"),
            ("ForAnyValue", present) => Some(present.unwrap_or_default().iter().any(one)),
            (_, None) => Some(self.if_exists || self.negated),
            (_, Some([value])) if !self.is_list() => Some(one(value)),
            _ => instead("several-values-without-set-operator"),
        }
    }

    fn minio(&self, present: &[String], context: &Context) -> Option<bool> {
        let listed = |value: &String| self.listed(value, context);
        if self.base.starts_with("String") {
            let answer = match self.set {
                "ForAllValues" => present.iter().all(listed),
                _ => present.iter().any(listed),
            };
            return Some(answer != self.negated);
        }
        match present {
            [] if self.is_ordered() => Some(self.if_exists),
            [] => Some(self.negated),
            [value] if !self.is_list() => Some(listed(value) != self.negated),
            _ => None,
        }
    }

    /// One value of the request against all of the policy's, before negation.
    fn listed(&self, value: &str, context: &Context) -> bool {
        self.values.iter().any(|policy| self.fits(policy, value, context))
    }

    fn fits(&self, policy: &str, value: &str, context: &Context) -> bool {
        let order = |ordering: Option<Ordering>| {
            let comparison = self.base.trim_start_matches("Numeric").trim_start_matches("Date");
            ordering.is_some_and(|ordering| match comparison {
                "Equals" => ordering.is_eq(),
                "LessThan" => ordering.is_lt(),
                "LessThanEquals" => ordering.is_le(),
                "GreaterThan" => ordering.is_gt(),
                _ => ordering.is_ge(),
            })
        };
        match self.base.as_str() {
            "StringEquals" => self.text(policy, false, value, context),
            "StringLike" => self.text(policy, true, value, context),
            "StringEqualsIgnoreCase" => self
                .pattern(policy, false, context)
                .is_some_and(|signs| is_same_word(&signs, value)),
            "ArnEquals" | "ArnLike" => arn(policy, value, context),
            "Bool" if self.is_minio => policy == value,
            "Bool" => {
                policy.eq_ignore_ascii_case(value) && value.to_lowercase().parse::<bool>().is_ok()
            }
            "BinaryEquals" => bytes(policy).is_some_and(|bytes| bytes == value.as_bytes()),
            "IpAddress" => self.contains(policy, value),
            numeric if numeric.starts_with("Numeric") => order(
                number(value).zip(number(policy)).map(|(value, policy)| compare(&value, &policy)),
            ),
            _ => {
                order(instant(value).zip(instant(policy)).map(|(value, policy)| value.cmp(&policy)))
            }
        }
    }

    fn text(&self, policy: &str, wildcards: bool, value: &str, context: &Context) -> bool {
        let value: Vec<char> = value.chars().collect();
        self.pattern(policy, wildcards, context).is_some_and(|signs| covers(&signs, &value))
    }

    /// `None`: a variable has no value.
    fn pattern(&self, policy: &str, wildcards: bool, context: &Context) -> Option<Vec<Sign>> {
        if !self.is_minio {
            return signs(policy, wildcards, context);
        }
        // Put in before the text is read as a pattern; only of keys that every request can have.
        let mut text = policy.to_owned();
        for key in ["aws:username", "aws:SourceIp", "s3:authType"] {
            if let Some(value) = context.get(key).and_then(|values| values.first()) {
                text = text.replace(&format!("${{{key}}}"), value);
            }
        }
        Some(
            text.chars()
                .map(|char| match char {
                    '*' if wildcards => Sign::Star,
                    '?' if wildcards => Sign::One,
                    other => Sign::Char(other),
                })
                .collect(),
        )
    }

    fn contains(&self, policy: &str, value: &str) -> bool {
        let wide = format!("{policy}/32");
        let is_wide = self.is_minio && policy.contains(':') && !policy.contains('/');
        let Some((base, width, length)) = network(if is_wide { &wide } else { policy }) else {
            return false;
        };
        let Ok(address) = value.parse::<IpAddr>() else { return false };
        let (bits, its_width) = bits(address);
        width == its_width && (length == 0 || (base ^ bits) >> (width - length) == 0)
    }
}

fn is_comparison(name: &str) -> bool {
    ["Equals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"].contains(&name)
}

/// Every `${` is closed, and names a key or a character.
fn has_sound_variables(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { return false };
        let name = inside.split(',').next().unwrap_or_default();
        if !["*", "?", "$"].contains(&inside) && !name.trim_matches(':').contains(':') {
            return false;
        }
        rest = behind;
    }
    true
}

/// One character for one, each without letter case.
fn is_same_word(signs: &[Sign], value: &str) -> bool {
    let values: Vec<char> = value.chars().collect();
    signs.len() == values.len()
        && signs.iter().zip(values).all(|(sign, value)| match sign {
            Sign::Char(char) => {
                char.to_lowercase().eq(value.to_lowercase())
                    || char.to_uppercase().eq(value.to_uppercase())
            }
            _ => false,
        })
}

/// Six parts, each a pattern of its own.
fn arn(policy: &str, value: &str, context: &Context) -> bool {
    let parts = |text: &str| -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut inside = false;
        for char in text.chars() {
            inside = (inside || char == '{') && char != '}';
            match (char, parts.len(), parts.last_mut()) {
                (':', 1..=5, _) if !inside => parts.push(String::new()),
                (_, _, Some(part)) => part.push(char),
                _ => {}
            }
        }
        parts
    };
    let plain: Vec<&str> = value.splitn(6, ':').collect();
    let policy = parts(policy);
    plain.len() == 6
        && policy.len() == 6
        && plain[0] == "arn"
        && policy[0] == "arn"
        && policy.iter().zip(plain).all(|(pattern, value)| {
            let value: Vec<char> = value.chars().collect();
            signs(pattern, true, context).is_some_and(|signs| covers(&signs, &value))
        })
}

/// Sign, and the digits before and behind the point, of equal length for all numbers.
fn number(text: &str) -> Option<(bool, String)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !fraction.contains('.')
        && !unsigned.ends_with('.');
    let whole = whole.trim_start_matches('0');
    (is_number && whole.len() <= 18 && fraction.len() <= 18)
        .then(|| (text.starts_with('-'), format!("{whole:0>18}{fraction:0<18}")))
}

fn compare(a: &(bool, String), b: &(bool, String)) -> Ordering {
    let is_zero = |digits: &str| digits.bytes().all(|digit| digit == b'0');
    let negative = |(negative, digits): &(bool, String)| *negative && !is_zero(digits);
    match (negative(a), negative(b)) {
        (false, false) => a.1.cmp(&b.1),
        (true, true) => b.1.cmp(&a.1),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// Nanoseconds since 1970: seconds in digits, or a date, counted day by day.
fn instant(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    let digits = |text: &str, length: usize| -> Option<i128> {
        let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    if text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: i128 = text.parse().ok()?;
        return (-377_705_023_201..=253_402_207_200).contains(&seconds).then_some(seconds * SECOND);
    }
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let fields: Vec<&str> = date.split('-').collect();
    let (year, month) = (digits(fields[0], 4)?, digits(fields.get(1)?, 2)?);
    let day = fields.get(2).map_or(Some(1), |day| digits(day, 2))?;
    if fields.len() > 3
        || time.is_empty() != (date == text)
        || fields.len() == 2 && !time.is_empty()
    {
        return None;
    }
    let is_leap = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |year, month: i128| match month {
        2 => 28 + i128::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let days_in = |year| if is_leap(year) { 366 } else { 365 };
    let since_0 = |until: i128| (0..until).map(days_in).sum::<i128>();
    let months: i128 = (1..month).map(|month| days_of(year, month)).sum();
    let day = since_0(year) - since_0(1970) + months + day - 1;
    let midnight = day * 86_400 * SECOND;
    if time.is_empty() {
        return Some(midnight);
    }
    let at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(at);
    let offset = match zone.split_once(':') {
        None if zone == "Z" => 0,
        None => return None,
        Some((hours, minutes)) => {
            let sign = if hours.starts_with('-') { -1 } else { 1 };
            let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
            sign * (digits(hours.trim_start_matches(['+', '-']), 2)? * 60 + minutes) * 60
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let fields: Vec<&str> = clock.split(':').collect();
    let hour = digits(fields[0], 2).filter(|hour| *hour < 24)?;
    let minute = digits(fields.get(1)?, 2).filter(|minute| *minute < 60)?;
    let second = match fields.get(2) {
        Some(second) => digits(second, 2).filter(|second| *second < 60)?,
        None => 0,
    };
    let fraction = format!("{fraction:0<9}");
    let nanos = digits(&fraction, 9)?;
    Some(midnight + (hour * 3600 + minute * 60 + second - offset) * SECOND + nanos)
}

/// The bits of an address, and how many an address of its kind has; a mapped address is of the fourth version.
fn bits(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

/// Bits, width and length of the prefix.
fn network(text: &str) -> Option<(u128, u32, u32)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (bits, width) = bits(address);
    let written = if address.is_ipv6() { 128 } else { 32 };
    let length = length.unwrap_or(written);
    (length <= written)
        .then(|| length.checked_sub(written - width))
        .flatten()
        .map(|length| (bits, width, length))
}

/// Base64, character by character.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let alphabet: Vec<char> =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let body = text.trim_end_matches('=');
    let mut bits = String::new();
    for char in body.chars() {
        let place = alphabet.iter().position(|known| *known == char)?;
        bits.push_str(&format!("{place:06b}"));
    }
    let whole = bits.len() / 8 * 8;
    let is_whole =
        text.len().is_multiple_of(4) && text.len() - body.len() < 3 && !bits[whole..].contains('1');
    is_whole.then(|| {
        let bytes = (0..whole).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2));
        bytes.collect::<Result<_, _>>().ok()
    })?
}
