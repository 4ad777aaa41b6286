//! Every element of every statement, asked without a shortcut.

use std::sync::Arc;

use super::{Element, ElementTrace, Miss, StatementTrace};
use crate::condition::{Clause, Truth};
use crate::context::Slot;
use crate::decision::{Layer, StatementPlace, StatementRef};
use crate::document::{Lines, Named, Span, Statement, Verb};
use crate::{Attached, PolicySet, Request, evaluate};

/// Traces all statements, in order.
pub(super) fn statements(set: &PolicySet, request: &Request) -> Vec<StatementTrace> {
    let count = set.attachments().map(|(_, _, attached)| attached.policy.statements.len()).sum();
    let mut traces = Vec::with_capacity(count);
    let asked = Asked::of(request);
    for (layer, policy, attached) in set.attachments() {
        let lines = Lines::of(attached.policy.source());
        for (index, statement) in (0..).zip(&attached.policy.statements) {
            let place = StatementPlace { layer, policy, index };
            let tracer = Tracer { set, request, asked: &asked, attached, lines: &lines, statement };
            traces.push(tracer.statement(place));
        }
    }
    traces
}

/// What every statement is held against, as text.
struct Asked {
    principal: Arc<str>,
    action: Arc<str>,
    resource: Arc<str>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            principal: request.principal.arn.as_str().into(),
            action: request.action.as_str().into(),
            resource: request.resource.arn().into(),
        }
    }
}

struct Tracer<'a> {
    set: &'a PolicySet,
    request: &'a Request,
    asked: &'a Asked,
    attached: &'a Attached,
    lines: &'a Lines<'a>,
    statement: &'a Statement,
}

impl Tracer<'_> {
    fn statement(&self, place: StatementPlace) -> StatementTrace {
        // A principal, the action, the resource, and the conditions.
        let mut elements = Vec::with_capacity(3 + self.statement.clauses().len());
        if place.layer == Layer::Bucket {
            elements.push(self.principal());
        }
        elements.push(self.action());
        elements.extend(self.resource());
        let clauses = self.statement.clauses().iter().zip(&self.statement.spans().clauses);
        elements.extend(clauses.map(|(clause, span)| {
            let source = self.attached.policy.source();
            let operator = span.operator.name(source).to_owned();
            let key = span.key.name(source).to_owned();
            self.condition(clause, Element::Condition { operator, key }, span.key)
        }));
        let (line, column) = self.lines.place(self.statement.spans().statement);
        StatementTrace {
            at: StatementRef {
                layer: place.layer,
                policy: self.attached.name.clone(),
                sid: self.statement.sid(),
                index: self.statement.index(),
            },
            place,
            allows: self.statement.verb() == Verb::Allow,
            in_effect: elements.iter().all(|element| element.suffices),
            line,
            column,
            elements,
        }
    }

    fn principal(&self) -> ElementTrace {
        let speaks = evaluate::speaks_of_caller(self.set, self.statement, self.request);
        let miss = match self.statement.names(self.request) {
            _ if speaks => None,
            Named::Account => Some(Miss::PrincipalAccountOnly),
            _ => Some(Miss::PrincipalNotNamed),
        };
        let found = Some(Arc::clone(&self.asked.principal));
        self.element(Element::Principal, speaks, miss, found, self.statement.spans().principal)
    }

    fn action(&self) -> ElementTrace {
        let covered = self.statement.covers_action(self.request);
        let miss = (!covered).then_some(Miss::ActionNotListed);
        let found = Some(Arc::clone(&self.asked.action));
        self.element(Element::Action, covered, miss, found, self.statement.spans().action)
    }

    fn resource(&self) -> Option<ElementTrace> {
        let outcome = self.statement.covers_resource(self.request);
        let bucket = self.request.resource.bucket();
        let miss = match outcome {
            Truth::Yes => None,
            _ if !self.statement.resource_resolves(self.request) => Some(Miss::VariableUnresolved),
            Truth::Unsure => Some(Miss::NoSureAnswer),
            Truth::No => {
                let mut reaches = self.statement.reaches().into_iter();
                match reaches.any(|reach| reach.bucket.is_none_or(|ours| Some(ours) == bucket)) {
                    true => Some(Miss::ResourceKeyDiffers),
                    false => Some(Miss::ResourceBucketDiffers),
                }
            }
        };
        let span = self.statement.spans().resource;
        (span != Span::default()).then(|| {
            let suffices = self.statement.suffices(outcome);
            let found = Some(Arc::clone(&self.asked.resource));
            self.element(Element::Resource, suffices, miss, found, span)
        })
    }

    fn condition(&self, clause: &Clause, element: Element, span: Span) -> ElementTrace {
        let context = &self.request.context;
        let outcome = clause.holds(context);
        let slot = context.slot(clause.key());
        let miss = match (outcome, slot) {
            (Truth::Yes, _) => None,
            (Truth::Unsure, Slot::Many(_)) => Some(Miss::SeveralValues),
            (Truth::Unsure, _) => Some(Miss::NoSureAnswer),
            (Truth::No, Slot::Absent | Slot::Many([])) => Some(Miss::KeyAbsent),
            (Truth::No, _) if clause.is_null() => Some(Miss::KeyPresent),
            (Truth::No, _) if clause.operator().negated => Some(Miss::ValueListed),
            (Truth::No, _) if !clause.resolves(context) => Some(Miss::VariableUnresolved),
            (Truth::No, _) => Some(Miss::ValueNotListed),
        };
        let found = match slot {
            Slot::Absent => None,
            Slot::One(value) => Some(quoted(value).into()),
            Slot::Many(values) => {
                let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                Some(format!("[{}]", values.join(", ")).into())
            }
        };
        self.element(element, self.statement.suffices(outcome), miss, found, span)
    }

    fn element(
        &self,
        element: Element,
        suffices: bool,
        miss: Option<Miss>,
        found: Option<Arc<str>>,
        span: Span,
    ) -> ElementTrace {
        let source = self.attached.policy.source();
        let (line, column) = self.lines.place(span);
        ElementTrace { element, suffices, miss, wanted: span.value(source), found, line, column }
    }
}

fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    match value.bytes().all(is_plain) {
        true => ["\"", value, "\""].concat(),
        false => format!("\"{}\"", value.escape_debug()),
    }
}
