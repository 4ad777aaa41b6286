//! Which condition keys a record speaks of.

/// Whether a key that is not in a record was absent, or only not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complete(Spoken);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Spoken {
    #[default]
    Everything,
    Only(Box<[String]>),
    But(Box<[String]>),
}

impl Complete {
    /// A key that is not there was absent.
    #[must_use]
    pub fn everything() -> Self {
        Self(Spoken::Everything)
    }

    /// Only of these keys is it known that they were absent if they are not there; `aws:*` is all of a namespace.
    pub fn only(patterns: impl IntoIterator<Item = String>) -> Self {
        Self(Spoken::Only(patterns.into_iter().map(|pattern| pattern.to_lowercase()).collect()))
    }

    /// Of all keys but these.
    #[must_use]
    pub fn but(patterns: &[String]) -> Self {
        Self(Spoken::But(patterns.iter().map(|pattern| pattern.to_lowercase()).collect()))
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0 == Spoken::Everything
    }

    /// Whether the absence of a key, in lower case, means that the request had none.
    #[must_use]
    pub fn speaks_of(&self, key: &str) -> bool {
        let covers = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        };
        match &self.0 {
            Spoken::Everything => true,
            Spoken::Only(patterns) => patterns.iter().any(covers),
            Spoken::But(patterns) => !patterns.iter().any(covers),
        }
    }
}
