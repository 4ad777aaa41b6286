//! How deep the interpreter goes for a guardrail, and how far its values can nest, found from the syntax tree at load.
//!
//! The interpreter calls itself for each rule, loop and operator inside another, and so do comparisons of values and
//! their end: what is too deep ends the process, and no limit of time helps. Rego has no recursion, so that both can be
//! bounded before anything is evaluated: a rule needs what its text needs, and what the deepest rule needs that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regorus::Value;
use regorus::unstable::{
    ArithOp, Expr, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead, Span,
};

use super::RegoError;

/// KiB of stack that the interpreter needs at most, as measured in a build without optimisation, where it needs most: half
/// of what a thread has. A chain of 96 rules filled 2 MiB there, one of 125 functions, 282 loops, 480 operators.
const STACK_KIB_MAX: u32 = 1024;
const RULE_KIB: u32 = 24;
const LOOP_KIB: u32 = 8;
const SIGN_KIB: u32 = 14;
const LEVEL_KIB: u32 = 5;

/// Levels of a value at most: comparing two of 1 000 levels was well.
const LEVELS_MAX: u32 = 600;
/// Levels of a text that is read as JSON at most; the library's bound.
const JSON_LEVELS: u32 = 128;

/// Lists of two that nest in one another at most, or what is as much: values share their parts, so that 40 lists are a
/// value of 2^40 when it is compared.
const DOUBLINGS_MAX: u32 = 10;

/// Products of products at most: each doubles the digits.
const PRODUCTS_MAX: u32 = 8;

/// Statements of one body at most: the library orders them in quadratic time.
const STATEMENTS_MAX: usize = 256;

/// Levels of the syntax tree that are looked at.
const DEPTH_MAX: u32 = 200;

#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    stack_kib: u32,
    levels: u32,
    doublings: u32,
    products: u32,
}

impl Shape {
    /// What both need when only one is needed.
    fn or(self, other: Self) -> Self {
        Self {
            stack_kib: self.stack_kib.max(other.stack_kib),
            levels: self.levels.max(other.levels),
            doublings: self.doublings.max(other.doublings),
            products: self.products.max(other.products),
        }
    }

    /// What both need when the values of one go into the other.
    fn and(self, other: Self) -> Self {
        Self {
            stack_kib: self.stack_kib.max(other.stack_kib),
            levels: self.levels.saturating_add(other.levels),
            doublings: self.doublings.saturating_add(other.doublings),
            products: self.products.saturating_add(other.products),
        }
    }

    fn complaint(self) -> Option<String> {
        let Self { stack_kib, levels, doublings, products } = self;
        if stack_kib > STACK_KIB_MAX {
            return Some("rules, loops and operators build on one another too deep".to_owned());
        }
        if levels > LEVELS_MAX {
            return Some(format!("values may nest more than {LEVELS_MAX} deep"));
        }
        if doublings > DOUBLINGS_MAX {
            return Some(format!(
                "lists of lists may double their size more than {DOUBLINGS_MAX} times"
            ));
        }
        (products > PRODUCTS_MAX).then(|| {
            format!("numbers may be multiplied with one another more than {PRODUCTS_MAX} times")
        })
    }
}

/// What is wrong, and the line.
type Refusal = (u32, String);

/// One of the rules with a name.
#[derive(Debug, Default)]
struct Definition {
    line: u32,
    own: Shape,
    /// Names of rules and functions that it mentions.
    rules: BTreeSet<String>,
    /// Functions that it calls, once for each call.
    calls: Vec<String>,
    /// It replaces what other rules see, so that any may go into any.
    replaces: bool,
    members: Members,
}

/// Where in a source rules make the members of lists, sets and objects one by one, in bytes.
pub(super) type Members = Vec<Range<usize>>;

