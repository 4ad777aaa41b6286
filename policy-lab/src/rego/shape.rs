//! How deep the interpreter goes for a guardrail, and how far its values can nest, found from the syntax tree at load.
//!
//! The interpreter calls itself for each rule, loop and operator inside another, and so do comparisons of values and
//! their end: what is too deep ends the process, and no limit of time helps. Rego has no recursion, so that both can be
//! bounded before anything is evaluated: a rule needs what its text needs ([`definition`]), and what the deepest rule needs
//! that it names.

mod definition;
mod member;

use std::collections::BTreeMap;
use std::ops::Range;

use regorus::unstable::{Module, Ref, Span};

use self::definition::{Definition, Package, aliases, name};
use super::place::RegoError;

/// KiB of stack that the interpreter needs at most, as measured in a build without optimisation, where it needs most: half
/// of what a thread has. A chain of 96 rules filled 2 MiB there, one of 125 functions, 282 loops, 480 operators.
const STACK_KIB_MAX: u32 = 1024;
const RULE_KIB: u32 = 24;

/// Levels of a value at most: comparing two of 1 000 levels was well.
const LEVELS_MAX: u32 = 600;

/// Lists of two that nest in one another at most, or what is as much: values share their parts, so that 40 lists are a
/// value of 2^40 when it is compared.
const DOUBLINGS_MAX: u32 = 10;

/// Products of products at most: each doubles the digits.
const PRODUCTS_MAX: u32 = 8;

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

    /// What is wrong, and what to do.
    fn complaint(self) -> Option<(String, &'static str)> {
        let Self { stack_kib, levels, doublings, products } = self;
        let simpler = "let fewer rules build on one another";
        if stack_kib > STACK_KIB_MAX {
            let message = "rules, loops and operators build on one another too deep";
            return Some((message.to_owned(), simpler));
        }
        if levels > LEVELS_MAX {
            return Some((format!("values may nest more than {LEVELS_MAX} deep"), simpler));
        }
        if doublings > DOUBLINGS_MAX {
            let message =
                format!("lists of lists may double their size more than {DOUBLINGS_MAX} times");
            return Some((message, "put fewer lists into one another"));
        }
        (products > PRODUCTS_MAX).then(|| {
            let message = format!(
                "numbers may be multiplied with one another more than {PRODUCTS_MAX} times"
            );
            (message, "multiply by numbers that are written out")
        })
    }
}

/// What is wrong, where, and what to do.
#[derive(Debug)]
struct Refusal {
    span: Span,
    message: String,
    hint: &'static str,
}

impl Refusal {
    fn new(span: &Span, message: impl Into<String>, hint: &'static str) -> Self {
        Self { span: span.clone(), message: message.into(), hint }
    }
}

impl From<Refusal> for RegoError {
    fn from(refusal: Refusal) -> Self {
        Self::of_span(&refusal.span, refusal.message).hint(refusal.hint)
    }
}

/// Where in a source rules make the members of lists, sets and objects one by one, in bytes.
pub(super) type Members = Vec<Range<usize>>;

/// Refuses guardrails that the interpreter may not come back from. Answers for each module where its rules make members.
pub(super) fn measured(modules: &[Ref<Module>], entry: &str) -> Result<Vec<Members>, RegoError> {
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
            let definition = package.definition(rule, &aliases)?;
            of_module.extend(definition.members.iter().cloned());
            definitions.entry(name(rule).0).or_default().push(definition);
        }
        members.push(of_module);
    }
    let mut sum = Sum { definitions: &definitions, known: BTreeMap::new(), open: Vec::new() };
    let shape = sum.of(entry)?;
    let first = definitions.get(entry).and_then(|all| all.first());
    match (shape.complaint(), first) {
        (Some((message, hint)), Some(first)) => {
            Err(Refusal::new(&first.span, message, hint).into())
        }
        _ => Ok(members),
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
        let Some(first) = definitions.first() else { return Ok(Shape::default()) };
        if self.open.contains(&name.as_str()) {
            let message = format!("`{name}` builds on itself, or a variable has its name");
            let hint = "Rego has no recursion; give the variable another name";
            return Err(Refusal::new(&first.span, message, hint));
        }
        if self.open.len() as u32 * RULE_KIB > STACK_KIB_MAX {
            let message = "rules build on one another too deep";
            let hint = "let fewer rules build on one another";
            return Err(Refusal::new(&first.span, message, hint));
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
