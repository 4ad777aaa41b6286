//! `GET export-world`: everything that decides, as `policy-lab simulate --world` reads it.
//!
//! Users without their secrets, groups, attachments, every document as text, bucket policies, guardrails. A call of
//! our own: MinIO's clients export an archive that holds secrets.

use http::Method;
use policy_lab::replay::{ExportedGroup, ExportedGuardrail, ExportedUser, ExportedWorld, SCHEMA};

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed};
use crate::authz::{Effect, Gate, Permit};
use crate::iam::{Snapshot, Status};

/// `GET export-world`.
#[derive(Debug)]
pub(super) struct ExportWorld;

impl Operation for ExportWorld {
    const NAME: &'static str = "export-world";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ExportIAM";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        Answer::json(&world(&call.snapshot(), &call.context.gate))
    }
}

/// The world as it is now.
pub(crate) fn world(snapshot: &Snapshot, gate: &Gate) -> ExportedWorld {
    let users = snapshot.users().map(|(name, user)| {
        let enabled = user.status == Status::Enabled;
        (name.to_owned(), ExportedUser { enabled, policies: user.policies.clone() })
    });
    let groups = snapshot.groups().map(|(name, group)| {
        let exported = ExportedGroup {
            enabled: group.status == Status::Enabled,
            members: group.members.clone(),
            policies: group.policies.clone(),
        };
        (name.to_owned(), exported)
    });
    let policies =
        snapshot.policies().map(|(name, document)| (name.to_owned(), document.source().to_owned()));
    let buckets = gate
        .bucket_policies()
        .into_iter()
        .map(|(bucket, attached)| (bucket, attached.policy.source().to_owned()));
    let guardrails = gate.guardrails();
    let guardrails = guardrails.iter().flat_map(|guardrails| guardrails.sources());
    ExportedWorld {
        schema: SCHEMA.to_owned(),
        v: 1,
        account: snapshot.account().to_owned(),
        users: users.collect(),
        groups: groups.collect(),
        policies: policies.collect(),
        buckets: buckets.collect(),
        guardrails: guardrails
            .map(|source| ExportedGuardrail {
                name: source.name.to_owned(),
                text: source.text.to_owned(),
            })
            .collect(),
    }
}