/// Refuses guardrails that the interpreter may not come back from. Answers for each module where its rules make members.
pub(super) fn measured(
    file: &str,
    modules: &[Ref<Module>],
    entry: &str,
) -> Result<Vec<Members>, RegoError> {
    let refuse = |(line, message): Refusal| RegoError {
        file: file.to_owned(),
        line: usize::try_from(line).unwrap_or(1),
        message,
    };
    let mut package = Package::default();
    for module in modules {
        for rule in &module.policy {
            let (name, is_function) = name(rule);
            package.names.insert(name.clone());
            if is_function {
                package.functions.insert(name);
            }
        }
    }
    let mut definitions: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    let mut members = Vec::new();
    for module in modules {
        let aliases = aliases(module);
        let mut of_module = Members::new();
        for rule in &module.policy {
            let file = rule.span().source.get_path();
            let definition = package.definition(rule, &aliases);
            let definition = definition
                .map_err(|refusal| RegoError { file: file.clone(), ..refuse(refusal) })?;
            of_module.extend(definition.members.iter().cloned());
            definitions.entry(name(rule).0).or_default().push(definition);
        }
        members.push(of_module);
    }
    let mut sum = Sum { definitions: &definitions, known: BTreeMap::new(), open: Vec::new() };
    let shape = sum.of(entry).map_err(refuse)?;
    match shape.complaint() {
        Some(message) => Err(refuse((1, message))),
        None => Ok(members),
    }
}

/// Adds up what rules need that build on one another.
struct Sum<'a> {
    definitions: &'a BTreeMap<String, Vec<Definition>>,
    known: BTreeMap<&'a str, Shape>,
    open: Vec<&'a str>,
}

impl<'a> Sum<'a> {
    fn of(&mut self, name: &str) -> Result<Shape, Refusal> {
        let Some((name, definitions)) = self.definitions.get_key_value(name) else {
            return Ok(Shape::default());
        };
        if let Some(shape) = self.known.get(name.as_str()) {
            return Ok(*shape);
        }
        let line = definitions.first().map_or(1, |definition| definition.line);
        if self.open.contains(&name.as_str()) {
            let message = format!("`{name}` builds on itself, or a variable has its name");
            return Err((line, message));
        }
        if self.open.len() as u32 * RULE_KIB > STACK_KIB_MAX {
            return Err((line, "rules build on one another too deep".to_owned()));
        }
        self.open.push(name);
        let mut all = Shape::default();
        for definition in definitions {
            let mut shape = definition.own;
            let mut below = Shape::default();
            for call in &definition.calls {
                below = below.and(self.of(call)?);
            }
            let mut deepest = Shape::default();
            for rule in &definition.rules {
                let rule = self.of(rule)?;
                deepest = if definition.replaces { deepest.and(rule) } else { deepest.or(rule) };
            }
            below = below.and(deepest);
            let stack_kib = shape.stack_kib.saturating_add(below.stack_kib);
            shape = Shape { stack_kib, ..shape.and(below) };
            all = all.or(shape);
        }
        self.open.pop();
        self.known.insert(name, all);
        Ok(all)
    }
}

/// Names of a module for paths of `data`.
fn aliases(module: &Module) -> BTreeMap<String, Vec<String>> {
    let mut aliases = BTreeMap::new();
    for import in &module.imports {
        let mut path = Vec::new();
        let mut at: &Expr = &import.refr;
        while let Expr::RefDot { refr, field, .. } = at {
            path.push(text(&field.1));
            at = refr;
        }
        let Expr::Var { value, .. } = at else { continue };
        let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
        if let (Some(alias), "data") = (alias.or(path.first().cloned()), text(value).as_str()) {
            aliases.insert(alias, path);
        }
    }
    aliases
}

/// The name of a rule, and whether it is a function.
fn name(rule: &Rule) -> (String, bool) {
    let (mut at, is_function): (&Expr, bool) = match rule {
        Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
        Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. } => {
            (refr, false)
        }
        Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
    };
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at {
        at = refr;
    }
    match at {
        Expr::Var { value, .. } => (text(value), is_function),
        _ => (String::new(), is_function),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        _ => String::new(),
    }
}

