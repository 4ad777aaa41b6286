//! Debian's rsyslog receives syslog over TLS: framing, header, structured data and text are what another author's parser
//! makes of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use appliance::siem::{Destination, Format, Kind};

use super::receiver::Authority;
use super::scene::{ORIGIN, Scene, destination, formatted, until, until_status};

/// An rsyslogd of our own: its configuration, port and output lie in a scratch directory. Ends with the value.
struct Rsyslog {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Rsyslog {
    async fn start(directory: &Path, authority: &Authority) -> Self {
        let (certificate, key) = authority.issue("receiver");
        let port_file = directory.join("port");
        let configuration = format!(
            r#"global(workDirectory="{dir}" maxMessageSize="128k"
                   defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"
                   defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
               module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
               template(name="parsed" type="string"
                   string="%pri%\t%timestamp:::date-rfc3339%\t%hostname%\t%app-name%\t%msgid%\t%structured-data%\t%msg%\n")
               input(type="imtcp" port="0" listenPortFileName="{port}")
               action(type="omfile" file="{dir}/received.log" template="parsed")"#,
            dir = directory.display(),
            ca = authority.ca().display(),
            certificate = certificate.display(),
            key = key.display(),
            port = port_file.display(),
        );
        let file = directory.join("rsyslog.conf");
        std::fs::write(&file, configuration).unwrap();
        let said = std::fs::File::create(directory.join("rsyslogd.log")).unwrap();
        let child = Command::new("/usr/sbin/rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(&file)
            .arg("-i")
            .arg(directory.join("pid"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .expect("rsyslogd does not start; `./test` installs it");
        let mut rsyslog = Self { child, directory: directory.to_owned(), port: 0 };
        let port = until("rsyslogd listening", || {
            std::fs::read_to_string(&port_file).ok()?.trim().parse().ok()
        });
        rsyslog.port = port.await;
        rsyslog
    }

    /// What was received, message by message, as fields.
    fn received(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.directory.join("received.log")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let fields = |line: &str| line.splitn(7, '\t').map(ToOwned::to_owned).collect();
        whole.lines().filter(|line| line.contains("audit@32473")).map(fields).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_understands_every_message_over_tls() {
    let scene = Scene::new();
    let authority = Authority::new(&scene.path().join("tls"));
    let directory = scene.path().join("rsyslog");
    std::fs::create_dir_all(&directory).unwrap();
    let rsyslog = Rsyslog::start(&directory, &authority).await;
    let url = format!("tls://127.0.0.1:{}", rsyslog.port);
    let native = destination(Kind::Syslog, &url, Some(authority.ca()));
    let seqs = scene.write(50, "a ] \"quoted\" key = ключ");
    let deliveries = scene.start(&native);
    let status = until_status(&deliveries, "delivery", |status| status.delivered == 50).await;
    assert_eq!(status.guarantee, "sent");
    let received =
        until("all messages", || Some(rsyslog.received()).filter(|received| received.len() >= 50));
    let received = received.await;
    deliveries.stop();
    assert_eq!(received.len(), 50);
    for (fields, seq) in received.iter().zip(&seqs) {
        let [pri, time, host, app, id, data, text] = &fields[..] else { panic!("{fields:?}") };
        let leaf = audit::read_record(&scene.house.audit_dir, *seq).unwrap().unwrap();
        let record: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
        assert_eq!((pri.as_str(), app.as_str(), id.as_str()), ("109", "appliance", "s3:GetObject"));
        assert_eq!(host, record["node"].as_str().unwrap());
        assert_eq!(time.get(..19), record["time"].as_str().unwrap().get(..19));
        let event = record["event"].as_str().unwrap();
        let expected = format!(
            "[audit@32473 seq=\"{seq}\" event=\"{event}\" class=\"data\" origin=\"{ORIGIN}\"]"
        );
        assert_eq!(*data, expected);
        assert_eq!(text.trim_start().as_bytes(), leaf);
    }

    let cef = Destination { name: "cef".into(), ..formatted(native, Format::Cef) };
    let deliveries = scene.start(&cef);
    until_status(&deliveries, "delivery", |status| status.delivered == 50).await;
    deliveries.stop();
    let received =
        until("all messages", || Some(rsyslog.received()).filter(|received| received.len() >= 100));
    let received = received.await;
    let text = received[50][6].trim_start();
    assert!(
        text.starts_with("CEF:0|appliance|appliance|0.1.0|s3:GetObject|GetObject|3|"),
        "{text}"
    );
    assert!(text.contains("key \\= ключ"), "{text}");
}
