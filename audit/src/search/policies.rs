//! What the log alone does not know: which policies are in force, and what another one would have decided.

/// Somebody who knows policies.
///
/// Contract: all answers during one search come from one state of the policies. A refusal is a sentence for people; it
/// ends the search.
pub trait Policies {
    /// Every statement in force, named as `auth.by.id` of a record names it.
    ///
    /// # Errors
    /// Why it is not known.
    fn statements(&self) -> Result<Vec<String>, String>;

    /// Gets ready to decide again with `policy`: in the place of the policy attached as `instead_of`, or as the only
    /// identity policy of everybody but root.
    ///
    /// # Errors
    /// When there is no such policy.
    fn replay(
        &self,
        policy: &str,
        instead_of: Option<&str>,
    ) -> Result<Box<dyn Replay + '_>, String>;
}

/// Decides recorded requests again.
pub trait Replay {
    /// What would have been decided about a record; `None` if the record is not a decision of policies.
    ///
    /// # Errors
    /// When the record, or the log's copy of the policies of that time, does not say enough to decide at all.
    fn decide(&mut self, seq: u64, leaf: &[u8]) -> Result<Option<Replayed>, String>;
}

/// A decision that was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// `allow`, `deny`, or `unknown` where the record lacks a condition key that decides.
    pub decision: String,
    /// Why, in the words of `auth.reason`; the missing keys where it is unknown.
    pub reason: String,
}

/// Nobody: the log by itself.
#[derive(Clone, Copy, Debug)]
pub struct NoPolicies;

impl NoPolicies {
    fn refusal<T>() -> Result<T, String> {
        Err("the log alone does not know the policies; ask the server, or name a world".to_owned())
    }
}

impl Policies for NoPolicies {
    fn statements(&self) -> Result<Vec<String>, String> {
        Self::refusal()
    }

    fn replay(&self, _: &str, _: Option<&str>) -> Result<Box<dyn Replay + '_>, String> {
        Self::refusal()
    }
}
