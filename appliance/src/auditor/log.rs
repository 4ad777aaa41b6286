//! The log as strangers' tools read it: C2SP tlog-tiles below `/_/log/<origin>/`, up to the newest signed head.
//!
//! # Source
//! C2SP tlog-tiles, "APIs": paths, content types, and that a tile never changes while a checkpoint does.

use std::borrow::Cow;

use audit::tiles::{ProveError, TileError, TilePath};
use http::{Method, StatusCode};

use super::serve::Found;
use super::{Context, LOG_PREFIX, Operation};
use crate::admin::AdminError;
use crate::config::AuditOpen;

/// How long a tile may be kept, by whoever asked and by everybody on the way.
const FOR_EVERYBODY: &str = "public, max-age=31536000, immutable";
/// The same for an answer that was decided for one caller.
const FOR_THE_CALLER: &str = "private, max-age=31536000, immutable";
const TILE: &str = "application/octet-stream";
/// What paths of changes of the key begin with; they are as public as heads.
const KEY: &str = "key/";
const NOTE: &str = "text/plain; charset=utf-8";

/// The place in the log of this origin that a path names.
pub(super) fn place<'a>(path: &'a str, origin: &str) -> Option<&'a str> {
    path.strip_prefix(LOG_PREFIX)?.strip_prefix(origin)?.strip_prefix('/')
}

/// What is fetched at a place: records, or hashes and heads.
pub(super) fn operation(place: &str) -> Operation {
    match place.starts_with("tile/entries/") {
        true => Operation::Entries,
        false => Operation::Tile,
    }
}

/// The operation and place of a request that needs no credentials, because the operator says so.
pub(super) fn opened<'a>(
    context: &Context,
    method: &Method,
    path: &'a str,
) -> Option<(Operation, &'a str)> {
    let place = place(path, context.tiles.origin()).filter(|_| *method == Method::GET)?;
    let operation = operation(place);
    let is_open = match context.open {
        AuditOpen::Nothing => false,
        AuditOpen::Hashes => operation == Operation::Tile,
        AuditOpen::Records => true,
    };
    is_open.then_some((operation, place))
}

/// Fetches for a caller who was decided.
pub(super) async fn fetch(context: &Context, place: &str) -> Result<Found, AdminError> {
    fetch_for(context, place, FOR_THE_CALLER).await
}

/// Fetches for anybody.
pub(super) async fn fetch_opened(context: &Context, place: &str) -> Result<Found, AdminError> {
    fetch_for(context, place, FOR_EVERYBODY).await
}

async fn fetch_for(
    context: &Context,
    place: &str,
    cache: &'static str,
) -> Result<Found, AdminError> {
    let tile = match place {
        "checkpoint" => None,
        place if place.starts_with(KEY) => return key_change(context, place, cache),
        place => Some(TilePath::parse(place).ok_or_else(absent)?),
    };
    at_a_place(context, move |context| {
        let (head, note) = context.tiles.head().map_err(unproven)?;
        let Some(tile) = tile else {
            return Ok(Found { content_type: NOTE, ..Found::of(note) });
        };
        let body = context.tiles.tile(tile, head.size).map_err(unread)?;
        Ok(Found { content_type: TILE, cache, ..Found::of(body) })
    })
    .await
}

/// A change of the log's key, by which a monitor gets from the key that it knows to the one in force.
fn key_change(context: &Context, place: &str, cache: &'static str) -> Result<Found, AdminError> {
    let keys = context.log.keys();
    let mut notes = keys.notes();
    let (_, note) = notes.find(|(path, _)| path == place).ok_or_else(absent)?;
    Ok(Found { content_type: NOTE, cache, ..Found::of(note.to_vec()) })
}

/// The proof of one record, as a C2SP tlog-proof with the record in it unless that was pruned.
pub(super) async fn prove(context: &Context, seq: &str) -> Result<Found, AdminError> {
    let seq: u64 = seq.parse().map_err(|_| {
        AdminError::bad_request("InvalidArgument", "The place of a record is a number.")
    })?;
    at_a_place(context, move |context| {
        let proof = context.tiles.prove(seq).map_err(unproven)?;
        Ok(Found { content_type: NOTE, ..Found::of(proof.encode().into_bytes()) })
    })
    .await
}

/// Runs a read on a thread that may block, when there is room for one more.
async fn at_a_place<T: Send + 'static>(
    context: &Context,
    read: impl FnOnce(&Context) -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    let Ok(_place) = context.tile_reads.acquire().await else { return Err(AdminError::internal()) };
    let context = context.clone();
    tokio::task::spawn_blocking(move || read(&context)).await.map_err(|error| {
        tracing::error!(%error, "a read of the log ended abnormally");
        AdminError::internal()
    })?
}

fn absent() -> AdminError {
    not_found("There is no such tile, or no signed head covers it yet.")
}

fn not_found(message: impl Into<Cow<'static, str>>) -> AdminError {
    AdminError::not_found("NoSuchTile", message)
}

pub(super) fn behind() -> AdminError {
    AdminError {
        code: "SlowDown".into(),
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "The tiles of the log are still being made. Please come again.".into(),
        decision: None,
    }
}

fn unread(error: TileError) -> AdminError {
    match error {
        TileError::Absent => absent(),
        TileError::Behind => behind(),
        TileError::Pruned(_) => AdminError {
            code: "Pruned".into(),
            status: StatusCode::GONE,
            message: error.to_string().into(),
            decision: None,
        },
        error => broken(&error),
    }
}

/// Why there is no proof, for whoever asked for it.
pub(super) fn unproven(error: ProveError) -> AdminError {
    match error {
        ProveError::NoHead => not_found("The log has no signed head yet."),
        ProveError::NotCovered { .. } => not_found(error.to_string()),
        ProveError::Tiles(error) => unread(error),
        error => broken(&error),
    }
}

fn broken(error: &dyn std::error::Error) -> AdminError {
    tracing::error!(%error, "the log could not be read for a stranger");
    AdminError::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_below_the_origin_and_nowhere_else() {
        let place = |path| place(path, "audit.example.com/node1");
        assert_eq!(place("/_/log/audit.example.com/node1/checkpoint"), Some("checkpoint"));
        assert_eq!(place("/_/log/audit.example.com/node1/tile/0/000"), Some("tile/0/000"));
        for path in [
            "/_/log/audit.example.com/node1",
            "/_/log/audit.example.com/node12/checkpoint",
            "/_/log/audit.example.com/checkpoint",
            "/_/log//audit.example.com/node1/checkpoint",
            "/log/audit.example.com/node1/checkpoint",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
        assert_eq!(operation("tile/entries/000"), Operation::Entries);
        assert_eq!(operation("tile/0/000"), Operation::Tile);
        assert_eq!(operation("checkpoint"), Operation::Tile);
    }
}
