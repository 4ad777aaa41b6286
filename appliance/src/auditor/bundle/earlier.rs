//! Heads from before a bundle's own: for each record the first one that was published over it, and the first one that a
//! time-stamp authority saw. Each comes with the way from it to the bundle's head (RFC 9162 section 2.1.4), so that it is
//! known to be of the same log.

use audit::{Head, Keyring, Row, first_head_over, stamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::ask::unsigned;
use super::super::{Context, log};
use super::File;
use crate::admin::AdminError;
use crate::timestamp;

/// The files, and the size of the first stamped head among them.
pub(super) fn files(
    context: &Context,
    keys: &Keyring,
    head: &Head,
    rows: &[Row],
) -> Result<(Vec<File>, Option<u64>), AdminError> {
    let mut files = published(context, keys, head, rows)?;
    let stamped = stamped(context, keys, head, rows)?;
    let first = stamped.first().map(|(size, _)| *size);
    files.extend(stamped.into_iter().flat_map(|(_, files)| files));
    Ok((files, first))
}

fn published(
    context: &Context,
    keys: &Keyring,
    head: &Head,
    rows: &[Row],
) -> Result<Vec<File>, AdminError> {
    let mut files = Vec::new();
    let mut covered = 0;
    for row in rows {
        if row.seq < covered {
            continue;
        }
        let dir = context.searcher.dir();
        let found = first_head_over(dir, keys, row.seq, time_us(row)).map_err(unsigned)?;
        // The bundle's own head is there as `checkpoint`.
        let Some((found, note)) = found.filter(|(found, _)| found.size < head.size) else { break };
        covered = found.size;
        let path = way(context, &found, head)?;
        files.push((format!("heads/{covered}.checkpoint"), note));
        files.push((format!("heads/{covered}.consistency"), path));
    }
    Ok(files)
}

fn stamped(
    context: &Context,
    keys: &Keyring,
    head: &Head,
    rows: &[Row],
) -> Result<Vec<(u64, [File; 3])>, AdminError> {
    let dir = context.searcher.dir();
    let sizes = timestamp::kept(dir).map_err(unsigned)?.stamped;
    let mut found = Vec::new();
    let mut covered = 0;
    for row in rows {
        if row.seq < covered {
            continue;
        }
        let Some(size) = sizes.range(row.seq + 1..=head.size).next().copied() else { break };
        covered = size;
        let note = timestamp::checkpoint(dir, size).map_err(unsigned)?;
        let reply = timestamp::reply(dir, size).map_err(unsigned)?;
        let stamped = keys.head_to_compare(&note).ok().filter(|stamped| stamped.size == size);
        let (Some(stamped), Ok(_)) = (stamped, timestamp::check(&reply, &note, None)) else {
            // `verify` names it; evidence of the records does not depend on it.
            tracing::warn!(size, "a time-stamp is not of this log, and is left out of a bundle");
            continue;
        };
        let path = way(context, &stamped, head)?;
        let named = |kind: &str| format!("tsr/{size}.{kind}");
        let files =
            [(named("checkpoint"), note), (named("consistency"), path), (named("tsr"), reply)];
        found.push((size, files));
    }
    Ok(found)
}

/// From an earlier head to a later one: one hash per line.
fn way(context: &Context, from: &Head, to: &Head) -> Result<Vec<u8>, AdminError> {
    let path = context.tiles.grown(from, to).map_err(log::unproven)?;
    Ok(path.iter().map(|hash| STANDARD.encode(hash) + "\n").collect::<String>().into_bytes())
}

/// When a record was written; the lists of heads are by day. A record without a time is looked for in all of them.
fn time_us(row: &Row) -> u64 {
    let record: Option<serde_json::Value> = serde_json::from_slice(&row.leaf).ok();
    let time = record.as_ref().and_then(|record| record.get("time")?.as_str());
    time.and_then(|time| stamp::parse(time.as_bytes())).unwrap_or(0)
}
