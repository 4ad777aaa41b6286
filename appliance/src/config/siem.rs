//! The destinations of the audit log: `[[siem]]` blocks of the file, and MinIO's `MINIO_AUDIT_WEBHOOK_*` variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use toml::Value;

use super::raw::{Origin, read_bounded, text_of};
use super::resolve::{bool_of, choice, duration_of};
use super::{ConfigError, suggest};
use crate::siem::{
    Bounds, ClientTls, Destination, Endpoint, Format, Kind, Retry, Secret, Start, check_filter,
};

/// What a block may say.
const MEMBERS: &[&str] = &[
    "acknowledge",
    "batch_bytes",
    "batch_records",
    "ca",
    "client_cert",
    "client_key",
    "filter",
    "format",
    "index",
    "kind",
    "name",
    "retry_max",
    "retry_min",
    "secret",
    "secret_file",
    "start",
    "timeout",
    "token",
    "token_file",
    "url",
];
/// Beyond these, a batch is more memory than round trips are worth.
const BATCH_RECORDS_MAX: usize = 5000;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// A record has at most 60 kB; below this, batches would be a record or two.
const BATCH_BYTES_MIN: usize = 64 << 10;
const USUAL_BATCH_BYTES: usize = 1 << 20;
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Threads and connections of one server.
const DESTINATIONS_MAX: usize = 16;
/// MinIO sends one entry per finished request.
const MINIO_FILTER: &str = "result.code exists or class=authn";
const VARIABLES: &str = "MINIO_AUDIT_WEBHOOK_";

/// One destination as it was written; some of it is secret.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) origin: Origin,
    members: BTreeMap<String, String>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Block").field(&self.described()).finish()
    }
}

impl Block {
    /// For `config show`: name, kind and address, no secrets.
    pub(super) fn described(&self) -> String {
        let words = ["name", "kind", "url"].map(|member| self.text(member));
        words.join(" ").split_whitespace().collect::<Vec<_>>().join(":")
    }

    pub(super) fn name(&self) -> &str {
        self.text("name")
    }

    /// What was written, some of it secret.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(member, text)| (member.as_str(), text.as_str()))
    }

    fn text(&self, member: &str) -> &str {
        self.members.get(member).map_or("", String::as_str)
    }

    fn some(&self, member: &str) -> Option<&str> {
        Some(self.text(member)).filter(|text| !text.is_empty())
    }

    /// Parses a member that may be absent.
    fn parsed<T>(
        &self,
        member: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        match self.some(member) {
            None => Ok(default),
            Some(text) => parse(text).map_err(|problem| format!("{member}: {problem}")),
        }
    }

    fn secret(&self, member: &str) -> Result<Option<Secret>, String> {
        let file = format!("{member}_file");
        match (self.some(member), self.some(&file)) {
            (Some(_), Some(_)) => Err(format!("`{member}` and `{file}` are both given")),
            (Some(text), None) => Ok(Some(Secret::new(text))),
            (None, Some(path)) => {
                let text = read_bounded("the secret file", Path::new(path))
                    .map_err(|error| format!("{file}: {error}: {path}"))?;
                Ok(Some(Secret::new(text.trim())))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The blocks of a file; `value` is what stands under `siem`.
pub(super) fn from_file(path: &Path, value: Option<Value>) -> Result<Vec<Block>, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let wrong =
        |problem: String| ConfigError::Value { name: "siem", origin: origin.clone(), problem };
    let blocks = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(blocks)) => blocks,
        Some(_) => return Err(wrong("write [[siem]], once per destination".into())),
    };
    let mut read = Vec::with_capacity(blocks.len());
    for block in blocks {
        let Value::Table(table) = block else {
            return Err(wrong("write [[siem]], once per destination".into()));
        };
        let mut members = BTreeMap::new();
        for (member, value) in table {
            if !MEMBERS.contains(&member.as_str()) {
                let hint = suggest::hint(&member, MEMBERS.iter().copied());
                let name = format!("siem.{member}");
                return Err(ConfigError::UnknownKey { name, path: path.to_owned(), hint });
            }
            let text = text_of(&value).map_err(|problem| wrong(format!("{member}: {problem}")))?;
            members.insert(member, text);
        }
        read.push(Block { origin: origin.clone(), members });
    }
    Ok(read)
}

