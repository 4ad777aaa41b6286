//! What a record looks like apart from its values.

use std::ops::Range;

use super::{Slot, literal, string, value};
use crate::context;

/// A record has six levels; what is deeper is not ours.
const DEPTH_MAX: usize = 8;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string that somebody reads.
    Text,
    /// One that nobody reads, but it must be a string all the same.
    Skipped,
    Number,
}

/// A value, with the text that stands between it and the value before.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) before: Box<str>,
    pub(super) kind: Kind,
}

/// A condition key.
#[derive(Debug)]
pub(super) struct PairShape {
    pub(super) name: Box<str>,
    pub(super) row: Option<u8>,
    pub(super) values: Range<usize>,
}

/// Positions of values, by what they are.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) parts: Vec<Part>,
    /// Behind the last value.
    pub(super) end: Box<str>,
    pub(super) action: Option<usize>,
    pub(super) decision: Option<usize>,
    pub(super) digest: Option<usize>,
    pub(super) reason: Option<usize>,
    pub(super) event: Option<usize>,
    pub(super) phase: Option<usize>,
    pub(super) time: Option<usize>,
    /// Of the first resource.
    pub(super) bucket: Option<usize>,
    pub(super) key: Option<usize>,
    /// Account, ARN, name, parent, type.
    pub(super) caller: [Option<usize>; 5],
    pub(super) groups: Option<Range<usize>>,
    /// How the caller signed.
    pub(super) sig: Option<usize>,
    /// Source, TLS, user agent.
    pub(super) net: [Option<usize>; 3],
    /// Other members imply condition keys.
    pub(super) implied: bool,
    pub(super) pairs: Vec<PairShape>,
}

/// Reads the record that begins here, member by member; answers its shape and its end.
pub(super) fn learn(text: &str, at: usize, slots: &mut Vec<Slot>) -> Option<(Shape, usize)> {
    slots.clear();
    let mut shape = Shape::default();
    let mut cursor = Cursor { text, at, gap: at, parts: Vec::new(), slots };
    cursor.record(&mut shape)?;
    shape.end = text.get(cursor.gap..cursor.at)?.into();
    shape.parts = cursor.parts;
    Some((shape, cursor.at))
}

struct Cursor<'a, 's> {
    text: &'a str,
    at: usize,
    /// Behind the last value.
    gap: usize,
    parts: Vec<Part>,
    slots: &'s mut Vec<Slot>,
}

