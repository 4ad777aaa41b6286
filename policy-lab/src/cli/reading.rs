//! `--profile`: whose reading of the language is meant.

use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use policy_lab::replay::{Change, Export};
use policy_lab::{Attached, Policy, Profile};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Reading {
    /// AWS's, which the appliance enforces
    Aws,
    /// MinIO's
    Minio,
}

impl Reading {
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Aws => Profile::AWS,
            Self::Minio => Profile::MINIO,
        }
    }

    /// Policies and worlds that were given, as they are read.
    pub(super) fn changes(self, changes: Vec<Change>) -> anyhow::Result<Vec<Change>> {
        changes.into_iter().map(|change| self.change(change)).collect()
    }

    fn change(self, change: Change) -> anyhow::Result<Change> {
        Ok(match change {
            Change::Identity(policies) => Change::Identity(
                policies.iter().map(|it| self.policy(it)).collect::<Result<_, _>>()?,
            ),
            Change::Named(policy) => Change::Named(self.policy(&policy)?),
            Change::Bucket { bucket, policy } => {
                Change::Bucket { bucket, policy: self.policy(&policy)? }
            }
            Change::World(export) => Change::World(self.export(export)?),
            change @ (Change::Guardrail { .. } | Change::Guardrails(_)) => change,
        })
    }

    pub(super) fn policies(self, policies: Vec<Attached>) -> anyhow::Result<Vec<Attached>> {
        policies.iter().map(|policy| self.policy(policy)).collect()
    }

    fn policy(self, attached: &Attached) -> anyhow::Result<Attached> {
        let (source, kind) = (attached.policy.source(), attached.policy.kind());
        let policy = Policy::parse_as(source, kind, self.profile())
            .map_err(|error| anyhow!("policy `{}`: {error}", attached.name))?;
        Ok(Attached { name: Arc::clone(&attached.name), policy: Arc::new(policy) })
    }

    pub(super) fn export(self, export: Arc<Export>) -> anyhow::Result<Arc<Export>> {
        match self {
            Self::Aws => Ok(export),
            Self::Minio => {
                Ok(Arc::new(export.read_as(self.profile()).map_err(|e| anyhow!("{e}"))?))
            }
        }
    }
}
