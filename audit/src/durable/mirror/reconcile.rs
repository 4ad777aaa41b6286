//! Comparing the copies before the log is read, and rebuilding the ones that are behind.
#![deny(clippy::indexing_slicing)]

use std::{collections::HashSet, io};

use crate::{
    checkpoint::Head,
    durable::{Files, read_optional},
    keyring::{self, Keyring},
    log::{Sha256Hex, heads, identity, open, prune},
    note::Vkey,
    pruned::{self, Pruned},
    segment::{self, Form, Recovered},
};

use super::worker::Copy;

/// Makes all copies that are not lost equal to the longest one.
///
/// # Errors
/// Too few copies hold the log, a copy is damaged where no crash can have damaged it, or two copies tell different
/// stories. Nothing was written then.
pub(super) fn run(copies: &[Copy], majority: usize) -> io::Result<()> {
    let mut holding = Vec::new();
    let mut empty = Vec::new();
    for copy in copies.iter().filter(|copy| !copy.is_lost()) {
        match survey(copy.files()) {
            Ok(Some(end)) => holding.push((copy, end, begin(copy.files())?)),
            Ok(None) => empty.push(copy),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(named(copy, &error.to_string()));
            }
            Err(error) => copy.lose(&error.to_string()),
        }
    }
    // Of two that are as long, the one that was pruned further: the other one has not heard of it.
    let Some(best) = holding.iter().max_by_key(|(_, end, begin)| (end.tip.size(), *begin)) else {
        return Ok(());
    };
    if holding.len() < majority {
        let what = format!(
            "only {} of {} copies hold the audit log, so records that were acknowledged may be missing; \
             bring the others back, or make the list of copies shorter; if the others are new, copy `{}` to them first",
            holding.len(),
            copies.len(),
            best.0.name(),
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // ORDER: every reason to refuse comes before the first write.
    for (copy, end, _) in &holding {
        let same = end.tip.size() == 0 || has_root(best.0.files(), &end.tip.head())?;
        if !same {
            let what = format!(
                "its {} records are not the ones that `{}` has; run `audit verify` on both",
                end.tip.size(),
                best.0.name()
            );
            return Err(named(copy, &what));
        }
        if let Some(head) = newest_head(copy.files())
            && (head.size > best.1.tip.size() || !has_root(best.0.files(), &head)?)
        {
            let what = format!(
                "its newest head was signed for {} records, and of the {} that there are, on `{}`, they are not the first: \
                 records are lost, or copies were put back to an earlier state; put back a copy that has them",
                head.size,
                best.1.tip.size(),
                best.0.name()
            );
            return Err(named(copy, &what));
        }
    }
    let others = holding.iter().map(|(copy, ..)| *copy).chain(empty);
    for copy in others.filter(|copy| !std::ptr::eq(*copy, best.0)) {
        match rebuild(best.0.files(), copy.files()) {
            Ok(0) => {}
            Ok(files) => {
                let (size, from) = (best.1.tip.size(), best.0.name());
                copy.report(format!("rebuilt: {files} files, {size} records, from {from}"));
            }
            Err(error) => copy.lose(&format!("rebuilding it: {error}")),
        }
    }
    let left = copies.iter().filter(|copy| !copy.is_lost()).count();
    if left < majority { Err(super::too_few()) } else { Ok(()) }
}

fn named(copy: &Copy, what: &str) -> io::Error {
    let what = format!("the copy `{}` of the audit log: {what}", copy.name());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The end of a copy's records; none if it was never written to.
fn survey(files: &dyn Files) -> io::Result<Option<Recovered>> {
    let fresh = read_optional(files, identity::PATH)?.is_none()
        && read_optional(files, "checkpoint")?.is_none()
        && segment::names(&|path| files.list(path))?.is_empty();
    if fresh {
        return Ok(None);
    }
    segment::recover(files, None).map(Some).map_err(|error| match error {
        segment::recover::RecoverError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    })
}

/// The newest head that a copy has: more than the records beside it, it remembers how long the log was. A copy whose heads
/// or keys cannot be read says nothing here; it is made equal to another one.
fn newest_head(files: &dyn Files) -> Option<Head> {
    let identity = identity::peek(&files.read(identity::PATH).ok()?)?;
    let first = Vkey::parse(identity.vkeys.first()?).ok()?;
    let keys = Keyring::of_files(&first, files).ok()?;
    open::newest_head(files, &keys).ok()?.0
}

/// The first record that a copy has.
fn begin(files: &dyn Files) -> io::Result<u64> {
    Ok(Pruned::read(&|path| files.read(path))?.map_or(0, |pruned| pruned.end))
}

/// Whether a copy that is at least as long has this root at this size.
fn has_root(files: &dyn Files, head: &Head) -> io::Result<bool> {
    let begin = begin(files)?;
    if head.size <= begin {
        let tip = pruned::tip_of_kept(&|path| files.read(path), head.size, begin)?;
        return Ok(tip.frontier.root() == head.root);
    }
    let recovered = segment::recover(files, Some(head))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    if recovered.tip.size() == head.size {
        return Ok(recovered.tip.head() == *head);
    }
    // The walk begins at the newest segment only where that begins with this very root, and does not pass it then.
    Ok(recovered.root_at_known.is_none_or(|root| root == head.root))
}

/// Copies every file that differs, and sets aside what lies beside the segments and should not; returns how many there
/// were.
fn rebuild(from: &dyn Files, to: &dyn Files) -> io::Result<u64> {
    let mut changed = 0;
    for path in paths(from)? {
        let bytes = from.read(&path)?;
        let old = read_optional(to, &path)?;
        if old.as_ref() == Some(&bytes) {
            continue;
        }
        let evidence = |old: &Vec<u8>| path != pruned::PATH && !is_beginning(old, &bytes);
        if let Some(old) = old.filter(evidence) {
            // A torn write, or more of one; evidence all the same.
            to.replace(&format!("quarantine/{}", Sha256Hex::of(&old)), &old)?;
        }
        to.replace(&path, &bytes)?;
        changed += 1;
    }
    // A crash may have come while the copies were being made equal in this: one has a seal, or a change of the key, the
    // others not yet.
    let begin = begin(from)?;
    let kept: HashSet<String> = made_once(from)?.into_iter().collect();
    for path in made_once(to)?.iter().filter(|path| !kept.contains(*path)) {
        // What was pruned is gone from this copy, too.
        if !prune::is_of(path, 0..begin) {
            let old = to.read(path)?;
            to.replace(&format!("quarantine/{}", Sha256Hex::of(&old)), &old)?;
        }
        to.remove(path)?;
        changed += 1;
    }
    if read_optional(from, prune::INTENT_PATH)?.is_none() {
        to.remove(prune::INTENT_PATH)?;
    }
    Ok(changed)
}

/// Segments with what lies beside them, and changes of the key.
fn made_once(files: &dyn Files) -> io::Result<Vec<String>> {
    let list = |path: &str| files.list(path);
    let mut paths = segment::files(&list)?;
    paths.extend(keyring::paths(&list)?);
    Ok(paths)
}

/// Whether `old`, without zeros written ahead, is what `new` begins with.
fn is_beginning(old: &[u8], new: &[u8]) -> bool {
    let end = old.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    old.get(..end).is_some_and(|old| new.starts_with(old))
}

/// Every file below a directory, at any depth.
fn below(files: &dyn Files, directory: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in files.list(directory)? {
        let path = format!("{directory}/{name}");
        match path.strip_suffix('/') {
            Some(deeper) => found.extend(below(files, deeper)?),
            None if path.ends_with(".tmp") => {}
            None => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Every file of the log. The order is that of writing: what a file names is there before it.
fn paths(files: &dyn Files) -> io::Result<Vec<String>> {
    let list = |path: &str| files.list(path);
    let mut all = vec![identity::PATH.to_owned()];
    for directory in ["blob", "quarantine"] {
        let names = files.list(directory)?.into_iter().filter(|name| !name.ends_with(".tmp"));
        all.extend(names.map(|name| format!("{directory}/{name}")));
    }
    all.extend(keyring::paths(&list)?);
    all.extend(below(files, "tile/0")?);
    // ORDER: a copy that says where it begins can prove what came before.
    let begin = begin(files)?;
    all.extend(segment::seals(&list)?.into_iter().filter(|_| begin > 0));
    for path in [prune::INTENT_PATH, pruned::PATH] {
        all.extend(read_optional(files, path)?.map(|_| path.to_owned()));
    }
    // A segment may be there in both forms; who looks for that looks at one copy.
    let there: HashSet<String> = segment::files(&list)?.into_iter().collect();
    for name in segment::names(&list)? {
        let both = [name.path_as(Form::Written), name.path_as(Form::Packed)];
        let files = std::iter::once(name.start_path()).chain(both);
        all.extend(files.filter(|path| there.contains(path)));
    }
    all.extend(segment::seals(&list)?);
    all.extend(heads::paths(&list)?);
    if read_optional(files, "checkpoint")?.is_some() {
        all.push("checkpoint".to_owned());
    }
    Ok(all)
}