impl<'a> Cursor<'a, '_> {
    fn record(&mut self, shape: &mut Shape) -> Option<()> {
        let (mut has_auth, mut has_net) = (false, false);
        let (mut has_principal, mut has_resources) = (false, false);
        self.object(|cursor, name| match name {
            "action" => once(&mut shape.action, cursor.string(Kind::Text)?),
            "auth" => {
                first(&mut has_auth)?;
                cursor.auth(shape)
            }
            "event" => once(&mut shape.event, cursor.string(Kind::Text)?),
            "net" => {
                first(&mut has_net)?;
                cursor.net(shape)
            }
            "phase" => once(&mut shape.phase, cursor.string(Kind::Text)?),
            "principal" => {
                first(&mut has_principal)?;
                cursor.principal(shape)
            }
            "resources" => {
                first(&mut has_resources)?;
                cursor.resources(shape)
            }
            "time" => once(&mut shape.time, cursor.string(Kind::Text)?),
            // What was cut is for the other reader to judge.
            "trunc" => None,
            _ => cursor.skip(0),
        })
    }

    fn auth(&mut self, shape: &mut Shape) -> Option<()> {
        let mut has_ctx = false;
        self.object(|cursor, name| match name {
            "ctx" => {
                first(&mut has_ctx)?;
                cursor.array(|cursor| {
                    shape.pairs.push(cursor.pair()?);
                    Some(())
                })
            }
            "decision" => once(&mut shape.decision, cursor.string(Kind::Text)?),
            "digest" => once(&mut shape.digest, cursor.string(Kind::Text)?),
            // It is written where it is true.
            "implied" => {
                first(&mut shape.implied)?;
                cursor.literal("true")
            }
            "reason" => once(&mut shape.reason, cursor.string(Kind::Text)?),
            _ => cursor.skip(1),
        })
    }

    /// `{"k":key,"v":[value,…]}`
    fn pair(&mut self) -> Option<PairShape> {
        self.literal("{\"k\":")?;
        let name = self.name()?;
        self.literal(",\"v\":")?;
        let values = self.strings()?;
        self.eat(b'}')?;
        Some(PairShape { name: name.into(), row: context::position(name), values })
    }

    fn net(&mut self, shape: &mut Shape) -> Option<()> {
        let [src, tls, ua] = &mut shape.net;
        self.object(|cursor, name| {
            let member = match name {
                "src" => &mut *src,
                "tls" => &mut *tls,
                "ua" => &mut *ua,
                _ => return cursor.skip(1),
            };
            once(member, cursor.string(Kind::Text)?)
        })
    }

    fn principal(&mut self, shape: &mut Shape) -> Option<()> {
        let [account, arn, own_name, parent, kind] = &mut shape.caller;
        let sig = &mut shape.sig;
        self.object(|cursor, name| {
            let member = match name {
                "account" => &mut *account,
                "arn" => &mut *arn,
                "name" => &mut *own_name,
                "parent" => &mut *parent,
                "sig" => &mut *sig,
                "type" => &mut *kind,
                "groups" => return once(&mut shape.groups, cursor.strings()?),
                _ => return cursor.skip(1),
            };
            once(member, cursor.string(Kind::Text)?)
        })
    }

    fn resources(&mut self, shape: &mut Shape) -> Option<()> {
        let mut is_first = true;
        self.array(|cursor| {
            let (mut bucket, mut key) = (None, None);
            cursor.object(|cursor, name| match name {
                "bucket" => once(&mut bucket, cursor.string(Kind::Text)?),
                "key" => once(&mut key, cursor.string(Kind::Text)?),
                _ => cursor.skip(2),
            })?;
            if is_first {
                (shape.bucket, shape.key) = (bucket, key);
                is_first = false;
            }
            Some(())
        })
    }

    /// Strings in brackets; answers their positions.
    fn strings(&mut self) -> Option<Range<usize>> {
        let from = self.slots.len();
        self.array(|cursor| cursor.string(Kind::Text).map(drop))?;
        Some(from..self.slots.len())
    }

    /// Steps over a value, which may be anything but `null` or a number with a sign, point or exponent.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'"' => self.string(Kind::Skipped).map(drop),
            b'{' => self.object(|cursor, _| cursor.skip(depth + 1)),
            b'[' => self.array(|cursor| cursor.skip(depth + 1)),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => {
                self.value(Kind::Number)?;
                Some(())
            }
        }
    }

    /// Calls `member` for each name, behind its colon.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.name()?;
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

    /// A string that is part of the shape.
    fn name(&mut self) -> Option<&'a str> {
        self.eat(b'"')?;
        let slot = string(self.text.as_bytes(), self.at)?;
        self.at = slot.end() + 1;
        Some(slot.written(self.text)).filter(|_| !slot.has_escapes)
    }

    /// A string that is a value; answers its position.
    fn string(&mut self, kind: Kind) -> Option<usize> {
        self.eat(b'"')?;
        let position = self.value(kind)?;
        // The closing quote belongs to what stands before the next value.
        self.at += 1;
        Some(position)
    }

    fn value(&mut self, kind: Kind) -> Option<usize> {
        let slot = value(self.text, self.at, kind)?;
        let before = self.text.get(self.gap..self.at)?.into();
        self.parts.push(Part { before, kind });
        self.slots.push(slot);
        (self.at, self.gap) = (slot.end(), slot.end());
        Some(self.slots.len() - 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn literal(&mut self, text: &str) -> Option<()> {
        self.at = literal(self.text, self.at, text)?;
        Some(())
    }
}

/// A member that comes twice is an error elsewhere.
fn once<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

fn first(is_there: &mut bool) -> Option<()> {
    (!std::mem::replace(is_there, true)).then_some(())
}
