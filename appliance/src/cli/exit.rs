//! Exit codes: documented, stable, and the same for every verb.

use std::io::{self, Write as _};
use std::process::ExitCode;

use audit::OpenError;

use crate::bootstrap::BootstrapError;
use crate::config::ConfigError;
use crate::siem::SiemError;
use crate::telemetry::TelemetryError;
use crate::tls::TlsError;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// A negative answer: nothing found, not ready.
    Negative,
    Usage,
    Configuration,
    /// The server does not believe the credentials.
    Unauthenticated,
    /// The server believes them, and the policies do not allow it.
    Denied,
    NotFound,
    /// What is there does not allow it: a policy in use, a group with members.
    Conflict,
    /// Bytes are not what was signed.
    Integrity,
    Unavailable,
    /// The states of `audit verify`, which are more than these.
    Verification(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Negative => 1,
            Exit::Usage => 2,
            Exit::Configuration => 3,
            Exit::Unauthenticated => 4,
            Exit::Denied => 5,
            Exit::NotFound => 6,
            Exit::Conflict => 7,
            Exit::Integrity => 8,
            Exit::Unavailable => 9,
            Exit::Verification(code) => code,
        })
    }
}

/// A failure whose exit code the verb knows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

/// A failure with its exit code, as an error.
pub(super) fn failure(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Failure { exit, message: message.into() }.into()
}

/// Prints an error with all its causes and finds its exit code.
pub(super) fn report(error: &anyhow::Error) -> Exit {
    let code = code_of(error);
    // A reader that has gone (`| head`) is no failure of ours.
    if !is_broken_pipe(error) {
        let _ = writeln!(io::stderr(), "appliance: {error:#}");
    }
    code
}

fn code_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    match error.downcast_ref() {
        Some(OpenError::Gap { .. }) => return Exit::Integrity,
        Some(OpenError::NoGap { .. }) => return Exit::Negative,
        _ => {}
    }
    let configuration = error.is::<ConfigError>()
        || error.is::<BootstrapError>()
        || error.is::<SiemError>()
        || error.is::<TlsError>()
        || error.is::<TelemetryError>();
    match configuration {
        true => Exit::Configuration,
        false if is_broken_pipe(error) => Exit::Ok,
        false => Exit::Unavailable,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
