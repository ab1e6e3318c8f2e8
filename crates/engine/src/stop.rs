//! Stop strings: what may be sent now, what must wait, and when the answer ends.
//!
//! Spec: det-1.md §7 "Stop strings". Not here: `<|end|>` and the token limit (`generate`).

/// Holds back whatever could still turn out to be the beginning of a stop string.
#[derive(Clone, Debug)]
pub struct StopScanner {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopScanner {
    /// A scanner for these stop strings; empty ones are ignored.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes `text` and appends what may be sent to `out`. True once a stop string is complete; nothing is released from then on.
    #[must_use]
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        self.held.push_str(text);
        let stop_at = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        let release = stop_at.unwrap_or_else(|| self.first_possible_stop());
        out.extend(self.held.drain(..release));
        if stop_at.is_some() {
            self.held.clear();
            self.stopped = true;
        }
        self.stopped
    }

    /// Ends the text: what was held back is no stop string, and is released.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Where the longest suffix begins that is a proper prefix of some stop string.
    fn first_possible_stop(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(1) - 1;
        let from = self.held.len().saturating_sub(longest);
        let mut starts = self.held.char_indices().map(|(at, _)| at).skip_while(|at| *at < from);
        let may_stop = |at: &usize| self.held.get(*at..).is_some_and(|suffix| self.stops.iter().any(|stop| stop.starts_with(suffix)));
        starts.find(may_stop).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], parts: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        let mut scanner = StopScanner::new(&stops);
        let mut out = Vec::new();
        let mut stopped = false;
        for part in parts {
            let mut released = String::new();
            stopped = scanner.push(part, &mut released);
            out.push(released);
        }
        let mut last = String::new();
        scanner.finish(&mut last);
        out.push(last);
        (out, stopped)
    }

    #[test]
    fn a_possible_beginning_of_a_stop_string_waits() {
        let (parts, stopped) = run(&["\n\n"], &["a\n", "b", "c\n", "\nd"]);
        assert_eq!(parts, ["a", "\nb", "c", "", ""]);
        assert!(stopped);
    }

    #[test]
    fn held_text_is_released_at_the_end() {
        assert_eq!(run(&["END"], &["aEN"]), (vec!["a".into(), "EN".into()], false));
    }

    #[test]
    fn the_earliest_complete_stop_string_wins() {
        assert_eq!(run(&["cd", "b"], &["abcd"]).0, ["a", ""]);
        assert_eq!(run(&["bcd", "c"], &["abc"]).0, ["ab", ""]);
    }

    #[test]
    fn nothing_is_released_after_a_stop() {
        assert_eq!(run(&["x"], &["ax", "b"]), (vec!["a".into(), String::new(), String::new()], true));
    }

    proptest! {
        #[test]
        fn no_text_at_or_past_a_stop_string_is_released(text in "[abé]{0,40}", stops in prop::collection::vec("[abé]{1,4}", 0..4)) {
            let mut scanner = StopScanner::new(&stops);
            let mut out = String::new();
            let mut stopped = false;
            for c in text.chars() {
                stopped = scanner.push(c.encode_utf8(&mut [0; 4]), &mut out);
                if stopped {
                    break;
                }
                // What was released is final: no stop string in it, and none can begin in it.
                prop_assert!(stops.iter().all(|stop| !out.contains(stop.as_str())));
            }
            scanner.finish(&mut out);
            prop_assert!(text.starts_with(&out));
            prop_assert!(stops.iter().all(|stop| !out.contains(stop.as_str())));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop.as_str())));
            if !stopped {
                prop_assert_eq!(out, text);
            }
        }
    }
}
