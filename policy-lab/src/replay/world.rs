//! Which policies are in force for an event: those of its record, with proposed ones in their place.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::in_force::InForce;
use super::{Export, Recorded};
use crate::explain::{Explanation, explain};
use crate::policy_set::{Attached, Documents, ManifestError, PolicySet};
use crate::rego::RegoError;
use crate::{Principal, Profile, Resource};

/// Policy sets kept ready at most; the cache is emptied when it is full.
const SETS_MAX: usize = 16_384;

/// Finds a blob of the log by its SHA-256.
type Fetch = Box<dyn Fn([u8; 32]) -> Option<String>>;

/// A proposal.
#[derive(Clone, Debug)]
pub enum Change {
    /// Everybody but root has exactly these identity policies.
    Identity(Vec<Attached>),
    /// A policy takes the place of the one attached under its name, wherever that is.
    Named(Attached),
    /// A bucket has this policy.
    Bucket { bucket: String, policy: Attached },
    /// A guardrail, name and text, is added; one of the same name is replaced.
    Guardrail { name: String, text: String },
    /// These are all guardrails there are.
    Guardrails(Vec<(String, String)>),
    /// Everything is as in this export.
    World(Arc<Export>),
}

/// Why an event's policies could not be found.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    #[error("the record names no policy set")]
    NoDigest,
    #[error("policy set {0} is not in the log")]
    Missing(String),
    #[error("policy set {digest} cannot be made again: {source}")]
    Manifest { digest: String, source: Arc<ManifestError> },
    #[error("the proposed guardrails do not load: {0}")]
    Guardrails(#[from] RegoError),
}

type Resolved = Result<Rc<InForce>, WorldError>;

/// Policies for every event.
///
/// Ownership: the cache belongs to this value; a world is used by one thread.
pub struct World {
    fetch: Option<Fetch>,
    /// What is in force, in place of what was recorded.
    export: Option<Arc<Export>>,
    changes: Vec<Change>,
    /// By digest, as recorded.
    recorded: RefCell<HashMap<String, Resolved, RandomState>>,
    /// Documents that were read, for all sets that name them.
    documents: RefCell<Documents>,
    /// With the changes.
    changed: RefCell<Prepared>,
    /// Names of [`Change::Named`] that were found attached somewhere.
    replaced: RefCell<HashSet<Arc<str>>>,
}

