//! What operators watch, end to end: spans that reach a collector and numbers on the metrics page.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use anyhow::{Context as _, ensure};
use fixtures::clients::{self, Access};
use fixtures::process::Launch;

/// An OTLP/HTTP collector on loopback that keeps every body it is sent.
fn collector() -> anyhow::Result<(String, mpsc::Receiver<Vec<u8>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || receive(socket, &sender));
        }
    });
    Ok((endpoint, received))
}

/// Answers the requests of one connection until the client closes it.
fn receive(socket: TcpStream, bodies: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let mut body = vec![0; length.and_then(|text| text.trim().parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body)?;
        assert!(head.starts_with("POST /v1/traces "), "{head}");
        let _ = bodies.send(body);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

#[test]
fn spans_and_numbers_of_real_requests() -> anyhow::Result<()> {
    let (endpoint, received) = collector()?;
    let scratch = tempfile::tempdir()?;
    let server = Launch::new(Path::new(env!("CARGO_BIN_EXE_appliance")), scratch.path())
        .argument("--otlp-endpoint")
        .argument(&endpoint)
        .argument("--metrics")
        .argument("public")
        .start()?;
    let access = Access::root(&server)?;
    std::fs::write(scratch.path().join("body"), b"watched")?;
    for script in [
        "aws s3api create-bucket --bucket watched",
        "aws s3api put-object --bucket watched --key k --body \"$SCRATCH/body\"",
        "aws s3api get-object --bucket watched --key k \"$SCRATCH/got\"",
    ] {
        let mut command = clients::shell(script, scratch.path())?;
        access.export(&mut command);
        let output = command.output()?;
        ensure!(output.status.success(), "{script}: {}", clients::text(&output));
    }
    let url = format!("{}/minio/v2/metrics/cluster", server.ready()?.endpoint);
    let (status, page) = clients::fetch(&url, None, &access, scratch.path())?;
    ensure!(status == 200, "the metrics page answers {status}");
    let page = String::from_utf8(page)?;
    let number = |name: &str| -> anyhow::Result<f64> {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no `{name}` in\n{page}"))?.parse().context("a number")
    };
    for (name, least) in [
        ("appliance_decision_seconds_count", 3.0),
        ("appliance_audit_append_seconds_count", 5.0),
        ("appliance_audit_index_up", 1.0),
        ("appliance_audit_tiles_up", 1.0),
        ("appliance_kms_requests_total{operation=\"GenerateDataKey\",result=\"success\"}", 1.0),
        ("appliance_kms_requests_total{operation=\"Decrypt\",result=\"success\"}", 1.0),
        ("minio_s3_requests_total{api=\"PutObject\"}", 1.0),
    ] {
        let found = number(name)?;
        ensure!(found >= least, "`{name}` is {found}, below {least}");
    }
    let (_, status) = server.stop()?;
    ensure!(status.success(), "the server ended with {status}");
    // The server has exported everything before it ended.
    let bodies: Vec<Vec<u8>> = received.try_iter().collect();
    let names = ["request", "s3", "authenticate", "authorize", "kms", "storage", "PutObject"];
    let found: BTreeSet<&str> = names
        .into_iter()
        .filter(|name| {
            bodies.iter().any(|body| body.windows(name.len()).any(|part| part == name.as_bytes()))
        })
        .collect();
    ensure!(found.len() == names.len(), "of {names:?} only {found:?} reached the collector");
    Ok(())
}
