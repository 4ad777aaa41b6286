//! What the exits of the log remember of it: SIEM destinations, the CloudTrail export and the archive keep in their
//! cursors how far the log was durable when they read it. A start asks all of them, also those that are not configured any
//! more, before the log is opened.
//!
//! Where a loss was accepted, each of them goes on behind the newest record that it and the log both have. What the log
//! has since then comes to it, some of it perhaps again and under the same event ids, and with it the record `audit:gap`,
//! which no filter keeps away. Nothing is skipped.

use std::path::Path;

use anyhow::Context as _;
use audit::{Conflict, Memory};

use crate::config::Resolved;
use crate::cursor::{Cursor, CursorError, Place};
use crate::{archive, cloudtrail, siem};

/// Every memory of a deployment's log.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    list: Vec<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    memory: Memory,
    cursor: Cursor,
    put_back: fn(&Cursor, u64) -> anyhow::Result<()>,
}

impl Memories {
    /// Reads all cursors.
    ///
    /// # Errors
    /// One cannot be read or is damaged: then nobody knows what it knew.
    pub(crate) fn read(resolved: &Resolved, origin: &str) -> anyhow::Result<Self> {
        let mut memories = Self::default();
        for name in destinations(&resolved.siem_dir()).context("looking for SIEM cursors")? {
            let cursor = siem::cursor_file(&resolved.siem_dir().join(&name), origin);
            memories.add::<siem::Stored>(&format!("siem/{name}"), cursor)?;
        }
        let cursor = cloudtrail::cursor_file(&resolved.cloudtrail_dir(), origin);
        memories.add::<cloudtrail::Position>("cloudtrail", cursor)?;
        let cursor = archive::cursor_file(&resolved.archive_dir(), origin);
        memories.add::<archive::Stored>("archive", cursor)?;
        Ok(memories)
    }

    fn add<P: Place>(&mut self, name: &str, cursor: Cursor) -> Result<(), CursorError> {
        if let Some(memory) = cursor.memory::<P>(name)? {
            self.list.push(Remembered { memory, cursor, put_back: Cursor::put_back::<P> });
        }
        Ok(())
    }

    /// For [`audit::Options::memories`].
    pub(crate) fn all(&self) -> Vec<Memory> {
        self.list.iter().map(|remembered| remembered.memory.clone()).collect()
    }

    /// Lets those go on that know another log, once a record of the log says that it is another one. `begin` is the first
    /// record that the log has.
    ///
    /// # Errors
    /// A cursor cannot be written; it stands where it stood, and the next start asks again.
    pub(crate) fn put_back(&self, conflicts: &[Conflict], begin: u64) -> anyhow::Result<()> {
        for conflict in conflicts {
            let named = |remembered: &&Remembered| remembered.memory.name == conflict.name;
            let Some(remembered) = self.list.iter().find(named) else { continue };
            (remembered.put_back)(&remembered.cursor, conflict.agreed.max(begin))
                .with_context(|| format!("setting the cursor of {}", conflict.name))?;
        }
        Ok(())
    }
}

/// Names of destinations that have a directory.
fn destinations(siem_dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(siem_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
