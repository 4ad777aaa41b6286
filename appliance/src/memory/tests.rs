//! Each memory of a real directory, against a real log in it.

use std::path::Path;
use std::sync::Arc;

use audit::{
    Acceptance, Class, Ed25519Signer, EventId, LocalFiles, Log, OpenError, Options, Record,
    SystemClock, mark_at,
};

use super::*;

const ORIGIN: &str = "appliance.local/memory";

/// Each kind of memory: its name, its file, and what that has beside `next`.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "siem/soc",
        "siem/soc/cursor.json",
        r#""destination":"soc","encoding":"webhook/native","filter":"","until":null"#,
    ),
    // Not configured any more, and under an encoding that nobody knows; it was there all the same.
    (
        "siem/old one",
        "siem/old one/cursor.json",
        r#""destination":"old one","encoding":"fax/ascii","filter":"x","until":null"#,
    ),
    ("cloudtrail", "cloudtrail/cursor.json", r#""from_s":3600,"since_s":0,"previous":null"#),
    ("archive", "archive/cursor.json", r#""address":"https://s3.example.com/vault""#),
];

struct Scene {
    dir: tempfile::TempDir,
    resolved: Resolved,
    size: u64,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let resolved = Resolved::in_directory(dir.path());
        let mut scene = Self { dir, resolved, size: 0 };
        let log = scene.open(None).unwrap();
        for i in 0..40 {
            let record = Record::new(Class::Data, "s3:GetObject", EventId::new(1, [i; 10]));
            log.append(&record).unwrap().wait().unwrap();
        }
        log.close().unwrap();
        scene.size = log.durable_size();
        scene
    }

    fn audit(&self) -> std::path::PathBuf {
        self.resolved.audit_dir()
    }

    fn open(&self, accepted: Option<Acceptance>) -> Result<Log, OpenError> {
        self.open_at(&self.audit(), accepted)
    }

    /// Opens a copy of the log, so that this one stays as it is.
    fn try_copy(&self) -> Result<(), OpenError> {
        let copied = tempfile::tempdir().unwrap();
        copy(&self.audit(), copied.path());
        self.open_at(copied.path(), None).map(drop)
    }

    fn open_at(&self, dir: &Path, accepted: Option<Acceptance>) -> Result<Log, OpenError> {
        let memories = Memories::read(&self.resolved, ORIGIN).unwrap();
        let options = Options {
            origin: ORIGIN.into(),
            memories: memories.all(),
            accepted,
            ..Options::default()
        };
        let signer = Arc::new(Ed25519Signer::from_seed(ORIGIN, &[7; 32]));
        let files = Arc::new(LocalFiles::new(dir));
        Log::open(files, signer, Arc::new(SystemClock), options).map(|(log, _)| log)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts a cursor there with marks, the last of which may be forged.
    fn remember(
        &self,
        (_, path, rest): (&str, &str, &str),
        next: u64,
        marks: &[u64],
        forged: bool,
    ) {
        let mark = |size: &u64| mark_at(&self.audit(), *size).unwrap().unwrap();
        let mut marks: Vec<_> = marks.iter().map(mark).map(|m| (m.size, m.leaf)).collect();
        if let Some((_, leaf)) = marks.last_mut().filter(|_| forged) {
            leaf[0] ^= 1;
        }
        let marks: Vec<_> = marks
            .iter()
            .map(|(size, leaf)| format!("[{size},\"{}\"]", hex::encode(leaf)))
            .collect();
        let marks = marks.join(",");
        self.put(
            path,
            &format!(
                "{{\"format\":1,\"origin\":\"{ORIGIN}\",\"next\":{next},{rest},\"marks\":[{marks}]}}\n"
            ),
        );
    }

    fn forget(&self) {
        for dir in ["siem", "cloudtrail", "archive"] {
            let _ = std::fs::remove_dir_all(self.dir.path().join(dir));
        }
    }

    fn next(&self, path: &str) -> u64 {
        let bytes = std::fs::read(self.dir.path().join(path)).unwrap();
        let stored: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        stored["next"].as_u64().unwrap()
    }
}

#[test]
fn every_exit_of_the_log_remembers_it() {
    let scene = Scene::new();
    let size = scene.size;
    for kind in KINDS {
        let (name, path, _) = kind;
        // What it knows, by which marks, whether the last one is another log's, and where it goes on if that is a gap.
        let rows: [(u64, &[u64], bool, Option<u64>); 7] = [
            (0, &[], false, None),
            (size, &[], false, None),
            (size, &[3, size], false, None),
            (size - 5, &[3, size - 5], false, None),
            (size + 7, &[3, 30], false, Some(30)),
            (size, &[3, 30], true, Some(3)),
            (size + 7, &[], false, Some(0)),
        ];
        for (next, marks, forged, expected) in rows {
            scene.forget();
            scene.remember(kind, next, marks, forged);
            let memories = Memories::read(&scene.resolved, ORIGIN).unwrap();
            let opened = scene.try_copy();
            let Some(expected) = expected else {
                assert!(opened.is_ok(), "{name} {next} {marks:?}: {:?}", opened.err());
                continue;
            };
            let Err(OpenError::Gap { gap, .. }) = opened else {
                panic!("{name} {next} {marks:?} {forged}")
            };
            let said = gap.to_string();
            assert!(said.contains(name) && said.contains(path), "{said}");
            memories.put_back(&gap.conflicts, 0).unwrap();
            assert_eq!(scene.next(path), expected, "{name} {next} {marks:?}");
            // Nothing that the log has is before what it pruned.
            memories.put_back(&gap.conflicts, 33).unwrap();
            assert_eq!(scene.next(path), 33);
            assert!(scene.try_copy().is_ok(), "{name}: it remembers what is there now");
        }
    }
}

#[test]
fn a_memory_that_cannot_be_read_stops_the_start_and_one_of_another_log_is_none() {
    let scene = Scene::new();
    for kind in KINDS {
        let (_, path, rest) = kind;
        scene.forget();
        for text in ["", "{", "{\"format\":1}"] {
            scene.put(path, text);
            let error = Memories::read(&scene.resolved, ORIGIN).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains(path) && said.contains("remove it"), "{said}");
        }
        scene.put(path, &format!("{{\"format\":1,\"origin\":\"else\",\"next\":999,{rest}}}"));
        assert_eq!(Memories::read(&scene.resolved, ORIGIN).unwrap().all(), []);
        assert!(scene.open(None).is_ok());
    }
    scene.forget();
    // A cursor that is no file cannot be read, and nobody knows what it knew.
    std::fs::create_dir_all(scene.dir.path().join("archive/cursor.json")).unwrap();
    assert!(Memories::read(&scene.resolved, ORIGIN).is_err());
}

