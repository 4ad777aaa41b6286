use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

fn open(dir: &Path) -> Result<Material, BootstrapError> {
    Bootstrap::open_or_create(&Resolved::in_directory(dir))
}

fn refused(dir: &Path) -> String {
    open(dir).unwrap_err().to_string()
}

#[test]
fn the_second_start_reuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let certificate = fs::read(first.paths.certs_dir.join("public.crt")).unwrap();
    assert!(first.first_run);
    assert_eq!(first.root_source, RootSource::Generated);
    assert_eq!(open(dir.path()).unwrap().root_source, RootSource::Generated, "not told yet");
    first.paths.announced().unwrap();
    let second = open(dir.path()).unwrap();
    assert!(!second.first_run);
    assert_eq!(second.root_source, RootSource::Stored);
    assert_eq!(second.deployment_id, first.deployment_id);
    assert_eq!((&second.account, &second.origin), (&first.account, &first.origin));
    assert_eq!(second.audit_seed, first.audit_seed);
    assert_eq!(second.kms_root_key, first.kms_root_key);
    assert_eq!(second.row_key, first.row_key);
    assert_eq!(second.root.secret_key, first.root.secret_key);
    assert_eq!(fs::read(second.paths.certs_dir.join("public.crt")).unwrap(), certificate);
    let vkey = fs::read_to_string(&first.paths.audit_vkey).unwrap();
    assert!(vkey.starts_with(&format!("{}+", first.origin)), "{vkey}");
    assert!(first.paths.ca_cert.ends_with("config/ca/ca.crt"));
    assert!(!format!("{first:?}").contains(first.root.secret_key.as_str()));
}

#[test]
fn two_deployments_share_nothing() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open(one.path()).unwrap(), open(other.path()).unwrap());
    assert_ne!(one.deployment_id, other.deployment_id);
    assert_ne!(one.kms_root_key, other.kms_root_key);
    assert_ne!(one.root.secret_key, other.root.secret_key);
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let material = open(dir.path()).unwrap();
    material.write_root_credentials().unwrap();
    let config = dir.path().join("config");
    let mode = |path: &str| fs::metadata(config.join(path)).unwrap().permissions().mode() & 0o777;
    for file in [
        "deployment.json",
        "keys/audit.key",
        "keys/kms.key",
        "keys/row.key",
        "keys/root.json",
        "ca/ca.key",
        "certs/private.key",
        "bootstrap/root-credentials",
    ] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    for dir in ["", "keys", "ca", "certs", "bootstrap"] {
        assert_eq!(mode(dir), 0o700, "{dir}");
    }
    assert_eq!(mode("certs/public.crt"), 0o644);
    let text = fs::read_to_string(config.join("bootstrap/root-credentials")).unwrap();
    let expected = format!(
        "MINIO_ROOT_USER={}\nMINIO_ROOT_PASSWORD={}\n",
        material.root.access_key,
        material.root.secret_key.as_str()
    );
    assert_eq!(text, expected);
}

#[test]
fn given_credentials_win_and_are_not_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let mut resolved = Resolved::in_directory(dir.path());
    resolved.root = Some(RootCredentials {
        access_key: "operator".into(),
        secret_key: Zeroizing::new("correct-horse-battery".into()),
    });
    let material = Bootstrap::open_or_create(&resolved).unwrap();
    assert_eq!(material.root_source, RootSource::Given);
    assert_eq!(material.root.access_key, "operator");
    assert!(!dir.path().join("config/keys/root.json").exists());
}