/// MinIO's name of a setting, and ours.
const ALIASES: &[(&str, &str)] = &[
    ("ENDPOINT", "url"),
    ("AUTH_TOKEN", "token"),
    ("CLIENT_CERT", "client_cert"),
    ("CLIENT_KEY", "client_key"),
    ("BATCH_SIZE", "batch_records"),
    ("RETRY_INTERVAL", "retry_min"),
    ("HTTP_TIMEOUT", "timeout"),
];
/// What MinIO needs for its queues: the log itself is ours, and nothing is given up after some attempts.
const NEEDLESS: &[&str] = &["QUEUE_SIZE", "QUEUE_DIR", "MAX_RETRY"];

/// The targets that MinIO's variables describe. A target counts when it is enabled, as with MinIO.
pub(super) fn from_environment(
    environment: &BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Block>, ConfigError> {
    let mut targets: BTreeMap<String, BTreeMap<&str, (&str, &str)>> = BTreeMap::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(VARIABLES) else { continue };
        let names = ALIASES.iter().map(|(name, _)| *name).chain(["ENABLE"]);
        let names = names.chain(NEEDLESS.iter().copied());
        let known = names.into_iter().find_map(|name| {
            let target = rest.strip_prefix(name)?;
            (target.is_empty() || target.starts_with('_')).then_some((name, target))
        });
        match known {
            Some((name, _)) if NEEDLESS.contains(&name) => warnings.push(format!(
                "{variable} is not needed: the log is the queue, and delivery is tried until it succeeds"
            )),
            Some((name, target)) => {
                let target = target.trim_start_matches('_').to_ascii_lowercase();
                targets.entry(target).or_default().insert(name, (variable, value));
            }
            None => warnings.push(format!("the environment variable {variable} means nothing here")),
        }
    }
    let mut blocks = Vec::new();
    for (target, settings) in targets {
        let (variable, enabled) = settings.get("ENABLE").copied().unwrap_or(("", "off"));
        let enabled = bool_of(enabled).map_err(|problem| ConfigError::Value {
            name: "siem",
            origin: Origin::Environment(variable.to_owned()),
            problem,
        })?;
        if !enabled {
            let of = if target.is_empty() { String::new() } else { format!(" of `{target}`") };
            warnings.push(format!("{VARIABLES}*{of} does not count: its ENABLE is not `on`"));
            continue;
        }
        let origin = Origin::Environment(variable.to_owned());
        let name = if target.is_empty() { "minio" } else { &target };
        let mut members: BTreeMap<String, String> = BTreeMap::from([
            ("name".into(), name.to_owned()),
            ("kind".into(), "minio".into()),
            ("start".into(), "now".into()),
        ]);
        for (theirs, ours) in ALIASES {
            if let Some((_, value)) = settings.get(theirs) {
                members.insert((*ours).to_owned(), (*value).to_owned());
            }
        }
        blocks.push(Block { origin, members });
    }
    Ok(blocks)
}

/// Checks every block and the blocks together.
pub(super) fn resolve(blocks: &[Block]) -> Result<Vec<Destination>, ConfigError> {
    let mut destinations: Vec<Destination> = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let label = block.some("name").map_or_else(|| format!("{}", index + 1), ToOwned::to_owned);
        let wrong = |problem: String| ConfigError::Value {
            name: "siem",
            origin: block.origin.clone(),
            problem: format!("destination `{label}`: {problem}"),
        };
        let destination = destination(block).map_err(wrong)?;
        if destinations.iter().any(|other| other.name == destination.name) {
            return Err(wrong("there are two of this name".into()));
        }
        if destinations.len() == DESTINATIONS_MAX {
            return Err(wrong(format!("there are more than {DESTINATIONS_MAX} destinations")));
        }
        destinations.push(destination);
    }
    Ok(destinations)
}

