//! Files that are given on the command line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use policy_lab::replay::{Export, LineError};
use policy_lab::{DocumentKind, Guardrails, Policy};

/// Bytes read of one file at most; a world may have thousands of policies.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a text file.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    // What has no end, as a device, says that it has no bytes: what counts is what comes.
    let mut file = File::open(path).with_context(reading)?.take(BYTES_MAX + 1);
    file.read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!("{} has more than {BYTES_MAX} bytes", path.display());
    }
    String::from_utf8(bytes).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..end).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let place = format!("{}:{line}:{column}", path.display());
        complaint(&place, "the text is not UTF-8", Some("save the file as UTF-8"))
    })
}

/// Parses a policy; the error says `FILE:LINE:COLUMN`.
pub(super) fn policy(path: &Path, kind: DocumentKind) -> anyhow::Result<Policy> {
    Policy::parse(&text(path)?, kind).map_err(|error| {
        let place = format!("{}:{}:{}", path.display(), error.line, error.column);
        complaint(&place, &error.message, error.hint.as_deref())
    })
}

/// Loads guardrails; the error says `FILE:LINE:COLUMN`.
pub(super) fn guardrails(sources: Vec<(String, String)>) -> anyhow::Result<Guardrails> {
    Guardrails::load(sources).map_err(|error| {
        let place = format!("{}:{}:{}", error.file, error.line, error.column);
        complaint(&place, &error.message, error.hint.as_deref())
    })
}

/// A complaint about a place of a file, with the remedy in a line of its own.
pub(super) fn complaint(place: &str, message: &str, hint: Option<&str>) -> anyhow::Error {
    match hint {
        Some(hint) => anyhow!("{place}: {message}\n  hint: {hint}"),
        None => anyhow!("{place}: {message}"),
    }
}

/// A complaint about a line of a file.
pub(super) fn of_line(name: &str, number: usize, error: &LineError) -> anyhow::Error {
    complaint(&format!("{name}:{number}:{}", error.column), &error.message, error.hint.as_deref())
}

/// The file's name without directory and extension.
pub(super) fn stem(path: &Path) -> anyhow::Result<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| anyhow!("{} has no name in UTF-8", path.display()))
}

/// The file's name without directory.
pub(super) fn name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| anyhow!("{} has no name in UTF-8", path.display()))
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Files of a directory with this extension, sorted.
pub(super) fn files(directory: &Path, extension: &str) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?
    {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        if has_extension(&path, extension) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Directories of a directory, sorted.
pub(super) fn directories(directory: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let reading = || format!("reading {}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a world that the appliance exported; the error says `FILE:LINE:COLUMN`.
pub(super) fn export(path: &Path) -> anyhow::Result<Arc<Export>> {
    let text = text(path)?;
    let export = Export::parse(&text).map_err(|error| {
        let (line, column) = error.place(&text);
        let place = format!("{}:{line}:{column}", path.display());
        complaint(&place, &error.to_string(), error.hint())
    })?;
    Ok(Arc::new(export))
}

/// Lines as they are read; the error says `FILE:LINE`.
pub(super) type Lines = Box<dyn Iterator<Item = anyhow::Result<String>>>;

/// Lines of a file, or of stdin for `-`, with the name to use in complaints. One line is bounded as a file is: a file of
/// CloudTrail is one line.
pub(super) fn lines(path: &Path) -> anyhow::Result<(String, Lines)> {
    if path == Path::new("-") {
        return Ok(("stdin".to_owned(), bounded("stdin".to_owned(), io::stdin().lock())));
    }
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.display().to_string();
    Ok((name.clone(), bounded(name, BufReader::new(file))))
}

fn bounded(name: String, mut reader: impl BufRead + 'static) -> Lines {
    let mut number = 0_u64;
    Box::new(std::iter::from_fn(move || {
        number += 1;
        next(&mut reader).with_context(|| format!("{name}:{number}")).transpose()
    }))
}

/// The next line without its end; `None`: there is none.
fn next(reader: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    reader.take(BYTES_MAX + 1).read_until(b'\n', &mut bytes).context("reading")?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 > BYTES_MAX {
        bail!("the line has more than {BYTES_MAX} bytes");
    }
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        let _ = bytes.pop_if(|last| *last == b'\r');
    }
    String::from_utf8(bytes).map(Some).map_err(|_| anyhow!("the line is not UTF-8"))
}
