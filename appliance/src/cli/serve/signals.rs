//! SIGTERM and SIGINT stop the server, a second one at once; SIGHUP looks for new certificates.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tls::Watch;

/// The exit code of a process that a second signal ended: 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Installs the handlers now; the future is ready at the first SIGTERM or SIGINT.
///
/// # Errors
/// The operating system refuses a handler.
pub(super) fn stop(watch: Option<Arc<Watch>>) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    tracing::info!("SIGHUP: looking for new certificates");
                    if let Some(watch) = &watch {
                        watch.look();
                    }
                }
            }
        }
        tracing::info!("stopping: open requests may finish; a second signal ends at once");
        tokio::spawn(end_at_once(terminate, interrupt));
    })
}

/// For an operator who will not wait. What was acknowledged is durable already.
async fn end_at_once(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::process::exit(EXIT_INTERRUPTED);
}
