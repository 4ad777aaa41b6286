//! A bar on stderr for what takes longer than a second, if somebody is looking.

use std::cell::OnceCell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Progress {
    what: &'static str,
    started: Instant,
    bar: OnceCell<ProgressBar>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, started: Instant::now(), bar: OnceCell::new() }
    }

    /// Says how far it is; without a total, how much is done.
    pub(super) fn at(&self, done: u64, total: Option<u64>) {
        if self.bar.get().is_none()
            && (self.started.elapsed() < PATIENCE || !std::io::stderr().is_terminal())
        {
            return;
        }
        let bar = self.bar.get_or_init(|| bar(self.what, total));
        bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{msg} {wide_bar} {percent} % {eta}"),
        None => (ProgressBar::new_spinner(), "{msg} {human_pos} {per_sec}"),
    };
    bar.set_message(what);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
