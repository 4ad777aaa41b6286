//! What operators watch: log lines on stderr, spans to OTLP when configured, metrics on request.

mod metrics;

pub use metrics::{InFlight, Metrics};
