//! Recursive descent over the tokens, with a bound on depth and on terms.
#![deny(clippy::indexing_slicing)]

use ipnet::IpNet;
use regex::RegexBuilder;

use crate::stamp;

use super::{
    DEPTH_MAX, Filter, Pred, Query, QueryError, TERMS_MAX, TEXT_BYTES_MAX, Test, field,
    lexer::{self, Op, Placed, Token},
    value,
};

mod stages;

/// Longest pattern and largest automaton.
const PATTERN_BYTES_MAX: usize = 256;
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed>>,
    end: usize,
    now_us: u64,
    terms: usize,
    /// Columns of the table that was made; before that, names are fields of records.
    columns: Option<Vec<String>>,
}

pub(super) fn parse(text: &str, now_us: u64) -> Result<Query, QueryError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the query is longer than {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new(TEXT_BYTES_MAX, message));
    }
    let tokens = lexer::tokens(text)?.into_iter().peekable();
    let mut parser = Parser { tokens, end: text.len(), now_us, terms: 0, columns: None };
    let mut query = Query {
        filter: Filter::All,
        expand: None,
        table: None,
        now_us,
        fields: None,
        sort: None,
        limit: None,
    };
    if parser.begins_with_stage() {
        parser.stage(&mut query)?;
    } else if !matches!(parser.peek(), None | Some(Token::Pipe)) {
        query.filter = parser.filter(0)?;
    }
    while let Some((at, token)) = parser.tokens.next() {
        match token {
            Token::Pipe => parser.stage(&mut query)?,
            _ => return Err(QueryError::new(at, "an `and`, `or` or `|` is missing before this")),
        }
    }
    Ok(query)
}

