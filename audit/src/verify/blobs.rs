//! Files that are named by their digest.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::durable;

use super::{Findings, State, VerifyError};

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
