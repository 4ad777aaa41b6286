//! Records that the log writes about itself.

use sha2::{Digest, Sha256};

use crate::{
    record::{Class, EventId, Record},
    tip::Tip,
};

/// A record of class `audit`. Its event's random part is taken from the chain: unique, and no generator needed.
pub(super) fn record(action: &str, tip: &Tip, now_us: u64, params: &[(&str, String)]) -> Record {
    let digest = Sha256::new()
        .chain_update(tip.chain)
        .chain_update(tip.size().to_be_bytes())
        .chain_update(action)
        .finalize();
    let mut random = [0; 10];
    random.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    let mut record = Record::new(Class::Audit, action, EventId::new(now_us / 1000, random));
    record.params = params.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    record
}
