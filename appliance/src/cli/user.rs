//! `appliance user`: who may sign.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::admin_client::{Ask, Server};
use super::exit::failure;
use super::{Exit, table};

/// Characters of a generated secret: 40 of 64 are 240 bits.
const SECRET_CHARS: usize = 40;
/// 64 characters, so that six random bits are one of them; none means anything to a shell.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// A secret has at most 128 bytes; a longer file is not one.
const SECRET_FILE_BYTES_MAX: u64 = 4096;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    appliance user add alice\n  \
    appliance user add alice --secret-file - < secret.txt\n  \
    appliance user ls\n  \
    appliance policy attach readonly --user alice")]
pub(super) enum User {
    /// Add a user, or give a known one a new secret.
    #[command(after_help = "Examples:\n  \
        appliance user add alice\n  \
        appliance user add alice --secret-file /run/secrets/alice")]
    Add(Add),
    /// List users.
    #[command(after_help = "Example:\n  appliance user ls --json")]
    Ls(List),
    /// Show a user, its policies and groups.
    #[command(after_help = "Example:\n  appliance user info alice")]
    Info(Named),
    /// Remove a user and its group memberships.
    #[command(after_help = "Example:\n  appliance user rm alice")]
    Rm(Named),
    /// Let a user sign again.
    #[command(after_help = "Example:\n  appliance user enable alice")]
    Enable(Named),
    /// Stop a user from signing; nothing else is lost.
    #[command(after_help = "Example:\n  appliance user disable alice")]
    Disable(Named),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The user's name, which is also its access key.
    name: String,
    /// Reads the secret from a file, or from standard input for `-`; otherwise one is made and printed once.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The user cannot sign yet.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The user's name.
    name: String,
    #[command(flatten)]
    server: Server,
}

impl User {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(),
            Self::Ls(list) => list.run(),
            Self::Info(named) => named.show(),
            Self::Rm(named) => named.change(Ask::new(Method::DELETE, "remove-user"), "removed"),
            Self::Enable(named) => named.set_status("enabled"),
            Self::Disable(named) => named.set_status("disabled"),
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<Exit> {
        let (secret, made) = match &self.secret_file {
            Some(path) => (read_secret(path)?, false),
            None => (new_secret()?, true),
        };
        let status = if self.disabled { "disabled" } else { "enabled" };
        let body = json!({ "secretKey": secret.as_str(), "status": status });
        let ask = Ask::new(Method::PUT, "add-user").query("accessKey", &self.name).sealed(&body);
        self.server.call(ask)?;
        let mut out = io::stdout().lock();
        match (self.server.json, made) {
            (true, true) => {
                let shown = json!({ "accessKey": self.name, "secretKey": secret.as_str() });
                writeln!(out, "{shown}")?;
            }
            (true, false) => writeln!(out, "{}", json!({ "accessKey": self.name }))?,
            (false, true) => {
                writeln!(out, "access key  {}", self.name)?;
                writeln!(out, "secret key  {}", secret.as_str())?;
                writeln!(io::stderr(), "The secret is shown this once.")?;
            }
            (false, false) => writeln!(io::stderr(), "user {} added", self.name)?,
        }
        Ok(Exit::Ok)
    }
}

impl List {
    fn run(self) -> anyhow::Result<Exit> {
        let users = self.server.call(Ask::new(Method::GET, "list-users").sealed_answer())?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{users}")?;
            return Ok(Exit::Ok);
        }
        let users = users.as_object().into_iter().flatten();
        let rows: Vec<_> = users.map(|(name, user)| row(name, user)).collect();
        table::write(&mut out, &["user", "status", "policies", "groups"], &rows)?;
        Ok(Exit::Ok)
    }
}

impl Named {
    fn show(self) -> anyhow::Result<Exit> {
        let ask = Ask::new(Method::GET, "user-info").query("accessKey", &self.name);
        let user = self.server.call(ask)?;
        let mut out = io::stdout().lock();
        if self.server.json {
            writeln!(out, "{user}")?;
        } else {
            let heading = ["user", "status", "policies", "groups"];
            table::write(&mut out, &heading, &[row(&self.name, &user)])?;
        }
        Ok(Exit::Ok)
    }

    fn set_status(self, status: &'static str) -> anyhow::Result<Exit> {
        self.change(Ask::new(Method::PUT, "set-user-status").query("status", status), status)
    }

    fn change(self, ask: Ask, done: &str) -> anyhow::Result<Exit> {
        self.server.call(ask.query("accessKey", &self.name))?;
        writeln!(io::stderr(), "user {} {done}", self.name)?;
        Ok(Exit::Ok)
    }
}

fn row(name: &str, user: &Value) -> Vec<String> {
    let text = |member: &str| user[member].as_str().unwrap_or_default().to_owned();
    vec![name.to_owned(), text("status"), text("policyName"), listed(&user["memberOf"])]
}

/// A JSON array of names as one cell.
pub(super) fn listed(names: &Value) -> String {
    let names: Vec<_> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.join(",")
}

/// The first line of a file, or of standard input.
fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let source: Box<dyn io::Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => {
            let file = std::fs::File::open(path);
            Box::new(file.with_context(|| format!("reading the secret in `{}`", path.display()))?)
        }
    };
    let mut text = Zeroizing::new(String::new());
    source.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text).context("reading the secret")?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(failure(Exit::Usage, "the secret is empty")),
    }
}

fn new_secret() -> anyhow::Result<Zeroizing<String>> {
    let mut random = Zeroizing::new([0; SECRET_CHARS]);
    getrandom::fill(random.as_mut_slice()).context("making a secret")?;
    let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 64)));
    Ok(Zeroizing::new(letters.map(|letter| char::from(*letter)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_long_and_another_each_time() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert_eq!(one.len(), SECRET_CHARS);
        assert_ne!(*one, *two);
    }

    #[test]
    fn a_secret_file_is_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret words\nmore\n").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_str(), "s3cret words");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_secret(&path).is_err());
    }
}
