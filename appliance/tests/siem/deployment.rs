//! The whole server with one destination, `soc`, and who operates it.

use std::path::PathBuf;
use std::process::{Command, Output};

use fixtures::process::{Launch, Server};
use serde_json::Value;

use super::receiver::{Authority, Received, Receiver, Reply};

pub(crate) struct Deployment {
    pub(crate) launch: Launch,
    config: PathBuf,
    _receiver: Receiver,
    _scratch: tempfile::TempDir,
}

impl Deployment {
    /// The webhook `soc` gets `answer` to what it sends. `keys` are more of its keys, `tables` more of the configuration.
    pub(crate) async fn new(
        tables: impl FnOnce(&std::path::Path) -> String,
        keys: &str,
        answer: impl Fn(Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::new(&scratch.path().join("tls"));
        let receiver = Receiver::start(&authority, None, answer).await;
        let config = scratch.path().join("appliance.toml");
        let text = format!(
            "{}\n[[siem]]\nname = \"soc\"\nkind = \"webhook\"\nurl = \"{}\"\nca = \"{}\"\n{keys}\n",
            tables(scratch.path()),
            receiver.url(),
            authority.ca().display(),
        );
        std::fs::write(&config, text).unwrap();
        let launch = Launch::new(env!("CARGO_BIN_EXE_appliance"), scratch.path())
            .argument("--config")
            .argument(&config);
        Self { launch, config, _receiver: receiver, _scratch: scratch }
    }

    pub(crate) fn start(&self) -> Server {
        self.launch.start().unwrap()
    }

    /// Runs a verb about this deployment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_appliance"))
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .arg("--data-dir")
            .arg(self.launch.data_dir())
            .env_clear()
            .output()
            .unwrap()
    }

    /// Runs `siem` against the running server.
    pub(crate) fn siem(&self, server: &Server, arguments: &[&str]) -> Output {
        let address = server.ready().unwrap().endpoint.replace("https://", "");
        self.run(&[&["siem"], arguments, &["--address", &address]].concat())
    }

    /// Writes a record that the destination gets at once.
    pub(crate) fn test(&self, server: &Server) {
        let output = self.siem(server, &["test", "soc"]);
        assert!(output.status.success(), "{}", said(&output));
    }

    pub(crate) fn verify(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["audit", "verify", "--json"], arguments].concat());
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", said(&output))))
    }

    /// The record that an exit of the log reads next, by its cursor.
    pub(crate) fn next(&self, exit: &str) -> u64 {
        let bytes = std::fs::read(self.launch.data_dir().join(exit).join("cursor.json")).unwrap();
        let stored: Value = serde_json::from_slice(&bytes).unwrap();
        stored["next"].as_u64().unwrap()
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
