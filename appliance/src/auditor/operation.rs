//! The calls: their places and the actions that they are decided by.

use http::{Method, StatusCode};

use super::{LOG_PREFIX, PREFIX, log};
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
    /// `POST bundle`: records that a question finds, with all that a stranger needs to believe them.
    Bundle,
    /// `GET proof/SEQ`: a record and the proof that it is in the log.
    Proof,
    /// `GET checkpoint` and `GET tile/…` of the log itself: heads and hashes.
    Tile,
    /// `GET tile/entries/…` of the log itself: records.
    Entries,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Search,
        Self::Event,
        Self::Request,
        Self::Tail,
        Self::Bundle,
        Self::Proof,
        Self::Tile,
        Self::Entries,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "AuditSearch",
            Self::Event => "AuditEvent",
            Self::Request => "AuditRequest",
            Self::Tail => "AuditTail",
            Self::Bundle => "AuditBundle",
            Self::Proof => "AuditProof",
            Self::Tile => "AuditTile",
            Self::Entries => "AuditEntries",
        }
    }

    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Search | Self::Bundle => Method::POST,
            Self::Event | Self::Request | Self::Tail | Self::Proof | Self::Tile | Self::Entries => {
                Method::GET
            }
        }
    }

    /// Path behind [`PREFIX`], or for the log itself behind [`LOG_PREFIX`] and the log's origin; an id follows where it
    /// ends with a slash.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Search => "query",
            Self::Event => "events/",
            Self::Request => "requests/",
            Self::Tail => "tail",
            Self::Bundle => "bundle",
            Self::Proof => "proof/",
            Self::Tile => "/",
            Self::Entries => "/tile/entries/",
        }
    }

    /// The action that is decided.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Search | Self::Bundle => "admin:AuditSearch",
            Self::Event | Self::Request | Self::Proof | Self::Entries => "admin:AuditGet",
            Self::Tail => "admin:AuditTail",
            Self::Tile => "admin:AuditTile",
        }
    }

    /// The call at a path, and the id in it; `origin` is the log's.
    pub(super) fn of<'a>(
        method: &Method,
        path: &'a str,
        origin: &str,
    ) -> Result<(Self, &'a str), AdminError> {
        let found = match log::place(path, origin) {
            Some(place) => Some((log::operation(place), place)),
            None => path.strip_prefix(PREFIX).and_then(Self::with_id),
        };
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

    fn with_id(place: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().filter(|operation| !operation.is_of_the_log()).find_map(|operation| {
            let id = place.strip_prefix(operation.path())?;
            (operation.path().ends_with('/') != id.is_empty()).then_some((operation, id))
        })
    }

    const fn is_of_the_log(self) -> bool {
        matches!(self, Self::Tile | Self::Entries)
    }

    /// Where the call is made, for the log of this origin; an id follows where it ends with a slash.
    #[must_use]
    pub fn place(self, origin: &str) -> String {
        match self.is_of_the_log() {
            true => format!("{LOG_PREFIX}{origin}{}", self.path()),
            false => format!("{PREFIX}{}", self.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve() {
        let of = |method: Method, path: &str| {
            Operation::of(&method, &format!("/_/{path}"), "audit.example.com/n1")
                .map(|(operation, id)| (operation, id.to_owned()))
                .map_err(|error| error.status.as_u16())
        };
        let get = |path: &str| of(Method::GET, path);
        assert_eq!(of(Method::POST, "audit/v1/query"), Ok((Operation::Search, String::new())));
        assert_eq!(get("audit/v1/events/01J"), Ok((Operation::Event, "01J".into())));
        assert_eq!(get("audit/v1/requests/17C"), Ok((Operation::Request, "17C".into())));
        assert_eq!(get("audit/v1/proof/17"), Ok((Operation::Proof, "17".into())));
        let log = "log/audit.example.com/n1/";
        assert_eq!(get(&format!("{log}checkpoint")), Ok((Operation::Tile, "checkpoint".into())));
        let bundle = "tile/entries/000.p/1";
        assert_eq!(get(&format!("{log}{bundle}")), Ok((Operation::Entries, bundle.into())));
        assert_eq!(of(Method::POST, &format!("{log}{bundle}")), Err(405));
        for (path, status) in [
            ("audit/v1/query", 405),
            ("audit/v1/bundle", 405),
            ("audit/v1/events/", 404),
            ("audit/v1/tail/x", 404),
            ("audit/v1//", 404),
            ("audit/v1//tile/entries/000", 404),
            ("log/audit.example.com/n2/checkpoint", 404),
            ("else", 404),
        ] {
            assert_eq!(get(path), Err(status), "{path}");
        }
    }
}
