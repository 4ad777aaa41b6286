//! What operators watch: log lines on stderr, spans to OTLP when configured, metrics on request.

mod metrics;
mod otlp;

use std::io;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::LogFormat;

pub use metrics::{DestinationMetrics, InFlight, Metrics};

/// Log lines and spans of one process.
///
/// Ownership: the exporter's thread lives until [`Telemetry::stop`] or drop.
#[derive(Debug)]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// What to watch and how.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Directives of the filter, such as `info,appliance=debug`.
    pub filter: &'a str,
    pub format: LogFormat,
    /// Base address of an OTLP/HTTP receiver.
    pub otlp_endpoint: Option<&'a str>,
    /// Tells this instance from others in the spans.
    pub instance: &'a str,
}

impl Telemetry {
    /// Starts telemetry for the whole process: stderr, and OTLP when configured. Once per process.
    ///
    /// # Errors
    /// The filter cannot be parsed, the exporter cannot be made, or telemetry already runs.
    pub fn install(options: &Options<'_>) -> Result<Self, TelemetryError> {
        let (subscriber, telemetry) = subscriber(options, io::stderr)?;
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|_| TelemetryError::AlreadyInstalled)?;
        Ok(telemetry)
    }

    /// Sends what is still queued. A receiver that does not answer delays this by a few seconds at most.
    pub fn stop(self) {
        if let Some(Err(error)) = self.spans.map(|spans| spans.shutdown()) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// The filter that the environment asks for: `APPLIANCE_LOG`, then `RUST_LOG`, then `info`.
#[must_use]
pub fn filter_from_environment() -> String {
    let read = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    read("APPLIANCE_LOG").or_else(|| read("RUST_LOG")).unwrap_or_else(|| "info".to_owned())
}

/// The subscriber with its layers, not yet installed: a test gives it a writer and a scope of its own.
fn subscriber<W>(
    options: &Options<'_>,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, Telemetry), TelemetryError>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(options)?;
    let spans = options
        .otlp_endpoint
        .map(|endpoint| otlp::provider(endpoint, options.instance))
        .transpose()?;
    let exported = spans
        .as_ref()
        .map(|spans| tracing_opentelemetry::layer().with_tracer(spans.tracer("appliance")));
    let subscriber =
        Registry::default().with(filter).with(lines(options.format, writer)).with(exported);
    Ok((subscriber, Telemetry { spans }))
}

/// Without a collector, spans of requests are switched off where they begin: they would cost more than the rest of a
/// small request and go nowhere.
fn filter(options: &Options<'_>) -> Result<EnvFilter, TelemetryError> {
    let filter = EnvFilter::try_new(options.filter)
        .map_err(|source| TelemetryError::Filter { filter: options.filter.to_owned(), source })?;
    let asked_for = options.filter.contains("request=");
    match "request=off".parse() {
        Ok(off) if options.otlp_endpoint.is_none() && !asked_for => Ok(filter.add_directive(off)),
        _ => Ok(filter),
    }
}

fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    use std::io::IsTerminal as _;
    match format {
        LogFormat::Json => fmt::layer().json().with_writer(writer).boxed(),
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_ansi(colour).with_writer(writer).boxed()
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    #[error("the log filter `{filter}` cannot be read; write for example `info,appliance=debug`")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("setting up the export of spans to `{endpoint}`")]
    Exporter { endpoint: String, source: opentelemetry_otlp::ExporterBuildError },
    #[error("telemetry runs already in this process")]
    AlreadyInstalled,
}

#[cfg(test)]
mod tests;
