//! Everything that is in force for one principal on one bucket.

mod manifest;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use self::manifest::ManifestError;
use crate::{Guardrails, Policy};

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

impl PolicySet {
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

    /// Makes the set again from its manifest; `fetch` finds a document by its SHA-256.
    ///
    /// # Errors
    /// When the manifest is not one, or a document is missing, is not what its hash says, or does not parse.
    pub fn from_manifest(
        manifest: &str,
        fetch: &mut dyn FnMut([u8; 32]) -> Option<String>,
    ) -> Result<Self, ManifestError> {
        manifest::read(manifest, fetch)
    }
}
