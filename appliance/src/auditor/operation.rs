//! The calls: their places and the actions that they are decided by.

use http::{Method, StatusCode};

use super::PREFIX;
use crate::admin::AdminError;

/// One kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST query`: a query of the audit language.
    Search,
    /// `GET events/ID`: the record of an event.
    Event,
    /// `GET requests/ID`: everything that one request caused.
    Request,
    /// `GET tail`: records as they come.
    Tail,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Search, Self::Event, Self::Request, Self::Tail];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "AuditSearch",
            Self::Event => "AuditEvent",
            Self::Request => "AuditRequest",
            Self::Tail => "AuditTail",
        }
    }

    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Search => Method::POST,
            Self::Event | Self::Request | Self::Tail => Method::GET,
        }
    }

    /// Path behind the prefix; an id follows where it ends with a slash.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Search => "query",
            Self::Event => "events/",
            Self::Request => "requests/",
            Self::Tail => "tail",
        }
    }

    /// The action that is decided.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Search => "admin:AuditSearch",
            Self::Event | Self::Request => "admin:AuditGet",
            Self::Tail => "admin:AuditTail",
        }
    }

    /// The call at a path, and the id in it.
    pub(super) fn of<'a>(method: &Method, path: &'a str) -> Result<(Self, &'a str), AdminError> {
        let place = path.strip_prefix(PREFIX).unwrap_or_default();
        let found = Self::ALL.into_iter().find_map(|operation| {
            let id = place.strip_prefix(operation.path())?;
            (operation.path().ends_with('/') != id.is_empty()).then_some((operation, id))
        });
        match found {
            None => Err(AdminError {
                code: "NoSuchCall".into(),
                status: StatusCode::NOT_FOUND,
                message: "There is no such call of the audit API.".into(),
                decision: None,
            }),
            Some((operation, _)) if operation.method() != *method => {
                Err(AdminError::method_not_allowed())
            }
            Some(found) => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve() {
        let of = |method: Method, path: &str| {
            Operation::of(&method, &format!("{PREFIX}{path}"))
                .map(|(operation, id)| (operation, id.to_owned()))
                .map_err(|error| error.status.as_u16())
        };
        assert_eq!(of(Method::POST, "query"), Ok((Operation::Search, String::new())));
        assert_eq!(of(Method::GET, "events/01J"), Ok((Operation::Event, "01J".into())));
        assert_eq!(of(Method::GET, "requests/17C"), Ok((Operation::Request, "17C".into())));
        assert_eq!(of(Method::GET, "query"), Err(405));
        assert_eq!(of(Method::GET, "events/"), Err(404));
        assert_eq!(of(Method::GET, "tail/x"), Err(404));
        assert!(Operation::of(&Method::GET, "/_/else").is_err());
    }
}
