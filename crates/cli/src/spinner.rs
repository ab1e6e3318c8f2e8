//! What a command waits for, in a line that turns, on a terminal only. It goes when there is something to show.
//!
//! - **Invariant:** its words are ours: nothing of a node is in them. It draws on standard error, and never where `--json` was asked for.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::paint::Screen;

/// Between two turns.
const TURN: Duration = Duration::from_millis(100);

/// One line that says what is awaited.
pub(crate) struct Spinner {
    is_shown: bool,
    // Of whoever waits and of whoever shows what came, which are two threads. Held for no wait.
    bar: Mutex<Option<ProgressBar>>,
}

impl Spinner {
    /// Begins to turn, if somebody looks.
    pub(crate) fn start(is_shown: bool, what: &'static str) -> Self {
        let is_shown = is_shown && std::io::stderr().is_terminal() && Screen::of(true).is_rich();
        let spinner = Self { is_shown, bar: Mutex::new(None) };
        spinner.say(what);
        spinner
    }

    /// What is awaited now.
    pub(crate) fn say(&self, what: &'static str) {
        if !self.is_shown {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.get_or_insert_with(turning).set_message(what);
    }

    /// Takes the line away: there is something to show.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}

fn turning() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let signs = if Screen::of(true).is_utf8() { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "|/-\\ " };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style.tick_chars(signs));
    }
    bar.enable_steady_tick(TURN);
    bar
}
