//! The log of one scene before five verifiers of other people, and `openssl` for its time-stamp: each accepts it, and each
//! refuses a copy in which one byte is another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use audit::tiles::{Kind, TilePath};
use ct_merkle::{RootHash, mem_backed_tree::MemoryBackedTree};
use fixtures::authority::Authority;
use fixtures::clients::{self, Access};
use fixtures::data;
use fixtures::process::{Launch, Server};
use sha2::Sha256;
use signed_note::{NoteError, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader as _, Tile, TileHashReader, TileReader};

const DIGEST_WITHIN: Duration = Duration::from_secs(240);

/// Whether a verifier believes the export in a directory.
type Reads<'a> = &'a dyn Fn(&Path) -> anyhow::Result<()>;

#[test]
fn five_verifiers_accept_the_log_of_a_scene_and_refuse_a_changed_copy() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let config = scratch.path().join("appliance.toml");
    let configure = |period: &str| {
        let text = format!("[audit.cloudtrail]\nbucket = \"trail\"\nperiod = \"{period}\"\n");
        std::fs::write(&config, text)
    };
    configure("3s")?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let launch = launch.argument("--config").argument(&config);
    let server = launch.start()?;
    let script = "aws s3 mb s3://scene && mkdir many && for i in $(seq 90); do echo $i > many/$i; done \
                  && aws s3 cp --quiet --recursive many s3://scene && aws s3 ls s3://scene";
    aws(&server, scratch.path(), script)?;
    let deadline = Instant::now() + DIGEST_WITHIN;
    let counted = "aws s3 ls --recursive s3://trail | grep -c CloudTrail-Digest || true";
    while aws(&server, scratch.path(), counted)?.trim().parse::<u32>()? < 2 {
        ensure!(Instant::now() < deadline, "no digests; log:\n{}", server.log());
    }
    server.stop()?;

    // A stranger gets an export and the key.
    let audit = launch.data_dir().join("audit");
    let vkey = launch.data_dir().join("config/audit.vkey");
    let export = scratch.path().join("export");
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "export", "--audit-dir"])
        .arg(&audit)
        .arg("--vkey")
        .arg(&vkey)
        .arg(&export)
        .output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let key = std::fs::read_to_string(&vkey)?;
    let readers: [(&str, Reads<'_>); 4] = [
        ("aics-tlog", &|export| python("aics-tlog", export, &vkey, scratch.path())),
        ("pymerkle", &|export| python("pymerkle", export, &vkey, scratch.path())),
        ("signed_note and tlog_tiles", &|export| tlog_tiles_reads(export, key.trim())),
        ("ct-merkle", &ct_merkle_reads),
    ];
    for (name, reads) in readers {
        reads(&export).with_context(|| format!("{name} refuses the log"))?;
    }
    let changed = changed_copy(&export, &scratch.path().join("changed"))?;
    for (name, reads) in readers {
        ensure!(reads(&changed).is_err(), "{name} believes a changed log");
    }

    stamped_before_openssl(&audit, &vkey, scratch.path())?;

    // The fifth reads from the running server; no digest is due while it does.
    configure("24h")?;
    let server = launch.start()?;
    let validate = "arn=$(aws cloudtrail describe-trails --query 'trailList[0].TrailARN' --output text)\n\
                    aws cloudtrail validate-logs --trail-arn \"$arn\" --start-time 2020-01-01T00:00:00Z --verbose";
    let said = aws(&server, scratch.path(), validate)?;
    ensure!(said.contains(" digest files valid") && !said.contains("INVALID"), "{said}");
    let change = "key=$(aws s3 ls --recursive s3://trail | grep -o 'AWSLogs/.*/CloudTrail/.*gz' | head -n 1)\n\
                  aws s3 cp --quiet s3://trail/$key one.gz && gunzip -c one.gz | sed 's/eventName/eventNane/' \
                  | gzip -n > two.gz && aws s3 cp --quiet two.gz s3://trail/$key";
    aws(&server, scratch.path(), change)?;
    let refused =
        aws(&server, scratch.path(), validate).err().context("a changed file is believed")?;
    ensure!(format!("{refused:#}").contains("hash value doesn't match"), "{refused:#}");
    server.stop()?;
    Ok(())
}

/// The head with the time-stamp that an authority gave it.
fn stamped_before_openssl(audit: &Path, vkey: &Path, scratch: &Path) -> anyhow::Result<()> {
    let authority = Authority::start(&scratch.join("authority"))?;
    let output = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["audit", "timestamp", "--tsa", authority.url(), "--json", "--audit-dir"])
        .arg(audit)
        .arg("--vkey")
        .arg(vkey)
        .output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let reply = PathBuf::from(told["file"].as_str().context("no file")?);
    let stamped = reply.with_extension("checkpoint");
    let output = authority.verify(&stamped, &reply)?;
    ensure!(output.status.success(), "openssl refuses the stamp: {}", clients::text(&output));
    let changed = scratch.join("changed.checkpoint");
    let mut note = std::fs::read(&stamped)?;
    let middle = note.len() / 2;
    note[middle] = if note[middle] == b'a' { b'b' } else { b'a' };
    std::fs::write(&changed, note)?;
    ensure!(!authority.verify(&changed, &reply)?.status.success(), "openssl believes another head");
    Ok(())
}

