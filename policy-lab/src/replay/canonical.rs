//! Decision records in their canonical form, read without a copy.
//!
//! The log writes JSON without white space, with few escapes and nothing that is null. Whatever is not like that, or is
//! not what a decision record holds, is left to [`super::audit_line()`]: this reader either says exactly what that one
//! would say, or [`None`]. A member that nobody needs is stepped over, but it must be JSON all the same.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

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

/// Where a condition key and its values stand in the line, quotes included.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// Without escapes.
    key: Range<usize>,
    /// The elements, without the brackets.
    values: Range<usize>,
}

impl Pair {
    pub(super) fn key<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.key.start + 1..self.key.end - 1).unwrap_or_default()
    }

    /// The values, unescaped.
    pub(super) fn values<'a>(&self, line: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        elements(line.get(self.values.clone()).unwrap_or_default())
    }
}

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

/// Reads a line; the condition keys go to `pairs`, in order.
pub(super) fn read<'a>(line: &'a [u8], pairs: &mut Vec<Pair>) -> Option<Canonical<'a>> {
    pairs.clear();
    // No canonical record has a control character.
    if line.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?;
    let mut cursor = Cursor { text, at: 0 };
    let record = cursor.record(pairs)?;
    (cursor.at == text.len()).then_some(record)
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
    fn record(&mut self, pairs: &mut Vec<Pair>) -> Option<Canonical<'a>> {
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

    fn auth(&mut self, pairs: &mut Vec<Pair>) -> Option<Auth<'a>> {
        let mut auth = Auth::default();
        self.object(|cursor, name| match name {
            "ctx" if auth.has_ctx => None,
            "ctx" => {
                auth.has_ctx = true;
                cursor.array(|cursor| {
                    pairs.push(cursor.pair()?);
                    Some(())
                })
            }
            "decision" => once(&mut auth.decision, cursor.string()?.text()?),
            "digest" => once(&mut auth.digest, cursor.string()?.text()?),
            "reason" => once(&mut auth.reason, cursor.string()?.text()?),
            _ => cursor.skip(1),
        })?;
        Some(auth)
    }

    /// `{"k":key,"v":[value,…]}`
    fn pair(&mut self) -> Option<Pair> {
        self.literal("{\"k\":")?;
        let start = self.at;
        self.string()?.plain()?;
        let key = start..self.at;
        self.literal(",\"v\":")?;
        let start = self.at + 1;
        self.strings()?;
        let values = start..self.at - 1;
        self.eat(b'}')?;
        Some(Pair { key, values })
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
        self.array(|cursor| {
            let written = cursor.string()?;
            if written.has_escapes {
                written.text()?;
            }
            Some(())
        })
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
            self.at += quote(self.text.as_bytes().get(self.at..)?)?;
            if self.peek()? == b'"' {
                let inside = self.text.get(start..self.at)?;
                self.at += 1;
                return Some(Written { inside, has_escapes });
            }
            has_escapes = true;
            self.at += 2;
        }
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

/// Distance to the next quote or backslash, eight bytes at a time: the strings of a record have a dozen, fewer than a
/// vectorised search costs to start.
fn quote(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (position, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (EACH * 0x22)) | zeros(word ^ (EACH * 0x5c));
        if found != 0 {
            return Some(position * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(words.len() * 8 + found)
}

/// The high bit of each zero byte. A bit above the lowest one may be wrong, that one is right.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{quote, read};

    proptest! {
        #[test]
        fn finds_the_first_quote_or_backslash(bytes in prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'#'), Just(b'!'), Just(0x5d), any::<u8>()], 0..40)) {
            let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(quote(&bytes), naive);
        }
    }

    #[test]
    fn members_without_escapes_are_borrowed() {
        let line = r#"{"action":"s3:GetObject","auth":{"by":[],"ctx":[{"k":"aws:TagKeys","v":["a","b\"c"]},{"k":"s3:prefix","v":[]}],"decision":"allow","digest":"ab","reason":"x","us":10},"net":{"tls":true,"x":[0,{}]},"principal":{"arn":"a:b","groups":["g","h"],"type":"IAMUser"},"resources":[{"bucket":"b","key":"k\\"},{"bucket":"c"}]}"#;
        let mut pairs = Vec::new();
        let record = read(line.as_bytes(), &mut pairs).expect("canonical");
        let pairs: Vec<_> = pairs
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
        let mut pairs = Vec::new();
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
            assert!(read(line.as_bytes(), &mut pairs).is_none(), "{line}");
        }
        assert!(read(b"{\"a\":\"\xff\"}", &mut pairs).is_none());
    }
}
