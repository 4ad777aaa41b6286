pub(crate) mod audited;

use std::sync::Arc;

use storage::{BucketName, KeyContext, KeyError, KeyService, ObjectKey};

use super::*;

const ROOT: [u8; 32] = [42; 32];

fn context(bucket: &str, key: &str) -> KeyContext {
    KeyContext {
        bucket: BucketName::parse(bucket).unwrap(),
        key: ObjectKey::parse(key).unwrap(),
        version: "null".into(),
        client: [].into(),
    }
}

fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("keys")).unwrap();
    dir
}

#[tokio::test]
async fn a_data_key_opens_under_its_own_context_only() {
    let dir = scratch();
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    let home = context("ledger", "2026/q3");
    let made = keys.generate(None, &home).await.unwrap();
    assert_eq!((made.sealed.key_id.as_str(), made.sealed.version), (DEFAULT_KEY, 1));
    assert_eq!(keys.unseal(&made.sealed, &home).await.unwrap(), made.key);
    for other in [context("ledger", "2026/q4"), context("ledgers", "2026/q3")] {
        assert!(matches!(keys.unseal(&made.sealed, &other).await, Err(KeyError::Invalid)));
    }
    let mut moved = home.clone();
    moved.version = "1".into();
    assert!(matches!(keys.unseal(&made.sealed, &moved).await, Err(KeyError::Invalid)));
}

#[tokio::test]
async fn data_keys_are_fresh() {
    let dir = scratch();
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    let home = context("ledger", "k");
    let (one, two) = (keys.generate(None, &home).await, keys.generate(None, &home).await);
    assert_ne!(one.unwrap().key, two.unwrap().key);
}

#[tokio::test]
async fn unknown_keys_and_versions_are_not_found() {
    let dir = scratch();
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    let home = context("ledger", "k");
    assert!(matches!(
        keys.generate(Some("nobody"), &home).await,
        Err(KeyError::NotFound { key_id }) if key_id == "nobody"
    ));
    let sealed = keys.generate(None, &home).await.unwrap().sealed;
    for version in [0, 2, u64::MAX] {
        let other = storage::SealedKey { version, ..sealed.clone() };
        assert!(matches!(keys.unseal(&other, &home).await, Err(KeyError::NotFound { .. })));
    }
    keys.create("second", 1).unwrap();
    let renamed = storage::SealedKey { key_id: "second".into(), ..sealed };
    assert!(matches!(keys.unseal(&renamed, &home).await, Err(KeyError::Invalid)));
}

#[tokio::test]
async fn keys_survive_a_restart_a_rotation_and_the_loss_of_the_file() {
    let dir = scratch();
    let home = context("ledger", "k");
    let before = {
        let keys = Local::open(dir.path(), &ROOT).unwrap();
        keys.create("team", 7).unwrap();
        let before = keys.generate(Some("team"), &home).await.unwrap();
        assert_eq!(keys.rotate("team").unwrap(), 2);
        before
    };
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    assert_eq!(keys.unseal(&before.sealed, &home).await.unwrap(), before.key);
    assert_eq!(keys.generate(Some("team"), &home).await.unwrap().sealed.version, 2);
    assert!(matches!(keys.create("team", 8), Err(KeystoreError::Exists(_))));
    assert!(matches!(keys.rotate("nobody"), Err(KeystoreError::NotFound(_))));

    std::fs::remove_file(dir.path().join("keys/kms.json")).unwrap();
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    keys.create("team", 9).unwrap();
    assert_eq!(keys.unseal(&before.sealed, &home).await.unwrap(), before.key);
}

#[tokio::test]
async fn an_imported_key_becomes_the_default_and_stays() {
    let dir = scratch();
    let home = context("ledger", "k");
    let text = format!("minio-key:{}", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=");
    let imported = Imported::parse(&text).unwrap();
    let made = {
        let keys = Local::open(dir.path(), &ROOT).unwrap();
        keys.import(&imported, 1).unwrap();
        keys.import(&imported, 2).unwrap();
        assert_eq!(keys.default_key(), "minio-key");
        keys.generate(None, &home).await.unwrap()
    };
    let file = std::fs::read_to_string(dir.path().join("keys/kms.json")).unwrap();
    assert!(!file.contains("QUFB"), "the material is not readable on disk");
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    assert_eq!(keys.unseal(&made.sealed, &home).await.unwrap(), made.key);
    let other = Imported::parse(&text.replace("QUFBQUFB", "QkJCQkJC")).unwrap();
    assert!(matches!(keys.import(&other, 3), Err(KeystoreError::Exists(_))));
}

#[test]
fn imports_are_32_bytes_under_a_plain_name() {
    for bad in [
        "",
        "name",
        "name:",
        "name:AAAA",
        ":QUFB",
        "a/b:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
    ] {
        assert!(Imported::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn files_of_others_are_refused_by_name() {
    let dir = scratch();
    Local::open(dir.path(), &ROOT).unwrap();
    assert!(matches!(
        Local::open(dir.path(), &[43; 32]),
        Err(KeystoreError::ForeignRootKey { .. })
    ));
    let file = dir.path().join("keys/kms.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"format\": 1", "\"format\": 2, \"new\": true")).unwrap();
    assert!(matches!(
        Local::open(dir.path(), &ROOT),
        Err(KeystoreError::NewerFormat { found: 2, .. })
    ));
    std::fs::write(&file, "{").unwrap();
    assert!(matches!(Local::open(dir.path(), &ROOT), Err(KeystoreError::Damaged { .. })));
}

#[test]
fn debug_shows_no_key() {
    let dir = scratch();
    let keys = Local::open(dir.path(), &ROOT).unwrap();
    assert!(!format!("{keys:?}").contains("42"));
    let _shared: Arc<dyn KeyService> = Arc::new(keys);
}
