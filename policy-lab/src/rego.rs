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
//!   ([`metered`]). Lists that rules make in loops hold a million values in one evaluation, whatever is in them counted
//!   each time that it is. The library's own limit of memory is one of the whole process and its allocator, so it cannot
//!   be had for one evaluation.
//! - *Time*: processor time, within an outer bound of wall-clock time ([`time_limit`]). The interpreter looks at the clock
//!   at each step. A step is a call that makes at most what is said above, or a comparison of values that hold at most
//!   a million others, a thousand times over if lists that are written out nest in one another ([`shape`]).
//! - *Result*: members and texts of `deny` are bounded, since each becomes part of a record ([`verdict`]).
//!
//! A source may say in its header that it was written for MinIO's policy plugin; then it is asked as that server asks
//! it ([`schema`]).
//!
//! A guardrail must give the same answer when it is replayed: what reads clocks, random numbers or the environment is
//! refused at load, and time comes in with the request.

mod certify;
mod input;
mod metered;
mod minio;
mod place;
mod reads;
mod rules;
mod schema;
mod shape;
mod time_limit;
mod token;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::input::View;
pub use self::place::RegoError;
use self::rules::{Piece, Rules};
use self::schema::Schema;
use crate::{Decision, Denial, Request};

/// Processor time of one evaluation at most, while a request waits for it; wall-clock time at most 15 times as much.
const SERVING_TIME_MAX: Duration = Duration::from_millis(50);

/// The same in a review, where nobody waits for one answer and a slow build must not turn into a changed decision.
pub(crate) const REVIEW_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of one source at most.
const BYTES_MAX: usize = 256 * 1024;

/// Stack of the thread that loads: enough for the syntax tree of the largest source, whatever is in it, because it must be
/// there before it can be refused.
const LOADING_STACK: usize = 512 * 1024 * 1024;

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
pub struct Guardrails {
    modules: Vec<Module>,
    /// One for each package.
    packages: Vec<Rules>,
}

impl Guardrails {
    /// Loads sources, each a name for messages and the text.
    ///
    /// # Errors
    /// [`RegoError`] with file, line and column: no source at all, a source that is too large, is of another package, does not
    /// compile, calls what has no repeatable answer or makes too much, nests too deep, or no `deny` in any of them; of
    /// sources for MinIO's plugin, no `allow` in a package.
    pub fn load(mut sources: Vec<(String, String)>) -> Result<Self, RegoError> {
        sources.sort();
        let first = sources.first().map_or("guardrails", |(name, _)| name.as_str()).to_owned();
        let failed = |message: String| {
            RegoError::of_file(&first, message).hint("leave out what was added last")
        };
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
        let mut packages: BTreeMap<(Schema, String), Vec<Piece<'_>>> = BTreeMap::new();
        for (name, text) in &sources {
            let piece = Piece::read(name, text)?;
            packages.entry((piece.schema, piece.package.clone())).or_default().push(piece);
        }
        if packages.is_empty() {
            let error = RegoError::of_file("guardrails", "there is no guardrail");
            return Err(error.hint("give a file with `package s3.authz` and a rule `deny`"));
        }
        let packages = packages
            .iter()
            .map(|((schema, package), pieces)| Rules::load(*schema, package, pieces))
            .collect::<Result<_, _>>()?;
        Ok(Self { packages, modules: sources.into_iter().map(Module::new).collect() })
    }

    /// The same guardrails with another limit on the processor time of one evaluation of a package; 50 ms at first.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        for rules in &mut self.packages {
            rules.limit_time(limit);
        }
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

    /// The same rules, whatever their files are called.
    #[cfg(feature = "analyze")]
    pub(crate) fn are(&self, other: &Self) -> bool {
        let digests = |guardrails: &Self| -> std::collections::BTreeSet<[u8; 32]> {
            guardrails.modules.iter().map(|module| module.digest).collect()
        };
        digests(self) == digests(other)
    }

    /// They may look at what the policies decided.
    #[cfg(feature = "analyze")]
    pub(crate) fn see_policies(&self) -> bool {
        self.packages.iter().any(Rules::see_policies)
    }

    /// What denies the request; the error is the engine's complaint, and means deny too.
    pub(crate) fn denials(
        &self,
        request: &Request,
        policies: &Decision,
    ) -> Result<Vec<Denial>, String> {
        let view = View { request, policies };
        self.all(|rules| rules.denials(&view))
    }

    #[cfg(test)]
    fn denials_of_all(
        &self,
        request: &Request,
        policies: &Decision,
    ) -> Result<Vec<Denial>, String> {
        let view = View { request, policies };
        self.all(|rules| rules.denials_of_all(&view))
    }

    fn all(
        &self,
        ask: impl Fn(&Rules) -> Result<Vec<Denial>, String>,
    ) -> Result<Vec<Denial>, String> {
        let mut denials = Vec::new();
        for rules in &self.packages {
            denials.extend(ask(rules)?);
        }
        denials.sort_unstable();
        Ok(denials)
    }

    /// Appends to `out` everything of a request that the guardrails can see: after equal bytes they answer equally. False
    /// where nobody can say what they see.
    pub(crate) fn fingerprint(
        &self,
        request: &Request,
        policies: &Decision,
        out: &mut Vec<u8>,
    ) -> bool {
        let view = View { request, policies };
        self.packages.iter().all(|rules| rules.fingerprint(&view, out))
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

/// A source for MinIO's plugin that is written in the older syntax of Rego, where `if` and `contains` are names.
#[must_use]
pub fn is_v0(text: &str) -> bool {
    Piece::read("", text).is_ok_and(|piece| piece.is_v0)
}

#[cfg(test)]
mod tests;
