//! How far long work is, for a person at a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line at the bottom of the terminal; nothing where there is no terminal.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work that is counted in bytes. How many there will be may become known later.
    pub(crate) fn bytes(wanted: bool) -> Self {
        Self::new(wanted, "{spinner} {bytes} {binary_bytes_per_sec} {wide_msg}")
    }

    fn new(wanted: bool, template: &str) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new_spinner().with_style(style(template));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// So many bytes there will be: from now on the time left is shown.
    pub(crate) fn total(&self, bytes: u64) {
        self.bar.set_length(bytes);
        self.bar.set_style(style(
            "{spinner} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left [{bar:30}] \
             {wide_msg}",
        ));
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// So many bytes are done altogether.
    pub(crate) fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What is being done.
    pub(crate) fn message(&self, message: impl Into<String>) {
        if self.is_shown() {
            self.bar.set_message(message.into());
        }
    }

    /// Writes something without the line being in its way.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