impl Parser {
    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek().map(|(_, token)| token)
    }

    fn at(&mut self) -> usize {
        let end = self.end;
        self.tokens.peek().map_or(end, |(at, _)| *at)
    }

    /// Takes the next token if it is this word.
    fn keyword(&mut self, word: &str) -> bool {
        let found =
            |token: &Placed| matches!(&token.1, Token::Word(w) if w.eq_ignore_ascii_case(word));
        self.tokens.next_if(found).is_some()
    }

    fn take(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|(_, token)| token == wanted).is_some()
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let mut any = vec![self.conjunction(depth)?];
        while self.keyword("or") {
            any.push(self.conjunction(depth)?);
        }
        Ok(one_or(any, Filter::Or))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let mut all = vec![self.negation(depth)?];
        loop {
            let joined = self.keyword("and");
            let more = match self.peek() {
                Some(Token::Word(word)) => joined || !word.eq_ignore_ascii_case("or"),
                Some(Token::Quoted(_) | Token::Open) => true,
                _ => joined,
            };
            if !more {
                return Ok(one_or(all, Filter::And));
            }
            all.push(self.negation(depth)?);
        }
    }

    fn negation(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let mut negated = false;
        while self.keyword("not") {
            negated = !negated;
        }
        let at = self.at();
        let inner = if self.take(&Token::Open) {
            if depth >= DEPTH_MAX {
                return Err(QueryError::new(at, format!("nested deeper than {DEPTH_MAX}")));
            }
            let inner = self.filter(depth + 1)?;
            self.expect(&Token::Close, "`)`")?;
            inner
        } else {
            self.predicate()?
        };
        Ok(if negated { Filter::Not(Box::new(inner)) } else { inner })
    }

    fn expect(&mut self, token: &Token, name: &str) -> Result<(), QueryError> {
        let at = self.at();
        if self.take(token) {
            Ok(())
        } else {
            Err(QueryError::new(at, format!("{name} is missing")))
        }
    }

    fn predicate(&mut self) -> Result<Filter, QueryError> {
        self.count(1)?;
        let (at, name) = match self.tokens.next() {
            Some((at, Token::Word(word))) => (at, word),
            Some((_, Token::Quoted(text))) => return Ok(contains(&text)),
            Some((at, _)) => {
                return Err(QueryError::new(at, "a field, a flag or a text is expected"));
            }
            None => return Err(QueryError::new(self.end, "a field, a flag or a text is missing")),
        };
        let name = self.called(name)?;
        match self.peek() {
            Some(Token::Op(op)) => {
                let op = *op;
                self.tokens.next();
                let field = self.resolve(&name, at)?;
                self.comparison(field, op)
            }
            Some(Token::Open) if name == "hour" => self.hour(),
            Some(Token::Open) => {
                Err(QueryError::new(at, format!("`{name}()` is no condition; `hour(time)` is one")))
            }
            Some(Token::Word(word)) if word == "in" => {
                self.tokens.next();
                let field = self.resolve(&name, at)?;
                self.membership(field)
            }
            Some(Token::Word(word)) if word == "exists" => {
                self.tokens.next();
                Ok(pred(self.resolve_exact(&name, at)?, Test::Exists))
            }
            Some(Token::Word(word)) if word == "has" => {
                self.tokens.next();
                let (_, word, _) = self.value()?;
                Ok(pred(self.resolve(&name, at)?, Test::Has(word)))
            }
            _ => Ok(bare(&name)),
        }
    }

    fn count(&mut self, terms: usize) -> Result<(), QueryError> {
        self.terms += terms;
        let at = self.at();
        if self.terms > TERMS_MAX {
            return Err(QueryError::new(at, format!("more than {TERMS_MAX} terms")));
        }
        Ok(())
    }

    /// A value, where it begins and whether it was a bare word.
    fn value(&mut self) -> Result<(usize, String, bool), QueryError> {
        match self.tokens.next() {
            Some((at, Token::Word(word))) => Ok((at, word, true)),
            Some((at, Token::Quoted(text))) => Ok((at, text, false)),
            Some((at, _)) => Err(QueryError::new(at, "a value is expected")),
            None => Err(QueryError::new(self.end, "a value is missing")),
        }
    }

    fn comparison(&mut self, field: String, op: Op) -> Result<Filter, QueryError> {
        let (at, text, bare) = self.value()?;
        let negated = op == Op::NotEqual;
        let op = if negated { Op::Equal } else { op };
        // A bare word with a dot that names a field is that field's value.
        let other = if bare { self.other(&text) } else { None };
        let test = match (op, other) {
            (Op::Equal, Some(other)) if negated => return Ok(pred(field, Test::Differs(other))),
            (Op::Equal, Some(other)) => Test::SameAs(other),
            (Op::Glob, _) => Test::Pattern(pattern(&glob(&text), at)?),
            (Op::Regex, _) => Test::Pattern(pattern(&text, at)?),
            (op, _) if field == "time" || field.starts_with("bin(time") => {
                let time = value::time(&text, self.now_us).ok_or_else(|| {
                    QueryError::new(
                        at,
                        format!(
                            "`{text}` is not a time; write 2026-01-31, an RFC 3339 time or -24h"
                        ),
                    )
                })?;
                Test::Time(op, stamp::text(time))
            }
            (Op::Equal, _) => Test::OneOf(vec![text]),
            (op, _) => match value::number(&text) {
                Some(number) => Test::Number(op, number),
                None => Test::Text(op, text),
            },
        };
        let found = pred(field, test);
        Ok(if negated { Filter::Not(Box::new(found)) } else { found })
    }

    fn membership(&mut self, field: String) -> Result<Filter, QueryError> {
        if !self.take(&Token::Open) {
            let (at, text, _) = self.value()?;
            let net = text.parse::<IpNet>().map_err(|_| {
                QueryError::new(
                    at,
                    format!("`{text}` is not a network; write 10.0.0.0/8 or a list in parentheses"),
                )
            })?;
            return Ok(pred(field, Test::Cidr(net)));
        }
        let (mut values, mut any) = (Vec::new(), Vec::new());
        loop {
            // The predicate itself is counted already, and its first value with it.
            self.count(usize::from(!values.is_empty() || !any.is_empty()))?;
            let (at, text, bare) = self.value()?;
            match text.split_once("..").filter(|_| bare) {
                Some((low, high)) => {
                    let (low, high) = (value::number(low), value::number(high));
                    let (Some(low), Some(high)) = (low, high) else {
                        let message = format!("`{text}` is not a range; write 0..5");
                        return Err(QueryError::new(at, message));
                    };
                    any.push(pred(field.clone(), Test::Between(low, high)));
                }
                None => values.push(text),
            }
            if !self.take(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::Close, "`)`")?;
        if !values.is_empty() {
            any.push(pred(field, Test::OneOf(values)));
        }
        Ok(one_or(any, Filter::Or))
    }

    /// `hour(time)` and what it must be.
    fn hour(&mut self) -> Result<Filter, QueryError> {
        self.expect(&Token::Open, "`(`")?;
        let (at, name, _) = self.value()?;
        if self.resolve(&name, at)? != "time" {
            return Err(QueryError::new(at, "only `time` has an hour"));
        }
        self.expect(&Token::Close, "`)`")?;
        let at = self.at();
        let number = "hour(time)".to_owned();
        let found = match self.tokens.next() {
            Some((_, Token::Op(op))) => self.comparison(number, op)?,
            Some((_, Token::Word(word))) if word == "in" => self.membership(number)?,
            _ => return Err(QueryError::new(at, "a comparison or `in` is expected")),
        };
        Ok(found.on_hour())
    }

    /// The field, or the column of the table that was made.
    fn resolve(&self, name: &str, at: usize) -> Result<String, QueryError> {
        match &self.columns {
            None => resolve(name, at),
            Some(columns) => column(columns, name).ok_or_else(|| {
                let message = format!("`{name}` is not a column; there are {}", columns.join(", "));
                QueryError::new(at, message)
            }),
        }
    }

    /// For `exists`, where an alias of one member must not narrow the group of that name.
    fn resolve_exact(&self, name: &str, at: usize) -> Result<String, QueryError> {
        match name {
            "auth.by" | "principal" | "request" if self.columns.is_none() => Ok(name.to_owned()),
            _ => self.resolve(name, at),
        }
    }

    /// A value that is the name of another field.
    fn other(&self, text: &str) -> Option<String> {
        match &self.columns {
            None if text.contains('.') => field::resolve(text),
            None => None,
            Some(columns) => columns.iter().find(|column| *column == text).cloned(),
        }
    }
}

