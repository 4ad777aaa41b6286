//! The pass over all runs of a remote log.
#![deny(clippy::indexing_slicing)]

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::Head,
    memory::ToldGap,
    pruned::Pruned,
    segment::check,
    tiles::{Kind, TILE_WIDTH, TilePath},
    tip::Tip,
    tree::Hash,
    verify::{
        Findings, Seen, State, VerifyError, VerifyOptions,
        heads::Heads,
        keys::Changes,
        strict::Strict,
        walk::{End, Said},
    },
};

use super::{
    Remote,
    above::{Above, Should},
    denied,
    runs::{Bundle, Part, Run, Runs},
};

/// Records that were read, or that could not be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    pub(super) seen: Seen,
    pub(super) read: u64,
}

/// The walk's state.
pub(super) struct Walk<'a, 'b> {
    remote: &'a dyn Remote,
    options: &'a VerifyOptions<'a>,
    heads: &'a mut Heads<'b>,
    changes: &'a mut Changes,
    findings: &'a mut Findings,
    tip: Tip,
    /// Nothing follows from what comes after.
    lost: bool,
    records: Records,
    front: Front,
    gaps: Vec<ToldGap>,
    last_us: u64,
    strict: Strict,
    /// The tile at the end was said to be wrong.
    edge_is_named: bool,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub(super) fn new(
        remote: &'a dyn Remote,
        options: &'a VerifyOptions<'a>,
        heads: &'a mut Heads<'b>,
        changes: &'a mut Changes,
        findings: &'a mut Findings,
    ) -> Self {
        Self {
            remote,
            options,
            heads,
            changes,
            findings,
            tip: Tip::default(),
            lost: false,
            records: Records { seen: Seen::Records, read: 0 },
            front: Front::default(),
            gaps: Vec::new(),
            last_us: 0,
            strict: Strict::default(),
            edge_is_named: false,
        }
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.findings.worst.is_none()
    }

    pub(super) fn remark(&mut self, text: &str) {
        self.findings.remark(text);
    }

    pub(super) fn into_parts(self) -> (End, Records, Front) {
        let file = Some("checkpoint".to_owned());
        let (tip, damaged_tail, gaps) = (self.tip, self.lost, self.gaps);
        let end = End { tip, file, damaged_tail, gaps, ..End::default() };
        (end, self.records, self.front)
    }

    /// Reads everything that a head covers.
    pub(super) fn follow(&mut self, head: Head) -> Result<(), VerifyError> {
        self.heads.reach(&self.tip, self.findings)?;
        let mut above = Above::open(self.remote, &head, self.findings)?;
        Runs::with(self.remote, head.size, |runs| {
            while !self.lost
                && let Some(run) = runs.next()?
            {
                self.run(&run, &mut above, runs, &head)?;
                (self.options.progress)(run.end(), head.size);
            }
            Ok::<_, VerifyError>(())
        })?;
        if above.is_wrong && !self.lost {
            self.blame(&above, &head);
        }
        Ok(())
    }

    fn run(
        &mut self,
        run: &Run,
        above: &mut Above<'_>,
        runs: &Runs<'_>,
        head: &Head,
    ) -> Result<(), VerifyError> {
        let should = above.should(run.index, self.findings)?;
        let theirs = self.tile(run)?;
        let bundle = self.bundle(run, runs)?;
        let ours = bundle.and_then(|bundle| bundle.hashes(run.width));
        let is_right = |hashes: &[Hash]| match &should {
            _ if !above.sure && run.end() == head.size => {
                let mut tree = self.tip.frontier.clone();
                hashes.iter().for_each(|hash| tree.push(*hash));
                tree.root() == head.root
            }
            Some(should) => should.is_met_by(hashes),
            None => false,
        };
        let right = [theirs, ours.as_deref()].into_iter().flatten().find(|hashes| is_right(hashes));
        let right = right.map(<[Hash]>::to_vec);
        let taken = theirs.map(<[Hash]>::to_vec).or(ours);
        if let Some(bundle) = bundle {
            self.records(run, bundle, right.as_deref().or(theirs));
        }
        match (&right, theirs) {
            (Some(right), Some(theirs)) if right != theirs => self.wrong_tile(run, right, theirs),
            (Some(_), _) => {}
            (None, _) if taken.is_none() || should.is_none() => {}
            (None, _) if above.sure => self.wrong_records(run.tile(Kind::Entries)),
            // The run at the end is judged by the signed head.
            (None, _) if run.width < TILE_WIDTH => {}
            (None, _) => above.doubt(run.tile(Kind::Entries)),
        }
        self.front.pass(&self.tip, right.as_deref().or(taken.as_deref()));
        match (right, should) {
            (Some(hashes), _) | (None, Some(Should::Be(hashes))) if above.sure => {
                self.advance(&hashes)
            }
            (None, Some(Should::LeadTo(root))) if above.sure || taken.is_none() => {
                self.heads.skip(run.end() - 1, self.findings)?;
                self.tip.push_subtree(std::iter::empty(), root, u8::BITS);
                self.heads.reach(&self.tip, self.findings)
            }
            (right, _) => match right.or(taken) {
                Some(hashes) => self.advance(&hashes),
                None => {
                    self.lost = true;
                    self.heads.skip(u64::MAX, self.findings)
                }
            },
        }
    }

