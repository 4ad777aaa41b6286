//! The rules of one package: loaded, and asked.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regorus::utils::limits::PolicyLengthConfig;
use regorus::{Engine, Value};

use super::input::View;
use super::metered::{self, Evaluator, Stopped};
use super::place::{self, RegoError, Written};
use super::reads::Reads;
use super::schema::Schema;
use super::time_limit::TimeLimit;
use super::token::{self, Kind, Token};
use super::{BYTES_MAX, SERVING_TIME_MAX, certify, shape};
use crate::Denial;

/// Idle engines kept at most; one is used per concurrent evaluation.
const IDLE_MAX: usize = 64;

/// A source before it is loaded.
pub(super) struct Piece<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token>,
    pub(super) schema: Schema,
    /// With `data.` before it.
    pub(super) package: String,
    pub(super) is_v0: bool,
}

impl<'a> Piece<'a> {
    /// Looks at a source as far as can be without its fellows.
    pub(super) fn read(name: &'a str, text: &'a str) -> Result<Self, RegoError> {
        if text.len() > BYTES_MAX {
            let count = text.len();
            let message = format!("the file has {count} bytes, at most {BYTES_MAX} are possible");
            return Err(RegoError::of_file(name, message).hint("make several files of it"));
        }
        let schema = Schema::declared(name, text)?;
        let tokens = token::tokens(text);
        certify::repeatable(name, text, &tokens)?;
        certify::shallow(name, text, &tokens)?;
        let mut engine = Engine::new();
        let (package, is_v0) = add(&mut engine, schema, name, text, &tokens)?;
        schema.accepts(&package, name, text, &tokens)?;
        Ok(Self { name, text, tokens, schema, package, is_v0 })
    }
}

/// Adds a source; answers its package, and whether its syntax is the older one. What was written for another server may be.
fn add(
    engine: &mut Engine,
    schema: Schema,
    name: &str,
    text: &str,
    tokens: &[Token],
) -> Result<(String, bool), RegoError> {
    let mut parse = |is_v0| {
        engine.set_rego_v0(is_v0);
        let package = engine.add_policy(name.to_owned(), text.to_owned());
        package.map_err(|error| {
            let source = Written::new(name, text, Vec::new());
            place::located(name, &error.to_string(), &[source])
        })
    };
    let newer = match parse(false) {
        Ok(package) => return Ok((package, false)),
        Err(error) => error,
    };
    if schema == Schema::Own {
        return Err(newer);
    }
    let older = match parse(true) {
        Ok(package) => return Ok((package, true)),
        Err(error) => error,
    };
    let speaks_newer = tokens.iter().any(|token| token.kind == Kind::Name("if".to_owned()));
    Err(if speaks_newer { newer } else { older })
}

/// Ownership: `idle` belongs to this type; the lock is held for a push or a pop, never during an evaluation.
pub(super) struct Rules {
    schema: Schema,
    package: String,
    reads: Reads,
    /// What complaints are about.
    sources: Vec<Written>,
    /// Parsed and prepared; cloned when no evaluator is idle.
    prototype: Engine,
    idle: Mutex<Vec<Evaluator>>,
    time_limit: TimeLimit,
}

impl Rules {
    pub(super) fn load(
        schema: Schema,
        package: &str,
        pieces: &[Piece<'_>],
    ) -> Result<Self, RegoError> {
        let mut plain = Engine::new();
        let mut reads = Reads::default();
        for piece in pieces {
            add(&mut plain, schema, piece.name, piece.text, &piece.tokens)?;
            reads.add(&piece.tokens);
        }
        let first = pieces.first().map_or("guardrails", |piece| piece.name);
        let members = shape::measured(plain.get_modules(), schema.rule())?;
        certify::calls_are_known(&plain, package, pieces)?;
        let time_limit = TimeLimit::new(SERVING_TIME_MAX);
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        // The sources were held to the library's bounds as they are written.
        engine.set_policy_length_config(PolicyLengthConfig {
            max_col: NonZeroU32::MAX,
            max_file_bytes: NonZeroUsize::MAX,
            max_lines: NonZeroUsize::MAX,
        });
        let mut sources = Vec::new();
        for (piece, mut members) in pieces.iter().zip(members) {
            let (text, _) = metered::weighed(piece.text, &members);
            if add(&mut engine, schema, piece.name, &text, &piece.tokens).is_err() {
                // Where the library's places do not fit, the source goes in as it is: it can be held up, not harmed.
                add(&mut engine, schema, piece.name, piece.text, &piece.tokens)?;
                members.clear();
            }
            sources.push(Written::new(piece.name, piece.text, members));
        }
        let entry = entry(package, schema);
        let mut prototype = certify::compiled(engine, &entry, pieces, &sources)?;
        prototype.set_execution_timer_config(time_limit.timer());
        let idle = Mutex::new(Vec::new());
        let package = package.to_owned();
        let rules = Self { schema, package, reads, sources, prototype, idle, time_limit };
        certify::binds_its_variables(first, rules.ask(Value::new_object()))?;
        Ok(rules)
    }

    pub(super) fn limit_time(&mut self, limit: Duration) {
        self.time_limit = TimeLimit::new(limit);
        self.prototype.set_execution_timer_config(self.time_limit.timer());
        self.idle = Mutex::new(Vec::new());
    }

    /// Makes no more of the input document than the rules can see: to make all of it takes longer than to ask them.
    pub(super) fn denials(&self, view: &View<'_>) -> Result<Vec<Denial>, String> {
        let seen = self.reads.document(self.schema, view).map(Value::from);
        self.eval(seen.unwrap_or_else(|| self.schema.document(view)))
    }

    /// The same with the whole document, which tests hold the other one against.
    #[cfg(test)]
    pub(super) fn denials_of_all(&self, view: &View<'_>) -> Result<Vec<Denial>, String> {
        self.eval(self.schema.document(view))
    }

    pub(super) fn fingerprint(&self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        self.reads.fingerprint(self.schema, view, out)
    }

    #[cfg(feature = "analyze")]
    pub(super) fn see_policies(&self) -> bool {
        self.schema == Schema::Own && self.reads.see_policies()
    }

    fn eval(&self, input: Value) -> Result<Vec<Denial>, String> {
        self.schema.denials(&self.package, &self.ask(input)?)
    }

    /// What the rule of this package answers.
    fn ask(&self, input: Value) -> Result<Value, String> {
        let mut stopped = String::new();
        for one in self.time_limit.tries() {
            let idle = one.is_first().then(|| self.idle().pop()).flatten();
            let mut evaluator = idle.map_or_else(|| Evaluator::new(&self.prototype), Ok)?;
            if !one.is_first() {
                evaluator.limit_time(one.timer());
            }
            // An engine that failed is not used again: what it keeps after an error is not documented.
            let entry = entry(&self.package, self.schema);
            match evaluator.eval(entry, input.clone(), &self.sources) {
                Ok(result) => {
                    if one.is_first() {
                        self.keep(evaluator);
                    }
                    return Ok(result);
                }
                Err(Stopped::ByTime(error)) if !one.is_used_up() => stopped = error,
                Err(Stopped::ByTime(error) | Stopped::ByError(error)) => return Err(error),
            }
        }
        Err(stopped)
    }

    /// For the next evaluation.
    fn keep(&self, evaluator: Evaluator) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(evaluator);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Evaluator>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.idle().len()
    }
}

/// What is asked for.
fn entry(package: &str, schema: Schema) -> String {
    format!("{package}.{}", schema.rule())
}
