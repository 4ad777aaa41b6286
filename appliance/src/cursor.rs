//! How far somebody outside has got with the log, in a file that a crash leaves whole.
//!
//! It is written through [`audit::Files::replace`]: bytes, their fsync, the rename, the directory's fsync. A failed write
//! stops its owner; what is on disk then is an older place, from which everything comes again.
//!
//! `cursor.json` is one line: `{"format":1,"origin":…,"marks":[[SIZE,"HEX"],…], …}`, and what its owner needs, in the same
//! object. Only what was durable in the log is ever in it, so the file is also a memory of the log: a log that has less
//! was put back. `marks` are leaf hashes by which it would be known again (see [`audit::Marks`]); a file of an earlier
//! release has none.

use std::io;
use std::path::{Path, PathBuf};

use audit::{Files, LocalFiles, Mark, Marks, Memory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const PATH: &str = "cursor.json";
/// The format that this release reads and writes.
const FORMAT: u64 = 1;

/// What an owner keeps of its place in the log.
pub(crate) trait Place: Serialize + DeserializeOwned {
    /// Records that were durable when it was stored, at least.
    fn known(&self) -> u64;
    /// Goes back to a record, because the log has others from there on.
    fn put_back(&mut self, next: u64);
}

/// The cursor file of one owner.
#[derive(Debug)]
pub(crate) struct Cursor {
    dir: PathBuf,
    files: LocalFiles,
    origin: String,
    /// What somebody can do whose cursor cannot be used.
    remedy: &'static str,
}

#[derive(Serialize)]
struct Written<'a, P> {
    format: u64,
    origin: &'a str,
    #[serde(flatten)]
    place: &'a P,
    marks: Vec<(u64, String)>,
}

#[derive(Deserialize)]
struct Read<P> {
    format: u64,
    origin: String,
    #[serde(flatten)]
    place: P,
    #[serde(default)]
    marks: Vec<(u64, String)>,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    #[error("reading the cursor `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the cursor `{}` is damaged ({problem}); {remedy}", path.display())]
    Damaged { path: PathBuf, problem: String, remedy: &'static str },
    #[error("the cursor `{}` belongs to the log `{found}`, and this one is `{ours}`; {remedy}", path.display())]
    Foreign { path: PathBuf, found: String, ours: String, remedy: &'static str },
}

impl Cursor {
    /// The cursor in a directory, which is made when it is first stored.
    pub(crate) fn new(dir: &Path, origin: &str, remedy: &'static str) -> Self {
        let (dir, files) = (dir.to_owned(), LocalFiles::new(dir));
        Self { dir, files, origin: origin.to_owned(), remedy }
    }

    /// What was stored; none before the first time.
    ///
    /// # Errors
    /// The file cannot be read, is no cursor, or is the cursor of another log.
    pub(crate) fn load<P: Place>(&self) -> Result<Option<(P, Marks)>, CursorError> {
        let path = || self.dir.join(PATH);
        let bytes = match self.files.read(PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| CursorError::Read { path: path(), source })?,
        };
        let remedy = self.remedy;
        let (origin, place, marks) = parse(&bytes).map_err(|problem| CursorError::Damaged {
            path: path(),
            problem,
            remedy,
        })?;
        if origin != self.origin {
            let ours = self.origin.clone();
            return Err(CursorError::Foreign { path: path(), found: origin, ours, remedy });
        }
        Ok(Some((place, marks)))
    }

    /// Makes a place durable.
    ///
    /// # Errors
    /// Those of [`Files::replace`]; nothing may be written after one.
    pub(crate) fn store<P: Place>(&self, place: &P, marks: &Marks) -> io::Result<()> {
        self.files.replace(PATH, &bytes(&self.origin, place, marks)?)
    }

    /// What the owner remembers of the log. One that is about another log remembers nothing of this one.
    ///
    /// # Errors
    /// The file cannot be read, or is no cursor.
    pub(crate) fn memory<P: Place>(&self, name: &str) -> Result<Option<Memory>, CursorError> {
        let stored = match self.load::<P>() {
            Err(CursorError::Foreign { .. }) => None,
            stored => stored?,
        };
        let place = self.dir.join(PATH).display().to_string();
        Ok(stored.map(|(stood, marks)| Memory {
            name: name.to_owned(),
            place,
            size: stood.known(),
            marks,
        }))
    }

    /// Lets the owner go on with record `next`, behind the last one that both the log and the owner's memory have.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn put_back<P: Place>(&self, next: u64) -> anyhow::Result<()> {
        if let Some((mut place, marks)) = self.load::<P>()? {
            place.put_back(next);
            self.store(&place, &marks.up_to(next))?;
        }
        Ok(())
    }
}

