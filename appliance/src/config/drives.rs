//! Drive arguments with ellipses: `/mnt/disk{1...4}`, `/mnt/disk{01...16}`, `/mnt/{a...d}`.
#![deny(clippy::indexing_slicing)]

use std::path::PathBuf;

/// One erasure set; more drives are a later matter.
const DRIVES_MAX: usize = 16;

/// Expands every argument and checks the whole.
///
/// # Errors
/// A text that names the argument and what is wrong with it.
///
/// # Source
/// MinIO's `server` arguments: three dots, decimal with zero padding or single letters, ranges ascending and inclusive.
pub(super) fn expand(arguments: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut drives: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        for path in expand_one(argument)? {
            let path = PathBuf::from(path);
            if drives.contains(&path) {
                return Err(format!("the drive `{}` is named twice", path.display()));
            }
            drives.push(path);
            if drives.len() > DRIVES_MAX {
                return Err(format!("more than {DRIVES_MAX} drives"));
            }
        }
    }
    Ok(drives)
}

/// Expands the last ellipsis fastest, as a person would count.
fn expand_one(argument: &str) -> Result<Vec<String>, String> {
    if argument.is_empty() {
        return Err("an empty drive path".into());
    }
    let mut done = vec![String::new()];
    let mut rest = argument;
    while let Some((before, after)) = rest.split_once('{') {
        let (range, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("`{argument}`: a `{{` without its `}}`"))?;
        let words = range_of(range).ok_or_else(|| {
            format!("`{argument}`: `{{{range}}}` is no range; write `{{1...4}}`, `{{01...16}}` or `{{a...d}}`")
        })?;
        if done.len().saturating_mul(words.len()) > DRIVES_MAX {
            return Err(format!("`{argument}` means more than {DRIVES_MAX} drives"));
        }
        done = done
            .iter()
            .flat_map(|start| words.iter().map(move |word| format!("{start}{before}{word}")))
            .collect();
        rest = tail;
    }
    if rest.contains('}') {
        return Err(format!("`{argument}`: a `}}` without its `{{`"));
    }
    Ok(done.into_iter().map(|start| start + rest).collect())
}

/// The words of `1...4`; at most one more than allowed, so that a huge range costs nothing.
fn range_of(text: &str) -> Option<Vec<String>> {
    let (first, last) = text.split_once("...")?;
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        return (first <= last).then(|| (first..=last).map(String::from).collect());
    }
    let digits = |word: &str| {
        !word.is_empty() && word.len() <= 9 && word.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(first) || !digits(last) {
        return None;
    }
    // `{01...16}` pads, `{1...16}` does not: the first word decides, as a person writes it.
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| {
        (first..=last).take(DRIVES_MAX + 1).map(|number| format!("{number:0width$}")).collect()
    })
}

/// A single lower-case letter.
fn letter(word: &str) -> Option<char> {
    let mut letters = word.chars();
    letters.next().filter(|c| c.is_ascii_lowercase() && letters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &[&str]) -> Result<Vec<String>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Ok(expand(&arguments)?.iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn ellipses() {
        for (arguments, drives) in [
            (&["/mnt/disk1"][..], &["/mnt/disk1"][..]),
            (&["/mnt/disk{1...3}"], &["/mnt/disk1", "/mnt/disk2", "/mnt/disk3"]),
            (&["/mnt/disk{08...10}"], &["/mnt/disk08", "/mnt/disk09", "/mnt/disk10"]),
            (&["/mnt/disk{9...10}/d"], &["/mnt/disk9/d", "/mnt/disk10/d"]),
            (&["/{a...b}/{1...2}"], &["/a/1", "/a/2", "/b/1", "/b/2"]),
            (&["/x", "/y{1...2}"], &["/x", "/y1", "/y2"]),
        ] {
            assert_eq!(expanded(arguments).unwrap(), drives, "{arguments:?}");
        }
    }

    #[test]
    fn refused() {
        for (arguments, text) in [
            (&[""][..], "empty"),
            (&["/d{1,2}"], "no range"),
            (&["/d{1..4}"], "no range"),
            (&["/d{4...1}"], "no range"),
            (&["/d{1...x}"], "no range"),
            (&["/d{...}"], "no range"),
            (&["/d{1...4"], "without"),
            (&["/d1...4}"], "without"),
            (&["/d{1...17}"], "more than 16"),
            (&["/d{1...999999999}"], "more than 16"),
            (&["/d{1...4}{1...5}"], "more than 16"),
            (&["/d{1...9}", "/e{1...8}"], "more than 16"),
            (&["/d1", "/d{1...2}"], "twice"),
        ] {
            let error = expanded(arguments).unwrap_err();
            assert!(error.contains(text), "{arguments:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            if let Ok(drives) = expand(&[text]) {
                assert!(drives.len() <= DRIVES_MAX);
            }
        }
    }
}
