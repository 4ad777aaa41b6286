//! What goes with evidence of either kind: a bundle, and the proof of one record.

/// Checks both without anything of ours. The names of the files in it are those that the two kinds have.
pub(crate) const CHECK_PY: &str = include_str!("evidence/check.py");
