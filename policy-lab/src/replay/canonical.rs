//! Decision records in their canonical form, read without a copy.
//!
//! The log writes JSON without white space, with few escapes and nothing that is null. Whatever is not like that, or is
//! not what a decision record holds, is left to [`super::audit_line()`]: this reader either says exactly what that one
//! would say, or [`None`]. A member that nobody needs is stepped over, but it must be JSON all the same.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

use crate::context;

/// A record has six levels; what is deeper is not ours.
const DEPTH_MAX: usize = 8;

/// What a replay needs of a record.
#[derive(Debug, Default)]
pub(super) struct Canonical<'a> {
    pub(super) action: Option<Cow<'a, str>>,
    pub(super) auth: Option<Auth<'a>>,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) phase: Option<Cow<'a, str>>,
    pub(super) principal: Option<Caller<'a>>,
    /// The first of `resources`.
    pub(super) touched: Option<Touched<'a>>,
    pub(super) time: Option<Cow<'a, str>>,
}

#[derive(Debug, Default)]
pub(super) struct Auth<'a> {
    has_ctx: bool,
    pub(super) decision: Option<Cow<'a, str>>,
    pub(super) digest: Option<Cow<'a, str>>,
    pub(super) reason: Option<Cow<'a, str>>,
}

/// The members that make a principal, as they are written: equal ones mean equal principals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) arn: Option<&'a str>,
    /// The elements, without the brackets.
    pub(super) groups: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) parent: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
}

#[derive(Debug, Default)]
pub(super) struct Touched<'a> {
    pub(super) bucket: Option<Cow<'a, str>>,
    pub(super) key: Option<Cow<'a, str>>,
}

/// Where a condition key and its values stand in the text.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The row of the catalogue.
    pub(super) row: Option<u8>,
    /// Without escapes.
    key: Range<usize>,
    /// The elements, without the brackets.
    values: Range<usize>,
}

impl Pair {
    pub(super) fn key<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.key.clone()).unwrap_or_default()
    }

    /// The values, unescaped.
    pub(super) fn values<'a>(&self, text: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        elements(text.get(self.values.clone()).unwrap_or_default())
    }
}

/// The condition keys of a record. The keys of the record before are remembered as they were written, because mostly the
/// next one has the same in the same places.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) found: Vec<Pair>,
    before: Vec<Opening>,
}

/// How a pair begins: `{"k":"aws:SourceIp","v":[`
#[derive(Debug)]
struct Opening {
    text: Box<str>,
    row: Option<u8>,
}

/// In front of a key, and behind it.
const BEFORE_KEY: &str = "{\"k\":\"";
const BEHIND_KEY: &str = "\",\"v\":[";

/// Strings with commas between them, as the reader found them.
pub(super) fn elements(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut cursor = Cursor { text, at: 0 };
    std::iter::from_fn(move || {
        let element = cursor.string()?.text();
        let _ = cursor.eat(b',');
        element
    })
}

/// Text between quotes as it is written, unescaped.
pub(super) fn unescaped(written: &str) -> Option<Cow<'_, str>> {
    if written.contains('\\') {
        serde_json::from_str(&format!("\"{written}\"")).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(written))
    }
}

/// Reads the record that begins at a place of the text, up to its end, which is answered too.
pub(super) fn read<'a>(
    text: &'a str,
    at: usize,
    pairs: &mut Pairs,
) -> Option<(Canonical<'a>, usize)> {
    pairs.found.clear();
    let mut cursor = Cursor { text, at };
    let record = cursor.record(pairs)?;
    Some((record, cursor.at))
}

/// A string as it is written.
#[derive(Clone, Copy)]
struct Written<'a> {
    /// Between the quotes.
    inside: &'a str,
    has_escapes: bool,
}

