//! What is done: action names, their catalogue, and sets of them.

mod catalogue;
mod set;

use std::fmt;
use std::sync::Arc;

pub use self::catalogue::CATALOGUE;
pub(crate) use self::set::{ActionSet, PatternError};

/// How far an action reaches, in the words of the service authorization reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessLevel {
    List,
    Read,
    Write,
    Tagging,
    PermissionsManagement,
}

/// What an action is checked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    None,
    Bucket,
    Object,
}

/// One row of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionInfo {
    pub name: &'static str,
    pub level: AccessLevel,
    pub resource: ResourceKind,
}

/// An action of a request, such as `s3:GetObject`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Action(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// Position in [`CATALOGUE`].
    Known(u16),
    /// Well-formed but not ours: an older or newer log may hold one. As written, and in lower case.
    Other(Arc<str>, Arc<str>),
}

/// The text is not `service:Name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an action of the form `service:Name`")]
pub struct ActionError(String);

impl Action {
    /// Reads `service:Name`; a catalogued name may be in any letter case.
    ///
    /// # Errors
    /// When there is no service, no name, or anything but letters, digits and `-` in them. Wildcards belong in
    /// policies, not in requests.
    pub fn parse(text: &str) -> Result<Self, ActionError> {
        if let Some(position) = position(text) {
            return Ok(Self(Name::Known(position)));
        }
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match text.split_once(':') {
            Some((service, name)) if is_word(service) && is_word(name) && text.len() <= 128 => {
                Ok(Self(Name::Other(Arc::from(text), Arc::from(text.to_ascii_lowercase()))))
            }
            _ => Err(ActionError(text.chars().take(128).collect())),
        }
    }

    /// Some action, in a request that is yet to be read.
    pub(crate) fn placeholder() -> Self {
        Self(Name::Known(0))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(position) => {
                CATALOGUE.get(usize::from(*position)).map_or("", |info| info.name)
            }
            Name::Other(name, _) => name,
        }
    }

    /// The catalogue's row, unless the action is not ours.
    #[must_use]
    pub fn info(&self) -> Option<&'static ActionInfo> {
        self.position().and_then(|position| CATALOGUE.get(usize::from(position)))
    }

    /// `s3`, `admin`, `kms`, `sts`, …
    #[must_use]
    pub fn service(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(service, _)| service)
    }

    /// The row of the catalogue.
    pub(crate) fn position(&self) -> Option<u16> {
        match self.0 {
            Name::Known(position) => Some(position),
            Name::Other(..) => None,
        }
    }

    /// The name in lower case, of an action that has no row.
    fn folded(&self) -> &str {
        match &self.0 {
            Name::Known(_) => "",
            Name::Other(_, folded) => folded,
        }
    }
}

fn position(text: &str) -> Option<u16> {
    let found = CATALOGUE
        .binary_search_by(|info| info.name.cmp(text))
        .ok()
        .or_else(|| CATALOGUE.iter().position(|info| info.name.eq_ignore_ascii_case(text)))?;
    u16::try_from(found).ok()
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Action({})", self.as_str())
    }
}

impl PartialOrd for Action {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Action {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, CATALOGUE};

    #[test]
    fn catalogue_is_sorted_and_names_are_actions() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].name < pair[1].name));
        for info in CATALOGUE {
            let action = Action::parse(&info.name.to_ascii_uppercase()).expect("an action");
            assert_eq!(action.as_str(), info.name);
        }
    }

    #[test]
    fn only_whole_names_are_actions() {
        for text in ["", "s3", "s3:", ":Get", "s3:Get*", "s3: GetObject", "s3:Get Object", "a:b:c"]
        {
            assert!(Action::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Action::parse("s3tables:GetTable").expect("well-formed").as_str(),
            "s3tables:GetTable"
        );
    }
}
