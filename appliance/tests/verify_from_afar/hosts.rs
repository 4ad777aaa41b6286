//! An exported log on a web server that may lie.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the host does with a request for one path; any other is answered as the file is.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    Honest,
    /// Other bytes.
    Gives(Vec<u8>),
    Status(&'static str),
    /// Half the file under its whole length, and the end of the connection.
    BreaksOff,
    /// A body without an end.
    Endless,
    /// Nothing at all.
    Silent,
    /// A byte now and then.
    Trickles,
    /// What is no HTTP.
    Babbles,
}

/// Serves a directory on loopback until the test is over; its address.
pub(super) fn serve(dir: &Path, path: &'static str, manner: Manner) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (dir, manner): (PathBuf, _) = (dir.to_owned(), Arc::new(manner));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (dir, manner) = (dir.clone(), Arc::clone(&manner));
            // A client that has gone is no failure of the host.
            std::thread::spawn(move || drop(answer(&dir, stream, path, &manner)));
        }
    });
    Ok(url)
}

fn answer(dir: &Path, mut stream: TcpStream, path: &str, manner: &Manner) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let asked = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let file = std::fs::read(dir.join(&asked));
    let honest = Manner::Honest;
    match (if asked == path { manner } else { &honest }, file) {
        (Manner::Gives(bytes), _) => whole(&mut stream, "200 OK", bytes)?,
        (Manner::Status(status), _) => whole(&mut stream, status, b"")?,
        (Manner::BreaksOff, Ok(bytes)) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            stream.write_all(&bytes[..bytes.len() / 2])?;
        }
        (Manner::Endless, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 4096])?;
            }
        }
        // Until the client goes.
        (Manner::Silent, _) => drop(reader.read_line(&mut line)?),
        (Manner::Trickles, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(b"0")?;
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        (Manner::Babbles, _) => stream.write_all(b"220 smtp.example.com ready\r\n")?,
        (_, Ok(bytes)) => whole(&mut stream, "200 OK", &bytes)?,
        (_, Err(_)) => whole(&mut stream, "404 Not Found", b"")?,
    }
    Ok(())
}

fn whole(stream: &mut TcpStream, status: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let len = bytes.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(bytes)?;
    Ok(())
}
