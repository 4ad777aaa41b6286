//! Configuration in two steps: what was written (raw layers), then what was resolved. Only [`Resolved`] leaves this module.

mod resolved;

pub use resolved::{
    AuditReads, Limits, LogFormat, MetricsAccess, Resolved, RootCredentials, Transport,
};
