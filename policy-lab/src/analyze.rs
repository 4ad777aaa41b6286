//! Exact questions about policies: not "what happened to the requests we saw" but "is there any request that …".
//!
//! A request is a point in a space with one dimension for the action, one for the caller, one for the resource and one
//! for each condition key. Every condition of the language confines one dimension, except where a policy variable ties
//! two together. So the space is cut, dimension by dimension, into the pieces that the policies in question tell apart
//! (`automaton`, `value`, `actions`, `callers`), and a search over combinations of pieces is exact: what it does not
//! find does not exist.
//!
//! Two rules keep the answers honest. A request that is found counts only once [`crate::evaluate`] says of it what the
//! question asks. And a question that could not be decided ends with [`Verdict::Unknown`], never with "proved".
//!
//! Variables: a pattern with a variable is at first left open, with what is sure of it whatever the variable stands
//! for, what it fits where the variable's value is compared too, and which values make it fit a text that its place is
//! compared with. What cannot be found even so does not exist. Otherwise values are put in, from the words of the policies and a
//! few strangers; with them the search is exact again and finds a request, or the verdict is "unknown".
//!
//! Neither `evaluate` nor anything else in the library rests on this module; the feature `analyze` keeps it out of the
//! server.
//!
//! Sources: Backes et al., "Semantic-based Automated Reasoning for AWS Access Policies using SMT", FMCAD 2018, for the
//! questions; the atoms of a dimension are the preprocessing of network verifiers.

mod actions;
mod asker;
mod automaton;
mod callers;
mod domain;
mod encode;
mod fix;
mod formula;
mod key;
mod prove;
mod question;
mod report;
mod review;
mod search;
mod statement;
mod template;
mod value;
mod vocabulary;
mod witness;

pub use self::asker::{Asker, Others, Outcome, Within, always, by_bucket, no_more_than};
pub use self::fix::{Change, Fixed, fix};
pub use self::question::{
    Access, Counterexample, Difference, Grant, GrantError, Role, StatementFinding, Verdict, World,
    differences, no_more_permissive, not_granted, not_public, statements,
};
pub use self::report::request_line;
pub use self::review::{Divergence, Remark, Remarked, Review, divergence, review};

/// Why there is no sure answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    #[error("the policies have patterns with too many wildcards to tell apart")]
    Patterns,
    #[error("a condition key is compared with too many values")]
    Values,
    #[error("the policies name too many principals")]
    Principals,
    #[error("there are too many combinations of statements")]
    Work,
    #[error("a date before the year 1 is compared")]
    Dates,
    #[error("no value of a variable, or of a key compared in two ways, was found that decides it")]
    Variables,
    #[error(
        "a variable stands twice in one pattern, which is followed only where the pattern is held against a text without \
         wildcards; no value was found that decides it"
    )]
    Repeated,
    #[error(
        "a variable's value is compared without regard to letter case, and where it stands letter case counts; no value \
         was found that decides it"
    )]
    Case,
    #[error(
        "names of actions outside of the catalogue are not told apart where letter case counts"
    )]
    Names,
    #[error("Rego guardrails are tested, not proved")]
    Guardrails,
    #[error("the evaluator does not agree with the analysis; please report this")]
    Unconfirmed,
    #[error("a policy could not be read again; please report this")]
    Unread,
}

impl Limit {
    /// Values of variables were tried, and none decided it.
    #[must_use]
    pub fn is_of_variables(self) -> bool {
        matches!(self, Self::Variables | Self::Repeated | Self::Case)
    }
}

#[cfg(test)]
mod tests;
