// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Progress of long work, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A line of progress; it goes away with this value.
pub struct Progress(ProgressBar);

impl Progress {
    /// Work of unknown length: a spinner and the time that has passed.
    pub fn spinner(text: String) -> Progress {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar = ProgressBar::new_spinner().with_message(text);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(styled(bar, style))
    }

    /// `count` equal pieces of work.
    pub fn bar(text: String, count: usize) -> Progress {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {eta} left");
        Progress(styled(ProgressBar::new(count as u64).with_message(text), style))
    }

    /// So many pieces are done, and what there is to say.
    pub fn set(&self, done: usize, text: &str) {
        self.0.set_position(done as u64);
        self.0.set_message(text.to_string());
    }

    /// A line where there is no terminal that shows the bar.
    pub fn line(&self, text: &str) {
        if !std::io::stderr().is_terminal() {
            // A closed standard error is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// One piece is done.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

/// A template that is not understood leaves the default look.
fn styled(bar: ProgressBar, style: Result<ProgressStyle, indicatif::style::TemplateError>) -> ProgressBar {
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
