//! Appends batches to the active segment.

use std::{io, ops::Range, sync::Arc, time::Duration};

use crate::{
    checkpoint::Head,
    durable::{File, Files, synced},
    encode::Encoded,
    stamp,
    tip::Tip,
    tree::{self, Hash},
};

use super::{BLOCK_BYTES, Name, check, start};

/// Zeros that only the log's own records may use, so that it can say that the disk is full, go on with its heartbeats for
/// an hour, and stop with a record.
const OWN_BYTES: u64 = 64 * BLOCK_BYTES as u64;

/// Whose batch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Of requests: leaves [`OWN_BYTES`] free.
    Ordinary,
    /// The log's own.
    Reserved,
}

/// Written again and again, out of the processor's cache: a fresh buffer of zeros is half a megabyte of page faults.
const ZEROS: &[u8] = &[0; 64 << 10];

/// One batch after the other; the buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each record is in them.
    leaves: Vec<Range<usize>>,
    stamps: stamp::Texts,
}

/// What a batch leads to.
#[derive(Debug)]
pub(crate) struct Led {
    pub(crate) tip: Tip,
    /// The tip's; making it is as much work as hashing a record.
    pub(crate) head: Head,
    /// Root over each full tile that the batch completes.
    pub(crate) tiles: Vec<Hash>,
}

impl Batch {
    /// Makes the batch of these records, which leads from `before` to what is returned: each gets the next position, and
    /// the time `now_us`, or just after the record before it where that is later.
    pub(crate) fn fill(&mut self, records: &[&Encoded], now_us: u64, before: &Tip) -> Led {
        self.bytes.clear();
        self.leaves.clear();
        let mut tip = before.clone();
        for (seq, record) in (before.size()..).zip(records) {
            tip.time_us = now_us.max(tip.time_us + 1);
            let at = self.bytes.len();
            record.splice(seq, self.stamps.at(tip.time_us), &mut self.bytes);
            self.leaves.push(at..self.bytes.len());
            self.bytes.push(b'\n');
        }
        let leaf = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        let tiles = tip.extend(&tree::leaf_hashes(self.leaves.iter().map(leaf)));
        let control = check::control(before, &tip, check::crc(&self.bytes));
        self.bytes.extend_from_slice(&control.line(self.bytes.len()));
        Led { head: Head { size: control.size, root: control.root }, tip, tiles }
    }

    /// What was made last, with its control line.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The active segment, open for appending.
#[derive(Debug)]
pub(crate) struct Writer {
    files: Arc<dyn Files>,
    file: Box<dyn File>,
    name: Name,
    /// Where the next batch goes; a multiple of the block size.
    offset: u64,
    /// End of the zeros written ahead. Overwriting durable zeros needs no journal commit, which halves the
    /// time of each sync; plain fallocate gains nothing, because unwritten extents need the commit too. A few at a time:
    /// megabytes are a stall of ten milliseconds, and lie in pages so large that each sync after it searches them.
    zeroed: u64,
    ahead_bytes: u64,
    /// When it was begun or opened again.
    since_us: u64,
    /// The day that was last asked about, and whether it is the segment's.
    day: Option<(u64, bool)>,
}

impl Writer {
    /// Creates the segment that begins at `tip`, after the file that lets a restart begin there.
    pub(crate) fn create(
        files: Arc<dyn Files>,
        tip: &Tip,
        now_us: u64,
        ahead_bytes: u64,
    ) -> io::Result<Self> {
        let name = Self::name_at(tip, now_us);
        files.replace(&name.start_path(), &start::encode(tip))?;
        let file = files.create(&name.path)?;
        Ok(Self {
            files,
            file,
            name,
            offset: 0,
            zeroed: 0,
            ahead_bytes,
            since_us: now_us,
            day: None,
        })
    }

    fn name_at(tip: &Tip, now_us: u64) -> Name {
        Name::new(tip.size(), &stamp::day_path(now_us.max(tip.time_us)))
    }

