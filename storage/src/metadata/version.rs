//! Which replica is right: the version of a replica's rows and the choice between several.
//!
//! A version is a sequence number and a lineage, the random mark of the process that wrote it. A process begins at the
//! highest sequence it found plus 2. A group that never reached a majority can therefore be ahead by one at most, and a
//! later process that does not see it passes it. What remains is two processes that each failed to reach a majority with
//! their first group: both have the same sequence and different lineages, and a majority of replicas decides.

#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::drive::{Drive, DriveError, DriveWrite, Table};

const KEY: &[u8] = b"version";

/// How far a process goes ahead of what it found. See the module.
pub(crate) const PROCESS_STEP: u64 = 2;

/// The version of the rows of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) sequence: u64,
    pub(crate) lineage: u64,
}

impl Version {
    /// Reads the version of a drive; `None` when nothing was ever committed to it.
    pub(crate) fn read(drive: &dyn Drive) -> Result<Option<Self>, DriveError> {
        let Some(bytes) = drive.get(Table::State, KEY)? else { return Ok(None) };
        let decoded = bytes.split_first_chunk::<8>().and_then(|(sequence, lineage)| {
            let lineage = lineage.try_into().ok()?;
            Some(Self {
                sequence: u64::from_be_bytes(*sequence),
                lineage: u64::from_be_bytes(lineage),
            })
        });
        // A version that is damaged counts as none: the replica is behind and is copied anew.
        Ok(decoded)
    }

    /// The change that records this version, to go with the rows it stands for.
    pub(crate) fn write(self) -> DriveWrite {
        let mut bytes = [0u8; 16];
        let words = self.sequence.to_be_bytes().into_iter().chain(self.lineage.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(words) {
            *to = from;
        }
        DriveWrite {
            table: Table::State,
            key: Bytes::from_static(KEY),
            value: Some(Bytes::copy_from_slice(&bytes)),
        }
    }
}

/// Which replicas are in sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) version: Option<Version>,
    pub(crate) in_sync: Vec<usize>,
    pub(crate) stale: Vec<usize>,
}

/// Two histories of one length and no majority for either.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diverged;

/// Chooses among the replicas that are there, given as slot and version.
pub(crate) fn choose(replicas: &[(usize, Option<Version>)]) -> Result<Choice, Diverged> {
    let sequence = replicas.iter().filter_map(|(_, version)| version.map(|v| v.sequence)).max();
    let newest = |version: &Option<Version>| version.map(|v| v.sequence) == sequence;
    let mut lineages: BTreeMap<Option<Version>, usize> = BTreeMap::new();
    for (_, version) in replicas.iter().filter(|(_, version)| newest(version)) {
        *lineages.entry(*version).or_default() += 1;
    }
    let most = lineages.values().copied().max().unwrap_or_default();
    let mut winners = lineages.iter().filter(|(_, count)| **count == most);
    let version = match (winners.next(), winners.next()) {
        (Some((version, _)), None) => *version,
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Diverged),
    };
    let slots = |wanted: bool| {
        let of = replicas.iter().filter(move |(_, found)| (*found == version) == wanted);
        of.map(|(slot, _)| *slot).collect()
    };
    Ok(Choice { version, in_sync: slots(true), stale: slots(false) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::memory::MemoryDrive;

    fn v(sequence: u64, lineage: u64) -> Option<Version> {
        Some(Version { sequence, lineage })
    }

    #[test]
    fn the_newest_wins_and_a_majority_breaks_ties() {
        let cases = [
            (vec![None, None], Ok((None, vec![0, 1]))),
            (vec![v(3, 1), None, v(3, 1)], Ok((v(3, 1), vec![0, 2]))),
            (vec![v(3, 1), v(4, 1), v(3, 1)], Ok((v(4, 1), vec![1]))),
            (vec![v(5, 9), v(5, 2), v(5, 2)], Ok((v(5, 2), vec![1, 2]))),
            (vec![v(5, 9), v(5, 2), v(4, 2)], Err(Diverged)),
        ];
        for (replicas, expected) in cases {
            let replicas: Vec<_> = replicas.into_iter().enumerate().collect();
            let chosen = choose(&replicas).map(|choice| (choice.version, choice.in_sync));
            assert_eq!(chosen, expected, "{replicas:?}");
        }
    }

    #[test]
    fn a_version_is_read_as_it_was_written() {
        let drive = MemoryDrive::new();
        assert_eq!(Version::read(&drive).unwrap(), None);
        let version = Version { sequence: 7, lineage: u64::MAX };
        drive.apply(&[version.write()]).unwrap();
        assert_eq!(Version::read(&drive).unwrap(), Some(version));
    }
}