#[derive(Default)]
struct Package {
    names: BTreeSet<String>,
    functions: BTreeSet<String>,
}

impl Package {
    fn definition(
        &self,
        rule: &Rule,
        aliases: &BTreeMap<String, Vec<String>>,
    ) -> Result<Definition, Refusal> {
        let mut reading = Reading {
            package: self,
            aliases,
            found: Definition { line: rule.span().line, ..Definition::default() },
            loops: 0,
            depth: 0,
        };
        let mut stack = 0;
        match rule {
            Rule::Default { value, .. } => stack = reading.expression(value)?,
            Rule::Spec { head, bodies, .. } => {
                let assigned = |assign: &Option<RuleAssign>| {
                    assign.as_ref().map(|assign| assign.value.clone())
                };
                let (refr, value) = match head {
                    RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => {
                        (refr, assigned(assign))
                    }
                    RuleHead::Set { refr, key, .. } => {
                        let is_newer = matches!(&**refr, Expr::Var { .. });
                        let key = key.clone();
                        // `deny[x]` of the older syntax has no place for more than a name.
                        let found = key
                            .iter()
                            .filter(|_| is_newer)
                            .filter_map(|key| member(key, behind(refr, "contains", key)?));
                        reading.found.members.extend(found);
                        (refr, key)
                    }
                };
                // A set, or an object of values by key.
                reading.found.own.levels += 1;
                if let Expr::RefBrack { .. } = &**refr {
                    stack = reading.expression(refr)?;
                    // The name itself is no mention of the rule.
                    let (name, _) = name(rule);
                    reading.found.rules.remove(&name);
                }
                if let Some(value) = value {
                    stack = stack.max(reading.expression(&value)?);
                }
                for body in bodies {
                    if let Some(value) = assigned(&body.assign) {
                        stack = stack.max(reading.expression(&value)?);
                    }
                    stack = stack.max(reading.query(&body.query)?);
                }
            }
        }
        let loops = reading.loops.saturating_mul(LOOP_KIB);
        reading.found.own.stack_kib = stack.saturating_add(loops).saturating_add(RULE_KIB);
        Ok(reading.found)
    }
}

/// Reads one rule.
struct Reading<'a> {
    package: &'a Package,
    aliases: &'a BTreeMap<String, Vec<String>>,
    found: Definition,
    loops: u32,
    depth: u32,
}

