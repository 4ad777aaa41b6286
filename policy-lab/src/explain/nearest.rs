//! The statement that almost allowed.

use super::{Miss, StatementTrace};
use crate::decision::Layer;
use crate::{Decision, Reason};

/// The allowing statement with the fewest failing elements, in the layer that lacks one; among equals the one that speaks
/// of what was asked most closely, then the one with the most elements that hold, then the first.
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
            let distance =
                statement.failing().filter_map(|element| element.miss).map(distance).max();
            (failing, distance, usize::MAX - (statement.elements.len() - failing))
        })
        .map(|(position, _)| position)
}

/// How far off a miss is: a statement on another key of the bucket is nearer than one on another action.
fn distance(miss: Miss) -> u8 {
    match miss {
        Miss::ActionNotListed => 3,
        Miss::PrincipalNotNamed | Miss::PrincipalAccountOnly | Miss::ResourceBucketDiffers => 2,
        Miss::ResourceKeyDiffers => 1,
        Miss::VariableUnresolved
        | Miss::KeyAbsent
        | Miss::KeyPresent
        | Miss::ValueNotListed
        | Miss::ValueListed
        | Miss::SeveralValues
        | Miss::NoSureAnswer => 0,
    }
}
