//! The manifest: which documents a decision rested on.
//!
//! `{"boundary":…,"bucket":…,"guardrails":[…],"identity":[…],"session":…,"v":1}`, each entry
//! `{"name":…,"sha256":…}`; what is not attached is absent. Members are sorted and strings escaped as in RFC 8785, so
//! equal sets have equal digests.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Attached, PolicySet};
use crate::rego::REVIEW_TIME_MAX;
use crate::{DocumentError, DocumentKind, Guardrails, Policy, RegoError};

/// Documents that a manifest may name.
const DOCUMENTS_MAX: usize = 10_000;

/// Guardrails kept loaded.
const GUARDRAILS_MAX: usize = 256;

/// Why a manifest could not be turned into policies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    #[error("the manifest is not one: {0}")]
    Malformed(String),
    #[error("document `{name}` with SHA-256 {sha256} is missing")]
    Missing { name: String, sha256: String },
    #[error("document `{name}` does not have SHA-256 {sha256}")]
    Mismatch { name: String, sha256: String },
    #[error("policy `{name}` does not parse")]
    Policy { name: String, source: DocumentError },
    #[error("the guardrails do not load")]
    Guardrails(#[from] RegoError),
}

// The order of the members is the canonical one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(skip_serializing_if = "Option::is_none")]
    boundary: Option<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    guardrails: Vec<Entry>,
    #[serde(default)]
    identity: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Entry>,
    v: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
}

impl Entry {
    fn of(attached: &Attached) -> Self {
        Self { name: attached.name.to_string(), sha256: hex::encode(attached.policy.digest()) }
    }

    fn text(
        &self,
        fetch: &mut dyn FnMut([u8; 32]) -> Option<String>,
    ) -> Result<String, ManifestError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut digest)
            .map_err(|_| ManifestError::Malformed(format!("`{}` is no SHA-256", self.sha256)))?;
        let (name, sha256) = (self.name.clone(), self.sha256.clone());
        match fetch(digest) {
            None => Err(ManifestError::Missing { name, sha256 }),
            Some(text) if Sha256::digest(text.as_bytes())[..] != digest => {
                Err(ManifestError::Mismatch { name, sha256 })
            }
            Some(text) => Ok(text),
        }
    }
}

/// Documents that were read already: most sets of a log name the same ones.
///
/// Bounded: what was read is forgotten when it is more than a set could name.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    policies: HashMap<(String, DocumentKind), Arc<Policy>>,
    /// By names and hashes of the sources.
    guardrails: HashMap<Vec<(String, [u8; 32])>, Arc<Guardrails>>,
}

