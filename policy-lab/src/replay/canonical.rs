//! Decision records in their canonical form, read without a copy.
//!
//! The log writes JSON without white space, with few escapes and nothing that is null, and one record looks like others
//! but for its values. So the text between the values is compared with that of records before, and only the values are
//! looked at; a record that looks like none of them is read member by member, and its shape is remembered.
//!
//! Whatever is not like that, or is not what a decision record holds, is left to [`super::audit_line()`]: this reader
//! either says exactly what that one would say, or [`None`].

mod shape;

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

use self::shape::{Kind, Shape};
use crate::context::{Implied, event_s};

/// Shapes remembered; the log of a server has about ten.
const SHAPES_MAX: usize = 32;

/// Where a value stands in the text, without quotes. Small enough for two registers: a record has forty of them.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u32,
    end: u32,
    has_escapes: bool,
}

impl Slot {
    /// `None` in a text of more than 4 GiB.
    fn new(start: usize, end: usize, has_escapes: bool) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        Some(Self { start, end, has_escapes })
    }

    fn end(self) -> usize {
        self.end as usize
    }

    /// As it is written.
    fn written(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn text(self, text: &str) -> Cow<'_, str> {
        let written = self.written(text);
        match self.has_escapes {
            // It was read before, and can be read again.
            true => unescaped(written).map(Cow::Owned).unwrap_or_default(),
            false => Cow::Borrowed(written),
        }
    }
}

/// A record that was read.
#[derive(Clone, Copy)]
pub(super) struct Canonical<'a> {
    text: &'a str,
    shape: &'a Shape,
    slots: &'a [Slot],
}

/// A condition key of a record.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    /// The row of the catalogue.
    pub(super) row: Option<u8>,
    text: &'a str,
    values: &'a [Slot],
}

impl<'a> Pair<'a> {
    pub(super) fn values(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let text = self.text;
        self.values.iter().map(|slot| slot.text(text))
    }
}

impl<'a> Canonical<'a> {
    pub(super) fn action(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.action)
    }

    pub(super) fn decision(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.decision)
    }

    pub(super) fn digest(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.digest)
    }

    pub(super) fn reason(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.reason)
    }

    pub(super) fn event(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.event)
    }

    pub(super) fn phase(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.phase)
    }

    pub(super) fn time(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.time)
    }

    /// Of the first resource.
    pub(super) fn bucket(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.bucket)
    }

    pub(super) fn key(&self) -> Option<Cow<'a, str>> {
        self.text(self.shape.key)
    }

    /// Account, ARN, name, parent and type of the caller.
    pub(super) fn caller(&self) -> [Option<Cow<'a, str>>; 5] {
        self.shape.caller.map(|slot| self.text(slot))
    }

    pub(super) fn groups(&self) -> Option<impl Iterator<Item = Cow<'a, str>>> {
        let text = self.text;
        let groups = self.shape.groups.clone()?;
        Some(self.slots(groups).iter().map(|slot| slot.text(text)))
    }

    /// Appends all that makes the caller, as it is written: equal bytes mean equal callers.
    pub(super) fn describe_caller(&self, out: &mut Vec<u8>) {
        let groups = self.shape.groups.clone();
        // Control characters are in no value of a record.
        out.push(u8::from(groups.is_some()));
        for slot in groups.map(|groups| self.slots(groups)).into_iter().flatten() {
            out.extend_from_slice(slot.written(self.text).as_bytes());
            out.push(2);
        }
        for slot in self.shape.caller {
            out.push(u8::from(slot.is_some()));
            let written = slot.and_then(|slot| self.slots.get(slot));
            let written = written.map_or("", |slot| slot.written(self.text));
            out.extend_from_slice(written.as_bytes());
        }
    }

    /// Calls with what implies condition keys, if the record says that anything does.
    pub(super) fn imply(&self, with: impl FnOnce(&Implied<'_>)) {
        if !self.shape.implied {
            return;
        }
        let [account, arn, name, parent, kind] = self.caller();
        let [src, tls, ua] = self.shape.net.map(|slot| self.text(slot));
        let sig = self.text(self.shape.sig);
        with(&Implied {
            event_s: self.event().and_then(|event| event_s(&event)),
            account: account.as_deref(),
            arn: arn.as_deref(),
            name: name.as_deref(),
            parent: parent.as_deref(),
            kind: kind.as_deref(),
            sig: sig.as_deref(),
            src: src.as_deref(),
            tls: tls.as_deref(),
            ua: ua.as_deref(),
        });
    }

    /// The condition keys that it names, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Pair<'a>> {
        let Self { text, shape, slots } = *self;
        shape.pairs.iter().map(move |pair| Pair {
            name: &pair.name,
            row: pair.row,
            text,
            values: slots.get(pair.values.clone()).unwrap_or_default(),
        })
    }

    fn text(&self, slot: Option<usize>) -> Option<Cow<'a, str>> {
        Some(self.slots.get(slot?)?.text(self.text))
    }

    fn slots(&self, range: Range<usize>) -> &'a [Slot] {
        self.slots.get(range).unwrap_or_default()
    }
}

