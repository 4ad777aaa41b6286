//! Looks up what a path of a record is to the index.
//!
//! Records have their members in one order, so after a path mostly comes the path that came after it last time. That
//! guess is one comparison; only a wrong one is looked up.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;

use super::schema::Member;

/// Paths that are remembered. There are fewer names of members than this; the rest are keys of conditions, which a client
/// may choose.
const KNOWN_MAX: usize = 1024;

/// What is known of paths, and where in a record the last one was.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Vec<Known>,
    places: HashMap<String, usize>,
    /// The path that came last.
    last: Option<usize>,
    /// The path that a record begins with.
    first: usize,
}

#[derive(Debug)]
struct Known {
    path: String,
    member: Member,
    /// The path that came after this one last time.
    next: usize,
}

impl Paths {
    /// Begins a record.
    pub(super) fn begin(&mut self) {
        self.last = None;
    }

    /// What the next path of the record is; `look` says it of one that is not known.
    pub(super) fn next(&mut self, path: &str, look: impl FnOnce(&str) -> Member) -> Member {
        let guess = match self.last {
            None => self.first,
            Some(last) => self.known.get(last).map_or(0, |known| known.next),
        };
        if let Some(known) = self.known.get(guess)
            && known.path == path
        {
            self.last = Some(guess);
            return known.member;
        }
        let place = match self.places.get(path) {
            Some(place) => *place,
            None if self.known.len() == KNOWN_MAX => return look(path),
            None => {
                let place = self.known.len();
                self.known.push(Known { path: path.to_owned(), member: look(path), next: place });
                self.places.insert(path.to_owned(), place);
                place
            }
        };
        match self.last.and_then(|last| self.known.get_mut(last)) {
            Some(last) => last.next = place,
            None => self.first = place,
        }
        self.last = Some(place);
        self.known.get(place).map_or(Member::Nothing, |known| known.member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_never_believed_blindly() {
        let of = |path: &str| match path.strip_prefix("word") {
            Some(n) => n.parse().map_or(Member::Odd, Member::Word),
            None => Member::Nothing,
        };
        let records = [
            vec!["word1", "word2", "other"],
            vec!["word2", "word1"],
            vec!["word1", "other", "word2", "word2"],
            vec![],
            vec!["word1", "word2", "word", "other"],
        ];
        let mut paths = Paths::default();
        for n in 0..4 {
            for record in &records {
                paths.begin();
                for path in record {
                    assert_eq!(paths.next(path, of), of(path), "round {n}: {record:?}");
                }
            }
        }
        for n in 0..2 * KNOWN_MAX {
            let path = format!("word{n}");
            assert_eq!(paths.next(&path, of), Member::Word(n));
        }
        assert_eq!((paths.known.len(), paths.places.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
