//! The stages after the filter.
#![deny(clippy::indexing_slicing)]

use crate::query::{
    Filter, Order, Query, QueryError, Sort,
    lexer::{Op, Token},
    stage::{Agg, Expand, Key, Make, Related, Rework, Step, Tabular},
    value,
};

use super::{Parser, resolve};

impl Parser {
    /// Whether a query without a filter begins here: what follows tells a stage from a text to look for.
    pub(super) fn begins_with_stage(&mut self) -> bool {
        let mut ahead = self.tokens.clone().map(|(_, token)| token);
        let (Some(Token::Word(first)), second) = (ahead.next(), ahead.next()) else { return false };
        let joins = |word: &str| ["and", "or"].iter().any(|join| word.eq_ignore_ascii_case(join));
        match (first.as_str(), second) {
            ("count", None | Some(Token::Pipe | Token::Comma)) => true,
            ("count" | "sequence", Some(Token::Word(word))) => word == "by",
            ("distinct" | "firstseen", Some(Token::Word(word))) => !joins(&word),
            ("replay", Some(Token::Word(word))) => word == "policy",
            ("gaps" | "policies", Some(Token::Open)) => true,
            (name, Some(Token::Open)) => is_figure(name),
            _ => false,
        }
    }

    pub(super) fn stage(&mut self, query: &mut Query) -> Result<(), QueryError> {
        let (at, name) = match self.tokens.next() {
            Some((at, Token::Word(word))) => (at, word),
            Some((at, _)) => return Err(QueryError::new(at, "a stage is expected")),
            None => return Err(QueryError::new(self.end, "a stage is missing after `|`")),
        };
        match name.as_str() {
            "fields" => self.fields(query),
            "limit" => {
                let limit = self.number("a limit is a number from 1")?;
                match &mut query.table {
                    Some(table) => table.then.push(Rework::Limit(limit)),
                    None => query.limit = Some(query.limit.map_or(limit, |other| other.min(limit))),
                }
                Ok(())
            }
            "sort" => self.sort(query),
            "top" => self.top(query, at),
            "where" => self.more(query),
            "expand" => self.expand(query, at),
            _ => {
                may_become_table(query, at, &name)?;
                let make = match name.as_str() {
                    "policies" => self.unused(query, at)?,
                    "replay" => self.replay(query)?,
                    name => self.make(name, at)?,
                };
                let columns = make.columns();
                self.columns = Some(columns.clone());
                query.table = Some(Tabular { make, then: Vec::new(), columns });
                Ok(())
            }
        }
    }

    /// The stages that make a table.
    fn make(&mut self, name: &str, at: usize) -> Result<Make, QueryError> {
        match name {
            "distinct" => Ok(Make::Distinct(self.key()?)),
            "gaps" => {
                self.expect(&Token::Open, "`(`")?;
                let longer_us = self.duration()?;
                self.expect(&Token::Close, "`)`")?;
                Ok(Make::Gaps { longer_us })
            }
            "firstseen" => {
                let key = self.key()?;
                self.word("baseline")?;
                Ok(Make::FirstSeen { key, baseline_us: self.duration()? })
            }
            "sequence" => self.sequence(),
            figure if figure == "count" || is_figure(figure) => {
                let aggs = self.figures(figure, at)?;
                let by = if self.keyword("by") { self.keys()? } else { Vec::new() };
                Ok(Make::Groups { aggs, by })
            }
            other => Err(QueryError::new(at, format!("`{other}` is not a stage"))),
        }
    }

    /// A filter on records, on those that were expanded to, or on rows of a table.
    fn more(&mut self, query: &mut Query) -> Result<(), QueryError> {
        let more = self.filter(0)?;
        let place = match (&mut query.table, &mut query.expand) {
            (Some(table), _) => {
                table.then.push(Rework::Where(more));
                return Ok(());
            }
            (None, Some(expand)) => &mut expand.then,
            (None, None) => &mut query.filter,
        };
        let before = std::mem::replace(place, Filter::All);
        *place = Filter::And(vec![before, more]);
        Ok(())
    }

    fn expand(&mut self, query: &mut Query, at: usize) -> Result<(), QueryError> {
        let shaped = query.table.is_some() || query.limit.is_some() || query.fields.is_some();
        if shaped || query.sort.is_some() || query.expand.is_some() {
            return Err(QueryError::new(at, "`expand` comes right after the filter"));
        }
        let (at, what, _) = self.value()?;
        let related = match what.as_str() {
            "request" => Related::Request,
            "session" => Related::Session,
            _ => return Err(QueryError::new(at, "`request` or `session` is expected")),
        };
        query.expand = Some(Expand { related, then: Filter::All });
        Ok(())
    }