impl World {
    /// Nothing is attached but what changes bring.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            fetch: None,
            export: None,
            changes: Vec::new(),
            recorded: RefCell::default(),
            documents: RefCell::default(),
            changed: RefCell::default(),
            replaced: RefCell::default(),
        }
    }

    /// The policy set that each record names; `fetch` finds manifests and documents by SHA-256.
    #[must_use]
    pub fn recorded(fetch: impl Fn([u8; 32]) -> Option<String> + 'static) -> Self {
        Self { fetch: Some(Box::new(fetch)), ..Self::empty() }
    }

    /// The policies of an export, whoever calls and whatever was in force then.
    #[must_use]
    pub fn exported(export: Arc<Export>) -> Self {
        Self { export: Some(export), ..Self::empty() }
    }

    /// The same world, which also finds the policy sets that records name: for the self-check.
    #[must_use]
    pub fn with_blobs(self, fetch: impl Fn([u8; 32]) -> Option<String> + 'static) -> Self {
        Self { fetch: Some(Box::new(fetch)), ..self }
    }

    /// The same world with one more proposal; later ones win.
    #[must_use]
    pub fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self.changed = RefCell::default();
        self
    }

    /// Neither an export nor a proposal changes what was recorded.
    #[must_use]
    pub fn is_as_recorded(&self) -> bool {
        self.fetch.is_some() && self.export.is_none() && self.changes.is_empty()
    }

    /// Names of proposed policies that took nobody's place so far: misspelt, or attached to nobody who called.
    #[must_use]
    pub fn unmatched(&self) -> Vec<&str> {
        let replaced = self.replaced.borrow();
        let named = self.changes.iter().filter_map(|change| match change {
            Change::Named(policy) if !replaced.contains(&policy.name) => Some(&*policy.name),
            _ => None,
        });
        named.collect()
    }

    /// Why an event is decided as it is.
    ///
    /// # Errors
    /// The policies in force for it cannot be found.
    pub fn explain(&self, event: &Recorded) -> Result<Explanation, WorldError> {
        Ok(explain(self.policies(event)?.set(), &event.request))
    }

    /// The same as another profile reads the policies.
    ///
    /// # Errors
    /// As [`World::explain`], and when the profile refuses a policy.
    pub fn explain_as(
        &self,
        event: &Recorded,
        profile: Profile,
    ) -> Result<Explanation, WorldError> {
        let set = self.policies(event)?.set().read_as(profile).map_err(|source| {
            let digest = digest_of(event).unwrap_or_default().to_owned();
            WorldError::Manifest { digest, source: Arc::new(source) }
        })?;
        Ok(explain(&set, &event.request))
    }

    pub(super) fn has_recorded_sets(&self) -> bool {
        self.fetch.is_some()
    }

    /// The digest that an event names says which policies are in force for it; caller and bucket change nothing.
    pub(super) fn is_by_digest(&self, resource: &Resource) -> bool {
        !self.by_caller() && !resource.bucket().is_some_and(|bucket| self.speaks_of(bucket))
    }

    /// The policies in force for an event.
    pub(super) fn policies(&self, event: &Recorded) -> Resolved {
        if self.changes.is_empty() && self.export.is_none() {
            return self.as_recorded(event);
        }
        let request = &event.request;
        let bucket = request.resource.bucket().filter(|bucket| self.speaks_of(bucket));
        let bucket = bucket.unwrap_or_default();
        let digest = digest_of(event).filter(|_| self.export.is_none()).unwrap_or_default();
        let caller = match self.by_caller() {
            true => Cow::Owned(caller(&request.principal)),
            false => Cow::Borrowed(""),
        };
        if let Some(resolved) = self.changed.borrow().get(digest, &caller, bucket) {
            return resolved.clone();
        }
        let resolved = self
            .base(event)
            .and_then(|base| self.changed(base, &request.principal, bucket))
            .map(|set| Rc::new(InForce::new(set)));
        self.changed.borrow_mut().put(digest, &caller, bucket, &resolved);
        resolved
    }

    /// The policies without the proposals.
    pub(super) fn as_recorded(&self, event: &Recorded) -> Resolved {
        let Some(fetch) = &self.fetch else { return Ok(Rc::default()) };
        let digest = digest_of(event).ok_or(WorldError::NoDigest)?;
        if let Some(resolved) = self.recorded.borrow().get(digest) {
            return resolved.clone();
        }
        let resolved = load(digest, fetch, &mut self.documents.borrow_mut());
        let resolved = resolved.map(|set| Rc::new(InForce::new(set)));
        let mut recorded = self.recorded.borrow_mut();
        if recorded.len() >= SETS_MAX {
            recorded.clear();
        }
        recorded.insert(digest.to_owned(), resolved.clone());
        resolved
    }

    /// Who calls makes a difference: with an export, not with recorded digests, which say it already.
    fn by_caller(&self) -> bool {
        let is_world = |change: &Change| matches!(change, Change::World(_));
        self.export.is_some() || self.changes.iter().any(is_world)
    }

    /// Whether the bucket makes a difference: somebody has a policy for it.
    fn speaks_of(&self, bucket: &str) -> bool {
        self.export.as_ref().is_some_and(|export| export.has_bucket(bucket))
            || self.changes.iter().any(|change| match change {
                Change::World(export) => export.has_bucket(bucket),
                Change::Bucket { bucket: of, .. } => of == bucket,
                _ => false,
            })
    }

    fn base(&self, event: &Recorded) -> Result<PolicySet, WorldError> {
        let request = &event.request;
        match &self.export {
            Some(export) => Ok(export.policies(&request.principal, request.resource.bucket())),
            None => self.as_recorded(event).map(|recorded| (**recorded.set()).clone()),
        }
    }

    fn changed(
        &self,
        mut set: PolicySet,
        principal: &Principal,
        bucket: &str,
    ) -> Result<PolicySet, WorldError> {
        for change in &self.changes {
            match change {
                Change::World(export) => {
                    let bucket = Some(bucket).filter(|bucket| !bucket.is_empty());
                    set = export.policies(principal, bucket);
                }
                Change::Identity(policies) => set.identity.clone_from(policies),
                Change::Named(policy) => {
                    let attached = set.identity.iter_mut().chain(&mut set.boundary);
                    for place in attached.filter(|place| place.name == policy.name) {
                        *place = policy.clone();
                        self.replaced.borrow_mut().insert(policy.name.clone());
                    }
                }
                Change::Bucket { bucket: of, policy } if of == bucket => {
                    set.bucket = Some(policy.clone());
                }
                Change::Bucket { .. } => {}
                Change::Guardrail { name, text } => {
                    let mut sources = sources(&set);
                    sources.retain(|(there, _)| there != name);
                    sources.push((name.clone(), text.clone()));
                    set.guardrails = self.documents.borrow_mut().guardrails(sources)?;
                }
                Change::Guardrails(sources) => {
                    set.guardrails = self.documents.borrow_mut().guardrails(sources.clone())?;
                }
            }
        }
        Ok(set)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("recorded", &self.fetch.is_some())
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

type Names<T> = HashMap<String, T, RandomState>;

/// Sets with the changes, by digest, caller and bucket. Nested, so that looking one up makes no key.
#[derive(Default)]
struct Prepared {
    count: usize,
    sets: Names<Names<Names<Resolved>>>,
}

impl Prepared {
    fn get(&self, digest: &str, caller: &str, bucket: &str) -> Option<&Resolved> {
        self.sets.get(digest)?.get(caller)?.get(bucket)
    }

    fn put(&mut self, digest: &str, caller: &str, bucket: &str, resolved: &Resolved) {
        if self.count >= SETS_MAX {
            *self = Self::default();
        }
        self.count += 1;
        let callers = self.sets.entry(digest.to_owned()).or_default();
        let buckets = callers.entry(caller.to_owned()).or_default();
        buckets.insert(bucket.to_owned(), resolved.clone());
    }
}

/// A session or service account has what its parent has.
fn caller(principal: &Principal) -> String {
    let name = principal.parent.as_ref().unwrap_or(&principal.name);
    format!("{} {name}", principal.kind.as_str())
}

fn digest_of(event: &Recorded) -> Option<&str> {
    event.recorded.as_ref()?.digest.as_deref()
}

fn load(digest: &str, fetch: &Fetch, documents: &mut Documents) -> Result<PolicySet, WorldError> {
    let missing = || WorldError::Missing(digest.to_owned());
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).map_err(|_| missing())?;
    let manifest = fetch(bytes).ok_or_else(missing)?;
    documents.set(&manifest, &mut |digest| fetch(digest)).map_err(|source| WorldError::Manifest {
        digest: digest.to_owned(),
        source: Arc::new(source),
    })
}

fn sources(set: &PolicySet) -> Vec<(String, String)> {
    let owned = |source: crate::rego::Source<'_>| (source.name.to_owned(), source.text.to_owned());
    set.guardrails.iter().flat_map(|guardrails| guardrails.sources().map(owned)).collect()
}
