//! `appliance audit prove`: one record with everything that a stranger needs to believe it. Of a record that was pruned
//! there is its hash, which is proven as well.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::note::Vkey;
use audit::proof::ProofFile;
use audit::tiles::ProveError;
use audit::{Head, Keyring, Pruned, checkpoint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;

use super::place::{self, Place};
use super::progress;
use crate::cli::Exit;
use crate::cli::exit::failure;
use crate::evidence::CHECK_PY;

const VERIFY_MD: &str = include_str!("prove/VERIFY.md");
const PRUNED_MD: &str = include_str!("prove/PRUNED.md");

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance audit prove 01M85E83VDVPRGR00C38VTJ0TF\n  \
    appliance audit prove 4711 --out evidence\n  \
    appliance audit verify --proof evidence --vkey audit.vkey\n\n\
    Of a record that was pruned its hash is proven; somebody who has the record can compare.\n\n\
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
        let what = self.what(&dir)?;
        let seq = match &what {
            What::Record(leaf) => place::seq(leaf)?,
            What::Hash { seq, .. } => *seq,
        };
        let bar = progress::bar("{pos}/{len} records {wide_bar} {eta}");
        let proof = audit::tiles::prove(&dir, seq, &vkey, &progress::onto(&bar));
        bar.finish_and_clear();
        let proof = proof.map_err(|error| failure(exit_of(&error), error.to_string()))?;
        // What signed the proof is on disk; a change since then takes nothing from it.
        let keys = Keyring::of_directory(&vkey, &dir)?;
        let head = keys.head_to_compare(proof.checkpoint.as_bytes())?;
        let out = self.out.clone().unwrap_or_else(|| format!("proof-{seq}").into());
        write_bundle(&out, &proof, &what, &head, &keys)?;
        let pruned = what.pruned();
        if let Some(pruned) = pruned {
            eprintln!("note: record {seq} was {pruned}; this proves its hash");
        }
        let mut stdout = io::stdout().lock();
        match self.json {
            true => {
                let value = json!({
                    "schema": "appliance/audit-prove", "schema_version": 1,
                    "bundle": out, "seq": seq, "origin": vkey.name(), "size": head.size,
                    "pruned": pruned.map(|pruned| json!({ "end": pruned.end, "record": pruned.record })),
                });
                writeln!(stdout, "{value}")?;
            }
            false => writeln!(stdout, "{}", out.display())?,
        }
        Ok(Exit::Ok)
    }
}

/// What is proven.
enum What {
    Record(Vec<u8>),
    /// All that is left of a record.
    Hash {
        seq: u64,
        hash: [u8; 32],
        pruned: Pruned,
    },
}

impl What {
    fn pruned(&self) -> Option<Pruned> {
        match self {
            Self::Record(_) => None,
            Self::Hash { pruned, .. } => Some(*pruned),
        }
    }
}

impl Prove {
    /// The record, or the hash of one that was pruned.
    fn what(&self, dir: &Path) -> anyhow::Result<What> {
        let absent = match place::record(dir, &self.which) {
            Ok(leaf) => return Ok(What::Record(leaf)),
            Err(absent) => absent,
        };
        let pruned = audit::pruned(dir).context("reading what was pruned")?;
        let seq = self.which.parse::<u64>().ok();
        match pruned.zip(seq).filter(|(pruned, seq)| *seq < pruned.end) {
            Some((pruned, seq)) => {
                let hash =
                    audit::leaf_hash(dir, seq).context("reading the hashes of pruned records")?;
                Ok(What::Hash { seq, hash: hash.ok_or(absent)?, pruned })
            }
            None => Err(absent),
        }
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
    what: &What,
    head: &Head,
    keys: &Keyring,
) -> anyhow::Result<()> {
    let vkey = signer_of(proof, keys);
    fs::create_dir(out).with_context(|| format!("creating `{}`", out.display()))?;
    let guide = if what.pruned().is_some() { PRUNED_MD } else { VERIFY_MD };
    let mut readme = guide
        .replace("{origin}", vkey.name())
        .replace("{seq}", &proof.index.to_string())
        .replace("{size}", &head.size.to_string())
        .replace("{root}", &STANDARD.encode(head.root));
    if let Some(pruned) = what.pruned() {
        let by = pruned.record.to_string();
        readme = readme.replace("{pruned}", &pruned.to_string()).replace("{record}", &by);
    }
    let record = match what {
        What::Record(leaf) => ("record.json", leaf.clone()),
        What::Hash { hash, .. } => {
            ("record.sha256", format!("{}\n", hex::encode(hash)).into_bytes())
        }
    };
    // The path by itself, one hash per line, is what some tools want instead of a tlog-proof.
    let path: String = proof.path.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
    for (name, bytes) in [
        (record.0, record.1.as_slice()),
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
