//! Configuration in two steps: what was written, then what was resolved.
//!
//! [`load`] lays the layers over each other (flag, environment, file, default; the first that has a value wins) and
//! checks the result as a whole. Only [`Resolved`] goes on to the rest of the program; where a value came from is kept
//! beside it for `config show --origin` and for error messages.

mod audit_rules;
mod declared;
mod drives;
mod key;
mod raw;
mod resolve;
mod resolved;
mod secret;
mod siem;
mod suggest;

use std::path::PathBuf;

pub use audit_rules::{AuditRules, Rule};
pub use declared::Declared;
pub use key::{KEYS, Key};
pub use raw::{Origin, Sources};
pub use resolved::{
    AuditOpen, Limits, LogFormat, MetricsAccess, Resolved, RootCredentials, Transport,
};
pub use secret::Weakness;

/// A configuration and the story of each of its values.
#[derive(Debug)]
pub struct Loaded {
    pub resolved: Resolved,
    /// One entry per key of [`KEYS`], in that order.
    pub settings: Vec<Setting>,
    /// Things to tell the operator that are no reason to stop.
    pub warnings: Vec<String>,
}

/// One value as it stands.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: &'static str,
    /// Secrets read `(set)` or `(generated)`.
    pub value: String,
    pub origin: Origin,
}

/// Reads all layers and resolves them.
///
/// # Errors
/// The first thing that is wrong, with the place where it was written.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let written = raw::read(sources)?;
    let resolved = resolve::resolve(&written)?;
    let settings = KEYS.iter().map(|key| effective(written.setting(key), &resolved)).collect();
    Ok(Loaded { resolved, settings, warnings: written.warnings })
}

/// Puts in what the absence of a value stands for.
fn effective(mut setting: Setting, resolved: &Resolved) -> Setting {
    if setting.value.is_empty() {
        setting.value = match setting.name {
            "drives" => {
                let drives = resolved.drives.iter().map(|drive| drive.display().to_string());
                drives.collect::<Vec<_>>().join(" ")
            }
            "certs_dir" => resolved.certs_dir.display().to_string(),
            "guardrails_dir" => resolved.guardrails_dir.display().to_string(),
            _ => String::new(),
        };
    }
    setting
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("reading {what} `{}`", path.display())]
    Read { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the configuration file `{}` is not TOML", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("unknown key `{name}` in `{}`{hint}", path.display())]
    UnknownKey { name: String, path: PathBuf, hint: String },
    #[error("`{name}` from {origin}: {problem}")]
    Value { name: &'static str, origin: Origin, problem: String },
    #[error("`{name}` is given twice: by {first} and by {second}")]
    Twice { name: &'static str, first: Origin, second: Origin },
    #[error(
        "plain HTTP on {address} is refused: without TLS the listener must be a loopback address \
         (drop --no-tls, or listen on 127.0.0.1)"
    )]
    PlainBeyondLoopback { address: std::net::SocketAddr },
    #[error("root_user and root_password belong together; {missing} is missing")]
    HalfRoot { missing: &'static str },
    #[error("the root credentials from {origin} are refused: {weakness}")]
    WeakRoot { origin: Origin, weakness: Weakness },
}

/// A configuration file, up to what is resolved from it. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(resolved) = resolve_text(bytes) {
        let plain = resolved.transport != Transport::Tls;
        assert!(!plain || resolved.address.ip().is_loopback(), "plain HTTP stays on the machine");
        for endpoint in resolved.siem.iter().map(|destination| &destination.endpoint) {
            let address: Option<std::net::IpAddr> = endpoint.host.parse().ok();
            let near = endpoint.host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
            assert!(endpoint.is_tls || near, "so does the log without TLS");
        }
    }
}

/// A file's text without flags and environment.
#[cfg(any(test, fuzzing))]
pub(crate) fn resolve_text(bytes: &[u8]) -> Option<Resolved> {
    let written = raw::fuzz(std::str::from_utf8(bytes).ok()?).ok()?;
    resolve::resolve(&written).ok()
}

#[cfg(test)]
mod tests;
