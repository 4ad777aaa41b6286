use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};

use super::*;

/// Receives one HTTP request on loopback and hands out its head and body.
fn receiver() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            })
            .unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        reader.get_mut().write_all(answer).unwrap();
        sender.send((head, body)).unwrap();
    });
    (endpoint, received)
}

/// A writer that a test can read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn options(format: LogFormat) -> Options<'static> {
    Options { filter: "info", format, otlp_endpoint: None, instance: "test" }
}

#[test]
fn a_span_reaches_the_collector_before_stop_returns() {
    let (endpoint, received) = receiver();
    let lines = Lines::default();
    let writer = lines.clone();
    let options = Options { otlp_endpoint: Some(&endpoint), ..options(LogFormat::Text) };
    let (subscriber, telemetry) = subscriber(&options, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("put_object", bucket = "first").in_scope(|| tracing::info!("stored"));
    });
    telemetry.stop();
    let (head, body) = received.try_recv().unwrap();
    let contains = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(head.starts_with("POST /v1/traces "), "{head}");
    assert!(head.contains("application/x-protobuf"), "{head}");
    for text in ["put_object", "bucket", "first", "service.name", "appliance", "test"] {
        assert!(contains(text), "{text} is missing");
    }
    assert!(lines.text().contains("stored"), "{}", lines.text());
}

#[test]
fn request_spans_exist_only_for_a_collector() {
    let enabled = |options: &Options<'_>| {
        let (subscriber, _telemetry) = subscriber(options, io::sink).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            !tracing::info_span!(target: "request", "request").is_disabled()
        })
    };
    let without = options(LogFormat::Text);
    assert!(!enabled(&without));
    assert!(enabled(&Options { filter: "info,request=info", ..without }));
    let (endpoint, _received) = receiver();
    assert!(enabled(&Options { otlp_endpoint: Some(&endpoint), ..without }));
}

#[test]
fn json_lines_are_json() {
    let lines = Lines::default();
    let writer = lines.clone();
    let (subscriber, _telemetry) =
        subscriber(&options(LogFormat::Json), move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(path = "a\"b", "opened");
        tracing::debug!("below the filter");
    });
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["fields"]["path"], "a\"b");
}

#[test]
fn a_bad_filter_is_named() {
    let options = Options { filter: "info,=,[", ..options(LogFormat::Text) };
    let error = subscriber(&options, io::sink).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("`info,=,[`"), "{error}");
}
