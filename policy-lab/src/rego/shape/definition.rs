//! What one rule needs by its own text: stack, levels, doublings, products, and the rules that it names.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    ArithOp, Expr, Literal, Module, Query, Ref, Rule, RuleAssign, RuleHead, Span,
};

use super::member::{behind, member};
use super::{Members, RULE_KIB, Refusal, Shape};

/// KiB of stack, as measured with [`RULE_KIB`].
const LOOP_KIB: u32 = 8;
const SIGN_KIB: u32 = 14;
const LEVEL_KIB: u32 = 5;

/// Levels of a text that is read as JSON at most; the library's bound.
const JSON_LEVELS: u32 = 128;

/// Statements of one body at most: the library orders them in quadratic time.
const STATEMENTS_MAX: usize = 256;

/// Levels of the syntax tree that are looked at.
const DEPTH_MAX: u32 = 200;

/// One of the rules with a name.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) span: Span,
    pub(super) own: Shape,
    /// Names of rules and functions that it mentions.
    pub(super) rules: BTreeSet<String>,
    /// Functions that it calls, once for each call.
    pub(super) calls: Vec<String>,
    /// It replaces what other rules see, so that any may go into any.
    pub(super) replaces: bool,
    pub(super) members: Members,
}

impl Definition {
    fn new(span: Span) -> Self {
        Self {
            span,
            own: Shape::default(),
            rules: BTreeSet::new(),
            calls: Vec::new(),
            replaces: false,
            members: Members::new(),
        }
    }
}

#[derive(Default)]
pub(super) struct Package {
    pub(super) names: BTreeSet<String>,
    pub(super) functions: BTreeSet<String>,
}

impl Package {
    pub(super) fn definition(
        &self,
        rule: &Rule,
        aliases: &BTreeMap<String, Vec<String>>,
    ) -> Result<Definition, Refusal> {
        let mut reading = Reading {
            package: self,
            aliases,
            found: Definition::new(rule.span().clone()),
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
            let hint = "make several rules of it";
            return Err(Refusal::new(&query.span, message, hint));
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
            let message = "`with` can replace `input` and rules, not functions";
            let hint = "let the function take what changes as a parameter";
            return Err(Refusal::new(what.span(), message, hint));
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
            let message = "operators and brackets build on one another too deep";
            let hint = "make several rules of it";
            return Err(Refusal::new(expression.span(), message, hint));
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

/// Names of a module for paths of `data`.
pub(super) fn aliases(module: &Module) -> BTreeMap<String, Vec<String>> {
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
pub(super) fn name(rule: &Rule) -> (String, bool) {
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
