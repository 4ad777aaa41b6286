//! What time-stamp authorities said about the log, for its report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::{Finding, Head, Keyring, Report, State};

use crate::timestamp::{self, Stamp};

/// The stamps that are kept, each with the head that it is over.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// By place, for the walk to compare with the records.
    pub(super) heads: Vec<(String, Head)>,
    said: Vec<(u64, Stamp)>,
    findings: Vec<Finding>,
}

impl Stamps {
    /// Reads all of them, from whichever copy of the log has them. Each must be over a head that one of the log's keys
    /// signed.
    pub(super) fn read(copies: &[PathBuf], keys: &Keyring) -> anyhow::Result<Self> {
        let (mut stamps, mut places) = (Self::default(), BTreeMap::new());
        for copy in copies {
            for size in timestamp::kept(copy).context("reading the time-stamps")?.stamped {
                places.entry(size).or_insert(copy);
            }
        }
        for (size, dir) in places {
            let file = format!("tsr/{size}.tsr");
            match judge(dir, size, keys) {
                Ok((head, stamp)) => {
                    stamps.heads.push((format!("tsr/{size}.checkpoint"), head));
                    stamps.said.push((size, stamp));
                }
                Err(error) => stamps.findings.push(Finding {
                    state: State::Modified,
                    file,
                    offset: None,
                    seq: None,
                    what: format!("{error:#}"),
                }),
            }
        }
        Ok(stamps)
    }

    /// Adds them to the report. Whose stamps they are is not judged here: `openssl ts -verify` does, with the authorities
    /// that the verifier trusts. So they confirm no end of the log, either.
    pub(super) fn add_to(self, report: &mut Report) {
        if !self.findings.is_empty() && matches!(report.state, State::Valid | State::TailUnproven) {
            report.state = State::Modified;
        }
        report.findings.extend(self.findings);
        if let Some(((first, from), (last, to))) = self.said.first().zip(self.said.last()) {
            report.remarks.push(format!(
                "{} time-stamps, of {} ({first} records) to {} ({last} records); their signatures are for \
                 `openssl ts -verify -data tsr/SIZE.checkpoint -in tsr/SIZE.tsr -CAfile AUTHORITY`",
                self.said.len(),
                from.time(),
                to.time(),
            ));
        }
    }
}

fn judge(dir: &Path, size: u64, keys: &Keyring) -> anyhow::Result<(Head, Stamp)> {
    let note = timestamp::checkpoint(dir, size).context("what it is over cannot be read")?;
    let reply = timestamp::reply(dir, size).context("it cannot be read")?;
    let stamp = timestamp::check(&reply, &note, None)?;
    let head = keys.head_to_compare(&note).context("what it is over is no head of this log")?;
    anyhow::ensure!(head.size == size, "it is over a head of {} records", head.size);
    Ok((head, stamp))
}
