//! Where the elements of a statement stand in their document, for people who are told why.

/// A member of an object, or a value, by bytes of the document. Documents are shorter than 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    at: u32,
    value_at: u32,
    end: u32,
}

/// All places of one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) statement: Span,
    pub(crate) principal: Span,
    pub(crate) action: Span,
    pub(crate) resource: Span,
    /// In the order of the statement's clauses.
    pub(crate) clauses: Box<[ClauseSpan]>,
}

/// One key under one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClauseSpan {
    pub(crate) operator: Span,
    pub(crate) key: Span,
}

/// A document with the ends of its lines: where several places are asked for, they are looked for once.
pub(crate) struct Lines<'a> {
    source: &'a str,
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(source: &'a str) -> Self {
        Self { source, ends: memchr::memchr_iter(b'\n', source.as_bytes()).collect() }
    }

    /// As [`Span::place`].
    pub(crate) fn place(&self, span: Span) -> (usize, usize) {
        let at = usize::try_from(span.at).unwrap_or(usize::MAX);
        let before = self.ends.partition_point(|end| *end < at);
        let end = before.checked_sub(1).and_then(|last| self.ends.get(last));
        let start = end.map_or(0, |end| end + 1);
        let inside = self.source.get(start..at).unwrap_or_default();
        (before + 1, inside.chars().count() + 1)
    }
}

impl Span {
    pub(super) fn new(at: usize, value_at: usize, end: usize) -> Self {
        let [at, value_at, end] =
            [at, value_at, end].map(|byte| u32::try_from(byte).unwrap_or(u32::MAX));
        Self { at, value_at, end }
    }

    /// Line and column of the start, from one, the column in characters.
    pub(crate) fn place(&self, source: &str) -> (usize, usize) {
        super::error::line_and_column(source, usize::try_from(self.at).unwrap_or(usize::MAX))
    }

    /// The member's name, unescaped as far as names need it.
    pub(crate) fn name<'a>(&self, source: &'a str) -> &'a str {
        let text = cut(source, self.at, self.end);
        let inside = text.strip_prefix('"').unwrap_or(text);
        inside.split('"').next().unwrap_or(inside)
    }

    /// The value as written, line breaks and indentation as single spaces.
    pub(crate) fn value(&self, source: &str) -> String {
        let text = cut(source, self.value_at, self.end);
        let mut value = String::with_capacity(text.len());
        for word in text.split_ascii_whitespace() {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(word);
        }
        value
    }
}

fn cut(source: &str, from: u32, to: u32) -> &str {
    let bytes = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    source.get(bytes(from)..bytes(to)).unwrap_or_default()
}
