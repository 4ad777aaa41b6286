//! The root credentials: given by the operator, or made once and kept in `keys/root.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{BootstrapError, RootCredentials, RootSource, durable};

/// The newest format of `root.json` that this release reads and writes.
const FORMAT: u64 = 1;
/// Length of a generated access key, as AWS's.
const ACCESS_KEY_CHARS: usize = 20;
/// Length of a generated secret: 40 characters of 62 are 238 bits.
const SECRET_CHARS: usize = 40;
/// No signs: the credentials must survive shells, URLs and configuration files unquoted.
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ANY: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

#[derive(Deserialize)]
struct Stored {
    format: u64,
    access_key: String,
    secret_key: String,
}

/// Gives the credentials that count: the operator's win, then those of an earlier run, then new ones.
pub(super) fn open(
    config_dir: &Path,
    given: Option<&RootCredentials>,
) -> Result<(RootCredentials, RootSource), BootstrapError> {
    if let Some(root) = given {
        return Ok((root.clone(), RootSource::Given));
    }
    let path = config_dir.join("keys/root.json");
    if let Some(root) = read(&path)? {
        let told = announcement(config_dir).is_file();
        return Ok((root, if told { RootSource::Stored } else { RootSource::Generated }));
    }
    let root = RootCredentials {
        access_key: random_text(UPPER, ACCESS_KEY_CHARS)?.to_string(),
        secret_key: random_text(ANY, SECRET_CHARS)?,
    };
    // The alphabets need no escapes, so this is JSON.
    let text = Zeroizing::new(format!(
        "{{\n  \"format\": {FORMAT},\n  \"access_key\": \"{}\",\n  \"secret_key\": \"{}\"\n}}\n",
        root.access_key,
        root.secret_key.as_str()
    ));
    durable::write_if_missing(&path, text.as_bytes(), durable::Access::Private)?;
    Ok((root, RootSource::Generated))
}

/// Remembers that the stored credentials have been shown or written out.
pub(super) fn announced(config_dir: &Path) -> Result<(), BootstrapError> {
    durable::write_if_missing(&announcement(config_dir), b"", durable::Access::Private)?;
    Ok(())
}

fn announcement(config_dir: &Path) -> PathBuf {
    config_dir.join("keys/root.announced")
}

/// Two lines that a shell can source.
pub(super) fn export(path: &Path, root: &RootCredentials) -> Result<(), BootstrapError> {
    let text = Zeroizing::new(format!(
        "MINIO_ROOT_USER={}\nMINIO_ROOT_PASSWORD={}\n",
        root.access_key,
        root.secret_key.as_str()
    ));
    durable::write(path, text.as_bytes(), durable::Access::Private, durable::Existing::Replace)?;
    Ok(())
}

fn read(path: &Path) -> Result<Option<RootCredentials>, BootstrapError> {
    let Some(bytes) = durable::read_secret(path)? else { return Ok(None) };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| {
        // The error's text tells line and column only: the content is a secret.
        BootstrapError::Damaged {
            path: path.to_owned(),
            problem: format!("line {}, column {}", error.line(), error.column()),
        }
    })?;
    let root = RootCredentials {
        access_key: stored.access_key,
        secret_key: Zeroizing::new(stored.secret_key),
    };
    if stored.format > FORMAT {
        return Err(BootstrapError::NewerFormat {
            path: path.to_owned(),
            found: stored.format,
            known: FORMAT,
        });
    }
    Ok(Some(root))
}

/// Uniform by rejection: a remainder would favour the alphabet's beginning.
fn random_text(alphabet: &[u8], chars: usize) -> Result<Zeroizing<String>, BootstrapError> {
    let fair_below = 256 - 256 % alphabet.len();
    let mut text = Zeroizing::new(String::with_capacity(chars));
    let mut pool = Zeroizing::new([0_u8; 64]);
    while text.len() < chars {
        getrandom::fill(pool.as_mut_slice()).map_err(BootstrapError::Entropy)?;
        let fair = pool.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair_below);
        let letters = fair.filter_map(|byte| alphabet.get(byte % alphabet.len()));
        let missing = chars - text.len();
        text.extend(letters.take(missing).map(|letter| char::from(*letter)));
    }
    Ok(text)
}
