//! `siem test`: one record of its own, sent at once on a connection of its own.

use audit::{Class, Record, Resource};
use bytes::Bytes;

use super::delivery::{Answer, Verdict};
use super::destination::Destination;
use super::reading::{Head, batch_id, item};
use super::sink::{self, Batch};
use super::worker::append;
use super::{House, SiemError, Tested};
use crate::recorder::event_id;

/// Writes a record about a test and sends it on a connection of its own.
pub(super) async fn test(destination: &Destination, house: &House) -> Result<Tested, SiemError> {
    let event = event_id(house.clock.now_us());
    let mut record = Record::new(Class::Delivery, "delivery:test", event);
    let arn = format!("arn:appliance:siem:::{}", destination.name);
    record.resources = vec![Resource { arn: Some(arn), ..Resource::default() }];
    record.params.insert("destination".into(), destination.name.clone());
    let seq = append(&house.log, &record).await?;
    let dir = house.audit_dir.clone();
    let leaf = tokio::task::spawn_blocking(move || audit::read_record(&dir, seq)).await;
    let leaf = leaf.map_err(|error| SiemError::Read(error.to_string()))??;
    let leaf = leaf.ok_or_else(|| SiemError::Read(format!("record {seq} is not there")))?;
    let mut sink = sink::open(destination, &house.about, &house.certs_dir)
        .map_err(|source| SiemError::Sink { name: destination.name.clone(), source })?;
    let leaf = Bytes::from(leaf);
    let items = vec![item(destination, &house.about, seq, &Head::of(&leaf)?, &leaf)?];
    let batch = Batch { id: batch_id(&house.about, destination, &items), items };
    let answer = match sink.send(&batch).await {
        Answer::Confirmed => Ok(()),
        Answer::Each(verdicts) => match verdicts.into_iter().next() {
            Some(Verdict::Refused(why) | Verdict::Later(why)) => Err(why),
            _ => Ok(()),
        },
        Answer::Refused(why) | Answer::Halt(why) | Answer::Later { why, .. } => Err(why),
    };
    Ok(Tested { seq, event: event.to_string(), answer })
}
