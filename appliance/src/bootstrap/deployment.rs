//! `config/deployment.json`: who this deployment is and which keys are its own. Its presence is the deployment.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::keys::Keys;
use super::{BootstrapError, durable};

/// The newest format that this release reads and writes.
const FORMAT: u64 = 1;

/// The identity of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub(super) format: u64,
    pub(super) id: String,
    /// Fingerprints by key name: a key file of another deployment is noticed before it is used.
    #[serde(default)]
    pub(super) keys: std::collections::BTreeMap<String, String>,
}

/// What every format, also a future one, has.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

impl Deployment {
    /// Reads the committed deployment, if there is one.
    pub(super) fn read(config_dir: &Path) -> Result<Option<Self>, BootstrapError> {
        read_file(&config_dir.join("deployment.json"))
    }

    /// A new identity, or the one that an interrupted first run had chosen: its CA and key files bear it already.
    pub(super) fn begin(config_dir: &Path) -> Result<Self, BootstrapError> {
        let intent = config_dir.join("deployment.json.begun");
        if let Some(begun) = read_file(&intent)? {
            return Ok(begun);
        }
        let deployment =
            Self { format: FORMAT, id: random_uuid()?, keys: std::collections::BTreeMap::new() };
        durable::write_if_missing(&intent, &deployment.encode(), durable::Access::Private)?;
        Ok(deployment)
    }

    /// Makes the deployment real. After this, nothing of it is ever made again.
    pub(super) fn commit(&self, config_dir: &Path, keys: &Keys) -> Result<(), BootstrapError> {
        let whole = Self { keys: keys.fingerprints(), ..self.clone() };
        let path = config_dir.join("deployment.json");
        durable::write_if_missing(&path, &whole.encode(), durable::Access::Private)?;
        // Only tidiness: the intent is not read once the deployment is there.
        let _ = std::fs::remove_file(config_dir.join("deployment.json.begun"));
        Ok(())
    }

    /// The account part of ARNs: twelve digits.
    pub(super) fn account(&self) -> String {
        let digest = Sha256::digest(format!("appliance account {}", self.id));
        let number = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        format!("{:012}", number % 1_000_000_000_000)
    }

    /// The origin line of the audit log's checkpoints.
    pub(super) fn origin(&self) -> String {
        let short: String = self.id.chars().take(8).collect();
        format!("appliance.local/{short}")
    }

    fn encode(&self) -> Vec<u8> {
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(name, print)| format!("\n    \"{name}\": \"{print}\""))
            .collect();
        format!(
            "{{\n  \"format\": {},\n  \"id\": \"{}\",\n  \"keys\": {{{}\n  }}\n}}\n",
            self.format,
            self.id,
            keys.join(",")
        )
        .into_bytes()
    }
}

fn read_file(path: &Path) -> Result<Option<Deployment>, BootstrapError> {
    let Some(bytes) = durable::read(path)? else { return Ok(None) };
    let damaged = |error: serde_json::Error| BootstrapError::Damaged {
        path: PathBuf::from(path),
        problem: error.to_string(),
    };
    // The format comes first: a newer file may have any other shape.
    let header: Header = serde_json::from_slice(&bytes).map_err(damaged)?;
    if header.format > FORMAT {
        return Err(BootstrapError::NewerFormat {
            path: path.to_owned(),
            found: header.format,
            known: FORMAT,
        });
    }
    let deployment: Deployment = serde_json::from_slice(&bytes).map_err(damaged)?;
    if !is_uuid(&deployment.id) {
        return Err(BootstrapError::Damaged {
            path: path.to_owned(),
            problem: "`id` is no UUID".into(),
        });
    }
    Ok(Some(deployment))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// # Source
/// RFC 9562 §5.4: a version 4 UUID.
fn random_uuid() -> Result<String, BootstrapError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(BootstrapError::Entropy)?;
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xF << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        (number >> 80) & 0xFFFF,
        (number >> 64) & 0xFFFF,
        (number >> 48) & 0xFFFF,
        number & 0xFFFF_FFFF_FFFF
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_4() {
        let id = random_uuid().unwrap();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(id.chars().nth(14), Some('4'));
        assert!(id.chars().nth(19).is_some_and(|c| "89ab".contains(c)), "{id}");
    }

    #[test]
    fn the_account_is_twelve_digits_and_stable() {
        let deployment = Deployment {
            format: 1,
            id: "00000000-0000-4000-8000-000000000000".into(),
            keys: std::collections::BTreeMap::new(),
        };
        assert_eq!(deployment.account().len(), 12);
        assert_eq!(deployment.account(), deployment.account());
        assert_eq!(deployment.origin(), "appliance.local/00000000");
    }
}
