//! The text that a pattern is held against: one piece, or a bucket and a key that nobody needs to join.

use std::cmp::Ordering;

/// What is left of a text of up to three pieces.
///
/// INVARIANT: `rest` is empty only when everything is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    rest: &'a str,
    more: [&'a str; 2],
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self { rest: text, more: ["", ""] }
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl<'a> Text<'a> {
    /// `bucket/key`.
    pub(crate) fn path(bucket: &'a str, key: &'a str) -> Self {
        Self { rest: bucket, more: ["/", key] }.settled()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An empty prefix is not compared: it lies at no address, and the comparison of the C library with masked loads takes
    /// 40 ns to find that it need not read there.
    #[inline]
    pub(crate) fn starts_with(&self, prefix: &str) -> bool {
        prefix.is_empty()
            || match prefix.len() <= self.rest.len() {
                true => self.rest.starts_with(prefix),
                false => self.strip_prefix(prefix).is_some(),
            }
    }

    /// What is behind a prefix, if the text has it.
    pub(crate) fn strip_prefix(mut self, mut prefix: &str) -> Option<Self> {
        while prefix.len() > self.rest.len() {
            prefix = prefix.strip_prefix(self.rest)?;
            self.rest = "";
            self = self.settled();
            if self.rest.is_empty() {
                return None;
            }
        }
        self.rest = self.rest.strip_prefix(prefix)?;
        Some(self.settled())
    }

    /// What is behind the first character.
    pub(super) fn strip_char(mut self) -> Option<Self> {
        let mut chars = self.rest.chars();
        chars.next()?;
        self.rest = chars.as_str();
        Some(self.settled())
    }

    /// Whether the text sorts at or after another one, byte by byte.
    pub(crate) fn sorts_from(mut self, other: &str) -> bool {
        let mut other = other.as_bytes();
        loop {
            let rest = self.rest.as_bytes();
            let common = rest.len().min(other.len());
            let (head, tail) = other.split_at(common);
            match rest.get(..common).unwrap_or_default().cmp(head) {
                Ordering::Less => return false,
                Ordering::Greater => return true,
                Ordering::Equal if tail.is_empty() => return true,
                Ordering::Equal => other = tail,
            }
            self.rest = "";
            self = self.settled();
            if self.rest.is_empty() {
                return false;
            }
        }
    }

    pub(super) fn equals(self, text: &str) -> bool {
        self.strip_prefix(text).is_some_and(|rest| rest.is_empty())
    }

    pub(super) fn ends_with(&self, suffix: &str) -> bool {
        let [second, third] = self.more;
        let mut suffix = suffix.as_bytes();
        for piece in [third, second, self.rest] {
            let piece = piece.as_bytes();
            if suffix.len() <= piece.len() {
                return piece.ends_with(suffix);
            }
            match suffix.strip_suffix(piece) {
                Some(before) => suffix = before,
                None => return false,
            }
        }
        suffix.is_empty()
    }

    fn settled(mut self) -> Self {
        for _ in 0..self.more.len() {
            if self.rest.is_empty() {
                let [second, third] = self.more;
                self = Self { rest: second, more: [third, ""] };
            }
        }
        self
    }
}
