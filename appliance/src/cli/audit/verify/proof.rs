//! `appliance audit verify --proof`: one record, offline, by the file that carries its proof.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use audit::checkpoint::CheckpointError;
use audit::note::{NoteError, Vkey};
use audit::proof::{ProofError, ProofFile};
use audit::{Head, Keyring, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::trusted::Trusted;
use crate::cli::Exit;

/// Names inside a bundle that `prove` wrote.
const PROOF_FILE: &str = "record.tlog-proof";
const RECORD_FILE: &str = "record.json";
/// Of a record that was pruned.
const HASH_FILE: &str = "record.sha256";

/// Checks a proof file or a bundle under a key and prints the verdict.
pub(super) fn check(path: &Path, trusted: &Trusted, json: bool) -> anyhow::Result<Exit> {
    let vkey = &trusted.vkey;
    let bundle = path.is_dir();
    let keys = keys_beside(path, vkey);
    let file = if bundle { path.join(PROOF_FILE) } else { path.to_owned() };
    let text =
        fs::read_to_string(&file).with_context(|| format!("reading `{}`", file.display()))?;
    let proof = ProofFile::parse(&text).with_context(|| format!("`{}`", file.display()))?;
    // In a bundle people look at the record beside the proof, so that one is what has to be proven.
    let hash = if bundle { hash_of_pruned(path)? } else { None };
    let verdict = match &hash {
        Some(hash) => proof.verify_hash(hash, &keys),
        None => {
            let record = match bundle {
                true => {
                    Some(fs::read(path.join(RECORD_FILE)).context("reading the bundle's record")?)
                }
                false => proof.extra.clone(),
            };
            proof.verify_by(record.as_deref(), &keys)
        }
    };
    let what = if hash.is_some() { "the hash of the pruned record" } else { "record" };
    let checkpoint = [(file.display().to_string(), proof.checkpoint.clone().into())];
    let witnessed = trusted.witnessed(&checkpoint, &keys);
    let state = match &verdict {
        Ok(_) => witnessed.as_ref().map_or_else(|finding| finding.state, |_| State::Valid),
        Err(ProofError::Checkpoint(CheckpointError::Note(NoteError::UnknownKey))) => {
            State::UnknownKey
        }
        Err(ProofError::Checkpoint(CheckpointError::Window { .. })) => State::KeyWindow,
        Err(ProofError::Checkpoint(CheckpointError::Note(_) | CheckpointError::Text)) => {
            State::BadSignature
        }
        Err(ProofError::NotIncluded | ProofError::Malformed) => State::Modified,
    };
    let said = match (&verdict, &witnessed) {
        (Ok(head), Ok(witnessed)) => {
            let seen = witnessed.as_ref().map_or(String::new(), |seen| format!("; {seen}"));
            format!("{what} {} of {} in the log {}{seen}", proof.index, head.size, vkey.name())
        }
        (Ok(_), Err(finding)) => finding.what.clone(),
        (Err(error), _) => error.to_string(),
    };
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", object(state, &said, &proof, verdict.ok(), vkey))?,
        false => writeln!(out, "{state}: {said}")?,
    }
    Ok(Exit::Verification(state.exit_code()))
}

/// The hash in a bundle without a record.
fn hash_of_pruned(bundle: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    let path = bundle.join(HASH_FILE);
    if bundle.join(RECORD_FILE).is_file() || !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).context("reading the bundle's hash")?;
    let mut hash = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut hash)
        .with_context(|| format!("`{}` is no hash", path.display()))?;
    Ok(Some(hash))
}

/// The given key with those that followed it, if their changes are in the bundle that `path` is or lies in. Whoever gives a
/// later key needs no changes.
fn keys_beside(path: &Path, vkey: &Vkey) -> Keyring {
    let place = path.ancestors().take(3).find(|place| place.join("key").is_dir());
    let followed = place.and_then(|place| Keyring::of_directory(vkey, place).ok());
    followed.unwrap_or_else(|| vkey.clone().into())
}

fn object(
    state: State,
    said: &str,
    proof: &ProofFile,
    head: Option<Head>,
    vkey: &Vkey,
) -> serde_json::Value {
    serde_json::json!({
        "schema": "appliance/audit-verify-proof",
        "schema_version": 1,
        "state": state.as_str(),
        "exit_code": state.exit_code(),
        "what": said,
        "origin": vkey.name(),
        "seq": proof.index,
        "head": head.map(|head| serde_json::json!({ "size": head.size, "root": STANDARD.encode(head.root) })),
    })
}
