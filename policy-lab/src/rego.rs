//! Rego guardrails: rules of package `s3.authz` that deny, whatever the policies allow.
//!
//! The strict interpreter decides, never the register machine: the latter swallows errors in rule bodies, so that a
//! denying rule vanishes. Any error, any undefined or malformed result and any overrun of the time limit is a deny.
//!
//! A guardrail ends, whatever it says, and never the process:
//! - *Depth*: what the interpreter would nest too deep in the stack is refused at load ([`shape`]); so are values that
//!   nest too deep to be compared.
//! - *Memory*: functions that make as much as their arguments say are refused at load, but between small bounds that are
//!   written out ([`certify`]); what the other functions make is counted and bounded, 8 MiB in one evaluation
//!   ([`metered`]). Lists made by rules themselves grow by one member a step, and steps are bounded by time: a member a
//!   microsecond, some 100 bytes each, is 5 MB in the 50 ms of a request. The library's own limit of memory is one of the
//!   whole process and its allocator, so it cannot be had for one evaluation.
//! - *Time*: the interpreter looks at the clock at each step. Within a step it works on values of at most the size above.
//!   One step is not bounded so: the comparison of two lists that were each made of lists which share their members in
//!   loops of thousands of turns. It takes as long as the product of these turns says.
//! - *Result*: members and texts of `deny` are bounded, since each becomes part of a record ([`verdict`]).
//!
//! A guardrail must give the same answer when it is replayed: what reads clocks, random numbers or the environment is
//! refused at load, and time comes in with the request.

mod certify;
mod input;
mod metered;
mod reads;
mod shape;
mod token;
mod verdict;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use sha2::{Digest as _, Sha256};

use self::input::View;
use self::metered::Evaluator;
use self::reads::Reads;
use self::token::Token;
use crate::{Decision, Denial, Request};

/// Wall-clock time of one evaluation at most, while a request waits for it.
const SERVING_TIME_MAX: Duration = Duration::from_millis(50);

/// The same in a review: a busy machine must not turn into a changed decision.
pub(crate) const REVIEW_TIME_MAX: Duration = Duration::from_secs(5);

/// Idle engines kept at most; one is used per concurrent evaluation.
const IDLE_MAX: usize = 64;

/// Bytes of one source at most.
const BYTES_MAX: usize = 256 * 1024;

/// Stack of the thread that loads: enough for the syntax tree of the largest source, whatever is in it, because it must be
/// there before it can be refused.
const LOADING_STACK: usize = 512 * 1024 * 1024;

/// The set whose members deny.
const ENTRY: &str = "data.s3.authz.deny";
const PACKAGE: &str = "data.s3.authz";
const ENTRY_RULE: &str = "deny";

/// Why guardrails are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
#[non_exhaustive]
pub struct RegoError {
    pub file: String,
    /// From one; one also where the complaint is about the whole file.
    pub line: usize,
    pub message: String,
}

/// One source file of loaded guardrails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
}

struct Module {
    name: String,
    text: String,
    digest: [u8; 32],
}

/// Loaded guardrails. Share one value between threads; evaluations do not wait for one another.
///
/// Ownership: `idle` belongs to this type; the lock is held for a push or a pop, never during an evaluation.
pub struct Guardrails {
    modules: Vec<Module>,
    reads: Reads,
    /// Parsed and prepared; cloned when no evaluator is idle.
    prototype: Engine,
    idle: Mutex<Vec<Evaluator>>,
}

