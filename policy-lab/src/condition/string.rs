//! Equality without regard to letter case.

use crate::context::Context;
use crate::pattern::Pattern;

/// Simple case folding, one character at a time: `ß` and `SS` stay different, as AWS's ASCII comparison keeps them.
pub(super) fn equals_ignore_case(pattern: &Pattern, value: &str, context: &Context) -> bool {
    if let Some(filled) = pattern.filled(context) {
        return filled.chars().map(fold).eq(value.chars().map(fold));
    }
    let Some(wanted) = pattern.literal(context) else { return false };
    wanted.flat_map(str::chars).map(fold).eq(value.chars().map(fold))
}

/// Simple case folding of one character.
pub(crate) fn fold(char: char) -> char {
    if char.is_ascii() {
        return char.to_ascii_lowercase();
    }
    let upper = single(char, char.to_uppercase());
    single(upper, upper.to_lowercase())
}

/// The mapping if it is one character long.
fn single(char: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => char,
    }
}
