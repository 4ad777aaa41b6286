use std::path::Path;

use policy_lab::PrincipalKind;
use storage::StoreConfig;
use zeroize::Zeroizing;

use super::*;
use crate::s3::auth::Secrets;

const READ_LEDGER: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::ledger/*"}]}"#;

/// A store on one drive in `dir`.
pub(crate) fn store_in(dir: &Path) -> Store {
    Store::open(StoreConfig {
        drives: vec![dir.join("drive1")],
        deployment: "2f1c5a86-6d0b-4a8f-9d0e-0a1b2c3d4e5f".into(),
        row_key: [9; 32].into(),
        parity: None,
    })
    .unwrap()
}

pub(crate) fn root() -> RootCredentials {
    RootCredentials {
        access_key: "operator".into(),
        secret_key: Zeroizing::new("correct-horse-battery".into()),
    }
}

pub(crate) async fn iam_on(store: &Store) -> Arc<Iam> {
    Iam::load(store.clone(), root(), "000000000042").await.unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn user(name: &str) -> Entity {
    Entity::User(name.into())
}

fn attached(iam: &Iam, name: &str) -> Vec<String> {
    let snapshot = iam.snapshot();
    let principal = snapshot.credential(name).unwrap().principal;
    let policies = snapshot.identity_policies(&principal);
    policies.iter().map(|attached| attached.name.to_string()).collect()
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = store_in(dir.path());
        let iam = iam_on(&store).await;
        iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
        iam.put_policy("read-ledger", READ_LEDGER, 2).await.unwrap();
        iam.add_members("auditors", &names(&["alice"]), 3).await.unwrap();
        let group = Entity::Group("auditors".into());
        assert_eq!(iam.attach(&names(&["read-ledger"]), &group, 4).await.unwrap(), ["read-ledger"]);
        iam.attach(&names(&["diagnostics"]), &user("alice"), 5).await.unwrap();
        store.close();
    }
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    assert_eq!(attached(&iam, "alice"), ["diagnostics", "read-ledger"]);
    let credential = iam.snapshot().credential("alice").unwrap();
    assert_eq!(credential.secret.expose(), "alice-secret-1");
    assert_eq!(credential.principal.arn, "arn:aws:iam::000000000042:user/alice");
    assert_eq!(credential.principal.groups, ["auditors"]);
    let written = iam.snapshot().policy("read-ledger").unwrap().written.unwrap();
    assert_eq!((written.created_us, written.updated_us), (2, 2));
    assert_eq!(iam.snapshot().user("alice").unwrap().updated_us, 5);
    store.close();
}

#[tokio::test]
async fn root_is_root_and_needs_no_policy() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    let credential = iam.snapshot().credential("operator").unwrap();
    assert_eq!(credential.principal.kind, PrincipalKind::Root);
    assert_eq!(credential.principal.arn, "arn:aws:iam::000000000042:root");
    assert!(iam.snapshot().identity_policies(&credential.principal).is_empty());
    for refused in [
        iam.add_user("operator", "another-secret", Status::Enabled, 1).await,
        iam.remove_user("operator", 1).await,
        iam.set_user_status("operator", Status::Disabled, 1).await,
        iam.add_members("g", &names(&["operator"]), 1).await,
        iam.set_policy(&names(&["readonly"]), &user("operator"), 1).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), IamErrorKind::IsRoot);
    }
    assert!(iam.snapshot().identity_policies(&anonymous()).is_empty());
    store.close();
}

#[tokio::test]
async fn a_disabled_user_cannot_sign_and_a_disabled_group_gives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
    iam.add_members("readers", &names(&["alice"]), 1).await.unwrap();
    iam.set_policy(&names(&["readonly"]), &Entity::Group("readers".into()), 1).await.unwrap();
    assert_eq!(attached(&iam, "alice"), ["readonly"]);

    iam.set_group_status("readers", Status::Disabled, 2).await.unwrap();
    assert!(attached(&iam, "alice").is_empty());
    assert!(iam.snapshot().credential("alice").unwrap().principal.groups.is_empty());
    assert_eq!(iam.snapshot().groups_of("alice").len(), 1, "it is still listed");

    assert!(iam.snapshot().secret("alice").is_some());
    iam.set_user_status("alice", Status::Disabled, 3).await.unwrap();
    assert!(iam.snapshot().secret("alice").is_none());
    assert!(!iam.snapshot().credential("alice").unwrap().enabled);
    iam.set_user_status("alice", Status::Enabled, 4).await.unwrap();
    assert!(iam.snapshot().secret("alice").is_some());
    store.close();
}

#[tokio::test]
async fn a_policy_in_use_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
    iam.put_policy("read-ledger", READ_LEDGER, 1).await.unwrap();
    iam.attach(&names(&["read-ledger"]), &user("alice"), 1).await.unwrap();
    let refused = iam.delete_policy("read-ledger").await.unwrap_err();
    assert!(matches!(refused, IamError::PolicyInUse { entity, .. } if entity == "alice"));
    assert_eq!(iam.detach(&names(&["read-ledger"]), &user("alice"), 2).await.unwrap().len(), 1);
    assert!(iam.detach(&names(&["read-ledger"]), &user("alice"), 2).await.unwrap().is_empty());
    iam.delete_policy("read-ledger").await.unwrap();
    assert_eq!(
        iam.delete_policy("read-ledger").await.unwrap_err().kind(),
        IamErrorKind::NoSuchPolicy
    );
    store.close();
}

#[tokio::test]
async fn a_replaced_canned_policy_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    assert_eq!(iam.snapshot().policies().count(), 7);
    let canned = iam.snapshot().policy("readonly").unwrap().source().to_owned();
    iam.put_policy("readonly", READ_LEDGER, 1).await.unwrap();
    assert_eq!(iam.snapshot().policy("readonly").unwrap().source(), READ_LEDGER);
    iam.delete_policy("readonly").await.unwrap();
    assert_eq!(iam.snapshot().policy("readonly").unwrap().source(), canned);
    iam.delete_policy("readonly").await.unwrap();
    assert!(iam.snapshot().policy("readonly").is_some());
    store.close();
}

#[tokio::test]
async fn what_is_unknown_or_malformed_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
    let kinds = [
        (iam.put_policy("p", "{", 1).await, IamErrorKind::Malformed),
        (iam.put_policy("a,b", READ_LEDGER, 1).await, IamErrorKind::InvalidName),
        (iam.add_user("bob", "short", Status::Enabled, 1).await, IamErrorKind::InvalidSecret),
        (iam.add_user("b=b", "bob-secret-1", Status::Enabled, 1).await, IamErrorKind::InvalidName),
        (iam.remove_user("bob", 1).await, IamErrorKind::NoSuchUser),
        (iam.add_members("g", &names(&["alice", "bob"]), 1).await, IamErrorKind::NoSuchUser),
        (iam.remove_group("g").await, IamErrorKind::NoSuchGroup),
        (iam.set_policy(&names(&["p"]), &user("alice"), 1).await, IamErrorKind::NoSuchPolicy),
    ];
    for (answer, kind) in kinds {
        assert_eq!(answer.unwrap_err().kind(), kind);
    }
    let snapshot = iam.snapshot();
    assert_eq!((snapshot.users().count(), snapshot.groups().count()), (1, 0));
    store.close();
}

#[tokio::test]
async fn a_user_of_the_same_name_inherits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
    iam.add_members("readers", &names(&["alice"]), 1).await.unwrap();
    iam.set_policy(&names(&["readonly"]), &Entity::Group("readers".into()), 1).await.unwrap();
    iam.set_policy(&names(&["consoleAdmin"]), &user("alice"), 1).await.unwrap();
    assert_eq!(iam.remove_group("readers").await.unwrap_err().kind(), IamErrorKind::GroupNotEmpty);
    iam.remove_user("alice", 2).await.unwrap();
    iam.add_user("alice", "alice-secret-2", Status::Enabled, 3).await.unwrap();
    assert!(attached(&iam, "alice").is_empty());
    iam.remove_group("readers").await.unwrap();
    store.close();
}

#[tokio::test]
async fn a_new_secret_keeps_policies() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "alice-secret-1", Status::Enabled, 1).await.unwrap();
    iam.attach(&names(&["readonly"]), &user("alice"), 1).await.unwrap();
    iam.add_user("alice", "alice-secret-2", Status::Enabled, 2).await.unwrap();
    assert_eq!(attached(&iam, "alice"), ["readonly"]);
    assert_eq!(iam.snapshot().secret("alice").unwrap().expose(), "alice-secret-2");
    store.close();
}

#[tokio::test]
async fn a_row_of_a_newer_version_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    for (row, value) in [("user/eve", r#"{"v":2}"#), ("session/x", "{}"), ("user/eve", "junk")] {
        store.put_row("iam", row, bytes::Bytes::from_static(value.as_bytes())).await.unwrap();
        let refused = Iam::load(store.clone(), root(), "000000000042").await.unwrap_err();
        assert!(matches!(refused, IamError::Damaged { .. }), "{row}: {refused}");
        store.delete_row("iam", row).await.unwrap();
    }
    store.close();
}

#[tokio::test]
async fn secrets_are_not_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let iam = iam_on(&store).await;
    iam.add_user("alice", "needle-in-a-haystack", Status::Enabled, 1).await.unwrap();
    assert!(
        !format!("{iam:?} {:?} {:?}", iam.snapshot(), iam.snapshot().user("alice"))
            .contains("needle")
    );
    store.close();
    let mut directories = vec![dir.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(6).any(|window| window == b"needle"), "{}", path.display());
            }
        }
    }
}
