//! One packed segment, frame by frame.
//!
//! Each frame has its checksum, and the root over its records stands in a table whose digest is in the seal: so damage is
//! named by frame, and every other frame is judged on its own.
#![deny(clippy::indexing_slicing)]

use std::{ops::Range, sync::Arc};

use crate::{
    seal::FRAME_RECORDS,
    segment::{
        Frame, Name,
        check::{self, Known},
        packed::Table,
    },
    stamp,
    tip::Tip,
    tree::Hash,
    verify::{
        State, VerifyError,
        ahead::{Frames, Unpacked},
    },
};

use super::{Walk, io_error};

/// What is known of a frame's records beside themselves.
struct Place<'a> {
    name: &'a Name,
    frame: usize,
    offset: u64,
    records: Range<u64>,
    /// The root in the table, where the seal vouches for it.
    root: Option<Hash>,
}

impl Walk<'_, '_> {
    /// Walks a packed segment; `before` is the tip at its start.
    pub(super) fn packed(&mut self, name: &Name, before: &Tip) -> Result<(), VerifyError> {
        let bytes = std::fs::read(self.dir.join(&name.path)).map_err(io_error(&name.path))?;
        self.bytes.0 += bytes.len() as u64;
        let table = Table::of_file(&bytes).filter(|table| table.records.start == name.first);
        let Some(table) = table else {
            let at = (Some(bytes.len() as u64), Some(name.first));
            let what = "the tables at the end of the segment are damaged";
            self.findings.add(State::Modified, &name.path, at, what);
            return self.lost(self.seals.end_of(name.first).unwrap_or(name.first));
        };
        let sealed = self.seals.frames_of(name.first);
        let vouched = sealed.is_some_and(|(count, digest)| {
            count == table.frames.len() as u64 && digest == table.roots_digest()
        });
        if sealed.is_some() && !vouched {
            let at = (Some(bytes.len() as u64), Some(name.first));
            let what = "the roots of its frames are not the ones that were sealed";
            self.findings.add(State::Modified, &name.path, at, what);
        }
        let mut sound = true;
        let pool = self.pool;
        let len = bytes.len() as u64;
        let mut frames = Frames::new(Arc::new(bytes), &table, pool);
        for (frame, packing) in table.frames.iter().enumerate() {
            let Some(unpacked) = frames.next().map_err(io_error(&name.path))? else { break };
            let (records, root) = (table.records_of(frame), vouched.then_some(packing.root));
            let place = Place { name, frame, offset: packing.offset, records, root };
            sound &= self.frame(&place, &unpacked)?;
            frames.done(unpacked);
            (self.options.progress)(self.bytes.0, self.bytes.1);
        }
        self.end.offset = Some(len);
        if !sound || self.known != Known::Tree {
            return self.lost(table.records.end);
        }
        let content = std::mem::take(&mut self.content);
        self.seals.compare(before, &self.end.tip, content, self.findings);
        self.end.damaged_tail = false;
        Ok(())
    }

    /// Takes in one frame; false if it is not what was packed.
    fn frame(&mut self, place: &Place<'_>, unpacked: &Unpacked) -> Result<bool, VerifyError> {
        let Range { start, end } = place.records;
        let at = (Some(place.offset), Some(start));
        let named = format!("frame {} with the records {start} to {}", place.frame, end - 1);
        if unpacked.damaged {
            self.findings.add(
                State::Modified,
                &place.name.path,
                at,
                format!("{named} was changed"),
            );
            self.known = Known::Nothing;
            return Ok(false);
        }
        if !self.in_order(place, unpacked) {
            let what = format!("{named} does not hold these records");
            self.findings.add(State::Modified, &place.name.path, at, what);
            self.known = Known::Nothing;
            return Ok(false);
        }
        if place.root.is_some_and(|root| root != unpacked.root) {
            let what = format!("{named} was packed again over other records");
            self.findings.add(State::Modified, &place.name.path, at, what);
            self.known = Known::Nothing;
            return Ok(false);
        }
        let frame = Frame { offset: place.offset, leaves: &unpacked.bytes, control: &[] };
        if self.known == Known::Tree {
            let whole = end - start == FRAME_RECORDS;
            // Between heads the tree needs no other roots than the frame's.
            if whole && !self.heads.any_before(end, self.findings)? {
                let hashes = unpacked.hashes.iter();
                self.end.tip.push_subtree(hashes, unpacked.root, FRAME_RECORDS.ilog2());
                self.heads.reach(&self.end.tip, self.findings)?;
            } else {
                for hash in &unpacked.hashes {
                    self.end.tip.push_hash(*hash);
                    self.heads.reach(&self.end.tip, self.findings)?;
                }
            }
        } else {
            self.heads.skip(end, self.findings)?;
            self.end.tip = Tip::unknown(end, self.end.tip.time_us);
        }
        self.records(place.name, &frame, start..end)?;
        Ok(true)
    }

    /// Whether the frame holds its records, each at its place and later than the one before; keeps the time of the last.
    fn in_order(&mut self, place: &Place<'_>, unpacked: &Unpacked) -> bool {
        let mut time = stamp::text(self.end.tip.time_us);
        let mut next = place.records.start;
        for (at, len) in &unpacked.lines {
            let leaf = unpacked.bytes.get(*at..at + len).unwrap_or_default();
            let Some(later) = check::time_text(leaf).filter(|text| **text > time) else {
                return false;
            };
            if check::seq(leaf) != Some(next) {
                return false;
            }
            time = *later;
            next += 1;
        }
        self.end.tip.time_us = stamp::parse(&time).unwrap_or(self.end.tip.time_us);
        next == place.records.end && unpacked.bytes.ends_with(b"\n")
    }

    /// Goes on behind a segment that was not sound; its seal may give the tree back there.
    fn lost(&mut self, end: u64) -> Result<(), VerifyError> {
        self.heads.skip(end, self.findings)?;
        self.known = Known::Nothing;
        self.end.tip = Tip::unknown(end, self.end.tip.time_us);
        self.end.damaged_tail = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
