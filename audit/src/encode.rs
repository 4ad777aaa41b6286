//! Canonical bytes of a record, written once on the caller's thread.
//!
//! The form is RFC 8785 narrowed to the profile JCS-A of `FORMAT.md`: names in byte order, integers below 2^53,
//! nothing null, one spelling for every value. The two values that only sequencing knows, `seq` and `time`, are left
//! out as gaps, and [`Encoded::splice`] fills them without parsing anything again.

use sha2::{Digest, Sha256};

use crate::{record::Record, stamp};

use members::Members;

mod json;
mod members;

/// Hard cap on one record; C2SP entry bundles could carry 65,535 bytes.
pub const LEAF_BYTES_MAX: usize = 60_000;

/// Digits that `seq` may have: 2^53 − 1.
const SEQ_DIGITS_MAX: usize = 16;

/// A record that stays too large after everything that may be dropped was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record has {bytes} bytes, more than the {LEAF_BYTES_MAX} that the log can hold")]
pub struct TooLarge {
    /// Encoded size.
    pub bytes: usize,
}

/// A record's bytes with two gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    bytes: Vec<u8>,
    seq_at: usize,
    time_at: usize,
}

impl Encoded {
    /// Size once both gaps are filled, at most.
    pub fn len_max(&self) -> usize {
        self.bytes.len() + SEQ_DIGITS_MAX + stamp::LEN
    }

    /// Appends the finished leaf to `out`, without a newline.
    pub fn splice(&self, seq: u64, time: &[u8; stamp::LEN], out: &mut Vec<u8>) {
        let (head, rest) = self.bytes.split_at(self.seq_at);
        let (middle, tail) = rest.split_at(self.time_at - self.seq_at);
        out.extend_from_slice(head);
        json::number(seq, out);
        out.extend_from_slice(middle);
        out.extend_from_slice(time);
        out.extend_from_slice(tail);
    }
}

/// What is left out when a record is too large, in this order.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    params: bool,
    ua: bool,
    resources_kept: Option<usize>,
    ctx: bool,
}

impl Dropped {
    /// The next sacrifice; `None` when nothing is left to give.
    fn next(self, resources: usize) -> Option<Self> {
        let kept = self.resources_kept.unwrap_or(resources.min(members::RESOURCES_MAX));
        match self {
            Self { params: false, .. } => Some(Self { params: true, ..self }),
            Self { ua: false, .. } => Some(Self { ua: true, ..self }),
            _ if kept > 1 => Some(Self { resources_kept: Some(kept / 2), ..self }),
            Self { ctx: false, .. } => Some(Self { ctx: true, ..self }),
            _ => None,
        }
    }
}

/// Whether a record keeps all of a user agent.
pub(crate) fn keeps_agent(agent: &str) -> bool {
    members::bounded(agent, members::UA_MAX).len() == agent.len()
}

/// Encodes a record for the writer `node`.
///
/// # Errors
/// [`TooLarge`] when the record exceeds [`LEAF_BYTES_MAX`] even without parameters, user agent, most resources and
/// condition keys; the limits on the other members leave no way to get there today.
pub fn encode(record: &Record, node: &str) -> Result<Encoded, TooLarge> {
    let mut dropped = Dropped::default();
    loop {
        let encoded = attempt(record, node, dropped);
        if encoded.len_max() <= LEAF_BYTES_MAX {
            return Ok(encoded);
        }
        dropped =
            dropped.next(record.resources.len()).ok_or(TooLarge { bytes: encoded.len_max() })?;
    }
}

/// One pass over the members in canonical order.
fn attempt(record: &Record, node: &str, dropped: Dropped) -> Encoded {
    let mut m = Members::new();
    m.json.open();
    m.string("action", "action", &record.action, 128);
    m.auth(record.auth.as_ref(), dropped.ctx);
    m.json.name("class").text(record.class.as_str());
    m.err(record.err.as_ref());
    m.json.name("event").text(&record.event.to_string());
    m.kms(record.kms.as_ref());
    m.masked(&record.masked);
    m.net(record.net.as_deref(), dropped.ua);
    m.string("node", "node", node, 32);
    m.params(&record.params, dropped.params);
    m.json.name("phase").text(record.phase.as_str());
    m.principal(record.principal.as_deref(), record.sig_sha256.as_deref());
    m.integer("ref", record.reference);
    m.optional("request", "request", record.request.as_deref(), 64);
    m.resources(&record.resources, dropped.resources_kept);
    m.outcome(record.outcome.as_ref());
    let seq_at = m.json.name("seq").len();
    m.sse(record.sse.as_ref());
    let time_at = m.json.name("time").gap_in_quotes();
    m.trace(record.trace.as_ref());
    m.trunc();
    m.json.name("v").integer(1);
    m.json.close();
    Encoded { bytes: m.json.into_bytes(), seq_at, time_at }
}

/// Hex SHA-256, which proves the original of a cut value.
fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