fn bytes<P: Place>(origin: &str, place: &P, marks: &Marks) -> io::Result<Vec<u8>> {
    let marks = marks.as_slice().iter().map(|mark| (mark.size, hex::encode(mark.leaf))).collect();
    let mut bytes = serde_json::to_vec(&Written { format: FORMAT, origin, place, marks })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Origin, place and marks, or what is wrong.
fn parse<P: Place>(bytes: &[u8]) -> Result<(String, P, Marks), String> {
    let Read { format, origin, place, marks } =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("format {format} is not {FORMAT}"));
    }
    let mark = |(size, text): (u64, String)| {
        let mut leaf = [0; 32];
        hex::decode_to_slice(text, &mut leaf).ok()?;
        Some(Mark { size, leaf }).filter(|mark| mark.size > 0)
    };
    let marks: Option<Vec<Mark>> = marks.into_iter().map(mark).collect();
    let marks = marks.and_then(Marks::new).ok_or("its marks are none")?;
    Ok((origin, place, marks))
}

/// Whatever is read is written so that it reads the same again. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz<P: Place + PartialEq + std::fmt::Debug>(text: &[u8]) {
    if let Ok((origin, place, marks)) = parse::<P>(text) {
        let again = bytes(&origin, &place, &marks).unwrap_or_default();
        assert_eq!(parse(&again), Ok((origin, place, marks)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Next {
        next: u64,
        until: Option<u64>,
    }

    impl Place for Next {
        fn known(&self) -> u64 {
            self.until.unwrap_or(self.next)
        }

        fn put_back(&mut self, next: u64) {
            *self = Self { next, until: None };
        }
    }

    fn cursor(dir: &Path, origin: &str) -> Cursor {
        Cursor::new(dir, origin, "remove it to begin again")
    }

    fn marks(sizes: &[u64]) -> Marks {
        Marks::new(sizes.iter().map(|size| Mark { size: *size, leaf: [7; 32] }).collect()).unwrap()
    }

    #[test]
    fn a_place_survives_and_a_foreign_or_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ours = cursor(dir.path(), "log/a");
        assert_eq!(ours.load::<Next>().unwrap(), None);
        assert_eq!(ours.memory::<Next>("soc").unwrap(), None);
        let stood = || Next { next: 7, until: Some(9) };
        ours.store(&stood(), &marks(&[3, 6])).unwrap();
        assert_eq!(ours.load().unwrap(), Some((stood(), marks(&[3, 6]))));
        let memory = ours.memory::<Next>("soc").unwrap().unwrap();
        assert_eq!((memory.size, memory.marks.reach()), (9, 6));
        assert!(memory.place.ends_with("/cursor.json"), "{}", memory.place);
        let theirs = cursor(dir.path(), "log/b");
        let foreign = theirs.load::<Next>();
        assert!(matches!(foreign, Err(CursorError::Foreign { .. })), "{foreign:?}");
        assert_eq!(theirs.memory::<Next>("soc").unwrap(), None);
        let line = |rest: &str| format!("{{\"format\":1,\"origin\":\"log/a\",{rest}}}");
        // A cursor of an earlier release.
        ours.files.replace(PATH, line("\"next\":7,\"until\":null").as_bytes()).unwrap();
        let read = ours.load().unwrap();
        assert_eq!(read, Some((Next { next: 7, until: None }, Marks::default())));
        for bytes in [
            String::new(),
            "{".into(),
            line("\"until\":null"),
            line("\"next\":-1,\"until\":null"),
            line("\"next\":7,\"until\":null,\"marks\":[[3,\"00\"]]"),
            line(&format!("\"next\":7,\"until\":null,\"marks\":[[0,\"{}\"]]", "0".repeat(64))),
            line("\"next\":7,\"until\":null").replace(":1,", ":2,"),
        ] {
            ours.files.replace(PATH, bytes.as_bytes()).unwrap();
            let damaged = ours.load::<Next>();
            let is_so = matches!(damaged, Err(CursorError::Damaged { .. }));
            assert!(is_so, "{bytes}: {damaged:?}");
            assert!(ours.memory::<Next>("soc").is_err(), "{bytes}");
            let said = damaged.unwrap_err().to_string();
            assert!(said.contains("cursor.json") && said.contains("remove it"), "{said}");
        }
    }

    #[test]
    fn going_back_forgets_what_the_log_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let cursor = cursor(dir.path(), "log/a");
        cursor.put_back::<Next>(3).unwrap();
        assert_eq!(cursor.load::<Next>().unwrap(), None);
        cursor.store(&Next { next: 7, until: Some(9) }, &marks(&[3, 6])).unwrap();
        cursor.put_back::<Next>(3).unwrap();
        assert_eq!(cursor.load().unwrap(), Some((Next { next: 3, until: None }, marks(&[3]))));
    }
}
