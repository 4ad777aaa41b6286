//! Files that are named by their digest, and whether the ones that records name are there.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::{
    durable, leaf,
    log::blob::{self, Sha256Hex},
};

use super::{Findings, State, VerifyError, read_optional};

/// Digests remembered as checked; beyond it some are looked up again, which only costs time.
const CHECKED_MAX: usize = 1 << 16;
/// First bytes of the records that name a configuration.
const CONFIG_RECORD: &[u8] = br#"{"action":"audit:config","class":"audit","#;
/// Digits of a digest.
const HEX_LEN: usize = 64;

/// Hashes every file of a directory and compares it with its name.
pub(super) fn check(
    dir: &Path,
    directory: &str,
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    let io_error = |path: &str| {
        let path = path.to_owned();
        move |source| VerifyError::Io { path, source }
    };
    let mut names = durable::list(&dir.join(directory)).map_err(io_error(directory))?;
    names.sort();
    // A temporary file is a write that never became visible.
    for name in names.iter().filter(|name| !name.ends_with(".tmp")) {
        let path = format!("{directory}/{name}");
        if digest(&dir.join(&path)).map_err(io_error(&path))? != *name {
            let what = "the bytes do not have the digest that is their name";
            findings.add(State::Modified, &path, (Some(0), None), what);
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Follows the digests in records: each names a manifest, and the manifest names documents. All are blobs.
pub(super) struct Named {
    dir: PathBuf,
    member: memmem::Finder<'static>,
    /// Most records name the same set as the one before them.
    last: [u8; HEX_LEN],
    checked: HashSet<String>,
}

impl Named {
    pub(super) fn new(dir: &Path) -> Self {
        let member = memmem::Finder::new(b"\"digest\":\"");
        Self { dir: dir.to_owned(), member, last: [0; HEX_LEN], checked: HashSet::new() }
    }

    /// Looks at one record. Found by text: inside a string every quote is escaped, and no other member is called so.
    pub(super) fn record(
        &mut self,
        seq: u64,
        leaf: &[u8],
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let digits =
            self.member.find(leaf).and_then(|at| leaf.get(at + self.member.needle().len()..));
        if leaf.starts_with(CONFIG_RECORD) {
            self.configuration(seq, leaf, findings)?;
        }
        match digits.and_then(|digits| digits.first_chunk::<HEX_LEN>()) {
            Some(digits) if *digits != self.last => {
                self.last = *digits;
                self.manifest(seq, &String::from_utf8_lossy(digits), findings)
            }
            _ => Ok(()),
        }
    }

    /// A change of the configuration names the whole of it.
    fn configuration(
        &mut self,
        seq: u64,
        leaf: &[u8],
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        for digits in leaf::values(leaf, "params.sha256") {
            if let Some(digest) = Sha256Hex::parse(&digits) {
                let what = format!("the configuration that record {seq} names is not there");
                self.present(&digest, seq, &what, findings)?;
            }
        }
        Ok(())
    }

    fn manifest(
        &mut self,
        seq: u64,
        digits: &str,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        // Records of calls that failed before a policy was looked at name none.
        let Some(digest) = Sha256Hex::parse(digits) else { return Ok(()) };
        let what = format!("the policy set that record {seq} was decided by is not there");
        let Some(bytes) = self.present(&digest, seq, &what, findings)? else {
            return Ok(());
        };
        for document in documents(&bytes) {
            let what = format!("a policy that record {seq} was decided by is not there");
            self.present(&document, seq, &what, findings)?;
        }
        Ok(())
    }

    /// The blob, unless it was looked at before or is not there, which is a finding once.
    fn present(
        &mut self,
        digest: &Sha256Hex,
        seq: u64,
        what: &str,
        findings: &mut Findings,
    ) -> Result<Option<Vec<u8>>, VerifyError> {
        if self.checked.len() >= CHECKED_MAX {
            self.checked.clear();
        }
        if !self.checked.insert(digest.to_string()) {
            return Ok(None);
        }
        let path = blob::path(digest);
        let found = read_optional(&self.dir, &path)?;
        if found.is_none() {
            findings.add(State::Missing, &path, (None, Some(seq)), what.to_owned());
        }
        Ok(found)
    }
}

/// The digests of the documents that a manifest names.
fn documents(manifest: &[u8]) -> Vec<Sha256Hex> {
    let member = b"\"sha256\":\"";
    memmem::find_iter(manifest, member)
        .filter_map(|at| manifest.get(at + member.len()..)?.first_chunk::<HEX_LEN>())
        .filter_map(|digits| Sha256Hex::parse(std::str::from_utf8(digits).ok()?))
        .collect()
}
