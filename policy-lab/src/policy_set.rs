//! Everything that is in force for one principal on one bucket.

mod compiled;
mod index;
mod manifest;

use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use self::compiled::Compiled;
use self::index::Index;
pub(crate) use self::index::{Covers, Entry};
pub(crate) use self::manifest::Documents;
pub use self::manifest::ManifestError;
use crate::context::Wanted;
use crate::decision::{Layer, StatementPlace, StatementRef};
use crate::document::Statement;
use crate::{Guardrails, Policy, Profile, Request};

/// A policy under the name by which it is attached.
#[derive(Clone, Debug)]
pub struct Attached {
    pub name: Arc<str>,
    pub policy: Arc<Policy>,
}

/// The policies that decide.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Of the user and of its groups.
    pub identity: Vec<Attached>,
    /// Of the bucket that the request touches.
    pub bucket: Option<Attached>,
    /// If there is one, it must allow.
    pub boundary: Option<Attached>,
    /// Of a service account or session. If there is one, it must allow.
    pub session: Option<Attached>,
    /// Deny whatever the policies say.
    pub guardrails: Option<Arc<Guardrails>>,
}

/// What [`crate::evaluate()`] decides by: a [`PolicySet`] as it is, or a [`Compiled`] one.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    pub(crate) set: &'a PolicySet,
    index: Option<&'a Index>,
}

impl<'a> From<&'a PolicySet> for Policies<'a> {
    fn from(set: &'a PolicySet) -> Self {
        Self { set, index: None }
    }
}

impl<'a> From<&'a Arc<PolicySet>> for Policies<'a> {
    fn from(set: &'a Arc<PolicySet>) -> Self {
        Self::from(&**set)
    }
}

impl<'a> From<&'a Rc<PolicySet>> for Policies<'a> {
    fn from(set: &'a Rc<PolicySet>) -> Self {
        Self::from(&**set)
    }
}

impl<'a> From<&'a Compiled> for Policies<'a> {
    fn from(compiled: &'a Compiled) -> Self {
        Self { set: compiled.set(), index: Some(compiled.index()) }
    }
}

impl<'a> Policies<'a> {
    /// The index, and the row of the action there, if the statements need not be walked.
    pub(crate) fn index(&self, request: &Request) -> Option<(&'a Index, u16)> {
        Some((self.index?, request.action.position()?))
    }
}

impl PolicySet {
    /// Every policy with its layer and its position there.
    pub(crate) fn attachments(&self) -> impl Iterator<Item = (Layer, u32, &Attached)> {
        (0..)
            .zip(&self.identity)
            .map(|(policy, attached)| (Layer::Identity, policy, attached))
            .chain(self.bucket.iter().map(|attached| (Layer::Bucket, 0, attached)))
            .chain(self.boundary.iter().map(|attached| (Layer::Boundary, 0, attached)))
            .chain(self.session.iter().map(|attached| (Layer::Session, 0, attached)))
    }

    /// Every statement with its place, in order.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (StatementPlace, &Arc<Statement>)> {
        self.attachments().flat_map(|(layer, policy, attached)| {
            (0..)
                .zip(&attached.policy.statements)
                .map(move |(index, statement)| (StatementPlace { layer, policy, index }, statement))
        })
    }

    /// The condition keys that a decision can depend on.
    pub(crate) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        self.statements().for_each(|(_, statement)| statement.wants(&mut wanted));
        if self.guardrails.is_some() {
            wanted.add_everything();
        }
        wanted
    }

    /// The policy at a place.
    pub(crate) fn policy(&self, place: StatementPlace) -> Option<&Attached> {
        match place.layer {
            Layer::Identity => self.identity.get(usize::try_from(place.policy).ok()?),
            Layer::Bucket => self.bucket.as_ref(),
            Layer::Boundary => self.boundary.as_ref(),
            Layer::Session => self.session.as_ref(),
        }
    }

    /// The names of a statement.
    pub(crate) fn reference(&self, place: StatementPlace) -> Option<StatementRef> {
        let attached = self.policy(place)?;
        let statement = attached.policy.statements.get(usize::try_from(place.index).ok()?)?;
        Some(StatementRef {
            layer: place.layer,
            policy: Arc::clone(&attached.name),
            sid: statement.sid(),
            index: statement.index(),
        })
    }

    /// Names and hashes of all documents, as canonical JSON: sorted members, no spaces.
    #[must_use]
    pub fn manifest(&self) -> String {
        manifest::write(self)
    }

    /// SHA-256 of the manifest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.manifest().as_bytes()).into()
    }

    /// Every document with its SHA-256, guardrails included; a document attached twice comes twice.
    pub fn documents(&self) -> impl Iterator<Item = ([u8; 32], &str)> {
        let attached = self.identity.iter().chain(&self.bucket).chain(&self.boundary);
        let policies = attached
            .chain(&self.session)
            .map(|attached| (attached.policy.digest(), attached.policy.source()));
        let guardrails = self
            .guardrails
            .iter()
            .flat_map(|guardrails| guardrails.sources().map(|source| (source.digest, source.text)));
        policies.chain(guardrails)
    }

    /// The same documents as a profile reads them.
    ///
    /// # Errors
    /// The first one that the profile refuses, as [`ManifestError::Policy`].
    pub fn read_as(&self, profile: Profile) -> Result<Self, ManifestError> {
        let again = |attached: &Attached| {
            let policy =
                Policy::parse_as(attached.policy.source(), attached.policy.kind(), profile);
            let policy = policy.map_err(|source| ManifestError::Policy {
                name: attached.name.to_string(),
                source,
            })?;
            Ok(Attached { name: Arc::clone(&attached.name), policy: Arc::new(policy) })
        };
        let layer = |attached: &Option<Attached>| attached.as_ref().map(again).transpose();
        Ok(Self {
            identity: self.identity.iter().map(again).collect::<Result<_, ManifestError>>()?,
            bucket: layer(&self.bucket)?,
            boundary: layer(&self.boundary)?,
            session: layer(&self.session)?,
            guardrails: self.guardrails.clone(),
        })
    }

    /// Makes the set again from its manifest; `fetch` finds a document by its SHA-256.
    ///
    /// # Errors
    /// When the manifest is not one, or a document is missing, is not what its hash says, or does not parse.
    pub fn from_manifest(
        manifest: &str,
        fetch: &mut dyn FnMut([u8; 32]) -> Option<String>,
    ) -> Result<Self, ManifestError> {
        Documents::default().set(manifest, fetch)
    }
}