#[test]
fn all_who_know_another_log_are_named_and_only_they_are_put_back() {
    let scene = Scene::new();
    scene.remember(KINDS[0], scene.size + 5, &[10], false);
    scene.remember(KINDS[2], scene.size + 9, &[20], false);
    scene.remember(KINDS[3], 15, &[15], false);
    let Err(OpenError::Gap { gap, digest }) = scene.open(None) else { panic!("it opens") };
    let names: Vec<_> = gap.conflicts.iter().map(|conflict| conflict.name.as_str()).collect();
    assert_eq!(names, ["siem/soc", "cloudtrail"]);
    assert_eq!((gap.first(), gap.end()), (scene.size, scene.size + 9));
    let memories = Memories::read(&scene.resolved, ORIGIN).unwrap();
    let accepted = Acceptance { digest, by: "uid 0".into(), reason: "lost".into() };
    scene.open(Some(accepted)).unwrap().close().unwrap();
    memories.put_back(&gap.conflicts, 0).unwrap();
    assert_eq!(
        KINDS
            .map(|(_, path, _)| path)
            .iter()
            .filter(|path| scene.dir.path().join(path).is_file())
            .count(),
        3
    );
    assert_eq!([KINDS[0], KINDS[2], KINDS[3]].map(|(_, path, _)| scene.next(path)), [10, 20, 15]);
    scene.open(None).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&there).unwrap();
            copy(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}
