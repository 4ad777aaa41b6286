//! From a record's bytes to what leaves: its members that delivery needs, its body, the name of its batch.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::SiemError;
use super::delivery::Item;
use super::destination::Destination;
use super::format::About;

/// The members that every record has and that delivery itself reads.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    class: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
}

impl<'a> Head<'a> {
    pub(super) fn of(leaf: &'a [u8]) -> Result<Self, SiemError> {
        serde_json::from_slice(leaf)
            .map_err(|error| SiemError::Read(format!("a record is not one: {error}")))
    }

    pub(super) fn time_us(&self) -> u64 {
        let time: Option<jiff::Timestamp> = self.time.parse().ok();
        time.and_then(|time| u64::try_from(time.as_microsecond()).ok()).unwrap_or_default()
    }
}

/// The time of a record in microseconds.
pub(crate) fn time_of(leaf: &[u8]) -> Option<u64> {
    Head::of(leaf).ok().map(|head| head.time_us())
}

/// Whether this is the record of a refusal.
pub(super) fn is_complaint(leaf: &[u8]) -> bool {
    Head::of(leaf).is_ok_and(|head| head.class == "delivery" && head.action == "delivery:reject")
}

/// Whether this is the record of a gap in the log: every receiver is told that records which it has are not the log's any
/// more.
pub(super) fn is_gap(leaf: &[u8]) -> bool {
    leaf.starts_with(br#"{"action":"audit:gap","class":"audit","#)
}

/// A record in the destination's format. `head` was read from `leaf`.
pub(super) fn item(
    destination: &Destination,
    about: &About,
    seq: u64,
    head: &Head<'_>,
    leaf: &Bytes,
) -> Result<Item, SiemError> {
    let body = destination.format.encode(about, leaf);
    let body = body.map_err(|error| SiemError::Read(format!("record {seq}: {error}")))?;
    Ok(Item {
        seq,
        event: head.event.to_string(),
        time_us: head.time_us(),
        leaf: leaf.clone(),
        body,
    })
}

/// Names the records of a batch: log, destination, first and last record, and the event of the last one, because behind a
/// gap the log gives the numbers of lost records again. Filter and format belong to the destination.
pub(super) fn batch_id(about: &About, destination: &Destination, items: &[Item]) -> String {
    let seq = |item: Option<&Item>| item.map_or(0, |item| item.seq);
    let (first, last) = (seq(items.first()), seq(items.last()));
    let event = items.last().map_or("", |item| item.event.as_str());
    format!("{}:{}:{first}-{last}:{event}", about.origin, destination.name)
}
