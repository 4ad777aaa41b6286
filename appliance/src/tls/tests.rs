use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection};

use super::*;

/// Far beyond any honest wait; reaching it is the failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// A self-signed pair for `name`, written to `dir`; returns the certificate.
fn write_pair(dir: &Path, name: &str) -> rcgen::Certificate {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("public.crt"), cert.pem()).unwrap();
    fs::write(dir.join("private.key"), key.serialize_pem()).unwrap();
    cert
}

/// The certificate that a client which asks for `name` is shown; handshake in memory.
fn shown(store: &Arc<CertStore>, name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(accept_any::AcceptAny))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(server_config(Arc::clone(store)).unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        transfer(&mut client, &mut server);
        transfer(&mut server, &mut client);
    }
    client.peer_certificates().unwrap()[0].to_vec()
}

/// Moves what one side wrote to the other.
fn transfer<A, B, S, T>(from: &mut A, to: &mut B)
where
    A: std::ops::DerefMut<Target = rustls::ConnectionCommon<S>>,
    B: std::ops::DerefMut<Target = rustls::ConnectionCommon<T>>,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// These tests ask which certificate is chosen, not whether it is trusted.
mod accept_any {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct AcceptAny;

    impl ServerCertVerifier for AcceptAny {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_pair() {
    let dir = tempfile::tempdir().unwrap();
    let top = write_pair(dir.path(), "s3.example");
    let one = write_pair(&dir.path().join("any-name"), "data.example");
    let wild = write_pair(&dir.path().join("other"), "*.wild.example");
    let hidden = write_pair(&dir.path().join("..data"), "hidden.example");
    let usurper = write_pair(&dir.path().join("usurper"), "s3.example");
    let store = Arc::new(CertStore::open(dir.path()).unwrap());
    for (name, expected) in [
        ("s3.example", &top),
        ("S3.Example", &top),
        ("data.example", &one),
        ("a.wild.example", &wild),
        ("a.b.wild.example", &top),
        ("wild.example", &top),
        ("hidden.example", &top),
        ("unknown.example", &top),
        ("127.0.0.1", &top),
    ] {
        assert_eq!(shown(&store, name), expected.der().to_vec(), "{name}");
    }
    assert_ne!(hidden.der(), usurper.der());
    assert_eq!(store.pairs().len(), 4);
}

#[test]
fn a_bad_top_level_pair_refuses_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let error = |dir: &Path| CertStore::open(dir).unwrap_err().to_string();
    assert!(error(dir.path()).contains("reading"));
    write_pair(dir.path(), "s3.example");
    fs::write(dir.path().join("public.crt"), "no certificate").unwrap();
    assert!(error(dir.path()).contains("is no certificate"));
    write_pair(dir.path(), "s3.example");
    let key = KeyPair::generate().unwrap().serialize_pem();
    fs::write(dir.path().join("private.key"), key).unwrap();
    assert!(error(dir.path()).contains("does not belong"));
}

#[test]
fn a_good_replacement_is_taken_over_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    let (top, side) = (write_pair(dir.path(), "s3.example"), write_pair(&sub, "data.example"));
    let store = Arc::new(CertStore::open(dir.path()).unwrap());
    assert!(!store.reload().changed);

    // Half a replacement, as an operator's two copies leave it for a moment.
    fs::write(dir.path().join("private.key"), KeyPair::generate().unwrap().serialize_pem())
        .unwrap();
    fs::write(sub.join("public.crt"), "no certificate").unwrap();
    let reload = store.reload();
    assert!(!reload.changed);
    assert_eq!(reload.problems.len(), 2);
    assert_eq!(shown(&store, "s3.example"), top.der().to_vec());
    assert_eq!(shown(&store, "data.example"), side.der().to_vec());
    assert!(store.reload().problems.is_empty(), "the same bad files are reported once");

    let new = write_pair(dir.path(), "s3.example");
    assert!(store.reload().changed);
    assert_eq!(shown(&store, "s3.example"), new.der().to_vec());
    fs::remove_dir_all(&sub).unwrap();
    assert!(store.reload().changed);
    assert_eq!(shown(&store, "data.example"), new.der().to_vec());
}

#[test]
fn authorities_are_loaded_and_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    write_pair(dir.path(), "s3.example");
    let store = CertStore::open(dir.path()).unwrap();
    assert_eq!(store.authorities().len(), 1);
    let cas = dir.path().join("CAs");
    let other = write_pair(&dir.path().join("elsewhere/deep"), "kes.example");
    fs::create_dir(&cas).unwrap();
    fs::write(cas.join("kes.pem"), other.pem()).unwrap();
    fs::write(cas.join("readme.txt"), "nothing").unwrap();
    assert!(store.reload().changed);
    assert_eq!(store.authorities().len(), 2);
}

#[tokio::test]
async fn the_watch_looks_when_told_and_by_itself() {
    for (interval, told) in [(Duration::from_secs(3600), true), (Duration::from_millis(1), false)] {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path(), "s3.example");
        let store = Arc::new(CertStore::open(dir.path()).unwrap());
        let watch = Watch::start(Arc::clone(&store), interval);
        let new = write_pair(dir.path(), "s3.example");
        if told {
            watch.look();
        }
        tokio::time::timeout(DEADLINE, until_shown(&store, &new)).await.unwrap();
    }
}

async fn until_shown(store: &CertStore, new: &rcgen::Certificate) {
    let wanted: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(new.der()).into();
    while store.default_pair().fingerprint != wanted {
        tokio::task::yield_now().await;
    }
}