    fn fields(&mut self, query: &mut Query) -> Result<(), QueryError> {
        let mut names = Vec::new();
        loop {
            self.count(1)?;
            names.push(self.name()?);
            if !self.take(&Token::Comma) {
                break;
            }
        }
        match &mut query.table {
            Some(table) => {
                let places = names.iter().filter_map(|name| place(&table.columns, name)).collect();
                table.then.push(Rework::Fields(places));
                table.columns.clone_from(&names);
                self.columns = Some(names);
            }
            None => query.fields = Some(names),
        }
        Ok(())
    }

    fn sort(&mut self, query: &mut Query) -> Result<(), QueryError> {
        let field = self.name()?;
        let ascending = self.keyword("asc");
        let order = if ascending { Order::Ascending } else { Order::Descending };
        self.keyword("desc");
        match &mut query.table {
            Some(table) => {
                let column = place(&table.columns, &field).unwrap_or_default();
                table.then.push(Rework::Sort { column, order });
            }
            None => query.sort = Some(Sort { field, order }),
        }
        Ok(())
    }

    /// The rows with the largest first figure.
    fn top(&mut self, query: &mut Query, at: usize) -> Result<(), QueryError> {
        let rows = self.number("`top` takes a number from 1")?;
        let figure = query.table.as_ref().and_then(|table| match &table.make {
            Make::Groups { aggs, .. } => place(&table.columns, &aggs.first()?.name()),
            _ => None,
        });
        let (Some(table), Some(column)) = (&mut query.table, figure) else {
            return Err(QueryError::new(at, "`top` comes after `count` or another figure"));
        };
        table.then.push(Rework::Sort { column, order: Order::Descending });
        table.then.push(Rework::Limit(rows));
        Ok(())
    }

    /// `policies() minus (filter | distinct auth.by)`, which no filter precedes.
    fn unused(&mut self, query: &mut Query, at: usize) -> Result<Make, QueryError> {
        if !matches!(query.filter, Filter::All) || query.expand.is_some() {
            let message = "`policies()` begins a query; write the filter behind `minus (`";
            return Err(QueryError::new(at, message));
        }
        self.expect(&Token::Open, "`(`")?;
        self.expect(&Token::Close, "`)`")?;
        self.word("minus")?;
        self.expect(&Token::Open, "`(`")?;
        query.filter = self.filter(0)?;
        self.expect(&Token::Pipe, "`| distinct auth.by`")?;
        self.word("distinct")?;
        let at = self.at();
        match self.key()? {
            Key::Field(field) if field == "auth.by.id" => {}
            _ => return Err(QueryError::new(at, "policies can only be compared with `auth.by`")),
        }
        self.expect(&Token::Close, "`)`")?;
        Ok(Make::Unused)
    }

    /// `replay policy=name [as name] [over filter]`
    fn replay(&mut self, query: &mut Query) -> Result<Make, QueryError> {
        self.word("policy")?;
        self.expect(&Token::Op(Op::Equal), "`=`")?;
        let (_, policy, _) = self.value()?;
        let instead_of = match self.keyword("as") {
            true => Some(self.value()?.1),
            false => None,
        };
        if self.keyword("over") {
            self.more(query)?;
        }
        Ok(Make::Replay { policy, instead_of })
    }

    fn sequence(&mut self) -> Result<Make, QueryError> {
        self.word("by")?;
        let by = self.keys()?;
        self.word("within")?;
        let within_us = self.duration()?;
        let mut steps = Vec::new();
        loop {
            self.expect(&Token::OpenStep, "`[`")?;
            let filter = self.filter(0)?;
            self.expect(&Token::CloseStep, "`]`")?;
            let counted = self.take(&Token::Op(Op::GreaterEqual));
            let at_least = if counted { self.number("a step takes a number from 1")? } else { 1 };
            steps.push(Step { filter, at_least });
            if !self.keyword("then") {
                return Ok(Make::Sequence { by, within_us, steps });
            }
        }
    }

    /// Figures; the first one's name was taken already.
    fn figures(&mut self, first: &str, at: usize) -> Result<Vec<Agg>, QueryError> {
        let mut figures = vec![self.figure(first, at)?];
        while self.take(&Token::Comma) {
            let (at, name, _) = self.value()?;
            figures.push(self.figure(&name, at)?);
        }
        Ok(figures)
    }

    fn figure(&mut self, name: &str, at: usize) -> Result<Agg, QueryError> {
        self.count(1)?;
        if name == "count" {
            return Ok(Agg::Count);
        }
        self.expect(&Token::Open, "`(`")?;
        let field = self.name()?;
        self.expect(&Token::Close, "`)`")?;
        match name {
            "sum" => Ok(Agg::Sum(field)),
            "min" => Ok(Agg::Min(field)),
            "max" => Ok(Agg::Max(field)),
            "avg" => Ok(Agg::Avg(field)),
            "dcount" => Ok(Agg::Distinct(field)),
            name => match percent(name) {
                Some(percent) => Ok(Agg::Percentile(percent, field)),
                None => Err(QueryError::new(at, format!("`{name}` is not a figure"))),
            },
        }
    }

