//! A local RFC 3161 authority, made of `openssl ts`, stamps the log's head; `openssl ts -verify` believes it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fixtures::clients;
use fixtures::process::{Launch, Server};

/// What the authority does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// Answers with the reply to the request before.
    Repeats,
    Fails,
}

struct Authority {
    dir: PathBuf,
    url: String,
    manner: Arc<Mutex<Manner>>,
}

const CONFIG: &str = "[tsa]\ndefault_tsa = one\n[one]\ndir = .\nserial = $dir/serial\nsigner_cert = $dir/tsa.pem\n\
                      signer_key = $dir/tsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n\
                      digests = sha256\ness_cert_id_alg = sha256\n";

impl Authority {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(dir)?;
        std::fs::write(dir.join("tsa.cnf"), CONFIG)?;
        std::fs::write(dir.join("ext.cnf"), "extendedKeyUsage = critical,timeStamping\n")?;
        std::fs::write(dir.join("serial"), "01\n")?;
        for arguments in [
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 30",
            "req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=tsa",
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 30 -extfile ext.cnf",
        ] {
            openssl(dir, &arguments.split(' ').collect::<Vec<_>>())?;
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/tsr", listener.local_addr()?);
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let (place, how) = (dir.to_owned(), Arc::clone(&manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let manner = *how.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = answer(&place, stream, manner) {
                    eprintln!("the authority: {error:#}");
                }
            }
        });
        Ok(Self { dir: dir.to_owned(), url, manner })
    }

    fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

fn answer(dir: &Path, mut stream: TcpStream, manner: Manner) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    let mut is_query = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        is_query |= line == "content-type: application/timestamp-query";
        if line.is_empty() {
            break;
        }
    }
    ensure!(is_query, "no time-stamp query");
    let mut query = vec![0; length];
    reader.read_exact(&mut query)?;
    if manner == Manner::Fails {
        stream.write_all(
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )?;
        return Ok(());
    }
    if manner == Manner::Honest {
        std::fs::write(dir.join("query.tsq"), query)?;
        openssl(
            dir,
            &["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-out", "reply.tsr"],
        )?;
    }
    let reply = std::fs::read(dir.join("reply.tsr"))?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reply.len()
    )?;
    stream.write_all(&reply)?;
    Ok(())
}

fn openssl(dir: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", clients::text(&output));
    Ok(())
}

/// A log with a running server, whose head grows with each call of the admin API.
struct Scene {
    server: Server,
    data_dir: PathBuf,
}

impl Scene {
    fn audit(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.arg("audit").args(arguments).arg("--data-dir").arg(&self.data_dir);
        Ok(command.output()?)
    }

    fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.data_dir.join("audit/checkpoint"))?)
    }

    /// Waits for another head.
    fn grow(&self) -> anyhow::Result<()> {
        let before = self.checkpoint()?;
        let endpoint = self.server.ready()?.endpoint.clone();
        let address = endpoint.rsplit_once('/').map_or("", |(_, address)| address);
        let output = self.audit(&["key", "list", "--address", address])?;
        ensure!(output.status.success(), "{}", clients::text(&output));
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.checkpoint()? == before {
            ensure!(Instant::now() < deadline, "no head; log:\n{}", self.server.log());
        }
        Ok(())
    }

    fn stamped(&self) -> anyhow::Result<usize> {
        let kept = std::fs::read_dir(self.data_dir.join("audit/tsr"))?;
        let names = kept.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        let names = names.collect::<anyhow::Result<Vec<String>>>()?;
        Ok(names.iter().filter(|name| name.ends_with(".tsr")).count())
    }
}

