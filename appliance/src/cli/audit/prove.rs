//! `appliance audit prove`: one record with everything that a stranger needs to believe it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::note::Vkey;
use audit::proof::ProofFile;
use audit::tiles::ProveError;
use audit::{Head, Keyring, checkpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::place::{self, Place};
use super::progress;
use crate::cli::Exit;
use crate::cli::exit::failure;

const VERIFY_MD: &str = include_str!("prove/VERIFY.md");
const CHECK_PY: &str = include_str!("prove/check.py");

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit prove 01M85E83VDVPRGR00C38VTJ0TF\n  \
    appliance audit prove 4711 --out evidence\n  \
    appliance audit verify --proof evidence --vkey audit.vkey\n\n\
    Exit codes: 0 proven, 6 no such record, 8 the records do not match the signed head, 9 no head covers it yet.")]
pub(in crate::cli) struct Prove {
    /// The event's id, or the record's seq.
    #[arg(value_name = "EVENT|SEQ")]
    which: String,
    #[command(flatten)]
    place: Place,
    /// Verifier key or a file of it; the deployment's audit.vkey otherwise.
    #[arg(long, value_name = "KEY|FILE")]
    vkey: Option<String>,
    /// A directory that does not exist yet; proof-SEQ otherwise.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Prove {
    pub(in crate::cli) fn run(self) -> anyhow::Result<Exit> {
        let dir = self.place.readable()?;
        let vkey = self.place.vkey(self.vkey.as_deref())?;
        let vkey = Vkey::parse(&vkey).context("reading the verifier key")?;
        let leaf = place::record(&dir, &self.which)?;
        let seq = place::seq(&leaf)?;
        let bar = progress::bar("{pos}/{len} records {wide_bar} {eta}");
        let proof = audit::tiles::prove(&dir, seq, &vkey, &progress::onto(&bar));
        bar.finish_and_clear();
        let proof = proof.map_err(|error| failure(exit_of(&error), error.to_string()))?;
        // What signed the proof is on disk; a change since then takes nothing from it.
        let keys = Keyring::of_directory(&vkey, &dir)?;
        let head = keys.head_to_compare(proof.checkpoint.as_bytes())?;
        let out = self.out.clone().unwrap_or_else(|| format!("proof-{seq}").into());
        write_bundle(&out, &proof, &leaf, &head, &keys)?;
        let mut stdout = io::stdout().lock();
        match self.json {
            true => {
                let value = serde_json::json!({
                    "schema": "appliance/audit-prove", "schema_version": 1,
                    "bundle": out, "seq": seq, "origin": vkey.name(), "size": head.size,
                });
                writeln!(stdout, "{value}")?;
            }
            false => writeln!(stdout, "{}", out.display())?,
        }
        Ok(Exit::Ok)
    }
}

fn exit_of(error: &ProveError) -> Exit {
    match error {
        ProveError::Mismatch { .. } | ProveError::Head(_) => Exit::Integrity,
        _ => Exit::Unavailable,
    }
}

fn write_bundle(
    out: &Path,
    proof: &ProofFile,
    leaf: &[u8],
    head: &Head,
    keys: &Keyring,
) -> anyhow::Result<()> {
    let vkey = signer_of(proof, keys);
    fs::create_dir(out).with_context(|| format!("creating `{}`", out.display()))?;
    let readme = VERIFY_MD
        .replace("{origin}", vkey.name())
        .replace("{seq}", &proof.index.to_string())
        .replace("{size}", &head.size.to_string())
        .replace("{root}", &STANDARD.encode(head.root));
    // The path by itself, one hash per line, is what some tools want instead of a tlog-proof.
    let path: String = proof.path.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
    for (name, bytes) in [
        ("record.json", leaf),
        ("record.tlog-proof", proof.encode().as_bytes()),
        ("record.path", path.as_bytes()),
        ("checkpoint", proof.checkpoint.as_bytes()),
        ("log.vkey", format!("{vkey}\n").as_bytes()),
        ("VERIFY.md", readme.as_bytes()),
        ("check.py", CHECK_PY.as_bytes()),
    ] {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing `{}`", path.display()))?;
    }
    for (name, note) in keys.notes() {
        let path = out.join(name);
        fs::create_dir_all(out.join("key")).context("creating the directory of changes")?;
        fs::write(&path, note).with_context(|| format!("writing `{}`", path.display()))?;
    }
    Ok(())
}

/// The key that signed the proof's head: the newest one that did.
fn signer_of<'a>(proof: &ProofFile, keys: &'a Keyring) -> &'a Vkey {
    let signed =
        keys.keys().filter(|key| checkpoint::open(proof.checkpoint.as_bytes(), &key.vkey).is_ok());
    signed.last().map_or_else(|| keys.current(), |key| &key.vkey)
}
