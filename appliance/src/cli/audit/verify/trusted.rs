//! Whom the verifier trusts: a key by itself, or a C2SP policy with witnesses.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::note::Vkey;
use audit::{Cosignature, Finding, Head, Keyring, State, TrustPolicy};

use super::super::place::Place;

/// The log's key, and what else must have signed.
#[derive(Debug)]
pub(super) struct Trusted {
    /// First key of the log.
    pub(super) vkey: Vkey,
    /// The policy, where it asks for witnesses, and its file.
    witnesses: Option<(PathBuf, TrustPolicy)>,
}

/// A head that enough witnesses have signed.
#[derive(Debug)]
pub(super) struct Witnessed {
    pub(super) head: Head,
    by: Vec<Cosignature>,
}

impl Trusted {
    /// By a policy, if one is given, and by a key otherwise.
    pub(super) fn read(
        place: &Place,
        vkey: Option<&str>,
        policy: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let Some(path) = policy else {
            let vkey = Vkey::parse(&place.vkey(vkey)?).context("reading the verifier key")?;
            return Ok(Self { vkey, witnesses: None });
        };
        let text =
            fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
        let policy = TrustPolicy::parse(&text).with_context(|| format!("`{}`", path.display()))?;
        let vkey = match (policy.only_log(), vkey) {
            (Some(vkey), None) => vkey.clone(),
            (_, Some(given)) => {
                let given =
                    Vkey::parse(&place.vkey(Some(given))?).context("reading the verifier key")?;
                let known = policy.log_key(given.name()).filter(|known| **known == given);
                known
                    .with_context(|| format!("`{}` does not name this key", path.display()))?
                    .clone()
            }
            (None, None) => {
                anyhow::bail!("`{}` names several logs; say by --vkey which one", path.display())
            }
        };
        let witnesses = policy.asks_witnesses().then(|| (path.to_owned(), policy));
        Ok(Self { vkey, witnesses })
    }

    /// The largest head among some checkpoints of the log that enough witnesses have signed; none where the policy asks for
    /// no witnesses. The checkpoints come with their names.
    ///
    /// # Errors
    /// What to put into the report, because there is none.
    pub(super) fn witnessed(
        &self,
        checkpoints: &[(String, Vec<u8>)],
        keys: &Keyring,
    ) -> Result<Option<Witnessed>, Finding> {
        let Some((path, policy)) = &self.witnesses else { return Ok(None) };
        let finding = |file: &str, what: String| Finding {
            state: State::BadSignature,
            file: file.to_owned(),
            offset: None,
            seq: None,
            what,
        };
        let mut best: Option<Witnessed> = None;
        let mut seen = Vec::new();
        for (file, checkpoint) in checkpoints {
            // What is wrong with our own signature, the walk says.
            let Ok(head) = keys.head_to_compare(checkpoint) else { continue };
            let by = policy
                .cosignatures(checkpoint)
                .map_err(|error| finding(file, format!("of a witness: {error}")))?;
            if policy.is_satisfied_by(&by) {
                if best.as_ref().is_none_or(|best| best.head.size < head.size) {
                    best = Some(Witnessed { head, by });
                }
            } else {
                seen.extend(by.into_iter().map(|cosignature| cosignature.witness));
            }
        }
        if let Some(best) = best {
            return Ok(Some(best));
        }
        let signed = if seen.is_empty() { "no witness".to_owned() } else { seen.join(", ") };
        let newest = checkpoints.last().map_or("checkpoint", |(file, _)| file.as_str());
        let what = format!(
            "the quorum of `{}` is not there: {signed} signed it; give a head with their signatures by --since",
            path.display()
        );
        Err(finding(newest, what))
    }
}

/// Who has seen which head, and when.
impl fmt::Display for Witnessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the first {} records were witnessed", self.head.size)?;
        for (i, seen) in self.by.iter().enumerate() {
            let at = audit::stamp::string(seen.time_s.saturating_mul(1_000_000));
            write!(f, "{} by {} at {at}", if i == 0 { "" } else { "," }, seen.witness)?;
        }
        Ok(())
    }
}