fn destination(block: &Block) -> Result<Destination, String> {
    let name = name_of(block.text("name"))?;
    let kind = choice(block.text("kind"), &Kind::ALL).map_err(|error| format!("kind: {error}"))?;
    let format = block.parsed("format", kind.usual_format(), |text| choice(text, &Format::ALL))?;
    match kind {
        Kind::Minio if format != Format::Minio => return Err("kind `minio` has one format".into()),
        Kind::Elastic if !format.is_json() => {
            return Err(format!("kind `elastic` takes no {}", format.as_str()));
        }
        _ => {}
    }
    let filter = match block.text("filter") {
        "" if kind == Kind::Minio => MINIO_FILTER.to_owned(),
        text => text.to_owned(),
    };
    check_filter(&filter).map_err(|problem| format!("filter: {problem}"))?;
    let retry = Retry::default();
    let retry = Retry {
        min: block.parsed("retry_min", retry.min, duration_of)?,
        max: block.parsed("retry_max", retry.max, duration_of)?,
    };
    let starts = [("beginning", Start::Beginning), ("now", Start::Now)];
    Ok(Destination {
        endpoint: endpoint_of(kind, block.text("url"))?,
        filter,
        start: block.parsed("start", Start::Beginning, |text| choice(text, &starts))?,
        secret: block.secret("secret")?,
        token: block.secret("token")?,
        index: block.some("index").map(ToOwned::to_owned),
        acknowledge: block.parsed("acknowledge", kind == Kind::Splunk, bool_of)?,
        tls: tls_of(block)?,
        bounds: Bounds {
            records: block.parsed("batch_records", kind.usual_records(), |text| {
                within(text, 1, BATCH_RECORDS_MAX)
            })?,
            bytes: block.parsed("batch_bytes", USUAL_BATCH_BYTES, |text| {
                within(text, BATCH_BYTES_MIN, BATCH_BYTES_MAX)
            })?,
        },
        retry: Retry { max: retry.max.max(retry.min), ..retry },
        timeout: block.parsed("timeout", USUAL_TIMEOUT, duration_of)?,
        name,
        kind,
        format,
    })
}

/// Names become directories, labels and parts of headers.
fn name_of(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    match text.len() {
        1..=32 if text.bytes().all(fits) => Ok(text.to_owned()),
        _ => Err("`name` has 1 to 32 lower-case letters, digits, `-` and `_`".into()),
    }
}

fn endpoint_of(kind: Kind, url: &str) -> Result<Endpoint, String> {
    let (secure, plain, usual_port) = match kind {
        Kind::Syslog => ("tls", "tcp", 6514),
        _ => ("https", "http", 443),
    };
    let problem = |why: &str| format!("url: `{url}` {why}; write {secure}://HOST[:PORT][/PATH]");
    let uri: Uri = url.parse().map_err(|_| problem("is no address"))?;
    let is_tls = match uri.scheme_str() {
        Some(scheme) if scheme == secure => true,
        Some(scheme) if scheme == plain => false,
        _ => return Err(problem("is no address of this kind")),
    };
    let authority = uri.authority().ok_or_else(|| problem("names no host"))?;
    if authority.as_str().contains('@') {
        // Do not repeat the address: what stands before the host is a secret.
        return Err("url: credentials do not belong into an address; use `token_file`".into());
    }
    if uri.query().is_some() {
        return Err(problem("has a query"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let address: Option<std::net::IpAddr> = host.parse().ok();
    let is_loopback = host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
    if !is_tls && !is_loopback {
        return Err(problem("would send the audit log in clear text beyond this machine"));
    }
    let port = authority.port_u16().unwrap_or(if is_tls { usual_port } else { 80 });
    let path = uri.path().trim_end_matches('/').to_owned();
    Ok(Endpoint { url: url.to_owned(), host, port, is_tls, path })
}

fn tls_of(block: &Block) -> Result<ClientTls, String> {
    let path = |member: &str| block.some(member).map(PathBuf::from);
    let identity = match (path("client_cert"), path("client_key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("`client_cert` and `client_key` belong together".into()),
    };
    Ok(ClientTls { ca: path("ca"), identity })
}

fn within(text: &str, min: usize, max: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is no whole number from {min} to {max}")),
    }
}

#[cfg(test)]
mod tests;