    fn advance(&mut self, hashes: &[Hash]) -> Result<(), VerifyError> {
        hashes.iter().try_for_each(|hash| {
            self.tip.push_hash(*hash);
            self.heads.reach(&self.tip, self.findings)
        })
    }

    /// The hashes as the host gave them.
    fn tile<'r>(&mut self, run: &'r Run) -> Result<Option<&'r [Hash]>, VerifyError> {
        let path = || run.tile(Kind::Hashes(0)).to_string();
        let (state, what) = match &run.hashes {
            Part::There(hashes) => return Ok(Some(hashes)),
            Part::Denied => return Err(denied(&path())),
            Part::Gone => (State::Missing, "it was taken away; hashes never are"),
            Part::Wrong(state, what) => (*state, what.as_str()),
        };
        self.findings.add(state, &path(), (None, Some(run.first())), what);
        Ok(None)
    }

    /// The records as the host gave them, where it gives them to us and has not pruned them.
    fn bundle<'r>(
        &mut self,
        run: &'r Run,
        runs: &Runs<'_>,
    ) -> Result<Option<&'r Bundle>, VerifyError> {
        let path = || run.tile(Kind::Entries).to_string();
        let at = (None, Some(run.first()));
        match &run.bundle {
            Part::There(bundle) => {
                self.front.ended = true;
                return Ok(Some(bundle));
            }
            Part::Denied if self.records.seen == Seen::Hashes => {}
            Part::Denied if self.records.read == 0 && self.front.gone == 0 => {
                self.records.seen = Seen::Hashes;
                runs.without_records();
            }
            // What is open until something is wrong is not open.
            Part::Denied => return Err(denied(&path())),
            Part::Gone if !self.front.ended => self.front.gone = run.end(),
            Part::Gone => {
                let what = "the records were taken away, and some before them were not";
                self.findings.add(State::Missing, &path(), at, what);
            }
            Part::Wrong(state, what) => {
                self.front.ended = true;
                self.findings.add(*state, &path(), at, what.as_str());
            }
        }
        Ok(None)
    }

    /// Looks at each record, beside the hash that it should have.
    fn records(&mut self, run: &Run, bundle: &Bundle, hashes: Option<&[Hash]>) {
        let path = run.tile(Kind::Entries).to_string();
        let mut hashes = hashes.unwrap_or_default().iter();
        for (seq, (offset, record, hash)) in (run.first()..).zip(bundle.records()) {
            self.records.read += 1;
            let at = (Some(offset), Some(seq));
            let is_ours = hashes.next().is_none_or(|known| *known == hash);
            match check::seq(record) {
                Some(found) if found != seq => {
                    let what = format!("record {found} stands here");
                    self.findings.add(State::Reordered, &path, at, what);
                }
                _ if !is_ours => {
                    let what = "the record is not the one whose hash is in the tree";
                    self.findings.add(State::Modified, &path, at, what);
                }
                None => self.findings.add(State::Modified, &path, at, "this is no record"),
                Some(_) => self.record(&path, at, record),
            }
        }
        if let Some(fault) = bundle.fault {
            self.findings.add(State::Modified, &path, (None, Some(run.first())), fault);
        }
    }

    /// One that stands where it should.
    fn record(&mut self, path: &str, at: (Option<u64>, Option<u64>), record: &[u8]) {
        let time_us = check::time(record);
        if time_us.is_none_or(|time_us| time_us <= self.last_us) {
            let what = "the record is not later than the one before it";
            self.findings.add(State::Modified, path, at, what);
        }
        self.last_us = time_us.unwrap_or(self.last_us);
        let (Some(offset), Some(seq)) = at else { return };
        self.changes.record(seq, record);
        self.front.said.extend(Said::of(seq, record));
        self.gaps.extend(ToldGap::of(seq, record));
        if self.options.strict {
            self.strict.record(path, offset, record, self.findings);
        }
    }

    fn wrong_tile(&mut self, run: &Run, right: &[Hash], theirs: &[Hash]) {
        let place = right.iter().zip(theirs).position(|(right, theirs)| right != theirs);
        let seq = run.first() + place.unwrap_or(0) as u64;
        let path = run.tile(Kind::Hashes(0)).to_string();
        self.edge_is_named |= run.width < TILE_WIDTH;
        let what = "the hash is not that of the record, which is the one that was signed";
        self.findings.add(State::Modified, &path, (None, Some(seq)), what);
    }

    /// Nothing says which of them.
    fn wrong_records(&mut self, tile: TilePath) {
        let first = tile.index * u64::from(TILE_WIDTH);
        let last = first + u64::from(tile.width) - 1;
        let what = format!("one of the records {first} to {last} is not the one that was signed");
        self.findings.add(State::Modified, &tile.to_string(), (None, Some(first)), what);
    }

    /// The tiles at the edge do not lead to the signed head: finds out whether the records do.
    fn blame(&mut self, above: &Above<'_>, head: &Head) {
        let doubts = &above.doubts;
        let follow = "its hashes do not follow from the tiles below it";
        let lead = "its hashes do not lead to the tile above it";
        let nowhere = (None, None);
        if self.tip.frontier.root() == head.root {
            let mut wrong: Vec<_> = doubts.iter().map(|doubt| doubt.above).collect();
            wrong.dedup();
            // Where nothing contradicts it, it is the one that nothing is above.
            wrong.extend(above.top().filter(|_| doubts.is_empty() && !self.edge_is_named));
            for tile in wrong {
                self.findings.add(State::Modified, &tile.to_string(), nowhere, follow);
            }
            return;
        }
        for tile in doubts.iter().map(|doubt| doubt.below) {
            match tile.kind {
                Kind::Entries => self.wrong_records(tile),
                Kind::Hashes(_) => {
                    self.findings.add(State::Modified, &tile.to_string(), nowhere, lead);
                }
            }
        }
        // With everything as the tile above says, it is the run at the end.
        let (index, width) = (head.size / u64::from(TILE_WIDTH), head.size % u64::from(TILE_WIDTH));
        if doubts.is_empty() && width > 0 {
            self.wrong_records(TilePath { kind: Kind::Entries, index, width: width as u16 });
        }
    }
}

