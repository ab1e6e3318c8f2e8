//! The text format of Prometheus (0.0.4), as far as it is needed: families with HELP and TYPE, samples with labels, histograms.
//!
//! **Invariant:** whatever a label or a help holds, one sample is one line: texts are escaped here and nowhere else, and lose what a
//! terminal or a page would obey.

use std::fmt::{self, Display, Write as _};

use candor_verify::text::visible;

/// Before every name.
const PREFIX: &str = "candor_";

/// Longest value of a label, in characters: names of models are shorter where anybody reads them.
const LABEL_MAX: usize = 128;

/// What a family measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// An integer with its last digits behind the point: no float is needed to say a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    pub(super) value: u64,
    pub(super) places: usize,
}

impl Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0width$}", self.value, width = self.places + 1);
        let (whole, rest) = digits.split_at(digits.len() - self.places);
        match rest.trim_end_matches('0') {
            "" => f.write_str(whole),
            rest => write!(f, "{whole}.{rest}"),
        }
    }
}

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a family; its samples follow. Each name once.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail, here and below.
        let _infallible = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {}", kind.as_str());
        Family { out: &mut self.0, name }
    }

    /// A family of one sample without labels.
    pub(super) fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A family that was begun.
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram: upper bounds, how many fell between them and above the last, and the sum.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, bounds: impl IntoIterator<Item = Decimal>, buckets: &[u64], sum: Decimal) {
        let mut count = 0_u64;
        let bounds = bounds.into_iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(buckets) {
            count = count.saturating_add(*bucket);
            self.line("_bucket", labels, Some(&bound), count);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        let _infallible = write!(self.out, "{PREFIX}{}{suffix}", self.name);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        for (at, (name, value)) in labels.clone().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _infallible = write!(self.out, "{before}{name}=\"{}\"", escaped(value));
        }
        let end = if labels.count() == 0 { "" } else { "}" };
        let _infallible = writeln!(self.out, "{end} {value}");
    }
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    let short: String = value.chars().take(LABEL_MAX).collect();
    // Controls and marks that turn text around go; what is left of a line end is escaped.
    visible(&short).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_label_stays_one_value_on_one_line() {
        let hostile = "a\"} 1\ncandor_ready 1\n# \\ \u{1b}[2K \u{202e}</script>\r\u{2028}";
        let mut text = Text::default();
        text.family("model_info", Kind::Gauge, "Help\nwith a \\ line.").sample(&[("model", hostile), ("digest", &"x".repeat(500))], 1);
        let text = text.into_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["# HELP candor_model_info Help\\nwith a \\\\ line.", "# TYPE candor_model_info gauge"]);
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].starts_with(r#"candor_model_info{model="a\"} 1\ncandor_ready 1\n# \\ "#), "{}", lines[2]);
        assert!(lines[2].ends_with(&format!("digest=\"{}\"}} 1", "x".repeat(LABEL_MAX))), "{}", lines[2]);
        assert!(!text.chars().any(|c| c != '\n' && candor_verify::text::is_control(c)), "{text:?}");
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_its_count() {
        let mut text = Text::default();
        text.family("x_seconds", Kind::Histogram, "H.").histogram(
            &[("endpoint", "0")],
            [500, 1_000].map(|value| Decimal { value, places: 3 }),
            &[2, 0, 3],
            Decimal { value: 7_250, places: 3 },
        );
        let expected = "# HELP candor_x_seconds H.\n# TYPE candor_x_seconds histogram\n\
            candor_x_seconds_bucket{endpoint=\"0\",le=\"0.5\"} 2\ncandor_x_seconds_bucket{endpoint=\"0\",le=\"1\"} 2\n\
            candor_x_seconds_bucket{endpoint=\"0\",le=\"+Inf\"} 5\ncandor_x_seconds_sum{endpoint=\"0\"} 7.25\n\
            candor_x_seconds_count{endpoint=\"0\"} 5\n";
        assert_eq!(text.into_string(), expected);
    }
}
