//! Telling who started the server that it is ready: a banner for people, a JSON line for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::bootstrap::{BootstrapError, Material, Paths, RootSource};
use crate::cli::banner::{Banner, Credentials};
use crate::cli::settings::absolute;
use crate::config::{Resolved, Transport};

/// Prepared before the app takes the material, made when the app is up.
#[derive(Debug)]
pub(super) struct Announcement {
    /// Absent when there is nothing new to tell.
    banner: Option<Banner>,
    line: Option<String>,
    paths: Paths,
}

impl Announcement {
    /// Writes generated credentials to their file unless a person at a terminal will read them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn prepare(
        resolved: &Resolved,
        material: &Material,
        address: SocketAddr,
        json: bool,
    ) -> Result<Self, BootstrapError> {
        let endpoint = endpoint(resolved.transport, address);
        let at_terminal = io::stderr().is_terminal();
        let news = material.root_source == RootSource::Generated;
        if news && (json || !at_terminal) {
            material.write_root_credentials()?;
        }
        let written = Some(material.paths.root_credentials.as_path())
            .filter(|path| material.root_source != RootSource::Given && path.is_file())
            .map(absolute);
        let credentials = match (&written, material.root_source) {
            (_, RootSource::Given) => Credentials::Given,
            (Some(path), _) => Credentials::Written(path.clone()),
            (None, _) => Credentials::Shown(material.root.clone()),
        };
        let ca_cert = absolute(&material.paths.ca_cert);
        let data_dir = absolute(&resolved.data_dir);
        let line = json.then(|| line(&endpoint, &ca_cert, written.as_deref(), &data_dir));
        let banner = (news || material.first_run).then(|| Banner {
            endpoint,
            ca_cert: (resolved.transport == Transport::Tls).then_some(ca_cert),
            data_dir,
            region: resolved.region.clone(),
            credentials,
            audit_rules: departures(resolved),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("appliance")),
        });
        Ok(Self { banner, line, paths: material.paths.clone() })
    }

    /// Tells. A closed stdout or stderr is no reason to stop serving.
    pub(super) fn make(&self) {
        if let Some(line) = &self.line
            && let Err(error) = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush())
        {
            tracing::warn!(%error, "nobody reads stdout");
        }
        let Some(banner) = &self.banner else { return };
        match io::stderr().write_all(banner.text().as_bytes()) {
            Ok(()) => {
                if let Err(error) = self.paths.announced() {
                    tracing::warn!(%error, "the root credentials will be offered once more");
                }
            }
            Err(error) => tracing::warn!(%error, "nobody reads stderr"),
        }
    }
}

fn departures(resolved: &Resolved) -> Vec<String> {
    let departures = resolved.audit_rules.departures().into_iter();
    departures
        .map(|(key, rule, usual)| format!("{key} = {} (default {})", rule.as_str(), usual.as_str()))
        .collect()
}

/// The address as a client on this machine writes it.
fn endpoint(transport: Transport, address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    format!("{}://{}", transport.scheme(), SocketAddr::new(ip, address.port()))
}

fn line(endpoint: &str, ca: &Path, credentials: Option<&Path>, data_dir: &Path) -> String {
    serde_json::json!({
        "endpoint": endpoint,
        "ca": ca,
        "root_credentials": credentials,
        "data_dir": data_dir,
        "pid": std::process::id(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Bootstrap;

    #[test]
    fn endpoints_can_be_connected_to() {
        for (address, expected) in [
            ("127.0.0.1:9000", "https://127.0.0.1:9000"),
            ("0.0.0.0:9000", "https://127.0.0.1:9000"),
            ("[::]:9000", "https://127.0.0.1:9000"),
            ("[::1]:9", "https://[::1]:9"),
        ] {
            assert_eq!(endpoint(Transport::Tls, address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_program_is_told_where_the_credentials_are() {
        let dir = tempfile::tempdir().unwrap();
        let resolved = Resolved::in_directory(dir.path());
        let material = Bootstrap::open_or_create(&resolved).unwrap();
        let address = "127.0.0.1:4711".parse().unwrap();
        let told = Announcement::prepare(&resolved, &material, address, true).unwrap();
        let line: serde_json::Value = serde_json::from_str(told.line.as_deref().unwrap()).unwrap();
        assert_eq!(line["endpoint"], "https://127.0.0.1:4711");
        assert_eq!(line["pid"], std::process::id());
        let path = line["root_credentials"].as_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(material.root.secret_key.as_str()));
        assert!(Path::new(line["ca"].as_str().unwrap()).is_file());
        assert!(!told.banner.unwrap().text().contains(material.root.secret_key.as_str()));

        material.paths.announced().unwrap();
        let again = Bootstrap::open_or_create(&resolved).unwrap();
        let told = Announcement::prepare(&resolved, &again, address, true).unwrap();
        assert!(told.banner.is_none());
        assert!(told.line.unwrap().contains("root-credentials"));
    }
}