impl Reading<'_> {
    /// The stack that a body needs, in KiB.
    fn query(&mut self, query: &Query) -> Result<u32, Refusal> {
        if query.stmts.len() > STATEMENTS_MAX {
            let message = format!("a body has more than {STATEMENTS_MAX} statements");
            return Err((query.span.line, message));
        }
        let outer = std::mem::take(&mut self.loops);
        let mut stack = 0_u32;
        for statement in &query.stmts {
            for with in &statement.with_mods {
                self.replacement(&with.refr)?;
                stack = stack.max(self.expression(&with.r#as)?);
            }
            stack = stack.max(match &statement.literal {
                Literal::SomeVars { .. } => LEVEL_KIB,
                Literal::SomeIn { key, value, collection, .. } => {
                    self.loops += 1;
                    let parts = key.iter().chain([value, collection]).map(|part| &**part);
                    self.deepest(parts)?
                }
                Literal::Expr { expr, .. } => self.expression(expr)?,
                Literal::NotExpr { expr, .. } => SIGN_KIB.saturating_add(self.expression(expr)?),
                Literal::Every { domain, query, .. } => {
                    let inner = RULE_KIB.saturating_add(self.query(query)?);
                    inner.max(self.expression(domain)?)
                }
            });
        }
        let loops = std::mem::replace(&mut self.loops, outer);
        Ok(stack.saturating_add(loops.saturating_mul(LOOP_KIB)))
    }

    /// `with` may replace what comes in, and rules; another function would hide what a call needs.
    fn replacement(&mut self, what: &Expr) -> Result<(), Refusal> {
        let mut fields = BTreeSet::new();
        let mut at = what;
        while let Expr::RefDot { refr, field, .. } = at {
            fields.insert(text(&field.1));
            at = refr;
        }
        let root = match at {
            Expr::Var { value, .. } => text(value),
            _ => String::new(),
        };
        let is_function = !fields.is_disjoint(&self.package.functions);
        if !matches!(root.as_str(), "input" | "data") || is_function {
            let message = "`with` can replace `input` and rules, not functions".to_owned();
            return Err((what.span().line, message));
        }
        self.found.replaces = true;
        Ok(())
    }

    fn deepest<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) -> Result<u32, Refusal> {
        let mut stack = 0;
        for part in parts {
            stack = stack.max(self.expression(part)?);
        }
        Ok(stack)
    }

    /// The stack that an expression needs, in KiB.
    fn expression(&mut self, expression: &Expr) -> Result<u32, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = "operators and brackets build on one another too deep".to_owned();
            return Err((expression.span().line, message));
        }
        let inner = match expression {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => 0,
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.path(expression, false)?
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                self.holds(items.iter().map(|item| &**item));
                self.deepest(items.iter().map(|item| &**item))?
            }
            Expr::Object { fields, .. } => {
                let parts = || fields.iter().flat_map(|(_, key, value)| [&**key, &**value]);
                self.holds(parts());
                self.deepest(parts())?
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.comprehension(expression.span().start, query, [&**term].into_iter())?
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.comprehension(expression.span().start, query, [&**key, &**value].into_iter())?
            }
            Expr::Call { fcn, params, .. } => self.call(fcn, params)?,
            Expr::UnaryExpr { expr, .. } => SIGN_KIB.saturating_add(self.expression(expr)?),
            Expr::ArithExpr { op, lhs, rhs, .. } => {
                if *op == ArithOp::Mul && !is_constant(lhs) && !is_constant(rhs) {
                    self.found.own.products += 1;
                }
                self.deepest([&**lhs, &**rhs].into_iter())?
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => self.deepest([&**lhs, &**rhs].into_iter())?,
            Expr::Membership { key, value, collection, .. } => {
                let parts = key.iter().chain([value, collection]).map(|part| &**part);
                self.deepest(parts)?
            }
        };
        self.depth -= 1;
        Ok(inner.saturating_add(LEVEL_KIB))
    }

    fn comprehension<'e>(
        &mut self,
        start: u32,
        query: &Query,
        terms: impl Iterator<Item = &'e Expr>,
    ) -> Result<u32, Refusal> {
        self.found.own.levels += 1;
        let terms: Vec<_> = terms.collect();
        let bracket = start.saturating_add(1);
        let found: Vec<_> = match terms.as_slice() {
            [key, value] => {
                let value = behind(key, ":", value).and_then(|colon| member(value, colon));
                member(key, bracket).into_iter().chain(value).collect()
            }
            terms => terms.iter().filter_map(|term| member(term, bracket)).collect(),
        };
        self.found.members.extend(found);
        let body = self.query(query)?;
        let terms = terms.into_iter();
        // The call that counts its members is a level of its own.
        let own = RULE_KIB + SIGN_KIB;
        Ok(own.saturating_add(body).saturating_add(self.deepest(terms)?))
    }

    /// A list with these parts is made.
    fn holds<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) {
        let variable = parts.filter(|part| !is_constant(part)).count();
        if variable > 0 {
            self.found.own.levels += 1;
            self.found.own.doublings += variable.next_power_of_two().trailing_zeros();
        }
    }

    fn call(&mut self, function: &Expr, parameters: &[Ref<Expr>]) -> Result<u32, Refusal> {
        let mut stack = self.path(function, true)?;
        let name = function.span().text();
        if name == "json.unmarshal" {
            self.found.own.levels += JSON_LEVELS;
        }
        for parameter in parameters {
            stack = stack.max(match (&**parameter, name) {
                // What goes into a text nests in nothing.
                (Expr::Array { items, .. }, "sprintf" | "concat") => {
                    self.deepest(items.iter().map(|item| &**item))?
                }
                (parameter, _) => self.expression(parameter)?,
            });
        }
        if name == "walk" {
            self.loops += 1;
        }
        Ok(stack)
    }

    /// A path from a variable, `data`, or an expression: notes the rules that it may mean.
    fn path(&mut self, path: &Expr, is_call: bool) -> Result<u32, Refusal> {
        let mut names = Vec::new();
        let mut is_open = false;
        let mut stack = 0;
        let mut at = path;
        let root = loop {
            match at {
                Expr::RefDot { refr, field, .. } => {
                    names.push(text(&field.1));
                    at = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    match &**index {
                        Expr::String { value, .. } | Expr::RawString { value, .. } => {
                            names.push(text(value));
                        }
                        index => {
                            is_open = true;
                            // The index may be a variable that runs.
                            self.loops += u32::from(!is_constant(index));
                            stack = stack.max(self.expression(index)?);
                        }
                    }
                    at = refr;
                }
                Expr::Var { value, .. } => break text(value),
                other => return Ok(stack.max(self.expression(other)?)),
            }
        };
        let alias = self.aliases.get(&root);
        let is_data = root == "data" || alias.is_some();
        names.extend(alias.into_iter().flatten().cloned());
        if !is_data {
            names = vec![root];
        }
        names.retain(|name| self.package.names.contains(name));
        if is_data && (is_open || names.is_empty()) {
            names = self.package.names.iter().cloned().collect();
        }
        for name in names {
            match is_call {
                true => self.found.calls.push(name),
                false => drop(self.found.rules.insert(name)),
            }
        }
        Ok(stack)
    }
}