impl Documents {
    /// The guardrails of these sources, ready for a review; `None` if there are no sources.
    pub(crate) fn guardrails(
        &mut self,
        sources: Vec<(String, String)>,
    ) -> Result<Option<Arc<Guardrails>>, RegoError> {
        if sources.is_empty() {
            return Ok(None);
        }
        let digest = |text: &String| Sha256::digest(text.as_bytes()).into();
        let mut key: Vec<_> =
            sources.iter().map(|(name, text)| (name.clone(), digest(text))).collect();
        key.sort_unstable();
        if let Some(loaded) = self.guardrails.get(&key) {
            return Ok(Some(Arc::clone(loaded)));
        }
        let loaded = Arc::new(Guardrails::load(sources)?.with_time_limit(REVIEW_TIME_MAX));
        if self.guardrails.len() >= GUARDRAILS_MAX {
            self.guardrails.clear();
        }
        self.guardrails.insert(key, Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    fn attached(
        &mut self,
        entry: &Entry,
        kind: DocumentKind,
        fetch: &mut dyn FnMut([u8; 32]) -> Option<String>,
    ) -> Result<Attached, ManifestError> {
        let name = Arc::from(entry.name.as_str());
        let key = (entry.sha256.clone(), kind);
        if let Some(policy) = self.policies.get(&key) {
            return Ok(Attached { name, policy: Arc::clone(policy) });
        }
        let policy = Policy::parse(&entry.text(fetch)?, kind)
            .map_err(|source| ManifestError::Policy { name: entry.name.clone(), source })?;
        let policy = Arc::new(policy);
        if self.policies.len() >= DOCUMENTS_MAX {
            self.policies.clear();
        }
        self.policies.insert(key, Arc::clone(&policy));
        Ok(Attached { name, policy })
    }

    /// Makes a set again from its manifest; `fetch` finds a document by its SHA-256.
    pub(crate) fn set(
        &mut self,
        manifest: &str,
        fetch: &mut dyn FnMut([u8; 32]) -> Option<String>,
    ) -> Result<PolicySet, ManifestError> {
        let manifest: Manifest = serde_json::from_str(manifest)
            .map_err(|error| ManifestError::Malformed(error.to_string()))?;
        if manifest.v != 1 {
            return Err(ManifestError::Malformed(format!("version {} is not known", manifest.v)));
        }
        if manifest.identity.len() + manifest.guardrails.len() > DOCUMENTS_MAX {
            return Err(ManifestError::Malformed(format!("more than {DOCUMENTS_MAX} documents")));
        }
        let mut optional = |entry: Option<Entry>, kind| {
            entry.map(|entry| self.attached(&entry, kind, fetch)).transpose()
        };
        let bucket = optional(manifest.bucket, DocumentKind::Bucket)?;
        let boundary = optional(manifest.boundary, DocumentKind::Boundary)?;
        let session = optional(manifest.session, DocumentKind::Session)?;
        let identity = manifest
            .identity
            .iter()
            .map(|entry| self.attached(entry, DocumentKind::Identity, fetch))
            .collect::<Result<_, _>>()?;
        let sources = manifest
            .guardrails
            .iter()
            .map(|entry| Ok((entry.name.clone(), entry.text(fetch)?)))
            .collect::<Result<Vec<_>, ManifestError>>()?;
        let guardrails = self.guardrails(sources)?;
        Ok(PolicySet { identity, bucket, boundary, session, guardrails })
    }
}

pub(super) fn write(set: &PolicySet) -> String {
    let manifest = Manifest {
        boundary: set.boundary.as_ref().map(Entry::of),
        bucket: set.bucket.as_ref().map(Entry::of),
        guardrails: set
            .guardrails
            .iter()
            .flat_map(|guardrails| guardrails.sources())
            .map(|source| Entry {
                name: source.name.to_owned(),
                sha256: hex::encode(source.digest),
            })
            .collect(),
        identity: set.identity.iter().map(Entry::of).collect(),
        session: set.session.as_ref().map(Entry::of),
        v: 1,
    };
    // Strings and integers in plain structs always serialise.
    serde_json::to_string(&manifest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::ManifestError;
    use crate::{Attached, DocumentKind, Guardrails, Policy, PolicySet, canned};

    fn full() -> PolicySet {
        let statement = |principal: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Deny",{principal}"Action":"s3:*","Resource":"*"}}}}"#
            )
        };
        let attached = |name: &str, text: &str, kind| Attached {
            name: Arc::from(name),
            policy: Arc::new(Policy::parse(text, kind).expect("valid")),
        };
        let rego =
            "package s3.authz\nimport rego.v1\ndeny contains {\"id\": \"x\"} if input.v == 2\n";
        PolicySet {
            identity: vec![
                canned::attached("readwrite").expect("canned"),
                attached("quote\"d", &statement(""), DocumentKind::Identity),
            ],
            bucket: Some(attached("b", &statement("\"Principal\":\"*\","), DocumentKind::Bucket)),
            boundary: Some(attached("limit", &statement(""), DocumentKind::Boundary)),
            session: Some(attached("s", &statement(""), DocumentKind::Session)),
            guardrails: Some(Arc::new(
                Guardrails::load(vec![("x.rego".into(), rego.into())]).expect("loads"),
            )),
        }
    }

    #[test]
    fn a_set_comes_back_from_its_manifest() {
        for set in [full(), PolicySet::default()] {
            let blobs: HashMap<_, _> =
                set.documents().map(|(digest, text)| (digest, text.to_owned())).collect();
            let again = PolicySet::from_manifest(&set.manifest(), &mut |digest| {
                blobs.get(&digest).cloned()
            })
            .expect("complete");
            assert_eq!(again.manifest(), set.manifest());
            assert_eq!(again.digest(), set.digest());
        }
        assert_eq!(PolicySet::default().manifest(), r#"{"identity":[],"v":1}"#);
    }

    #[test]
    fn missing_and_exchanged_documents_are_errors() {
        let manifest = full().manifest();
        let missing = PolicySet::from_manifest(&manifest, &mut |_| None);
        assert!(matches!(missing, Err(ManifestError::Missing { .. })));
        let exchanged = PolicySet::from_manifest(&manifest, &mut |_| Some("{}".to_owned()));
        assert!(matches!(exchanged, Err(ManifestError::Mismatch { .. })));
        for text in ["", "{}", "[]", r#"{"identity":[],"v":2}"#, r#"{"identity":[],"v":1,"x":0}"#] {
            let result = PolicySet::from_manifest(text, &mut |_| None);
            assert!(matches!(result, Err(ManifestError::Malformed(_))), "{text}");
        }
    }
}
