//! Reads what the index has of a record by what records of the same shape looked like.
//!
//! Records come in a few shapes: the same members in the same order, with other values. What stands between the values
//! of a shape is compared as it is, so only a record of another shape is walked through member by member.
#![deny(clippy::indexing_slicing)]

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

use crate::leaf::{self, Scalar};

use super::schema::{Fields, Member};

/// Shapes that are remembered. Each is tried before a record is walked through.
const KNOWN_MAX: usize = 16;
/// Bytes of a record whose shape is remembered; what a client can make longer is rare.
const BYTES_MAX: usize = 8 << 10;

/// The shapes that were seen, the one that came last in front.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Shape>,
    /// Where the values of a record are, one for each slot of its shape.
    values: Vec<Range<usize>>,
}

/// Records that differ in their values only, by the first of them.
#[derive(Debug)]
struct Shape {
    text: Box<str>,
    slots: Vec<Slot>,
    /// Where the last value ends.
    end: usize,
}

/// The place of a value.
#[derive(Debug)]
struct Slot {
    /// What stands before it.
    before: Range<usize>,
    /// A string, or a number.
    is_text: bool,
    member: Member,
    /// What the account that it names is, if it is an ARN.
    account: Member,
}

impl Shapes {
    /// Calls `visit` with every value of a record that the index has and with what it is, in order; `None` when the bytes
    /// are no record, and then what was visited counts for nothing.
    pub(super) fn read(
        &mut self,
        leaf: &[u8],
        fields: &Fields,
        visit: &mut dyn FnMut(Member, &Scalar<'_>),
    ) -> Option<()> {
        let text = std::str::from_utf8(leaf).ok()?;
        let Self { known, values } = self;
        if let Some(place) = known.iter().position(|shape| shape.find(text, values)) {
            known.get_mut(..=place)?.rotate_right(1);
            return known.first()?.visit(text, values, visit);
        }
        let new = || Shape { text: text.into(), slots: Vec::new(), end: 0 };
        let mut shape = (text.len() <= BYTES_MAX).then(new);
        let account = fields.member(leaf::ACCOUNT);
        leaf::visit(leaf, &mut |path, value| {
            let member = fields.member(path);
            shape = shape.take().and_then(|shape| shape.with(text, path, value, member, account));
            if member != Member::Nothing {
                visit(member, value);
            }
        })?;
        if let Some(shape) = shape {
            known.truncate(KNOWN_MAX - 1);
            known.insert(0, shape);
        }
        Some(())
    }
}

impl Shape {
    /// The same with the place of a value of `text`; `None` if that cannot be told.
    fn with(
        mut self,
        text: &str,
        path: &str,
        value: &Scalar<'_>,
        member: Member,
        account: Member,
    ) -> Option<Self> {
        let (part, is_text) = match value {
            Scalar::Text(Cow::Borrowed(part)) => (*part, true),
            Scalar::Number(digits) => (*digits, false),
            // Part of what stands between values.
            Scalar::Flag(_) => return (member == Member::Nothing).then_some(self),
            // It has been unescaped.
            Scalar::Text(Cow::Owned(_)) => return None,
        };
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        if start < self.end {
            // The account, a part of the ARN before it.
            return (path == leaf::ACCOUNT).then_some(self);
        }
        let account = if path == leaf::ARN { account } else { Member::Nothing };
        self.slots.push(Slot { before: self.end..start, is_text, member, account });
        self.end = start + part.len();
        Some(self)
    }

    /// Whether a record has this shape; `values` says where its values are then.
    fn find(&self, text: &str, values: &mut Vec<Range<usize>>) -> bool {
        values.clear();
        let mut end = 0;
        for slot in &self.slots {
            let Some(value) = self.value(slot, text, end) else { return false };
            end = value.end;
            values.push(value);
        }
        self.text.get(self.end..).is_some_and(|own| text.get(end..) == Some(own))
    }

    /// The value of a slot, behind one that ended at `end`.
    fn value(&self, slot: &Slot, text: &str, end: usize) -> Option<Range<usize>> {
        let before = self.text.get(slot.before.clone())?;
        let rest = text.get(end..)?.strip_prefix(before)?;
        let len = match slot.is_text {
            true => memchr2(b'"', b'\\', rest.as_bytes())
                .filter(|len| rest.as_bytes().get(*len) == Some(&b'"'))?,
            false => Some(leaf::digits(rest)).filter(|len| *len > 0)?,
        };
        let start = end + before.len();
        Some(start..start + len)
    }