/// Where a member stands whose text begins behind a place of the source.
///
/// The library's place of an object begins with its last field; that object is found by its bracket, or not at all. Its
/// place of a text is without the quotes, so that what ends with one is not whole; and what is written out is no list.
fn member(expression: &Expr, behind: u32) -> Option<Range<usize>> {
    let span = expression.span();
    let start = match expression {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => return None,
        Expr::Object { .. } => {
            let text = Span { start: behind, ..span.clone() };
            let text = text.text();
            let object = text.trim_start().starts_with('{').then(|| text.trim_start().len())?;
            behind + u32::try_from(text.len() - object).ok()?
        }
        _ => span.start,
    };
    let whole = Span { start, ..span.clone() };
    let place = usize::try_from(start).ok()?..usize::try_from(span.end).ok()?;
    is_whole(whole.text()).then_some(place)
}

/// Every bracket and quote that is opened is closed, and the other way round.
fn is_whole(text: &str) -> bool {
    let mut open = 0_usize;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '[' | '{' | '(' => open += 1,
            ']' | '}' | ')' => match open.checked_sub(1) {
                Some(less) => open = less,
                None => return false,
            },
            '#' => drop(chars.by_ref().find(|char| *char == '\n')),
            '`' if chars.by_ref().all(|char| char != '`') => return false,
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => drop(chars.next()),
                    Some(_) => {}
                    None => return false,
                }
            },
            _ => {}
        }
    }
    open == 0
}

/// The place behind a sign or word that stands between two expressions.
fn behind(before: &Expr, word: &str, after: &Expr) -> Option<u32> {
    let start = before.span().end;
    let text = Span { start, end: after.span().end, ..before.span().clone() };
    let at = text.text().find(word)? + word.len();
    start.checked_add(u32::try_from(at).ok()?)
}

fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => true,
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().all(|item| is_constant(item))
        }
        Expr::Object { fields, .. } => {
            fields.iter().all(|(_, key, value)| is_constant(key) && is_constant(value))
        }
        _ => false,
    }
}