/// A script with `aws` as root; its output.
fn aws(server: &Server, scratch: &Path, script: &str) -> anyhow::Result<String> {
    let mut shell = clients::shell(script, scratch)?;
    Access::root(server)?.export(&mut shell);
    let output = shell.output()?;
    ensure!(output.status.success(), "{script}:\n{}", clients::text(&output));
    Ok(clients::text(&output))
}

fn python(tool: &str, export: &Path, vkey: &Path, scratch: &Path) -> anyhow::Result<()> {
    let script = data::checkout().join("fixtures/clients/tlog_one.py");
    let mut python = clients::command("python", scratch)?;
    let output = python.arg("-B").arg(script).arg(tool).arg(export).arg(vkey).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    Ok(())
}

/// The exported directory as tlog_tiles wants it; it names tiles, we know where they are.
struct Directory(PathBuf);

impl TileReader for Directory {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let (index, width) = (tile.level_index(), tile.width() as u16);
            let ours = TilePath { kind: Kind::Hashes(tile.level()), index, width };
            std::fs::read(self.0.join(ours.to_string())).unwrap_or_default()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The head by signed_note, then every record under it by tlog_tiles.
fn tlog_tiles_reads(export: &Path, vkey: &str) -> anyhow::Result<()> {
    let (size, root) = head_by_signed_note(export, vkey)?;
    let entries = entries(export, size)?;
    let reader = Directory(export.to_owned());
    let hashes = TileHashReader::new(size, tlog_tiles::Hash(root), &reader);
    let places: Vec<u64> = (0..size).map(|seq| tlog_tiles::stored_hash_index(0, seq)).collect();
    let stored = hashes.read_hashes(&places).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    for (seq, (entry, hash)) in entries.iter().zip(stored).enumerate() {
        ensure!(tlog_tiles::record_hash(entry) == hash, "record {seq} is another");
    }
    Ok(())
}

fn head_by_signed_note(export: &Path, vkey: &str) -> anyhow::Result<(u64, [u8; 32])> {
    let note = std::fs::read(export.join("checkpoint"))?;
    let refused = |error: NoteError| anyhow::anyhow!("{error:?}");
    let verifier = StandardVerifier::new(vkey).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let note = signed_note::Note::from_bytes(&note).map_err(refused)?;
    let (signed, _) = note.verify(&known).map_err(refused)?;
    ensure!(!signed.is_empty(), "the head has no signature of this key");
    head_of(export)
}

/// The head as it stands, believed for what it is compared with.
fn head_of(export: &Path) -> anyhow::Result<(u64, [u8; 32])> {
    use base64::Engine as _;
    let text = std::fs::read_to_string(export.join("checkpoint"))?;
    let mut lines = text.lines().skip(1);
    let size = lines.next().context("no size")?.parse()?;
    let root =
        base64::engine::general_purpose::STANDARD.decode(lines.next().context("no root")?)?;
    Ok((size, root.try_into().map_err(|_| anyhow::anyhow!("no root"))?))
}

fn ct_merkle_reads(export: &Path) -> anyhow::Result<()> {
    let (size, root) = head_of(export)?;
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for entry in entries(export, size)? {
        tree.push(entry);
    }
    let signed = RootHash::<Sha256>::new(root.into(), size);
    ensure!(tree.root() == signed, "ct-merkle finds another root");
    let middle = size / 2;
    let proof = tree.prove_inclusion(usize::try_from(middle)?);
    let entry = tree.get(usize::try_from(middle)?).context("no record")?;
    signed.verify_inclusion(entry, middle, &proof).map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// The records of all bundles, by C2SP's framing.
fn entries(export: &Path, size: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = u16::try_from(256.min(size - index * 256))?;
        let path = TilePath { kind: Kind::Entries, index, width };
        let bytes = std::fs::read(export.join(path.to_string()))?;
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).context("a cut bundle")?;
            all.push(entry.to_vec());
            rest = after;
        }
    }
    Ok(all)
}

/// A copy in which one letter of one record is another.
fn changed_copy(export: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new("cp").arg("-r").arg(export).arg(to).output()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let width = u16::try_from(head_of(export)?.0.min(256))?;
    let first = TilePath { kind: Kind::Entries, index: 0, width };
    let path = to.join(first.to_string());
    let mut bytes = std::fs::read(&path)?;
    let at = bytes.windows(9).position(|it| it == b"PutObject").context("nothing was put")?;
    bytes[at] = b'G';
    std::fs::write(&path, bytes)?;
    Ok(to.to_owned())
}
