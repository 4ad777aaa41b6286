//! What the log says about holds and proposals: a pure fold over its records.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hold::{Hold, Subject};
use super::identity::Who;

/// First bytes of the records that are read, and what each is.
const READ: [(&[u8], Kind); 5] = [
    (br#"{"action":"audit:hold","class":"audit","#, Kind::Hold),
    (br#"{"action":"audit:release","class":"audit","#, Kind::Release),
    (br#"{"action":"audit:prune-propose","class":"audit","#, Kind::Propose),
    (br#"{"action":"audit:prune-refuse","class":"audit","#, Kind::Refuse),
    (br#"{"action":"audit:prune","class":"audit","#, Kind::Prune),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hold,
    Release,
    Propose,
    Refuse,
    Prune,
}

/// Somebody wants records to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Event of its record.
    pub id: String,
    pub seq: u64,
    pub by: Who,
    pub time: String,
    pub reason: String,
    /// SHA-256 of what would go.
    pub digest: String,
    pub first: u64,
    pub end: u64,
    pub days: u64,
    pub bytes: u64,
    /// The first and the last day that would go.
    pub from_day: String,
    pub to_day: String,
    /// Until when somebody may confirm it, in microseconds.
    pub expires_us: u64,
}

/// Holds in force and the open proposal; the newest one replaces the one before.
#[derive(Clone, Debug, Default)]
pub struct Book {
    holds: BTreeMap<String, Hold>,
    proposal: Option<Proposal>,
}

#[derive(Deserialize)]
struct Leaf {
    event: String,
    time: String,
    #[serde(default)]
    principal: Who,
    #[serde(default)]
    params: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    k: String,
    v: String,
}

impl Leaf {
    fn text(&self, name: &str) -> String {
        self.params.iter().find(|pair| pair.k == name).map_or_else(String::new, |p| p.v.clone())
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

impl Book {
    /// Takes in one record of the log; most say nothing here.
    ///
    /// # Errors
    /// The record is one of ours and cannot be read.
    pub fn take(&mut self, seq: u64, leaf: &[u8]) -> Result<(), serde_json::Error> {
        let Some((_, kind)) = READ.iter().find(|(prefix, _)| leaf.starts_with(prefix)) else {
            return Ok(());
        };
        let leaf: Leaf = serde_json::from_slice(leaf)?;
        match kind {
            Kind::Hold => self.hold(seq, &leaf),
            Kind::Release => drop(self.holds.remove(&leaf.text("hold"))),
            Kind::Propose => self.proposal = Some(proposal(seq, leaf)),
            Kind::Refuse | Kind::Prune => {
                let named = leaf.text("proposal");
                self.proposal.take_if(|proposal| proposal.id == named);
            }
        }
        Ok(())
    }

    fn hold(&mut self, seq: u64, leaf: &Leaf) {
        // One that was recorded again keeps its name.
        let id = Some(leaf.text("hold")).filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| leaf.event.clone());
        let subject = Subject::read(&|name| leaf.text(name));
        let by = Some(leaf.text("by")).filter(|by| !by.is_empty());
        let hold = Hold {
            id: id.clone(),
            seq,
            subject,
            reason: leaf.text("reason"),
            by: by.unwrap_or_else(|| leaf.principal.shown().to_owned()),
            since: Some(leaf.text("placed"))
                .filter(|placed| !placed.is_empty())
                .unwrap_or_else(|| leaf.time.clone()),
        };
        self.holds.insert(id, hold);
    }

    /// Holds that were not released, by their name.
    #[must_use]
    pub const fn holds(&self) -> &BTreeMap<String, Hold> {
        &self.holds
    }

    /// The newest proposal that was neither carried out nor refused; it may have expired.
    #[must_use]
    pub const fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }
}

fn proposal(seq: u64, leaf: Leaf) -> Proposal {
    Proposal {
        seq,
        reason: leaf.text("reason"),
        digest: leaf.text("digest"),
        first: leaf.number("first"),
        end: leaf.number("end"),
        days: leaf.number("days"),
        bytes: leaf.number("bytes"),
        from_day: leaf.text("from_day"),
        to_day: leaf.text("to_day"),
        expires_us: leaf.number("expires_us"),
        id: leaf.event,
        by: leaf.principal,
        time: leaf.time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(action: &str, event: &str, params: &[(&str, &str)]) -> Vec<u8> {
        let params: Vec<_> =
            params.iter().map(|(k, v)| serde_json::json!({ "k": k, "v": v })).collect();
        serde_json::to_vec(&serde_json::json!({
            "action": action, "class": "audit", "event": event, "params": params,
            "principal": { "arn": "arn:aws:iam::1:user/alice", "name": "alice", "sig": "v4" },
            "seq": 1, "time": "2026-01-01T00:00:00.000000Z", "v": 1,
        }))
        .unwrap()
    }

    #[test]
    fn holds_last_until_they_are_released() {
        let mut book = Book::default();
        let reason = ("reason", "case 7");
        book.take(1, &record("audit:hold", "01A", &[("prefix", "b/k"), reason])).unwrap();
        book.take(2, &record("audit:hold", "01B", &[("principal", "bob"), reason])).unwrap();
        book.take(3, &record("s3:GetObject", "01C", &[])).unwrap();
        // Recorded again before its record was pruned.
        let again = [("hold", "01A"), ("prefix", "b/k"), ("by", "alice"), reason];
        book.take(4, &record("audit:hold", "01D", &again)).unwrap();
        let ids: Vec<_> = book.holds().keys().cloned().collect();
        assert_eq!(ids, ["01A", "01B"]);
        assert_eq!((book.holds()["01A"].seq, book.holds()["01A"].by.as_str()), (4, "alice"));
        book.take(5, &record("audit:release", "01E", &[("hold", "01A")])).unwrap();
        book.take(6, &record("audit:release", "01F", &[("hold", "none")])).unwrap();
        assert_eq!(book.holds().keys().cloned().collect::<Vec<_>>(), ["01B"]);
        // A hold that nobody understands keeps everything.
        book.take(7, &record("audit:hold", "01G", &[("moon", "full")])).unwrap();
        assert_eq!(book.holds()["01G"].subject, Subject::Everything);
    }

    #[test]
    fn a_proposal_ends_with_a_prune_a_refusal_or_another_proposal() {
        let mut book = Book::default();
        let propose =
            |event: &str| record("audit:prune-propose", event, &[("digest", "aa"), ("end", "700")]);
        book.take(1, &propose("01A")).unwrap();
        assert_eq!(book.proposal().unwrap().end, 700);
        book.take(2, &record("audit:prune-refuse", "01B", &[("proposal", "else")])).unwrap();
        assert!(book.proposal().is_some());
        book.take(3, &propose("01C")).unwrap();
        assert_eq!(book.proposal().unwrap().id, "01C");
        book.take(4, &record("audit:prune", "01D", &[("proposal", "01A")])).unwrap();
        assert!(book.proposal().is_some());
        book.take(5, &record("audit:prune", "01E", &[("proposal", "01C")])).unwrap();
        assert!(book.proposal().is_none());
        assert!(book.take(6, br#"{"action":"audit:hold","class":"audit","#).is_err());
    }
}