    fn keys(&mut self) -> Result<Vec<Key>, QueryError> {
        let mut keys = vec![self.key()?];
        while self.take(&Token::Comma) {
            keys.push(self.key()?);
        }
        Ok(keys)
    }

    fn key(&mut self) -> Result<Key, QueryError> {
        self.count(1)?;
        let (at, name, bare) = self.value()?;
        if bare && self.take(&Token::Open) {
            let key = match name.as_str() {
                "bin" => {
                    self.time_field()?;
                    self.expect(&Token::Comma, "`,`")?;
                    let text = self.tokens.peek().map(|(_, token)| token.clone());
                    let width_us = self.duration()?;
                    let text = match text {
                        Some(Token::Word(text) | Token::Quoted(text)) => text,
                        _ => String::new(),
                    };
                    Key::Bin { width_us, text }
                }
                "hour" => {
                    self.time_field()?;
                    Key::Hour
                }
                _ => return Err(QueryError::new(at, "only `bin()` and `hour()` cut a field")),
            };
            self.expect(&Token::Close, "`)`")?;
            return Ok(key);
        }
        let Some((field, bits)) = name.split_once('/').filter(|_| bare) else {
            return Ok(Key::Field(resolve(&name, at)?));
        };
        let bits = bits.parse().ok().filter(|bits| *bits <= 128);
        let bits = bits.ok_or_else(|| QueryError::new(at, "bits of a network are 0 to 128"))?;
        // `src/24` is how people say it.
        let field = resolve(if field == "src" { "net.src" } else { field }, at)?;
        Ok(Key::Net { field, bits })
    }

    fn time_field(&mut self) -> Result<(), QueryError> {
        let (at, name, _) = self.value()?;
        match resolve(&name, at)?.as_str() {
            "time" => Ok(()),
            _ => Err(QueryError::new(at, "only `time` can be cut")),
        }
    }

    /// A field or column.
    fn name(&mut self) -> Result<String, QueryError> {
        let (at, name, _) = self.value()?;
        let name = self.called(name)?;
        self.resolve(&name, at)
    }

    /// The name of a column as it is shown, with its parentheses.
    pub(super) fn called(&mut self, name: String) -> Result<String, QueryError> {
        if self.columns.is_none() || !self.take(&Token::Open) {
            return Ok(name);
        }
        let mut inside = vec![self.value()?.1];
        while self.take(&Token::Comma) {
            inside.push(self.value()?.1);
        }
        self.expect(&Token::Close, "`)`")?;
        Ok(format!("{name}({})", inside.join(",")))
    }

    fn number(&mut self, otherwise: &str) -> Result<usize, QueryError> {
        let (at, text, _) = self.value()?;
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| QueryError::new(at, otherwise))
    }

    fn duration(&mut self) -> Result<u64, QueryError> {
        let (at, text, _) = self.value()?;
        let duration = value::duration_us(&text).filter(|us| *us > 0);
        duration.ok_or_else(|| {
            QueryError::new(at, format!("`{text}` is not a duration; write 90s, 5m, 1h or 30d"))
        })
    }

    fn word(&mut self, word: &str) -> Result<(), QueryError> {
        let at = self.at();
        match self.keyword(word) {
            true => Ok(()),
            false => Err(QueryError::new(at, format!("`{word}` is missing"))),
        }
    }
}

/// Figures are over all matches, so nothing that shapes rows comes before them.
fn may_become_table(query: &Query, at: usize, name: &str) -> Result<(), QueryError> {
    let before = [
        (query.table.is_some(), "another table"),
        (query.limit.is_some(), "`limit`"),
        (query.fields.is_some(), "`fields`"),
        (query.sort.is_some(), "`sort`"),
    ];
    match before.iter().find(|(is, _)| *is) {
        Some((_, what)) => Err(QueryError::new(at, format!("`{name}` cannot follow {what}"))),
        None => Ok(()),
    }
}

fn place(columns: &[String], name: &str) -> Option<usize> {
    columns.iter().position(|column| column == name)
}

fn is_figure(name: &str) -> bool {
    ["sum", "min", "max", "avg", "dcount"].contains(&name) || percent(name).is_some()
}

/// `p99` is 99.
fn percent(name: &str) -> Option<u8> {
    name.strip_prefix('p')?.parse().ok().filter(|percent| (1..=100).contains(percent))
}
