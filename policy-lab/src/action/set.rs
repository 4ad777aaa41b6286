//! The actions a statement names, compiled to one bit per catalogue row.

use std::sync::Arc;

use super::{Action, CATALOGUE};
use crate::Profile;
use crate::pattern::Glob;

const WORDS: usize = CATALOGUE.len().div_ceil(64);

/// The services whose catalogue is complete, so that an unknown name in them is a mistake.
const SERVICES: [&str; 4] = ["admin", "kms", "s3", "sts"];

/// Actions matched by a list of patterns, letter case ignored.
#[derive(Clone, Debug)]
pub(crate) struct ActionSet {
    bits: [u64; WORDS],
    /// The patterns, in lower case unless it counts, for actions outside the catalogue.
    patterns: Arc<[Glob]>,
    case_counts: bool,
}

/// Why an action pattern is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PatternError {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl ActionSet {
    /// Compiles one pattern per call of the iterator's item.
    pub(crate) fn compile<'a>(
        patterns: impl Iterator<Item = &'a str>,
    ) -> Result<Self, PatternError> {
        Self::compile_as(patterns, Profile::AWS)
    }

    /// The same as a profile reads them.
    pub(crate) fn compile_as<'a>(
        patterns: impl Iterator<Item = &'a str>,
        profile: Profile,
    ) -> Result<Self, PatternError> {
        let case_counts = profile.action_case_counts;
        let mut bits = [0; WORDS];
        let mut globs = Vec::new();
        for pattern in patterns {
            let glob = match case_counts {
                true => Glob::parse(pattern),
                false => Glob::parse(&pattern.to_ascii_lowercase()),
            };
            let found = add(&mut bits, &glob, case_counts);
            check(pattern, found)?;
            globs.push(glob);
        }
        Ok(Self { bits, patterns: globs.into(), case_counts })
    }

    /// Adds `s3:GetObject` where there is `s3:GetObjectVersion`.
    pub(crate) fn add_plain(&mut self) {
        let plain = |name| CATALOGUE.iter().position(|info| info.name == name);
        let (Some(version), Some(plain)) = (plain("s3:GetObjectVersion"), plain("s3:GetObject"))
        else {
            return;
        };
        if self.bits.get(version / 64).is_some_and(|word| word >> (version % 64) & 1 == 1)
            && let Some(word) = self.bits.get_mut(plain / 64)
        {
            *word |= 1 << (plain % 64);
        }
    }

    /// One bit per row of the catalogue.
    pub(crate) fn bits(&self) -> &[u64] {
        &self.bits
    }

    pub(crate) fn contains(&self, action: &Action) -> bool {
        match action.position() {
            Some(position) => {
                let word = self.bits.get(usize::from(position / 64)).copied().unwrap_or(0);
                word >> (position % 64) & 1 == 1
            }
            None => {
                let name = if self.case_counts { action.as_str() } else { action.folded() };
                self.patterns.iter().any(|pattern| pattern.matches(name))
            }
        }
    }
}

/// Sets the bits a pattern covers; true if there is one.
fn add(bits: &mut [u64; WORDS], glob: &Glob, case_counts: bool) -> bool {
    let mut found = false;
    for (position, info) in CATALOGUE.iter().enumerate() {
        let covered = match case_counts {
            true => glob.matches(info.name),
            false => glob.matches(&info.name.to_ascii_lowercase()),
        };
        if !covered {
            continue;
        }
        if let Some(word) = bits.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
        found = true;
    }
    found
}

fn check(pattern: &str, found: bool) -> Result<(), PatternError> {
    if pattern == "*" {
        return Ok(());
    }
    let refuse = |message: String, hint: Option<String>| Err(PatternError { message, hint });
    let Some((service, name)) = pattern.split_once(':') else {
        return refuse(
            format!("action `{pattern}` has no service"),
            Some("write `s3:GetObject`, `s3:*` or `*`".to_owned()),
        );
    };
    let is_service = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if service.is_empty() || !service.bytes().all(is_service) {
        return refuse(
            format!("action `{pattern}` has an invalid service"),
            Some("wildcards are possible after the colon only".to_owned()),
        );
    }
    let is_name = |byte: u8| is_service(byte) || byte == b'*' || byte == b'?';
    if name.is_empty() || !name.bytes().all(is_name) {
        return refuse(
            format!("action `{pattern}` has an invalid name"),
            Some("letters, digits, `-`, `*` and `?` are possible".to_owned()),
        );
    }
    if !found && SERVICES.iter().any(|known| known.eq_ignore_ascii_case(service)) {
        let near = nearest(pattern).unwrap_or_else(|| UNKNOWN.to_owned());
        return refuse(format!("action `{pattern}` is not known"), Some(near));
    }
    Ok(())
}

/// The remedy for a name that is near to none.
const UNKNOWN: &str =
    "write a name of the AWS service reference, such as `s3:GetObject`, or one with `*`";

/// The catalogued name with the fewest changed letters, if it is near.
fn nearest(pattern: &str) -> Option<String> {
    let wanted = pattern.to_ascii_lowercase();
    CATALOGUE
        .iter()
        .map(|info| (distance(&wanted, &info.name.to_ascii_lowercase()), info.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Levenshtein distance over bytes; names are ASCII and short.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::ActionSet;
    use crate::Action;

    fn set(patterns: &[&str]) -> ActionSet {
        ActionSet::compile(patterns.iter().copied()).expect("valid patterns")
    }

    #[test]
    fn wildcards_and_letter_case() {
        let get = Action::parse("s3:GetObject").expect("action");
        for pattern in ["*", "s3:*", "S3:getobject", "s3:Get*", "s3:*Object", "s3:?etObject"] {
            assert!(set(&[pattern]).contains(&get), "{pattern}");
        }
        assert!(!set(&["s3:Put*", "admin:*"]).contains(&get));
        let foreign = Action::parse("s3tables:GetTable").expect("action");
        assert!(set(&["s3tables:get*"]).contains(&foreign));
        assert!(!set(&["s3:*"]).contains(&foreign));
    }

    #[test]
    fn misspelt_actions_are_refused_with_the_nearest() {
        let error = ActionSet::compile(["s3:GetObjcet"].into_iter()).expect_err("unknown");
        assert_eq!(error.hint.as_deref(), Some("did you mean `s3:GetObject`?"));
        for pattern in ["", "s3", "s3:", "s3:   ", "s3:Get Object", "*:GetObject", "s*:Get*"] {
            assert!(ActionSet::compile([pattern].into_iter()).is_err(), "{pattern}");
        }
    }
}
