//! Finding the next sound batch after damage.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
};

use super::{BLOCK_BYTES, Control, Reader, check};

/// What lies after the place where reading had to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// A batch that is whole in itself begins at this offset.
    Batch(u64),
    /// No batch; the bytes look like a batch that was once complete.
    Ended,
    /// No batch; the bytes stop in the middle of one.
    Cut,
}

/// Searches the aligned places after `from`.
pub(crate) fn after(mut file: &fs::File, from: u64) -> io::Result<After> {
    file.seek(SeekFrom::Start(from))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    for (i, block) in rest.chunks(BLOCK_BYTES).enumerate().skip(1) {
        let at = i * BLOCK_BYTES;
        if block.starts_with(b"{") && is_whole(rest.get(at..).unwrap_or_default())? {
            return Ok(After::Batch(from + at as u64));
        }
    }
    let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // A complete batch ends in padding and a newline at a boundary; one of the two may be the damage.
    let aligned = used.is_multiple_of(BLOCK_BYTES) && used > 0;
    let newline = used > 0 && rest.get(used - 1) == Some(&b'\n');
    let padding = used > 1 && rest.get(used - 2) == Some(&b' ');
    Ok(if aligned && (newline || padding) { After::Ended } else { After::Cut })
}

fn is_whole(bytes: &[u8]) -> io::Result<bool> {
    Ok(Reader::new(bytes, 0).next()?.is_ok_and(|frame| {
        Control::parse(frame.control).is_some_and(|c| c.crc == check::crc(frame.leaves))
    }))
}
