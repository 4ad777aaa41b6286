//! Gaps that the log tells of: what is there is sound, and what was there is not all there.

use audit::{Finding, Report, State};

/// Calls records missing that a record says were lost, unless whoever verifies has named that record: once a gap is known,
/// a later one must not hide behind it.
pub(super) fn judge(report: &mut Report, known: &[u64]) {
    let unknown: Vec<_> = report.gaps.iter().filter(|gap| !known.contains(&gap.record)).collect();
    let findings: Vec<Finding> = unknown
        .into_iter()
        .map(|gap| Finding {
            state: State::Missing,
            file: "seg".to_owned(),
            offset: None,
            seq: Some(gap.record),
            what: format!("{gap}; `--known-gap {}` says that you know", gap.record),
        })
        .collect();
    findings.into_iter().for_each(|finding| report.find(finding));
}

/// All gaps, for programs.
pub(super) fn json(report: &Report) -> serde_json::Value {
    let gaps = report.gaps.iter().map(|gap| {
        let knew = gap.knew.iter().map(|(name, size)| (name.clone(), (*size).into()));
        serde_json::json!({
            "record": gap.record,
            "time": audit::stamp::string(gap.time_us),
            "first": gap.first,
            "end": gap.end,
            "knew": serde_json::Value::Object(knew.collect()),
            "by": gap.by,
            "reason": gap.reason,
        })
    });
    gaps.collect()
}
