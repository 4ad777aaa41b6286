//! The small file beside a segment that holds the tip at its first record.
//!
//! It saves hashing the whole log at every start. It is believed only where it agrees with the control line that
//! ends the segment before; without it, or with a wrong one, the log is hashed from the beginning.
#![deny(clippy::indexing_slicing)]

use crate::{stamp, tip::Tip, tree::Frontier};

/// The file's bytes.
pub(crate) fn encode(tip: &Tip) -> Vec<u8> {
    let edge: Vec<String> =
        tip.frontier.hashes().iter().map(|hash| format!("\"{}\"", hex::encode(hash))).collect();
    format!(
        "{{\"chain\":\"{}\",\"frontier\":[{}],\"size\":{},\"time\":\"{}\"}}\n",
        hex::encode(tip.chain),
        edge.join(","),
        tip.size(),
        stamp::string(tip.time_us),
    )
    .into_bytes()
}

/// Reads it; `None` unless it is exactly what [`encode`] writes.
pub(crate) fn parse(bytes: &[u8]) -> Option<Tip> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.strip_prefix("{\"chain\":\"")?;
    let (chain, rest) = rest.split_once("\",\"frontier\":[")?;
    let (edge, rest) = rest.split_once("],\"size\":")?;
    let (size, rest) = rest.split_once(",\"time\":\"")?;
    let time = rest.strip_suffix("\"}\n")?;
    let hashes = edge
        .split(',')
        .filter(|hash| !hash.is_empty())
        .map(|hash| hex::decode(hash.trim_matches('"')).ok()?.try_into().ok())
        .collect::<Option<Vec<_>>>()?;
    let tip = Tip {
        frontier: Frontier::from_parts(size.parse().ok()?, hashes)?,
        chain: hex::decode(chain).ok()?.try_into().ok()?,
        time_us: stamp::parse(time.as_bytes())?,
    };
    (encode(&tip) == bytes).then_some(tip)
}
