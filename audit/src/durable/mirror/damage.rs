//! Whether one copy has what another one does not.
//!
//! A segment is whole where its records lead, from the state before it, to what its control lines or its frames say. That
//! is more than readers check, so a copy that somebody forged without care is no way round either. Whether the records are
//! the ones that were signed is for `verify` to say.
#![deny(clippy::indexing_slicing)]

use std::io;

use crate::{
    durable::{Damage, Files, read_optional},
    segment::{
        self, Form, Leaves, Name, Packed, Reader,
        check::{self, Known},
        start,
    },
    tiles,
    tip::Tip,
    tree::{self, Hash},
};

/// Whether the segments with these records are whole.
pub(super) fn is_whole(files: &dyn Files, damage: &Damage<'_>) -> bool {
    check_all(files, damage).unwrap_or(false)
}

fn check_all(files: &dyn Files, damage: &Damage<'_>) -> io::Result<bool> {
    let names = segment::names(&|path| files.list(path))?;
    let (mut next, end) = (damage.records.start, damage.records.end.min(damage.size));
    while next < end {
        let after = names.partition_point(|name| name.first <= next);
        let Some(name) = after.checked_sub(1).and_then(|i| names.get(i)) else { return Ok(false) };
        let last = names.get(after).map_or(damage.size, |later| later.first);
        let read = match name.form {
            Form::Written => written(files, name)?,
            Form::Packed => packed(files, name)?,
        };
        // A last segment that ends before the record is one that others follow, elsewhere.
        if read < last || read <= next {
            return Ok(false);
        }
        next = read;
    }
    Ok(true)
}

/// The record behind the last one that is what it should be.
fn written(files: &dyn Files, name: &Name) -> io::Result<u64> {
    let before = read_optional(files, &name.start_path())?;
    let before = before.and_then(|bytes| start::parse(&bytes));
    let before = before.or_else(|| (name.first == 0).then(Tip::default));
    let Some(mut tip) = before.filter(|tip| tip.size() == name.first) else {
        return Ok(name.first);
    };
    let mut reader = Reader::new(files.stream(&name.path)?, 0);
    while let Ok(frame) = reader.next()? {
        match check::batch(&frame, &tip, Known::Tree, &|_, leaf| tree::leaf_hash(leaf)) {
            Ok(after) => tip = after,
            Err(_) => break,
        }
    }
    Ok(tip.size())
}

/// The same in a packed segment.
fn packed(files: &dyn Files, name: &Name) -> io::Result<u64> {
    let packed = Packed::of_bytes(files.read(&name.path)?, name.first)?;
    let table = packed.table();
    for (i, frame) in table.frames.iter().enumerate() {
        let lines = packed.frame(i)?.unwrap_or_default();
        let hashes: Vec<Hash> =
            Leaves::new(&lines).map(|(_, leaf)| tree::leaf_hash(leaf)).collect();
        if tiles::root(&hashes) != frame.root {
            return Ok(table.records_of(i).start);
        }
    }
    Ok(table.records.end)
}
