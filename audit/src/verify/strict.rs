//! What the records say, where bytes and hashes are right: canonical form, references, silence.

use serde_json::Value;

use crate::segment::check;

use super::{Findings, State};

/// Two heartbeats and a little: longer silence without a stop in between means that somebody held the log.
const SILENCE_US: u64 = 150_000_000;

/// Looks at every record in order.
#[derive(Debug, Default)]
pub(super) struct Strict {
    last_us: Option<u64>,
    stopped: bool,
}

impl Strict {
    pub(super) fn record(&mut self, file: &str, offset: u64, leaf: &[u8], findings: &mut Findings) {
        let seq = check::seq(leaf);
        let at = (Some(offset), seq);
        let Ok(value) = serde_json::from_slice::<Value>(leaf) else {
            findings.add(State::Modified, file, at, "the record is not JSON");
            return;
        };
        // Sorted maps, integers and minimal escapes: for our profile serde_json's own form is the canonical one.
        if serde_json::to_vec(&value).ok().as_deref() != Some(leaf) {
            findings.add(State::Modified, file, at, "the record is not in canonical form");
        }
        let reference = value.get("ref").and_then(Value::as_u64);
        if reference.is_some_and(|reference| Some(reference) >= seq) {
            findings.add(State::Modified, file, at, "the outcome refers to a later record");
        }
        self.silence(file, at, &value, check::time(leaf), findings);
    }

    fn silence(
        &mut self,
        file: &str,
        at: (Option<u64>, Option<u64>),
        value: &Value,
        time_us: Option<u64>,
        findings: &mut Findings,
    ) {
        let action = value.get("action").and_then(Value::as_str);
        let started = matches!(action, Some("audit:start" | "audit:recovery" | "audit:gap"));
        let gap = time_us.zip(self.last_us).map_or(0, |(now, last)| now.saturating_sub(last));
        if gap > SILENCE_US && !self.stopped && !started {
            let what = format!("no heartbeat for {} s before this record", gap / 1_000_000);
            findings.add(State::Unsealed, file, at, what);
        }
        self.stopped = action == Some("audit:stop");
        self.last_us = time_us;
    }
}