#[test]
fn a_stamped_head_convinces_openssl_and_is_in_the_report() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let authority = Authority::start(&scratch.path().join("tsa"))?;
    let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path());
    let scene = Scene { server: launch.start()?, data_dir: launch.data_dir() };
    let stamp = ["timestamp", "--tsa", &authority.url, "--json"];
    let output = scene.audit(&stamp)?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["policy"] == "1.2.3.4.1", "{told}");
    let size = told["size"].as_u64().context("no size")?;
    let reply = scene.data_dir.join(format!("audit/tsr/{size}.tsr"));
    let stamped = reply.with_extension("checkpoint");
    let believes = |data: &Path, reply: &Path| {
        let mut command = Command::new("openssl");
        command.args(["ts", "-verify", "-data"]).arg(data).arg("-in").arg(reply);
        command.arg("-CAfile").arg(authority.dir.join("ca.pem")).output()
    };
    let output = believes(&stamped, &reply)?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let changed = scratch.path().join("changed");
    let note = std::fs::read_to_string(&stamped)?;
    std::fs::write(
        &changed,
        note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1),
    )?;
    ensure!(!believes(&changed, &reply)?.status.success(), "openssl believes a changed head");

    // What is no stamp of this head is not kept.
    for (manner, code) in [(Manner::Repeats, 8), (Manner::Fails, 9)] {
        scene.grow()?;
        authority.be(manner);
        let output = scene.audit(&stamp)?;
        ensure!(output.status.code() == Some(code), "{}", clients::text(&output));
    }
    ensure!(scene.stamped()? == 1);
    by_hand(&scene, &authority, scratch.path())?;

    scene.server.stop()?;
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_appliance"));
        command.args(["audit", "verify", "--data-dir"]).arg(launch.data_dir()).output()
    };
    let output = verify()?;
    let said = clients::text(&output);
    ensure!(output.status.code() == Some(3) && said.contains("2 time-stamps, of 20"), "{said}");
    // A stamp over something else is named.
    std::fs::write(
        &stamped,
        note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1),
    )?;
    let output = verify()?;
    let said = clients::text(&output);
    ensure!(output.status.code() == Some(10), "{said}");
    ensure!(
        said.contains(&format!("MODIFIED tsr/{size}.tsr: the time-stamp is over something else")),
        "{said}"
    );
    std::fs::write(&stamped, &note)?;
    // What an authority saw, the log must still have.
    let newest = newest_segment(&launch.data_dir().join("audit/seg"))?;
    std::fs::remove_file(newest)?;
    let said = clients::text(&verify()?);
    ensure!(said.contains("TRUNCATED"), "{said}");
    Ok(())
}

/// Without a connection: the request and the reply are carried.
fn by_hand(scene: &Scene, authority: &Authority, scratch: &Path) -> anyhow::Result<()> {
    scene.grow()?;
    let query = scratch.join("head.tsq");
    let reply = scratch.join("head.tsr");
    let (asked, answered) = (query.display().to_string(), reply.display().to_string());
    let output = scene.audit(&["timestamp", "--request", &asked])?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    let take_in = || scene.audit(&["timestamp", "--response", &answered]);
    std::fs::copy(authority.dir.join("reply.tsr"), &reply)?;
    let output = take_in()?;
    ensure!(output.status.code() == Some(8), "an older reply: {}", clients::text(&output));
    let to_reply = ["ts", "-reply", "-config", "tsa.cnf", "-queryfile", &asked, "-out", &answered];
    openssl(&authority.dir, &to_reply)?;
    let output = take_in()?;
    ensure!(output.status.success(), "{}", clients::text(&output));
    ensure!(scene.stamped()? == 2);
    // It is not taken in twice, and a head is not stamped twice.
    ensure!(take_in()?.status.code() == Some(8));
    for wrong in [&["timestamp"][..], &["timestamp", "--tsa", "ftp://x", "--request", "y"]] {
        ensure!(scene.audit(wrong)?.status.code() == Some(2), "{wrong:?}");
    }
    Ok(())
}

fn newest_segment(seg: &Path) -> anyhow::Result<PathBuf> {
    let mut directories = vec![seg.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.sort();
    found.pop().context("no segment")
}
