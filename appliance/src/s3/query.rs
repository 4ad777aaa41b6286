//! The query of a request: decoded pairs in order.

#![deny(clippy::indexing_slicing)]

use percent_encoding::percent_decode_str;

use super::error::{Code, S3Error};

/// Pairs of a query at most; AWS clients send about a dozen.
const PAIRS_MAX: usize = 256;

/// Decoded name-value pairs; a name without `=` has an empty value.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes percent escapes, and `+` as a space.
    ///
    /// # Errors
    /// `InvalidURI` when a name or value is not UTF-8, or for more than 256 pairs.
    pub fn parse(raw: Option<&str>) -> Result<Self, S3Error> {
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pairs.len() == PAIRS_MAX {
                return Err(Code::InvalidUri.because("Too many query parameters."));
            }
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A number within bounds, or the default when the name is absent or empty.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub fn number(&self, name: &'static str, default: usize, max: usize) -> Result<usize, S3Error> {
        match self.get(name) {
            None | Some("") => Ok(default),
            Some(text) => text
                .parse::<i64>()
                .ok()
                .and_then(|number| usize::try_from(number).ok())
                .map(|number| number.min(max))
                .ok_or_else(|| {
                    Code::InvalidArgument
                        .because(format!(
                            "Argument {name} must be an integer between 0 and 2147483647."
                        ))
                        .with("ArgumentName", name)
                        .with("ArgumentValue", text)
                }),
        }
    }
}

fn decode(text: &str) -> Result<String, S3Error> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Code::InvalidUri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_pairs_and_keeps_valueless_names() {
        let query = Query::parse(Some("uploads&prefix=a%2Fb+c&x=%C3%A9&&")).unwrap();
        assert_eq!(query.get("uploads"), Some(""));
        assert_eq!(query.get("prefix"), Some("a/b c"));
        assert_eq!(query.get("x"), Some("\u{e9}"));
        assert!(!query.has("missing"));
    }

    #[test]
    fn refuses_what_is_not_text_or_not_a_number() {
        assert_eq!(Query::parse(Some("a=%ff")).unwrap_err().code, "InvalidURI");
        let query = Query::parse(Some("max-keys=-1&n=12&big=5000")).unwrap();
        assert_eq!(query.number("max-keys", 1000, 1000).unwrap_err().code, "InvalidArgument");
        assert_eq!(query.number("n", 1000, 1000).unwrap(), 12);
        assert_eq!(query.number("big", 1000, 1000).unwrap(), 1000);
        assert_eq!(query.number("absent", 7, 1000).unwrap(), 7);
    }
}
