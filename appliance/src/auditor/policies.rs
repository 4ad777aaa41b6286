//! The policies behind `policies()` and `replay` of the query language: those of an exported world.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::{Replay, Replayed};
use policy_lab::replay::{Change, Export, World, audit_line, decide_one};
use policy_lab::{Attached, canned};

/// A world, and the log whose decisions can be made again.
#[derive(Debug)]
pub(crate) struct Policies {
    world: Arc<Export>,
    log: PathBuf,
}

impl Policies {
    pub(crate) fn new(world: Arc<Export>, log: &Path) -> Self {
        Self { world, log: log.to_owned() }
    }

    fn find(&self, name: &str) -> Result<Attached, String> {
        let found = self.world.policy(name).cloned().or_else(|| canned::attached(name));
        found.ok_or_else(|| format!("there is no policy `{name}`"))
    }
}

impl audit::Policies for Policies {
    fn statements(&self) -> Result<Vec<String>, String> {
        Ok(self.world.statement_ids())
    }

    fn replay(
        &self,
        policy: &str,
        instead_of: Option<&str>,
    ) -> Result<Box<dyn Replay + '_>, String> {
        let policy = self.find(policy)?;
        let change = match instead_of {
            None => Change::Identity(vec![policy]),
            Some(name) => {
                self.find(name)?;
                Change::Named(Attached { name: Arc::from(name), ..policy })
            }
        };
        let log = self.log.clone();
        let world = World::recorded(move |digest| {
            let bytes = audit::read_blob(&log, &hex::encode(digest)).ok()?;
            String::from_utf8(bytes).ok()
        });
        Ok(Box::new(Again(world.with(change))))
    }
}

/// Decides the log's requests with the policies of their time and one change.
struct Again(World);

impl Replay for Again {
    fn decide(&mut self, seq: u64, leaf: &[u8]) -> Result<Option<Replayed>, String> {
        let event = audit_line(seq, leaf).map_err(|error| error.message)?;
        let Some(event) = event else { return Ok(None) };
        let decided = decide_one(&self.0, &event.recorded).map_err(|error| error.to_string())?;
        let (decision, reason) = match &decided {
            Ok(decision) if decision.is_allowed() => ("allow", decision.reason.as_str().to_owned()),
            Ok(decision) => ("deny", decision.reason.as_str().to_owned()),
            Err(keys) => ("unknown", keys.join(", ")),
        };
        Ok(Some(Replayed { decision: decision.to_owned(), reason }))
    }
}
