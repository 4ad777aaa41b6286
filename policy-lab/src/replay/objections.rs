//! What guardrails say of the events of a replay, each question asked once.
//!
//! A guardrail is a function of what it can see of a request, and mostly sees little: two worlds ask it the same, and so
//! do most records of a log. An error is never remembered, because an overrun of the time limit is one.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::{Decision, Guardrails, Reason, Request};

/// Answers remembered at most per guardrails; all are forgotten when there are more.
const ANSWERS_MAX: usize = 65_536;

/// Guardrails whose answers are remembered.
const GUARDRAILS_MAX: usize = 256;

type Answers = HashMap<Box<[u8]>, Option<Reason>, RandomState>;

/// Ownership: belongs to one thread.
#[derive(Default)]
pub(super) struct Objections {
    /// By place in memory, which means the same guardrails as long as they are held here.
    known: HashMap<usize, (Arc<Guardrails>, Answers), RandomState>,
    /// What the guardrails can see of the request at hand.
    seen: Vec<u8>,
}

impl Objections {
    /// Why guardrails deny a request that the policies decide so; `None` if they do not.
    pub(super) fn to(
        &mut self,
        guardrails: &Arc<Guardrails>,
        request: &Request,
        policies: &Decision,
    ) -> Option<Reason> {
        self.seen.clear();
        if !guardrails.fingerprint(request, policies, &mut self.seen) {
            return ask(guardrails, request, policies).unwrap_or_else(Some);
        }
        let place = Arc::as_ptr(guardrails) as usize;
        if self.known.len() >= GUARDRAILS_MAX && !self.known.contains_key(&place) {
            self.known.clear();
        }
        let (_, answers) =
            self.known.entry(place).or_insert_with(|| (Arc::clone(guardrails), Answers::default()));
        if let Some(answer) = answers.get(self.seen.as_slice()) {
            return *answer;
        }
        match ask(guardrails, request, policies) {
            Ok(answer) => {
                if answers.len() >= ANSWERS_MAX {
                    answers.clear();
                }
                answers.insert(self.seen.as_slice().into(), answer);
                answer
            }
            Err(reason) => Some(reason),
        }
    }
}

fn ask(
    guardrails: &Guardrails,
    request: &Request,
    policies: &Decision,
) -> Result<Option<Reason>, Reason> {
    let denials = guardrails.denials(request, policies).map_err(|_| Reason::EngineError)?;
    Ok((!denials.is_empty()).then_some(Reason::Guardrail))
}
