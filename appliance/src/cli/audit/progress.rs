//! Bars for work that can take long: on stderr, only where a person watches, and not before a second has passed.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of this template.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// What moves it.
pub(super) fn onto(bar: &ProgressBar) -> impl Fn(u64, u64) {
    |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    }
}