/// Reads records that mostly look alike.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Known>,
    /// The shape of the record that was read last.
    last: usize,
    /// Its values.
    slots: Vec<Slot>,
    /// Shapes learned in all; the oldest one makes room.
    learned: usize,
}

#[derive(Debug)]
struct Known {
    shape: Shape,
    /// The shape of the record that came behind one of this shape.
    next: usize,
}

impl Shapes {
    /// Reads the record that begins at a place of the text; answers it with its end.
    pub(super) fn read<'a>(
        &'a mut self,
        text: &'a str,
        at: usize,
    ) -> Option<(Canonical<'a>, usize)> {
        let likely = self.known.get(self.last).map_or(0, |last| last.next);
        let mut found = None;
        for shape in std::iter::once(likely).chain(0..self.known.len()) {
            let Some(known) = self.known.get(shape) else { break };
            if let Some(end) = follow(&known.shape, text, at, &mut self.slots) {
                found = Some((shape, end));
                break;
            }
        }
        let (shape, end) = match found {
            Some(found) => found,
            None => self.learn(text, at)?,
        };
        if let Some(last) = self.known.get_mut(self.last) {
            last.next = shape;
        }
        self.last = shape;
        Some((self.last(text)?, end))
    }

    /// The record that was read last, in the same text.
    pub(super) fn last<'a>(&'a self, text: &'a str) -> Option<Canonical<'a>> {
        let shape = &self.known.get(self.last)?.shape;
        Some(Canonical { text, shape, slots: &self.slots })
    }

    fn learn(&mut self, text: &str, at: usize) -> Option<(usize, usize)> {
        let (shape, end) = shape::learn(text, at, &mut self.slots)?;
        let place = self.learned % SHAPES_MAX;
        self.learned += 1;
        let known = Known { shape, next: place };
        match self.known.get_mut(place) {
            Some(there) => *there = known,
            None => self.known.push(known),
        }
        Some((place, end))
    }
}

/// Reads a record of this shape; answers its end.
fn follow(shape: &Shape, text: &str, at: usize, slots: &mut Vec<Slot>) -> Option<usize> {
    slots.clear();
    let mut at = at;
    for part in &shape.parts {
        at = literal(text, at, &part.before)?;
        let slot = value(text, at, part.kind)?;
        at = slot.end();
        slots.push(slot);
    }
    literal(text, at, &shape.end)
}

/// The end of a text that stands here.
fn literal(text: &str, at: usize, literal: &str) -> Option<usize> {
    let end = at + literal.len();
    is_same(text.as_bytes().get(at..end)?, literal.as_bytes()).then_some(end)
}

/// Whether texts of one length are equal. They are short, so that calling the library for it costs more than comparing.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (Some(end), Some(other_end)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return one == other;
    };
    let (words, other_words) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    end == other_end && words.iter().zip(other_words).all(|(one, other)| one == other)
}

/// The value that begins here; of a string, what is inside its quotes.
#[inline]
fn value(text: &str, at: usize, kind: Kind) -> Option<Slot> {
    match kind {
        Kind::Number => number(text.as_bytes(), at),
        Kind::Text | Kind::Skipped => {
            let slot = string(text.as_bytes(), at)?;
            if slot.has_escapes {
                let quoted = quoted(slot.written(text));
                let is_one = match kind {
                    Kind::Text => serde_json::from_str::<String>(&quoted).is_ok(),
                    _ => serde_json::from_str::<IgnoredAny>(&quoted).is_ok(),
                };
                if !is_one {
                    return None;
                }
            }
            Some(slot)
        }
    }
}

/// An integer as JSON has it, without a sign.
fn number(bytes: &[u8], at: usize) -> Option<Slot> {
    let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_canonical = digits == 1 || digits > 1 && bytes.get(at) != Some(&b'0');
    if is_canonical { Slot::new(at, at + digits, false) } else { None }
}

/// The inside of the string whose opening quote is behind us. The escapes in it may be wrong yet.
#[inline]
fn string(bytes: &[u8], at: usize) -> Option<Slot> {
    let mut has_escapes = false;
    let mut end = at;
    loop {
        end = stop(bytes, end)?;
        match bytes.get(end)? {
            b'"' => return Slot::new(at, end, has_escapes),
            b'\\' => end += 2,
            // A control character is in no JSON string.
            _ => return None,
        }
        has_escapes = true;
    }
}

fn quoted(written: &str) -> String {
    format!("\"{written}\"")
}

fn unescaped(written: &str) -> Option<String> {
    serde_json::from_str(&quoted(written)).ok()
}

const EACH: u64 = 0x0101_0101_0101_0101;

/// Place of the next quote, backslash or control character, eight bytes at a time: the strings of a record have a dozen,
/// fewer than a vectorised search costs to start.
#[inline]
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
mod tests;