fn one_or(mut filters: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.pop() {
        Some(only) if filters.is_empty() => only,
        Some(last) => {
            filters.push(last);
            many(filters)
        }
        None => Filter::All,
    }
}

fn pred(field: String, test: Test) -> Filter {
    Filter::Pred(Pred { field, test })
}

fn contains(text: &str) -> Filter {
    pred(String::new(), Test::Contains(text.to_ascii_lowercase()))
}

/// A word alone: a flag, or a text to look for anywhere.
fn bare(word: &str) -> Filter {
    let decision =
        |word: &str| pred("auth.decision".to_owned(), Test::OneOf(vec![word.to_owned()]));
    match word {
        "readonly" => pred("action".to_owned(), Test::ReadOnly),
        "denied" => decision("deny"),
        "allowed" => decision("allow"),
        "all" => Filter::All,
        text => contains(text),
    }
}

fn resolve(name: &str, at: usize) -> Result<String, QueryError> {
    field::resolve(name).ok_or_else(|| {
        let hint = match (field::implied_by(name), field::nearest(name)) {
            (Some(member), _) => format!("; records say it as `{member}`"),
            (None, Some(near)) => format!("; did you mean `{near}`?"),
            (None, None) => String::new(),
        };
        QueryError::new(at, format!("`{name}` is not a field{hint}"))
    })
}

/// The column of this name: as it is, by a field's other names, or by its function alone if only one fits.
fn column(columns: &[String], name: &str) -> Option<String> {
    let exact = |wanted: &str| columns.iter().find(|column| *column == wanted).cloned();
    let by_function = || {
        let mut fits = columns.iter().filter(|column| {
            column.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '/']))
        });
        fits.next().filter(|_| fits.next().is_none()).cloned()
    };
    exact(name)
        .or_else(|| field::resolve(name).and_then(|field| exact(&field)))
        .or_else(by_function)
}

fn pattern(regex: &str, at: usize) -> Result<regex::Regex, QueryError> {
    if regex.len() > 2 * PATTERN_BYTES_MAX {
        return Err(QueryError::new(
            at,
            format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"),
        ));
    }
    RegexBuilder::new(&format!("^(?:{regex})$"))
        .dot_matches_new_line(true)
        .size_limit(AUTOMATON_BYTES_MAX)
        .nest_limit(DEPTH_MAX as u32)
        .build()
        .map_err(|error| QueryError::new(at, format!("the pattern cannot be used: {error}")))
}

/// `*` is any text, `?` any one character.
fn glob(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '*' => ".*".to_owned(),
            '?' => ".".to_owned(),
            c => regex::escape(c.encode_utf8(&mut [0; 4])),
        })
        .collect()
}
