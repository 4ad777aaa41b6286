//! Findings that are known and accepted: `--baseline FILE`.
//!
//! A finding is known again by file, code and message, not by its line, so that an edit elsewhere in the file does not
//! bring it back. Of several that are the same, as many are known as were written down.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use policy_lab::report::Reviewed;
use serde::{Deserialize, Serialize};

use super::super::{input, output};

const SCHEMA: &str = "policy-lab/baseline";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    v: u32,
    findings: Vec<Known>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Known {
    file: String,
    code: String,
    message: String,
    count: usize,
}

/// What is known, counted down as it is found.
#[derive(Debug, Default)]
pub(super) struct Baseline(BTreeMap<(String, String, String), usize>);

impl Baseline {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = input::text(path)?;
        let document: Document =
            serde_json::from_str(&text).map_err(|error| anyhow!("{}:{error}", path.display()))?;
        if document.schema != SCHEMA || document.v != 1 {
            bail!(
                "{}: not a baseline of this version; --write-baseline writes one",
                path.display()
            );
        }
        let mut known = BTreeMap::new();
        for Known { file, code, message, count } in document.findings {
            *known.entry((file, code, message)).or_insert(0) += count;
        }
        Ok(Self(known))
    }

    /// Takes out what is known; answers how much that was.
    pub(super) fn subtract(&mut self, reviewed: &mut Reviewed) -> usize {
        let before = reviewed.findings.len();
        let file = reviewed.file.clone();
        reviewed.findings.retain(|finding| {
            let name = (file.clone(), finding.rule.code.to_owned(), finding.message.clone());
            match self.0.get_mut(&name) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    false
                }
                _ => true,
            }
        });
        before - reviewed.findings.len()
    }

    /// Findings that are known but were not found.
    pub(super) fn left(&self) -> usize {
        self.0.values().sum()
    }
}

/// Writes down everything that was found.
pub(super) fn write(path: &Path, files: &[Reviewed]) -> anyhow::Result<usize> {
    let mut counts = BTreeMap::new();
    for reviewed in files {
        for finding in &reviewed.findings {
            let name = (&reviewed.file, finding.rule.code, &finding.message);
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    let findings: Vec<_> = counts
        .into_iter()
        .map(|((file, code, message), count)| Known {
            file: file.clone(),
            code: code.to_owned(),
            message: message.clone(),
            count,
        })
        .collect();
    let all = findings.iter().map(|known| known.count).sum();
    let document = Document { schema: SCHEMA.to_owned(), v: 1, findings };
    let text = serde_json::to_string_pretty(&document).context("writing the baseline")?;
    output::replace(path, &format!("{text}\n"))?;
    Ok(all)
}