impl<'a> Written<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self.has_escapes {
            true => unescaped(self.inside),
            false => Some(Cow::Borrowed(self.inside)),
        }
    }

    fn plain(self) -> Option<&'a str> {
        (!self.has_escapes).then_some(self.inside)
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn record(&mut self, pairs: &mut Pairs) -> Option<Canonical<'a>> {
        let mut record = Canonical::default();
        self.object(|cursor, name| {
            match name {
                "action" => once(&mut record.action, cursor.string()?.text()?),
                "auth" => once(&mut record.auth, cursor.auth(pairs)?),
                "event" => once(&mut record.event, cursor.string()?.text()?),
                "phase" => once(&mut record.phase, cursor.string()?.text()?),
                "principal" => once(&mut record.principal, cursor.caller()?),
                "resources" => once(&mut record.touched, cursor.resources()?),
                "time" => once(&mut record.time, cursor.string()?.text()?),
                // What was cut is for the other reader to judge.
                "trunc" => None,
                _ => cursor.skip(0),
            }
        })?;
        Some(record)
    }

    fn auth(&mut self, pairs: &mut Pairs) -> Option<Auth<'a>> {
        let mut auth = Auth::default();
        self.object(|cursor, name| match name {
            "ctx" if auth.has_ctx => None,
            "ctx" => {
                auth.has_ctx = true;
                cursor.array(|cursor| cursor.pair(pairs))
            }
            "decision" => once(&mut auth.decision, cursor.string()?.text()?),
            "digest" => once(&mut auth.digest, cursor.string()?.text()?),
            "reason" => once(&mut auth.reason, cursor.string()?.text()?),
            _ => cursor.skip(1),
        })?;
        Some(auth)
    }

    /// `{"k":key,"v":[value,…]}`
    fn pair(&mut self, pairs: &mut Pairs) -> Option<()> {
        let place = pairs.found.len();
        let start = self.at + BEFORE_KEY.len();
        let row = match pairs.before.get(place) {
            Some(opening) if self.literal(&opening.text).is_some() => opening.row,
            _ => {
                let opening = self.opening()?;
                let row = opening.row;
                match pairs.before.get_mut(place) {
                    Some(before) => *before = opening,
                    None => pairs.before.push(opening),
                }
                row
            }
        };
        let key = start..self.at - BEHIND_KEY.len();
        let start = self.at;
        if self.eat(b']').is_none() {
            self.elements()?;
        }
        let values = start..self.at - 1;
        self.eat(b'}')?;
        pairs.found.push(Pair { row, key, values });
        Some(())
    }

    fn opening(&mut self) -> Option<Opening> {
        let start = self.at;
        self.literal(BEFORE_KEY)?;
        self.at -= 1;
        let row = context::position(self.string()?.plain()?);
        self.at -= 1;
        self.literal(BEHIND_KEY)?;
        Some(Opening { text: self.text.get(start..self.at)?.into(), row })
    }

    fn caller(&mut self) -> Option<Caller<'a>> {
        let mut caller = Caller::default();
        self.object(|cursor, name| {
            let member = match name {
                "account" => &mut caller.account,
                "arn" => &mut caller.arn,
                "name" => &mut caller.name,
                "parent" => &mut caller.parent,
                "type" => &mut caller.kind,
                "groups" => {
                    let start = cursor.at + 1;
                    cursor.strings()?;
                    let groups = cursor.text.get(start..cursor.at - 1)?;
                    return once(&mut caller.groups, groups);
                }
                _ => return cursor.skip(1),
            };
            let written = cursor.string()?;
            if written.has_escapes {
                written.text()?;
            }
            once(member, written.inside)
        })?;
        Some(caller)
    }

    fn resources(&mut self) -> Option<Touched<'a>> {
        let mut first = None;
        self.array(|cursor| {
            let mut touched = Touched::default();
            cursor.object(|cursor, name| match name {
                "bucket" => once(&mut touched.bucket, cursor.string()?.text()?),
                "key" => once(&mut touched.key, cursor.string()?.text()?),
                _ => cursor.skip(2),
            })?;
            first.get_or_insert(touched);
            Some(())
        })?;
        Some(first.unwrap_or_default())
    }

    /// Strings in brackets.
    fn strings(&mut self) -> Option<()> {
        self.eat(b'[')?;
        match self.eat(b']') {
            Some(()) => Some(()),
            None => self.elements(),
        }
    }

    /// Strings up to the closing bracket.
    fn elements(&mut self) -> Option<()> {
        loop {
            let written = self.string()?;
            if written.has_escapes {
                written.text()?;
            }
            if self.eat(b',').is_none() {
                return self.eat(b']');
            }
        }
    }

    /// Steps over a value, which may be anything but `null` or a number with a sign, point or exponent.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'"' => {
                let written = self.string()?;
                if written.has_escapes {
                    let quoted = format!("\"{}\"", written.inside);
                    serde_json::from_str::<IgnoredAny>(&quoted).ok()?;
                }
                Some(())
            }
            b'{' => self.object(|cursor, _| cursor.skip(depth + 1)),
            b'[' => self.array(|cursor| cursor.skip(depth + 1)),
            b'0' => self.eat(b'0'),
            b'1'..=b'9' => {
                while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
                Some(())
            }
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => None,
        }
    }

    /// Calls `member` for each name, behind its colon.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?.plain()?;
            self.eat(b':')?;
            member(self, name)?;
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    /// Calls `element` before each element.
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            if self.eat(b',').is_none() {
                return self.eat(b']');
            }
        }
    }

    fn string(&mut self) -> Option<Written<'a>> {
        self.eat(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            self.at = stop(self.text.as_bytes(), self.at)?;
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                // A control character is in no JSON string.
                _ => return None,
            }
            has_escapes = true;
        }
        let inside = self.text.get(start..self.at)?;
        self.at += 1;
        Some(Written { inside, has_escapes })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        let end = self.at + literal.len();
        let is_there = self.text.as_bytes().get(self.at..end)? == literal.as_bytes();
        is_there.then(|| self.at = end)
    }
}