/// An interrupted first run leaves any prefix of the files that it makes, in the order in which it makes them.
#[test]
fn a_half_finished_first_run_is_continued() {
    let made = [
        "deployment.json.begun",
        "keys/audit.key",
        "keys/kms.key",
        "keys/row.key",
        "keys/root.json",
        "ca/ca.key",
        "ca/ca.crt",
        "certs/private.key",
        "certs/public.crt",
        "audit.vkey",
    ];
    for kept in 0..=made.len() {
        let dir = tempfile::tempdir().unwrap();
        let whole = open(dir.path()).unwrap();
        let config = dir.path().join("config");
        fs::write(
            config.join("deployment.json.begun"),
            format!("{{\"format\":1,\"id\":\"{}\"}}", whole.deployment_id),
        )
        .unwrap();
        fs::remove_file(config.join("deployment.json")).unwrap();
        for file in made.iter().skip(kept) {
            fs::remove_file(config.join(file)).unwrap();
        }
        let resumed = open(dir.path()).unwrap();
        assert!(resumed.first_run, "{kept} files kept");
        assert_eq!(resumed.deployment_id == whole.deployment_id, kept > 0, "{kept} files kept");
        assert_eq!(resumed.audit_seed == whole.audit_seed, kept > 1, "{kept} files kept");
        assert_eq!(resumed.kms_root_key == whole.kms_root_key, kept > 2, "{kept} files kept");
        let again = open(dir.path()).unwrap();
        assert_eq!(again.audit_seed, resumed.audit_seed);
        assert!(!again.first_run);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/deployment.json"), "{\"format\": 2, \"other\": []}").unwrap();
    let error = refused(dir.path());
    assert!(error.contains("has format 2") && error.contains("newer release"), "{error}");
    assert!(!dir.path().join("config/keys").exists(), "nothing may be made");
}

#[test]
fn data_of_another_deployment_is_refused() {
    for place in ["audit/log.json", "drive3/format.json"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        let error = refused(dir.path());
        assert!(error.contains("holds data of a deployment"), "{error}");
        assert!(!dir.path().join("config/keys").exists(), "nothing may be made");
    }
}

#[test]
fn a_key_of_another_deployment_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(one.path()).unwrap();
    open(other.path()).unwrap();
    let key = "config/keys/kms.key";
    fs::copy(other.path().join(key), one.path().join(key)).unwrap();
    let error = refused(one.path());
    assert!(error.contains("kms.key` belongs to another deployment"), "{error}");
}

#[test]
fn lost_and_damaged_files_are_named() {
    for (file, content, expected) in [
        ("keys/kms.key", None, "cannot be made again"),
        ("keys/audit.key", None, "cannot be made again"),
        ("keys/row.key", Some("title\nAAAA\n"), "does not have 32 bytes"),
        ("keys/row.key", Some("title"), "second line is missing"),
        ("keys/row.key", Some("title\n!!\n"), "not base64"),
        ("keys/root.json", Some("{"), "is damaged"),
        ("deployment.json", Some("{"), "is damaged"),
        ("deployment.json", Some("{\"format\":1,\"id\":\"../../etc\"}"), "no UUID"),
        ("certs/private.key", None, "no private.key beside it"),
        ("certs/public.crt", Some("x"), "no certificate"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).unwrap();
        let path = dir.path().join("config").join(file);
        match content {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = refused(dir.path());
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn a_secret_that_everybody_can_read_is_not_used() {
    for file in ["keys/kms.key", "keys/root.json"] {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).unwrap();
        let path = dir.path().join("config").join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("chmod 600") && error.contains(file), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        open(dir.path()).unwrap();
    }
}

#[test]
fn our_certificate_is_renewed_and_the_operators_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let resolved = Resolved::in_directory(dir.path());
    let material = Bootstrap::open_or_create(&resolved).unwrap();
    let source = CertificateSource::of(&resolved, &material.deployment_id);
    let crt = material.paths.certs_dir.join("public.crt");
    let key = material.paths.certs_dir.join("private.key");
    let (old_crt, old_key) = (fs::read(&crt).unwrap(), fs::read(&key).unwrap());
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    assert_eq!(source.renew(now + 30 * day).unwrap(), Renewal::NotDue);
    assert_eq!(source.renew(now + 61 * day).unwrap(), Renewal::Issued);
    assert_ne!(fs::read(&crt).unwrap(), old_crt);
    assert_eq!(fs::read(&key).unwrap(), old_key);

    let theirs = rcgen::generate_simple_self_signed(vec!["s3.example".to_owned()]).unwrap();
    fs::write(&crt, theirs.cert.pem()).unwrap();
    fs::write(&key, theirs.signing_key.serialize_pem()).unwrap();
    assert_eq!(source.renew(now + 5000 * day).unwrap(), Renewal::NotOurs);
    assert_eq!(open(dir.path()).unwrap().paths.ca_cert, crt);
    assert_eq!(fs::read(&crt).unwrap(), theirs.cert.pem().into_bytes());
}

#[test]
fn a_new_address_is_added_to_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let mut resolved = Resolved::in_directory(dir.path());
    let material = Bootstrap::open_or_create(&resolved).unwrap();
    let crt = material.paths.certs_dir.join("public.crt");
    let before = fs::read(&crt).unwrap();
    resolved.address = "127.0.0.9:0".parse().unwrap();
    Bootstrap::open_or_create(&resolved).unwrap();
    assert_ne!(fs::read(&crt).unwrap(), before);
}