    /// Opens a segment whose valid batches end at `offset`, and cuts off whatever follows.
    pub(crate) fn reopen(
        files: Arc<dyn Files>,
        name: Name,
        offset: u64,
        now_us: u64,
        ahead_bytes: u64,
    ) -> io::Result<Self> {
        let mut file = files.open(&name.path)?;
        if file.size()? != offset {
            file.truncate(offset)?;
        }
        let (zeroed, since_us) = (offset, now_us);
        Ok(Self { files, file, name, offset, zeroed, ahead_bytes, since_us, day: None })
    }

    /// Bytes of batches so far.
    pub(crate) fn len(&self) -> u64 {
        self.offset
    }

    /// Time since it was begun or opened again; none where the clock stepped back.
    pub(crate) fn age(&self, now_us: u64) -> Duration {
        Duration::from_micros(now_us.saturating_sub(self.since_us))
    }

    /// Whether it belongs to the day of `now_us`.
    pub(crate) fn is_of_day(&mut self, now_us: u64) -> bool {
        let asked = now_us / stamp::DAY_US;
        match self.day {
            Some((day, is_ours)) if day == asked => is_ours,
            _ => {
                let is_ours = self.name.path.contains(&stamp::day_path(now_us));
                self.day = Some((asked, is_ours));
                is_ours
            }
        }
    }

    /// Makes a batch durable.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`]: there is no room, nothing of the batch is in the file, and another batch may be
    /// tried. After any other error the writer must not be used again.
    pub(crate) fn append(&mut self, batch: &[u8], room: Room) -> io::Result<()> {
        let end = self.offset + batch.len() as u64;
        let kept = if room == Room::Ordinary { OWN_BYTES } else { 0 };
        if self.ahead_bytes > 0 && end + kept > self.zeroed {
            let until = (end + kept).next_multiple_of(self.ahead_bytes);
            let from = self.zeroed.max(self.offset);
            self.write_zeros(from, until)?;
        }
        if let Err(error) = self.file.write_durable(self.offset, batch) {
            if error.kind() == io::ErrorKind::StorageFull {
                // Where even written blocks need room: take back the part that was written.
                self.finish()?;
            }
            return Err(error);
        }
        self.offset = end;
        Ok(())
    }

    /// What a failure leaves behind is zeros, or nothing. They are durable when the next batch is.
    fn write_zeros(&mut self, from: u64, until: u64) -> io::Result<()> {
        for at in (from..until).step_by(ZEROS.len()) {
            let count = ZEROS.len().min((until - at) as usize);
            self.file.write_at(at, ZEROS.get(..count).unwrap_or_default())?;
        }
        self.zeroed = until;
        Ok(())
    }

    /// Whether what is written still goes where readers look.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        self.file.is_in_place()
    }

    /// Whether the log's own records have room for a few more without any from the file system.
    pub(crate) fn has_reserve(&self) -> bool {
        self.zeroed.saturating_sub(self.offset) > OWN_BYTES / 8
    }

    /// Ends this segment and begins the next one.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`]: there is no room for the next one, nothing of it is there, and this one may be
    /// appended to. After any other error the writer must not be used again.
    pub(crate) fn rotate(&mut self, tip: &Tip, now_us: u64) -> io::Result<()> {
        self.finish()?;
        match Self::create(self.files.clone(), tip, now_us, self.ahead_bytes) {
            Ok(next) => *self = next,
            Err(error) => {
                if error.kind() == io::ErrorKind::StorageFull {
                    // ORDER: as a crash leaves it at every step: the file beside a segment is there before it.
                    let next = Self::name_at(tip, now_us);
                    synced(self.files.remove(&next.path))?;
                    synced(self.files.remove(&next.start_path()))?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Cuts off the zeros written ahead, so that the file is plain JSON Lines.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        synced(self.file.truncate(self.offset))?;
        self.zeroed = self.offset;
        Ok(())
    }
}
