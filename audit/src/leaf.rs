//! Reads the scalars of a record out of its canonical bytes, without building a tree.
//!
//! Paths are member names joined by dots; an array's elements share the path of the array. An element `{k,v}` is a pair
//! whose key is not a member name of ours, so its value has the path `….<k>`: `auth.ctx.aws:SourceIp`. A resource whose
//! ARN names an account has the path `resources.account` besides.
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

/// One scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An integer as its digits.
    Number(&'a str),
    /// `true` or `false`.
    Flag(bool),
}

impl Scalar<'_> {
    /// What the value looks like to somebody who types a query.
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(digits) => digits,
            Self::Flag(true) => "true",
            Self::Flag(false) => "false",
        }
    }
}

/// Path of a resource's ARN.
pub(crate) const ARN: &str = "resources.arn";
/// Path of the account that it names.
pub(crate) const ACCOUNT: &str = "resources.account";

/// The schema has six levels; anything deeper is not a record.
const DEPTH_MAX: usize = 8;

/// Calls `visit` with every path and scalar in order; `None` when the bytes are not a record, and then what was visited
/// counts for nothing.
pub(crate) fn visit(leaf: &[u8], visit: &mut dyn FnMut(&str, &Scalar<'_>)) -> Option<()> {
    let text = std::str::from_utf8(leaf).ok()?;
    let mut walk = Walk { rest: text, path: String::with_capacity(64), visit };
    walk.value(0, false)?;
    walk.rest.is_empty().then_some(())
}

/// All values of one path.
pub(crate) fn values(leaf: &[u8], field: &str) -> Vec<String> {
    let mut found = Vec::new();
    visit(leaf, &mut |path, value| {
        if path == field {
            found.push(value.as_text().to_owned());
        }
    });
    found
}

/// The account that an ARN names.
pub(crate) fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// Bytes of the number that a text begins with.
pub(crate) fn digits(text: &str) -> usize {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    text.bytes().take_while(is_digit).count()
}

struct Walk<'a, 'v> {
    rest: &'a str,
    path: String,
    visit: &'v mut dyn FnMut(&str, &Scalar<'_>),
}

impl<'a> Walk<'a, '_> {
    fn value(&mut self, depth: usize, element: bool) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.rest.as_bytes().first()? {
            b'{' => self.object(depth, element),
            b'[' => self.array(depth),
            _ => {
                let scalar = self.scalar()?;
                (self.visit)(&self.path, &scalar);
                if self.path == ARN
                    && let Some(account) = account(scalar.as_text())
                {
                    (self.visit)(ACCOUNT, &Scalar::Text(account.into()));
                }
                Some(())
            }
        }
    }

    fn object(&mut self, depth: usize, element: bool) -> Option<()> {
        self.eat("{")?;
        if self.eat("}").is_some() {
            return Some(());
        }
        let outer = self.path.len();
        let mut key: Option<String> = None;
        loop {
            let name = self.string()?;
            self.eat(":")?;
            // In canonical order `k` comes before `v`.
            if element && name == "k" {
                key = Some(self.string()?.into_owned());
            } else {
                let step = key.as_deref().filter(|_| name == "v").unwrap_or(&name);
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(step);
                self.value(depth + 1, false)?;
                self.path.truncate(outer);
            }
            if self.eat(",").is_none() {
                return self.eat("}");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.eat("[")?;
        if self.eat("]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1, true)?;
            if self.eat(",").is_none() {
                return self.eat("]");
            }
        }
    }

    fn scalar(&mut self) -> Option<Scalar<'a>> {
        if self.rest.starts_with('"') {
            return self.string().map(Scalar::Text);
        }
        if self.eat("true").is_some() {
            return Some(Scalar::Flag(true));
        }
        if self.eat("false").is_some() {
            return Some(Scalar::Flag(false));
        }
        let (digits, rest) = self.rest.split_at_checked(digits(self.rest))?;
        self.rest = rest;
        (!digits.is_empty()).then_some(Scalar::Number(digits))
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let body = self.rest.strip_prefix('"')?;
        let end = memchr::memchr2(b'"', b'\\', body.as_bytes())?;
        let (plain, after) = body.split_at_checked(end)?;
        if let Some(rest) = after.strip_prefix('"') {
            self.rest = rest;
            return Some(Cow::Borrowed(plain));
        }
        self.escaped(body).map(Cow::Owned)
    }

    fn escaped(&mut self, body: &'a str) -> Option<String> {
        let mut out = String::new();
        let mut chars = body.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => out.push(match chars.next()? {
                    'b' => '\u{8}',
                    't' => '\t',
                    'n' => '\n',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'u' => {
                        let hex = chars.as_str().get(..4)?;
                        chars = chars.as_str().get(4..)?.chars();
                        char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
                    }
                    plain @ ('"' | '\\' | '/') => plain,
                    _ => return None,
                }),
                plain => out.push(plain),
            }
        }
        self.rest = chars.as_str();
        Some(out)
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(leaf: &str) -> Option<Vec<String>> {
        let mut seen = Vec::new();
        visit(leaf.as_bytes(), &mut |path, value| {
            seen.push(format!("{path}={}", value.as_text()))
        })?;
        Some(seen)
    }

    #[test]
    fn paths_of_nested_values() {
        let leaf = r#"{"auth":{"by":[{"id":"a"},{"id":"b"}],"ctx":[{"k":"aws:SourceIp","v":["1","2"]}]},"result":{"aborted":true,"code":200},"s":"q\"\u001f\n"}"#;
        let expected = [
            "auth.by.id=a",
            "auth.by.id=b",
            "auth.ctx.aws:SourceIp=1",
            "auth.ctx.aws:SourceIp=2",
            "result.aborted=true",
            "result.code=200",
            "s=q\"\u{1f}\n",
        ];
        assert_eq!(all(leaf).unwrap(), expected);
        assert_eq!(values(leaf.as_bytes(), "auth.by.id"), ["a", "b"]);
        assert_eq!(all(r#"{"a":1"#), None);
        assert_eq!(all(&"[".repeat(100)), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[\[\]{}:,"\\a-c0-9u]{0,60}"#) {
            visit(&bytes, &mut |_, _| {});
            visit(text.as_bytes(), &mut |_, _| {});
        }
    }
}