    fn visit(
        &self,
        text: &str,
        values: &[Range<usize>],
        visit: &mut dyn FnMut(Member, &Scalar<'_>),
    ) -> Option<()> {
        for (slot, value) in self.slots.iter().zip(values) {
            let value = text.get(value.clone())?;
            if slot.member != Member::Nothing {
                let scalar = match slot.is_text {
                    true => Scalar::Text(value.into()),
                    false => Scalar::Number(value),
                };
                visit(slot.member, &scalar);
            }
            if slot.account != Member::Nothing
                && let Some(account) = leaf::account(value)
            {
                visit(slot.account, &Scalar::Text(account.into()));
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::schema;

    type Seen = Option<Vec<(Member, Scalar<'static>)>>;

    fn owned(scalar: &Scalar<'_>) -> Scalar<'static> {
        match scalar {
            Scalar::Text(text) => Scalar::Text(text.clone().into_owned().into()),
            Scalar::Number(digits) => Scalar::Number(digits.to_string().leak()),
            Scalar::Flag(flag) => Scalar::Flag(*flag),
        }
    }

    /// The model: every record is walked through.
    fn walked(leaf: &[u8], fields: &Fields) -> Seen {
        let mut seen = Vec::new();
        leaf::visit(leaf, &mut |path, value| seen.push((fields.member(path), owned(value))))?;
        seen.retain(|(member, _)| *member != Member::Nothing);
        Some(seen)
    }

    fn read(shapes: &mut Shapes, leaf: &[u8], fields: &Fields) -> Seen {
        let mut seen = Vec::new();
        shapes.read(leaf, fields, &mut |member, value| seen.push((member, owned(value))))?;
        Some(seen)
    }

    /// Texts that look like records, most of a few shapes, some broken.
    fn leaves() -> impl Strategy<Value = Vec<String>> {
        let word = r#"[a-c]{0,3}|é|\\n|\\"|\\u00e9|:|:::12:x|"#;
        let number = "0|[1-9][0-9]{0,3}|-?[0-9]|1-2|true|false|null||\"7\"";
        let leaf = (0_u8..5, word, word, number, 0_usize..400).prop_map(
            |(shape, a, b, n, cut)| {
                let leaf = match shape {
                    0 => format!(r#"{{"action":"{a}","seq":{n},"time":"{b}"}}"#),
                    1 => format!(r#"{{"action":"{a}","class":"{b}","result":{{"code":{n}}}}}"#),
                    2 => format!(
                        r#"{{"auth":{{"by":[{{"id":"{a}"}},{{"id":"{b}"}}],"ctx":[{{"k":"{a}","v":["{b}"]}}]}},"seq":{n}}}"#
                    ),
                    3 => format!(
                        r#"{{"resources":[{{"account":"{b}","arn":"arn:{a}","key":"{b}"}}],"seq":{n}}}"#
                    ),
                    _ => format!(r#"{{"action":{{"x":"{a}"}},"other":{n},"x":"{b}","y":[{n},{n}]}}"#),
                };
                match leaf.get(..cut) {
                    Some(broken) if cut % 7 == 0 => broken.to_owned(),
                    _ => leaf,
                }
            },
        );
        proptest::collection::vec(leaf, 1..60)
    }

    proptest! {
        #[test]
        fn a_shape_says_what_the_walk_says(leaves in leaves()) {
            let (_, fields) = schema::builder();
            let mut shapes = Shapes::default();
            for leaf in leaves {
                let bytes = leaf.as_bytes();
                let (expected, found) = (walked(bytes, &fields), read(&mut shapes, bytes, &fields));
                prop_assert_eq!(found, expected, "{}", leaf);
            }
        }
    }

    #[test]
    fn records_of_a_shape_are_not_walked_through() {
        let (_, fields) = schema::builder();
        let mut shapes = Shapes::default();
        let decision = |key, us| {
            format!(
                r#"{{"auth":{{"us":{us}}},"resources":[{{"arn":"arn:aws:s3::{us}:b","key":"{key}"}}]}}"#
            )
        };
        let key_use = |key, op| format!(r#"{{"kms":{{"key":"{key}","op":"{op}"}}}}"#);
        for n in 0..100 {
            for leaf in [decision("a", n), key_use("k", "Decrypt"), decision("", n * n)] {
                let read = read(&mut shapes, leaf.as_bytes(), &fields);
                assert_eq!(read, walked(leaf.as_bytes(), &fields), "{leaf}");
            }
        }
        assert_eq!(shapes.known.len(), 2);
        for n in 0..2 * KNOWN_MAX {
            read(&mut shapes, format!(r#"{{"other{n}":1}}"#).as_bytes(), &fields).unwrap();
        }
        assert_eq!(shapes.known.len(), KNOWN_MAX);
    }
}
