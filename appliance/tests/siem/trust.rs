//! Whom the sender believes, and how it shows who it is.

use appliance::siem::{ClientTls, Deliveries, Destination, Kind, State};

use super::receiver::{Authority, Receiver, Reply};
use super::scene::{Scene, destination, until_status};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_an_unknown_authority_gets_nothing() {
    let scene = Scene::new();
    let ours = Authority::new(&scene.path().join("ours"));
    let theirs = Authority::new(&scene.path().join("theirs"));
    let receiver = Receiver::start(&theirs, None, |_| panic!("it was sent something")).await;
    scene.write(3, "secret");
    let deliveries = scene.start(&destination(Kind::Webhook, &receiver.url(), Some(ours.ca())));
    let status =
        until_status(&deliveries, "a refused handshake", |status| status.failed_attempts > 1).await;
    let error = status.last_error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!((status.delivered, status.state), (0, State::Retrying));
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_authorities_is_believed() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let cas = scene.house.certs_dir.join("CAs");
    std::fs::create_dir_all(&cas).unwrap();
    std::fs::copy(authority.ca(), cas.join("siem.crt")).unwrap();
    let receiver = Receiver::start(&authority, None, |_| Reply::new(200)).await;
    scene.write(3, "x");
    let deliveries = scene.start(&destination(Kind::Webhook, &receiver.url(), None));
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let clients = Authority::new(&scene.path().join("clients"));
    let receiver = Receiver::start(&authority, Some(&clients), |_| Reply::new(200)).await;
    scene.write(3, "x");
    let nobody = destination(Kind::Webhook, &receiver.url(), Some(authority.ca()));
    let deliveries = scene.start(&nobody);
    until_status(&deliveries, "a refusal", |status| status.failed_attempts > 1).await;
    assert_eq!(deliveries.status()[0].delivered, 0);
    deliveries.stop();

    let identity = Some(clients.issue("appliance"));
    let known = Destination { tls: ClientTls { identity, ..nobody.tls.clone() }, ..nobody };
    let deliveries = scene.start(&known);
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_none_stop_the_start() {
    let scene = Scene::new();
    let ca = Some(scene.path().join("nowhere.crt"));
    let broken = destination(Kind::Webhook, "https://127.0.0.1:1/", ca);
    let error = Deliveries::start(&[broken], scene.house.clone()).unwrap_err();
    assert!(error.to_string().contains("soc"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_authority_is_believed_at_the_next_attempt() {
    let scene = Scene::new();
    let old = Authority::new(&scene.path().join("old"));
    let new = Authority::new(&scene.path().join("new"));
    let receiver = Receiver::start(&new, None, |_| Reply::new(200)).await;
    scene.write(3, "x");
    let ca = scene.path().join("siem.crt");
    std::fs::copy(old.ca(), &ca).unwrap();
    let deliveries = scene.start(&destination(Kind::Webhook, &receiver.url(), Some(ca.clone())));
    until_status(&deliveries, "a refused handshake", |status| status.failed_attempts > 1).await;
    std::fs::write(&ca, "half a fi").unwrap();
    let failed = deliveries.status()[0].failed_attempts;
    until_status(&deliveries, "another", |status| status.failed_attempts > failed + 1).await;
    std::fs::copy(new.ca(), &ca).unwrap();
    until_status(&deliveries, "delivery", |status| status.delivered == 3).await;
    deliveries.stop();
}
