//! The tiles of level 1 and up, by which the tiles below are judged.
//!
//! The tiles at the right edge of the tree, one per level, hold all hashes that the signed root is made of, so they are
//! right or wrong together; a full tile is right if its root stands in the tile above. So what a file should lead to is
//! known before it is read, and one that is wrong is named without spoiling what comes after it.
#![deny(clippy::indexing_slicing)]

use crate::{
    checkpoint::Head,
    tiles::{self, Kind, TILE_WIDTH, TilePath},
    tree::{Frontier, Hash},
    verify::{FINDINGS_MAX, Findings, State, VerifyError},
};

use super::{
    Remote, denied,
    runs::{self, Part},
};

const WIDTH: u64 = TILE_WIDTH as u64;

/// What the hashes of a run should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Should {
    /// Their root, of a full run.
    LeadTo(Hash),
    /// They themselves, at the edge.
    Be(Vec<Hash>),
}

impl Should {
    pub(super) fn is_met_by(&self, hashes: &[Hash]) -> bool {
        match self {
            Self::LeadTo(root) => tiles::root(hashes) == *root,
            Self::Be(theirs) => theirs == hashes,
        }
    }
}

/// A tile, or a run of records, that contradicts the tile above it, where it is not known which is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) below: TilePath,
    pub(super) above: TilePath,
}

/// A full tile that was looked at last, one per level.
#[derive(Clone, Debug)]
struct Full {
    index: u64,
    /// None where it is not there or leads elsewhere, which was said.
    hashes: Option<Vec<Hash>>,
}

/// Holds one full and one partial tile per level.
pub(super) struct Above<'a> {
    remote: &'a dyn Remote,
    size: u64,
    /// The edge leads to the signed head, so what is judged by it is right or wrong for sure.
    pub(super) sure: bool,
    /// The edge is all there and leads elsewhere.
    pub(super) is_wrong: bool,
    /// By level from 0; empty where the level has no partial tile.
    edge: Vec<Option<Vec<Hash>>>,
    /// By level from 0, which has none.
    full: Vec<Option<Full>>,
    /// At most [`FINDINGS_MAX`].
    pub(super) doubts: Vec<Doubt>,
}

impl<'a> Above<'a> {
    /// Fetches the right edge of the tree that a head covers.
    pub(super) fn open(
        remote: &'a dyn Remote,
        head: &Head,
        findings: &mut Findings,
    ) -> Result<Self, VerifyError> {
        let levels = (0..8u8).take_while(|level| head.size >> (8 * level) > 0).count();
        let mut above = Self {
            remote,
            size: head.size,
            sure: false,
            is_wrong: false,
            edge: Vec::new(),
            full: vec![None; levels],
            doubts: Vec::new(),
        };
        for level in (0..).take(levels) {
            let hashes = head.size >> (8 * level);
            let (index, width) = (hashes / WIDTH, (hashes % WIDTH) as u16);
            let edge = match width {
                0 => Some(Vec::new()),
                _ => above.fetch(TilePath { kind: Kind::Hashes(level), index, width }, findings)?,
            };
            above.edge.push(edge);
        }
        let mut tree = Frontier::default();
        let mut whole = true;
        for (level, edge) in (0..).zip(&above.edge).collect::<Vec<_>>().into_iter().rev() {
            whole &= edge.is_some();
            for hash in edge.iter().flatten() {
                let _ = tree.push_subtree(*hash, 8 * level);
            }
        }
        above.sure = whole && tree.root() == head.root;
        above.is_wrong = whole && !above.sure;
        Ok(above)
    }

    /// What a run of records should lead to; none where nothing is known of it.
    pub(super) fn should(
        &mut self,
        index: u64,
        findings: &mut Findings,
    ) -> Result<Option<Should>, VerifyError> {
        Ok(match (index + 1) * WIDTH > self.size {
            true => self.edge.first().cloned().flatten().map(Should::Be),
            false => self.parent(0, index, findings)?.map(Should::LeadTo),
        })
    }

