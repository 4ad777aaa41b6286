//! What a reviewer would say about a policy before it is attached.
//!
//! [`lint`] reads on behind the first fault, so that one run names all of them, and knows what the parser may not
//! refuse: grants that can never apply, patterns that cover more than they say, conditions that hold when a key is
//! absent. Codes with underscores are those of AWS's policy validation, codes with dashes are ours.
//!
//! Source of names and meaning: IAM user guide, "Access Analyzer policy check reference".

mod action;
mod condition;
mod draft;
mod grammar;
mod principal;
mod resource;
mod rule;
mod statement;
mod supply;
mod variable;

pub use self::rule::{RULES, Rule, Severity};

use self::draft::Draft;
use crate::document::json;
use crate::{DocumentKind, Policy};

/// One remark, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static Rule,
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    /// Of the first character behind, on the same line.
    pub end_column: usize,
    pub message: String,
    pub remedy: Option<String>,
}

/// What [`lint`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of the text.
    pub found: Vec<Finding>,
    /// The server refuses the policy; then at least one finding is an error.
    pub refused: bool,
}

impl Findings {
    /// The gravest finding.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.found.iter().map(|finding| finding.rule.severity).min()
    }
}

/// Reviews one document. Bounded by the size limits of [`DocumentKind`]; never panics.
#[must_use]
pub fn lint(text: &str, kind: DocumentKind) -> Findings {
    let mut notes = Notes { text, found: Vec::new() };
    let refusal = Policy::parse(text, kind).err();
    if text.len() <= kind.bytes_max() {
        match json::parse(text) {
            Ok(root) => {
                let draft = Draft::read(&root, kind, &mut notes);
                grammar::document(&draft, &mut notes);
                for statement in &draft.statements {
                    each(&draft, statement, &mut notes);
                }
                statement::among(&draft, &mut notes);
            }
            Err(fault) => {
                let twice = fault.message.ends_with("is there twice");
                let rule = if twice {
                    &rule::DUPLICATE_KEYS_WITH_DIFFERENT_CASE
                } else {
                    &rule::JSON_SYNTAX_ERROR
                };
                notes.add(rule, fault.at, fault.message, fault.hint);
            }
        }
    }
    grammar::size(text, kind, &mut notes);
    let is_explained = notes.found.iter().any(|finding| finding.rule.severity == Severity::Error);
    if let Some(refusal) = refusal.as_ref().filter(|_| !is_explained) {
        notes.found.push(Finding {
            rule: &rule::REFUSED,
            line: refusal.line,
            column: refusal.column,
            end_column: refusal.column + 1,
            message: refusal.message.clone(),
            remedy: refusal.hint.clone(),
        });
    }
    let mut found = notes.found;
    found.sort_by(|a, b| {
        let order = |f: &Finding| (f.line, f.column, f.rule.severity, f.rule.code);
        order(a).cmp(&order(b)).then_with(|| a.message.cmp(&b.message))
    });
    found.dedup();
    Findings { found, refused: refusal.is_some() }
}

fn each(draft: &Draft<'_>, statement: &draft::Statement<'_>, notes: &mut Notes<'_>) {
    grammar::statement(draft, statement, notes);
    principal::check(draft, statement, notes);
    action::check(statement, notes);
    resource::check(statement, notes);
    condition::check(draft, statement, notes);
    variable::check(draft, statement, notes);
    statement::alone(draft, statement, notes);
}

/// Findings in the making, with the text that places are counted in.
struct Notes<'a> {
    text: &'a str,
    found: Vec<Finding>,
}

impl Notes<'_> {
    fn add(
        &mut self,
        rule: &'static Rule,
        at: usize,
        message: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        self.found.push(Finding {
            rule,
            line: before.matches('\n').count() + 1,
            column,
            end_column: column + width(self.text.get(at..).unwrap_or_default()),
            message: message.into(),
            remedy: remedy.into(),
        });
    }
}

/// Characters of the string that starts here, quotes included; one for anything else.
fn width(rest: &str) -> usize {
    let mut escaped = false;
    let mut width = 0;
    for char in rest.chars() {
        width += 1;
        match char {
            _ if width == 1 && char != '"' => return 1,
            '\n' => return 1,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if width > 1 => return width,
            _ => {}
        }
    }
    1
}

#[cfg(test)]
mod tests;
