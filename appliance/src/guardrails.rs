//! The rules that come from the guardrails directory: Rego files that deny, and under `shadow/` policies that are tried
//! on live traffic and never enforced.
//!
//! ```text
//! DIR/*.rego                in force: may only deny
//! DIR/shadow/*.rego         tried beside those in force
//! DIR/shadow/NAME.json      tried in place of the policy attached as NAME
//! DIR/shadow/bucket/B.json  tried in place of the policy of bucket B
//! ```
//! The directory is watched. What fails to load changes nothing: the rules before stay in force, and the failure is a
//! log line, a metric and a record of the audit log.

mod shadow;
mod watch;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use policy_lab::Guardrails;
use sha2::{Digest as _, Sha256};

pub use self::shadow::Shadow;
pub use self::watch::{Looker, Watch};

/// Files that are read at most, and bytes of one at most: nobody's rules are larger.
const FILES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 1024 * 1024;

/// Everything that the directory holds, compiled.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub guardrails: Option<Arc<Guardrails>>,
    pub shadow: Option<Arc<Shadow>>,
}

impl Rules {
    /// Reads and compiles a directory; a missing one holds nothing.
    ///
    /// # Errors
    /// The first file that cannot be read or does not compile, with its place.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        Files::read(dir)?.compile()
    }
}

/// A file's path below the directory, with its text.
type Source = (String, String);

/// The directory's files as they are, before anything is compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    /// The directory is there.
    exists: bool,
    enforced: Vec<Source>,
    shadow_guardrails: Vec<Source>,
    shadow_policies: Vec<Source>,
    shadow_buckets: Vec<Source>,
}

impl Files {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let shadow = dir.join("shadow");
        Ok(Self {
            exists: dir.is_dir(),
            enforced: sources(dir, "rego")?,
            shadow_guardrails: sources(&shadow, "rego")?,
            shadow_policies: sources(&shadow, "json")?,
            shadow_buckets: sources(&shadow.join("bucket"), "json")?,
        })
    }

    /// Tells one state of the directory from another.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let groups =
            [&self.enforced, &self.shadow_guardrails, &self.shadow_policies, &self.shadow_buckets];
        for group in groups {
            hash.update(group.len().to_be_bytes());
            for text in group.iter().flat_map(|(name, text)| [name, text]) {
                hash.update(text.len().to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.finalize().into()
    }

    fn compile(&self) -> anyhow::Result<Rules> {
        let guardrails = match self.enforced.is_empty() {
            true => None,
            false => Some(Arc::new(
                Guardrails::load(self.enforced.clone()).context("loading the guardrails")?,
            )),
        };
        Ok(Rules { guardrails, shadow: Shadow::compile(self)?.map(Arc::new) })
    }
}

/// The files of one directory with this extension, sorted; a missing directory has none.
fn sources(dir: &Path, extension: &str) -> anyhow::Result<Vec<Source>> {
    let reading = || format!("reading {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry.with_context(reading)?.path();
        if path.extension().is_none_or(|found| found != extension) {
            continue;
        }
        let length = path.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        if length > BYTES_MAX || sources.len() == FILES_MAX {
            bail!("{} is too large, or one file too many", path.display());
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sources.push((name, text));
    }
    sources.sort();
    Ok(sources)
}

#[cfg(test)]
mod tests;
