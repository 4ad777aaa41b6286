//! How many drives are enough: pure arithmetic, in one place.

/// Most drives of a store. A stripe of 1 MiB over more would make blocks too small to be worth a seek.
pub const DRIVES_MAX: usize = 16;

/// Most replicas of the metadata.
const REPLICAS_MAX: usize = 5;

/// The default number of parity shards, as MinIO chooses it (`minio-wire` §6.3).
pub(crate) fn default_parity(drives: usize) -> u8 {
    match drives {
        0 | 1 => 0,
        2 | 3 => 1,
        4 | 5 => 2,
        6 | 7 => 3,
        _ => 4,
    }
}

/// How many drives, counted from slot 0, hold the metadata.
pub(crate) fn replicas(drives: usize) -> usize {
    drives.min(REPLICAS_MAX)
}

/// How many replicas must be durable before a commit is acknowledged.
pub(crate) fn majority(replicas: usize) -> usize {
    replicas / 2 + 1
}

/// How many replicas must be seen at open, so that one of them has every acknowledged commit.
///
/// An acknowledged commit is on `majority` replicas, so at most `replicas - majority` lack it.
pub(crate) fn open_replicas(replicas: usize) -> usize {
    replicas - majority(replicas) + 1
}

/// How many shards must be durable before a blob counts as written.
///
/// With as many parity as data shards, `data` of them would let two halves of the drives accept different writes.
pub(crate) fn write_shards(data: usize, parity: usize) -> usize {
    if data == parity { data + 1 } else { data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_quorums_meet() {
        for drives in 1..=DRIVES_MAX {
            let replicas = replicas(drives);
            assert!(2 * majority(replicas) > replicas);
            assert!(majority(replicas) + open_replicas(replicas) > replicas, "{drives}");
            let parity = usize::from(default_parity(drives));
            let data = drives - parity;
            assert!(data >= parity && data > 0, "{drives}");
            assert!(write_shards(data, parity) <= drives);
            assert!(2 * write_shards(data, parity) > drives, "two writers cannot both succeed");
        }
    }
}