/// A member that comes twice is an error elsewhere.
fn once<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

const EACH: u64 = 0x0101_0101_0101_0101;

/// Place of the next quote, backslash or control character, eight bytes at a time: the strings of a record have a dozen,
/// fewer than a vectorised search costs to start.
fn stop(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(EACH * 0x20) & !word & (EACH << 7);
        let found = zeros(word ^ (EACH * 0x22)) | zeros(word ^ (EACH * 0x5c)) | controls;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    Some(at + bytes.get(at..)?.iter().position(is_stop)?)
}

/// The high bit of each zero byte. A bit above the lowest one may be wrong, that one is right.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Canonical, Pairs, read, stop};

    proptest! {
        #[test]
        fn stops_at_the_first_that_is_not_plain(bytes in prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'#'), Just(b'!'), Just(0x5d), Just(0x1f), Just(0x20), any::<u8>()], 0..40)) {
            let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(stop(&bytes, 0), naive);
        }
    }

    fn whole<'a>(line: &'a str, pairs: &mut Pairs) -> Option<Canonical<'a>> {
        read(line, 0, pairs).and_then(|(record, end)| (end == line.len()).then_some(record))
    }

    #[test]
    fn members_without_escapes_are_borrowed() {
        let line = r#"{"action":"s3:GetObject","auth":{"by":[],"ctx":[{"k":"aws:TagKeys","v":["a","b\"c"]},{"k":"s3:prefix","v":[]}],"decision":"allow","digest":"ab","reason":"x","us":10},"net":{"tls":true,"x":[0,{}]},"principal":{"arn":"a:b","groups":["g","h"],"type":"IAMUser"},"resources":[{"bucket":"b","key":"k\\"},{"bucket":"c"}]}"#;
        let mut pairs = Pairs::default();
        let record = whole(line, &mut pairs).expect("canonical");
        let pairs: Vec<_> = pairs
            .found
            .iter()
            .map(|pair| (pair.key(line), pair.values(line).collect::<Vec<_>>().join("|")))
            .collect();
        assert_eq!(pairs, [("aws:TagKeys", "a|b\"c".to_owned()), ("s3:prefix", String::new())]);
        let touched = record.touched.expect("one");
        assert_eq!((touched.bucket.as_deref(), touched.key.as_deref()), (Some("b"), Some("k\\")));
        assert_eq!(record.principal.expect("one").groups, Some(r#""g","h""#));
    }

    #[test]
    fn what_is_not_canonical_is_left_to_the_other_reader() {
        let mut pairs = Pairs::default();
        for line in [
            "",
            "[]",
            "{} ",
            r#"{"a": 1}"#,
            r#"{"a":null}"#,
            r#"{"a":01}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1,}"#,
            r#"{"a":"\x"}"#,
            r#"{"action":"a","action":"a"}"#,
            r#"{"action":7}"#,
            r#"{"auth":{"ctx":[],"ctx":[]}}"#,
            r#"{"auth":{"ctx":[{"v":[],"k":"a"}]}}"#,
            r#"{"auth":{"ctx":[{"k":"a","v":[1]}]}}"#,
            r#"{"trunc":[]}"#,
            "{\"a\":\"\u{1}\"}",
        ] {
            assert!(whole(line, &mut pairs).is_none(), "{line}");
        }
    }
}
