//! Segment files: records as JSON Lines, in batches that end on a 4096-byte boundary.
//!
//! ```text
//! batch   = (leaf LF){1..4096} control
//! control = {"_c":{"chain":"…","crc":"…","n":N,"root":"…","size":S,"t":"…"}} spaces LF
//! file    = batch* NUL*
//! ```
//! Every byte of a control line follows from the records before it, so the line is checked by writing it again. A sealed
//! segment may be packed instead: see [`packed`].

use std::io;

pub(crate) use batches::{Batches, Place};
pub use control::Control;
pub(crate) use lines::Lines;
pub(crate) use packed::Packed;
pub(crate) use reader::{Frame, Leaves, Reader, Source, Tail};
pub(crate) use recover::{Recovered, recover};
pub(crate) use writer::{Batch, Room, Writer};

pub(crate) mod batches;
pub(crate) mod check;
mod control;
mod lines;
pub(crate) mod packed;
mod reader;
pub(crate) mod recover;
pub(crate) mod resync;
pub(crate) mod start;
mod writer;

/// Alignment of batches: a sector that was acknowledged is never written again.
pub const BLOCK_BYTES: usize = 4096;
/// Records in one batch, at most.
pub const BATCH_RECORDS_MAX: usize = 4096;
/// Bytes of records that the writer puts into one batch, at most.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// What a reader accepts as one batch: the above, its newlines, the control line and its padding.
pub(crate) const FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + BATCH_RECORDS_MAX + 2 * BLOCK_BYTES;
/// First bytes of a control line; no record begins so, because member names begin with a letter.
pub(crate) const CONTROL_PREFIX: &[u8] = b"{\"_c\":";

/// How a segment lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Batches, as they were written.
    Written,
    /// Records in compressed frames.
    Packed,
}

impl Form {
    /// The ending of the file's name.
    fn ending(self) -> &'static str {
        match self {
            Self::Written => ".jsonl",
            Self::Packed => ".jsonl.zst",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Written => Self::Packed,
            Self::Packed => Self::Written,
        }
    }
}

/// One segment file by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// `seq` of its first record.
    pub(crate) first: u64,
    /// Path relative to the log's directory.
    pub(crate) path: String,
    /// What is in the file.
    pub(crate) form: Form,
}

impl Name {
    /// The name of a segment that begins with `first` on the day `YYYY/MM/DD`.
    pub(crate) fn new(first: u64, day: &str) -> Self {
        Self { first, path: format!("seg/{day}/{first:016}.jsonl"), form: Form::Written }
    }

    /// The segment at a path, if it is one.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let form = match path.ends_with(Form::Packed.ending()) {
            true => Form::Packed,
            false => Form::Written,
        };
        let first = path.rsplit('/').next()?.strip_suffix(form.ending())?.parse().ok()?;
        Some(Self { first, path: path.to_owned(), form })
    }

    /// Its UTC day, `YYYY-MM-DD`: that of its first batch.
    pub(crate) fn day(&self) -> String {
        self.path.split('/').skip(1).take(3).collect::<Vec<_>>().join("-")
    }

    /// The file beside it that holds the tip at its start.
    pub(crate) fn start_path(&self) -> String {
        format!("{}.start", self.stem())
    }

    /// The file beside it that says, signed, what it holds.
    pub(crate) fn seal_path(&self) -> String {
        format!("{}.seal", self.stem())
    }

    /// The path without the ending that tells the form.
    fn stem(&self) -> &str {
        self.path.strip_suffix(self.form.ending()).unwrap_or(&self.path)
    }

    /// The path that it has in one form or the other.
    pub(crate) fn path_as(&self, form: Form) -> String {
        format!("{}{}", self.stem(), form.ending())
    }
}

/// All segments in order, found through `list`, which names the entries of a directory.
pub(crate) fn names(list: &dyn Fn(&str) -> io::Result<Vec<String>>) -> io::Result<Vec<Name>> {
    let mut names: Vec<Name> = files(list)?.iter().filter_map(|path| Name::of_path(path)).collect();
    names.sort();
    // A segment that was packed just now may be there in both forms. The packed one is whole: it got its name when it was.
    names.dedup_by(|later, earlier| {
        let same = later.stem() == earlier.stem();
        if same && later.form == Form::Packed {
            earlier.clone_from(later);
        }
        same
    });
    Ok(names)
}

/// Paths of all seals in the order of their segments.
pub(crate) fn seals(list: &dyn Fn(&str) -> io::Result<Vec<String>>) -> io::Result<Vec<String>> {
    let mut paths: Vec<String> =
        files(list)?.into_iter().filter(|path| path.ends_with(".seal")).collect();
    // The digits of a name have one width, and the days before them are in order too.
    paths.sort();
    Ok(paths)
}

/// Everything in the directories of days.
pub(crate) fn files(list: &dyn Fn(&str) -> io::Result<Vec<String>>) -> io::Result<Vec<String>> {
    let mut directories = vec!["seg".to_owned()];
    for _ in ["year", "month", "day"] {
        let mut deeper = Vec::new();
        for directory in directories {
            let entries = list(&directory)?.into_iter();
            deeper.extend(
                entries.filter_map(|e| Some(format!("{directory}/{}", e.strip_suffix('/')?))),
            );
        }
        directories = deeper;
    }
    let mut paths = Vec::new();
    for directory in directories {
        paths.extend(list(&directory)?.iter().map(|entry| format!("{directory}/{entry}")));
    }
    Ok(paths)
}
