//! "Did you mean": the known word nearest to an unknown one.

/// Edits that still count as a slip of the finger.
const DISTANCE_MAX: usize = 3;

/// The hint that ends an error about an unknown word, or nothing.
pub(super) fn hint<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|word| (distance(unknown, word), word))
        .filter(|(edits, word)| *edits <= DISTANCE_MAX && *edits < word.chars().count())
        .min()
        .map_or_else(String::new, |(_, word)| format!("; did you mean `{word}`?"))
}

/// Levenshtein distance, one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, wanted) in from.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = at + 1;
        next.push(left);
        for (pair, have) in row.windows(2).zip(&to) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(wanted != *have)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("region", "region", 0),
            ("regoin", "region", 2),
            ("drive", "drives", 1),
        ] {
            assert_eq!(distance(from, to), edits, "{from} → {to}");
        }
    }

    #[test]
    fn a_far_word_gives_no_hint() {
        assert_eq!(hint("adress", ["address", "region"].into_iter()), "; did you mean `address`?");
        assert_eq!(hint("colour", ["address", "region"].into_iter()), "");
    }
}
