//! The statement that almost allowed.

use super::StatementTrace;
use crate::decision::Layer;
use crate::{Decision, Reason};

/// The allowing statement with the fewest failing elements, in the layer that lacks one; among equals the one with the
/// most elements that hold, then the first.
pub(super) fn miss(decision: &Decision, statements: &[StatementTrace]) -> Option<usize> {
    let lacking: &[Layer] = match decision.reason {
        Reason::ImplicitDeny => &[Layer::Identity, Layer::Bucket],
        Reason::Boundary => &[Layer::Boundary],
        Reason::SessionLimit => &[Layer::Session],
        Reason::ExplicitDeny
        | Reason::IdentityAllow
        | Reason::ResourceAllow
        | Reason::Guardrail
        | Reason::EngineError
        | Reason::AdminBypass => &[],
    };
    statements
        .iter()
        .enumerate()
        .filter(|(_, statement)| statement.allows && lacking.contains(&statement.at.layer))
        .min_by_key(|(_, statement)| {
            let failing = statement.failing().count();
            (failing, usize::MAX - (statement.elements.len() - failing))
        })
        .map(|(position, _)| position)
}
