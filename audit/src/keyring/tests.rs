use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Ed25519Signer, Signer, checkpoint};

const ORIGIN: &str = "audit.example.com/node1";

fn signer(seed: u8) -> Arc<dyn Signer> {
    Arc::new(Ed25519Signer::from_seed(ORIGIN, &[seed; 32]))
}

fn vkey(seed: u8) -> Vkey {
    Vkey::parse(&signer(seed).vkey()).unwrap()
}

/// What is known of a key, by an obvious model.
#[derive(Clone, Debug)]
struct Model {
    seed: u8,
    from: u64,
    until: u64,
    good: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Rotate,
    /// Index of a key, and its last good size.
    Revoke(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Rotate),
        1 => (0..6usize, 0..60u64).prop_map(|(key, good)| Step::Revoke(key, good)),
    ]
}

fn head_by(seed: u8, size: u64) -> String {
    checkpoint::sign(ORIGIN, &Head { size, root: [1; 32] }, signer(seed).as_ref()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// After any history each key signs the sizes that the model says, and nothing that is refused leaves a trace.
    #[test]
    fn windows_are_those_of_the_model(steps in proptest::collection::vec((step(), 1..9u64), 0..9)) {
        let mut keys = Keyring::from(vkey(1));
        let mut model = vec![Model { seed: 1, from: 0, until: u64::MAX, good: u64::MAX }];
        let mut size = 0;
        for (step, grown) in steps {
            size += grown;
            let after = Head { size, root: [1; 32] };
            let current = model.len() as u8;
            let (change, coming) = match step {
                Step::Rotate => (Change::Rotate { vkey: vkey(current + 1), after }, Some(signer(current + 1))),
                Step::Revoke(key, good) => {
                    let key = vkey(u8::try_from(key).unwrap() + 1).id();
                    (Change::Revoke { key, good, after }, None)
                }
            };
            let note = change.sign(ORIGIN, signer(current).as_ref(), coming.as_deref()).unwrap();
            let before = keys.clone();
            let followed = keys.follow(note.as_bytes()).cloned();
            let allowed = match step {
                Step::Rotate => {
                    model.last_mut().unwrap().until = size;
                    let (from, until, good) = (size + 1, u64::MAX, u64::MAX);
                    model.push(Model { seed: current + 1, from, until, good });
                    true
                }
                Step::Revoke(key, good) => {
                    let earlier = key + 1 < model.len();
                    let takes = earlier && good < model[key].until && good < model[key].good;
                    if takes {
                        model[key].good = good;
                    }
                    takes
                }
            };
            prop_assert_eq!(followed.is_ok(), allowed);
            if !allowed {
                prop_assert_eq!(&keys, &before);
            }
        }
        for Model { seed, from, until, good } in model {
            for size in [from.saturating_sub(1), from, good.min(99), good.min(99) + 1, until.min(99), until.min(99) + 1] {
                let note = head_by(seed, size);
                let signs = (from..=until).contains(&size);
                prop_assert_eq!(keys.head(note.as_bytes()).is_ok(), signs && size <= good);
                prop_assert_eq!(keys.head_to_compare(note.as_bytes()).is_ok(), signs);
            }
        }
    }
}

#[test]
fn notes_of_a_directory_are_taken_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let rotate = |from: u8, size| {
        let change = Change::Rotate { vkey: vkey(from + 1), after: Head { size, root: [1; 32] } };
        change.sign(ORIGIN, signer(from).as_ref(), Some(signer(from + 1).as_ref())).unwrap()
    };
    assert_eq!(Keyring::of_directory(&vkey(1), dir.path()).unwrap(), vkey(1).into());
    std::fs::create_dir(dir.path().join("key")).unwrap();
    std::fs::write(dir.path().join("key/0001.note"), rotate(1, 5)).unwrap();
    std::fs::write(dir.path().join("key/0001.note.tmp"), "half a note").unwrap();
    std::fs::write(dir.path().join("key/0002.note"), rotate(2, 9)).unwrap();
    let keys = Keyring::of_directory(&vkey(1), dir.path()).unwrap();
    assert_eq!((keys.current(), keys.first()), (&vkey(3), &vkey(1)));
    let paths: Vec<_> = keys.notes().map(|(path, _)| path).collect();
    assert_eq!(paths, ["key/0001.note", "key/0002.note"]);
    // A gap is not passed over, whatever follows it.
    std::fs::rename(dir.path().join("key/0002.note"), dir.path().join("key/0003.note")).unwrap();
    let gap = Keyring::of_directory(&vkey(1), dir.path()).unwrap_err();
    assert!(matches!(&gap, FollowError::Io { path, .. } if path == "key/0002.note"), "{gap}");
}