impl Guardrails {
    /// Loads sources, each a name for messages and the text.
    ///
    /// # Errors
    /// [`RegoError`] with file and line: no source at all, a source that is too large, is of another package, does not
    /// compile, calls what has no repeatable answer or makes too much, nests too deep, or no `deny` in any of them.
    pub fn load(mut sources: Vec<(String, String)>) -> Result<Self, RegoError> {
        sources.sort();
        let first = sources.first().map_or("guardrails", |(name, _)| name.as_str()).to_owned();
        let failed = |message: String| RegoError { file: first, line: 1, message };
        let loading = std::thread::Builder::new()
            .name("guardrails".to_owned())
            .stack_size(LOADING_STACK)
            .spawn(move || Self::load_here(sources));
        match loading.map(std::thread::JoinHandle::join) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err(failed("the library failed over a guardrail".to_owned())),
            Err(error) => Err(failed(format!("no thread to load guardrails: {error}"))),
        }
    }

    fn load_here(sources: Vec<(String, String)>) -> Result<Self, RegoError> {
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(timer(SERVING_TIME_MAX));
        let mut reads = Reads::default();
        let mut cut = Vec::new();
        for (name, text) in &sources {
            let tokens = add(&mut engine, name, text)?;
            reads.add(&tokens);
            cut.push((name.clone(), tokens));
        }
        let first = sources.first().map_or("guardrails", |(name, _)| name.as_str());
        shape::is_shallow(first, engine.get_modules(), ENTRY_RULE)?;
        certify::calls_are_known(&engine, &cut)?;
        certify::compiles(&mut engine, &cut)?;
        Ok(Self {
            reads,
            modules: sources.into_iter().map(Module::new).collect(),
            prototype: engine,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The same guardrails with another limit on the wall-clock time of one evaluation; 50 ms at first.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.prototype.set_execution_timer_config(timer(limit));
        self.idle = Mutex::new(Vec::new());
        self
    }

    /// The sources, sorted by name.
    pub fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        self.modules.iter().map(|module| Source {
            name: &module.name,
            text: &module.text,
            digest: module.digest,
        })
    }

    /// What denies the request; the error is the engine's complaint, and means deny too.
    pub(crate) fn denials(
        &self,
        request: &Request,
        policies: &Decision,
    ) -> Result<Vec<Denial>, String> {
        self.eval(input::document(&View { request, policies }))
    }

    /// The same for a review, which makes no more of the input document than the guardrails can see.
    pub(crate) fn denials_in_review(
        &self,
        request: &Request,
        policies: &Decision,
    ) -> Result<Vec<Denial>, String> {
        let view = View { request, policies };
        let seen = self.reads.document(&view).map(Value::from);
        self.eval(seen.unwrap_or_else(|| input::document(&view)))
    }

    fn eval(&self, input: Value) -> Result<Vec<Denial>, String> {
        let idle = self.idle().pop();
        let mut evaluator = idle.map_or_else(|| Evaluator::new(&self.prototype), Ok)?;
        let result = evaluator.eval(input)?;
        // An engine that failed is not used again: what it keeps after an error is not documented.
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(evaluator);
        }
        drop(idle);
        verdict::denials(&result)
    }

    /// Appends to `out` everything of a request that the guardrails can see: after equal bytes they answer equally. False
    /// where nobody can say what they see.
    pub(crate) fn fingerprint(
        &self,
        request: &Request,
        policies: &Decision,
        out: &mut Vec<u8>,
    ) -> bool {
        self.reads.fingerprint(&View { request, policies }, out)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Evaluator>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Module {
    fn new((name, text): (String, String)) -> Self {
        let digest = Sha256::digest(text.as_bytes()).into();
        Self { name, text, digest }
    }
}

impl fmt::Debug for Guardrails {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.modules.iter().map(|module| &module.name).collect();
        formatter.debug_struct("Guardrails").field("sources", &names).finish_non_exhaustive()
    }
}

/// The clock is looked at each step: 64 steps that each double a number would be too late.
fn timer(limit: Duration) -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit, check_interval: NonZeroU32::MIN }
}

/// Adds a source; answers its tokens.
fn add(engine: &mut Engine, name: &str, text: &str) -> Result<Vec<Token>, RegoError> {
    let whole = |message: String| RegoError { file: name.to_owned(), line: 1, message };
    if text.len() > BYTES_MAX {
        return Err(whole(format!(
            "the file has {} bytes, at most {BYTES_MAX} are possible",
            text.len()
        )));
    }
    let tokens = token::tokens(text);
    certify::repeatable(name, &tokens)?;
    certify::shallow(name, &tokens)?;
    let package = engine
        .add_policy(name.to_owned(), text.to_owned())
        .map_err(|error| certify::located(name, &error.to_string()))?;
    if package != PACKAGE {
        return Err(whole(format!("the package is `{package}`, guardrails are in `s3.authz`")));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests;
