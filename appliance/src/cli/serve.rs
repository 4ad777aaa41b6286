//! `appliance serve`: configuration, deployment, telemetry, app, listener; and back down in reverse.

mod announcement;
mod certificates;
mod signals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use self::announcement::Announcement;
use self::certificates::Certificates;
use super::Exit;
use super::settings::Settings;
use crate::app::App;
use crate::bootstrap::{Bootstrap, Material};
use crate::config::Resolved;
use crate::server::Server;
use crate::telemetry::{self, Telemetry};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    appliance serve\n  \
    appliance serve --address :9000 /mnt/disk{1...4}\n  \
    MINIO_ROOT_USER=operator MINIO_ROOT_PASSWORD_FILE=/run/secrets/root appliance serve --config /etc/appliance/appliance.toml")]
pub(super) struct Serve {
    /// Drive directories; ellipses such as /mnt/disk{1...4} are expanded. DATA_DIR/drive{1...4} otherwise.
    #[arg(value_name = "DRIVE")]
    drives: Vec<String>,
    #[command(flatten)]
    settings: Settings,
    /// S3 listener: IP:PORT, localhost:PORT or :PORT.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Certificates: public.crt, private.key, CAs/ and one subdirectory per further pair.
    #[arg(long, short = 'S', value_name = "DIR")]
    certs_dir: Option<String>,
    /// The region that clients sign for.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Rego files that may only deny.
    #[arg(long, value_name = "DIR")]
    guardrails_dir: Option<String>,
    /// Plain HTTP; on a loopback address only.
    #[arg(long)]
    no_tls: bool,
    /// How far reads of objects may be ahead of their durable records.
    #[arg(long, value_name = "strict|response|async")]
    audit_data: Option<String>,
    /// Base address of an OTLP/HTTP receiver for spans.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Form of the log lines on stderr.
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// Who may read the metrics page.
    #[arg(long, value_name = "public|off")]
    metrics: Option<String>,
    /// One JSON line on stdout when the server is ready.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        // Whatever is created from here on, by whichever part, is for this user only.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        adjust_resource_limits();
        let loaded = self.settings.load(self.flags())?;
        let resolved = loaded.resolved;
        let material = Bootstrap::open_or_create(&resolved)?;
        let telemetry = Telemetry::install(&telemetry::Options {
            filter: &telemetry::filter_from_environment(),
            format: resolved.log_format,
            otlp_endpoint: resolved.otlp_endpoint.as_deref(),
            instance: &material.deployment_id,
        })?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        for (key, rule, usual) in resolved.audit_rules.departures() {
            let (rule, usual) = (rule.as_str(), usual.as_str());
            tracing::warn!(key, rule, default = usual, "the log's rule is not the default");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("appliance")
            .build()
            .context("starting the runtime")?;
        let ended = runtime.block_on(serve(&resolved, material, self.json));
        // A task that is stuck must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        telemetry.stop();
        ended.map(|()| Exit::Ok)
    }

    fn flags(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut flags: BTreeMap<&'static str, Vec<String>> = [
            ("address", &self.address),
            ("certs_dir", &self.certs_dir),
            ("region", &self.region),
            ("guardrails_dir", &self.guardrails_dir),
            ("audit.data", &self.audit_data),
            ("telemetry.otlp_endpoint", &self.otlp_endpoint),
            ("telemetry.log_format", &self.log_format),
            ("telemetry.metrics", &self.metrics),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, vec![value.clone()?])))
        .collect();
        if self.no_tls {
            flags.insert("no_tls", vec!["true".into()]);
        }
        if !self.drives.is_empty() {
            flags.insert("drives", self.drives.clone());
        }
        flags
    }
}

/// Sockets and drives need more file descriptors than the usual soft limit; a core dump would hold every key. Neither
/// is worth refusing to start.
fn adjust_resource_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// ORDER: the address before the app, so that a taken port leaves no trace in the log; the app before the announcement,
/// so that who reads it can connect; and down again in reverse.
async fn serve(resolved: &Resolved, material: Material, json: bool) -> anyhow::Result<()> {
    let certificates = Certificates::open(resolved, &material)?;
    let stop = signals::stop(certificates.as_ref().map(Certificates::looker))?;
    let tls = certificates.as_ref().map(Certificates::config).transpose()?;
    let server = Server::bind(resolved.address, tls, resolved.limits)
        .await
        .with_context(|| format!("listening on {}", resolved.address))?;
    let address = server.address().context("reading the listener's address")?;
    let announcement = Announcement::prepare(resolved, &material, address, json)?;
    let deployment = material.deployment_id.clone();
    let app = App::start(resolved, material).await?;
    tracing::info!(%address, %deployment, version = env!("CARGO_PKG_VERSION"), "ready");
    announcement.make();
    let metrics = Arc::clone(app.metrics());
    let drained = server.run(Arc::clone(&app), &metrics, stop).await;
    tracing::info!(cut = drained.cut, "the listener is closed");
    app.stop()?;
    tracing::info!("stopped");
    Ok(())
}