/// What the walk has learned about records that are not given out any more.
#[derive(Debug, Default)]
pub(super) struct Front {
    /// Where the runs without records end.
    gone: u64,
    /// A run with records was met.
    ended: bool,
    /// The last run without records: what came before it, and its hashes.
    edge: Option<(Tip, Vec<Hash>)>,
    said: Vec<Said>,
}

impl Front {
    /// Remembers a run that begins at `tip`, as long as its records are gone.
    fn pass(&mut self, tip: &Tip, hashes: Option<&[Hash]>) {
        if self.gone > tip.size() {
            self.edge = hashes.map(|hashes| (tip.clone(), hashes.to_vec()));
        }
    }

    /// Root over the records before `end`, where that lies in the last run without records.
    fn root_at(&self, end: u64) -> Option<Hash> {
        let (tip, hashes) = self.edge.as_ref()?;
        let into = usize::try_from(end.checked_sub(tip.size())?).ok()?;
        let mut tree = tip.frontier.clone();
        hashes.get(..into)?.iter().for_each(|hash| tree.push(*hash));
        (into > 0).then(|| tree.root())
    }

    /// What was pruned if a record under a signed head says so, and whether records are gone without one.
    pub(super) fn finish(
        self,
        heads: &Heads<'_>,
        findings: &mut Findings,
    ) -> (Option<Pruned>, bool) {
        if self.gone == 0 {
            return (None, false);
        }
        let is_good = |said: &&Said| {
            let root = self.root_at(said.end).map(|root| STANDARD.encode(root));
            heads.matched_size() > said.seq && root.as_ref() == Some(&said.root)
        };
        let Some(said) = self.said.iter().rev().find(is_good) else {
            let last = self.gone - 1;
            let what = format!(
                "records 0 to {last} are not there, and no record says that they were pruned"
            );
            findings.add(State::Missing, "tile/entries", (None, Some(0)), what);
            return (None, true);
        };
        let Said { end, seq: record, time_us, .. } = *said;
        let pruned = Pruned { end, record, time_us };
        findings.remark(format!(
            "records 0 to {} were {pruned}; their hashes were verified in their place",
            end - 1
        ));
        (Some(pruned), false)
    }
}