    /// Remembers that a full tile, or the records in its place, contradicts the one above it.
    pub(super) fn doubt(&mut self, below: TilePath) {
        let level = match below.kind {
            Kind::Entries => 1,
            Kind::Hashes(level) => level + 1,
        };
        let hashes = self.size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let index = below.index / WIDTH;
        let width = hashes.saturating_sub(index * WIDTH).min(WIDTH) as u16;
        let above = TilePath { kind: Kind::Hashes(level), index, width };
        if self.doubts.len() < FINDINGS_MAX {
            self.doubts.push(Doubt { below, above });
        }
    }

    /// The tile of the highest level.
    pub(super) fn top(&self) -> Option<TilePath> {
        let level =
            self.edge.iter().rposition(|edge| edge.as_ref().is_some_and(|e| !e.is_empty()))?;
        let hashes = self.size >> (8 * level);
        let kind = Kind::Hashes(u8::try_from(level).ok()?);
        Some(TilePath { kind, index: hashes / WIDTH, width: (hashes % WIDTH) as u16 })
    }

    /// The hash that stands for a full tile in the tile above it.
    fn parent(
        &mut self,
        level: u8,
        index: u64,
        findings: &mut Findings,
    ) -> Result<Option<Hash>, VerifyError> {
        let (above, place) = (index / WIDTH, (index % WIDTH) as usize);
        let slot = usize::from(level) + 1;
        let hashes = u32::try_from(8 * slot).ok().and_then(|bits| self.size.checked_shr(bits));
        if (above + 1) * WIDTH > hashes.unwrap_or(0) {
            let edge = self.edge.get(slot).and_then(Option::as_ref);
            return Ok(edge.and_then(|hashes| hashes.get(place)).copied());
        }
        let known = self.full.get(slot).and_then(Option::as_ref);
        if known.is_none_or(|full| full.index != above) {
            let full = Full { index: above, hashes: self.judged(level + 1, above, findings)? };
            if let Some(known) = self.full.get_mut(slot) {
                *known = Some(full);
            }
        }
        let known = self.full.get(slot).and_then(Option::as_ref);
        let hashes = known.and_then(|full| full.hashes.as_ref());
        Ok(hashes.and_then(|hashes| hashes.get(place)).copied())
    }

    /// A full tile, if it is what the one above it says.
    fn judged(
        &mut self,
        level: u8,
        index: u64,
        findings: &mut Findings,
    ) -> Result<Option<Vec<Hash>>, VerifyError> {
        let parent = self.parent(level, index, findings)?;
        let tile = TilePath { kind: Kind::Hashes(level), index, width: TILE_WIDTH };
        let Some(hashes) = self.fetch(tile, findings)? else { return Ok(None) };
        if parent.is_some_and(|parent| parent != tiles::root(&hashes)) {
            if !self.sure {
                self.doubt(tile);
                return Ok(Some(hashes));
            }
            let what = "its hashes do not lead to the tile above it";
            findings.add(State::Modified, &tile.to_string(), (None, None), what);
            return Ok(None);
        }
        Ok(Some(hashes))
    }

    fn fetch(
        &self,
        tile: TilePath,
        findings: &mut Findings,
    ) -> Result<Option<Vec<Hash>>, VerifyError> {
        let path = tile.to_string();
        let (state, what) = match runs::hashes(self.remote, &tile)? {
            Part::There(hashes) => return Ok(Some(hashes)),
            Part::Denied => return Err(denied(&path)),
            Part::Gone => (State::Missing, "it was taken away; hashes never are".to_owned()),
            Part::Wrong(state, what) => (state, what),
        };
        // The walk says the same of level 0, with the records.
        if tile.kind != Kind::Hashes(0) {
            findings.add(state, &path, (None, None), what);
        }
        Ok(None)
    }
}
