//! `cargo xtask bench gas`: what whole transactions cost under the rules of Osaka, calldata included, beside what they are meant to cost.
//!
//! The figures are those that the gas tests of `contracts/test` emit. Ceilings, which a change must not exceed unseen, are in those tests;
//! an aim is what the design wants, and a row above its own is marked and fails nothing.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::npm::{self, Node};
use crate::workspace::{Shown, Workspace};

/// Name of the row, what the test calls it, and the aim. Registration and renewal are by a verifier that costs nothing, with evidence as
/// long as Nitro's: what is left is the registry's own. Of `register` it is one that does not begin its lists.
const AIMS: &[(&str, &str, u64)] = &[
    ("anchor", "anchor, 150 to 300", 80_000),
    ("observe", "observe", 65_000),
    ("prove20", "prove, depth 20", 95_000),
    ("prove32", "prove, depth 32", 110_000),
    ("anchor-and-prove", "anchor 150 to 300 and prove", 150_000),
    ("register", "register next, evidence of 4500 bytes, free verifier", 290_000),
    ("renew", "renew, evidence of 4500 bytes, free verifier", 130_000),
    ("settle-upto", "settle-upto", 105_000),
    ("settle-upto-x100", "settle-upto-x100", 62_000),
];

/// Prints the table: those with an aim in the order of the list, then the others.
pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let directory = workspace.root.join("contracts");
    let node = Node::find(workspace)?;
    npm::install(&node, &directory)?;
    let mut command = node.command("npm", &directory)?;
    command.args(["run", "--silent", "gas"]).stdout(Stdio::piped());
    println!("$ {}   (compiles the contracts first if they changed: minutes)", Shown(&command));
    let mut child = command.spawn().map_err(|error| format!("npm: {error}"))?;
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(|error| format!("npm: {error}"))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            measured.extend(parse(&line));
            if (line.starts_with("[FAIL") || line.starts_with("Error")) && !failed.contains(&line) {
                failed.push(line);
            }
        }
    }
    let status = child.wait().map_err(|error| format!("npm: {error}"))?;
    if !measured.is_empty() {
        print!("\n{}\n{}", table(&measured)?, per_day(&measured)?);
    }
    if status.success() { Ok(()) } else { Err(format!("{}\n`{}` ended with {status}", failed.join("\n"), Shown(&command))) }
}

/// One line of a trace, if it is a measurement: `├─ emit Gas(what: "observe", gas: 65414 [6.541e4])`.
fn parse(line: &str) -> Option<(String, u64)> {
    let (_, rest) = line.split_once("emit Gas(what: \"")?;
    let (what, rest) = rest.split_once("\", gas: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((what.into(), digits.parse().ok()?))
}

fn table(measured: &[(String, u64)]) -> Result<String, String> {
    let mut rows = Vec::new();
    for &(name, what, aim) in AIMS {
        let found = measured.iter().find(|row| row.0 == what);
        let &(_, gas) = found.ok_or_else(|| format!("no test measures {what:?}, which has an aim (xtask/src/gas.rs)"))?;
        rows.push((name.to_string(), gas, Some(aim)));
    }
    for (what, gas) in measured {
        if !AIMS.iter().any(|row| row.1 == what) {
            rows.push((slug(what), *gas, None));
        }
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let mut out = format!("{:width$}  {:>8}  {:>8}\n", "name", "gas", "aim");
    for (name, gas, aim) in rows {
        let rest = match aim {
            None => String::new(),
            Some(aim) if gas <= aim => format!("  {aim:>8}"),
            Some(aim) => format!("  {aim:>8}  ABOVE by {}", gas - aim),
        };
        out.push_str(&format!("{name:width$}  {gas:>8}{rest}\n"));
    }
    Ok(out)
}

/// Anchors of one log in a day: the name of the row, and how many.
const CADENCES: &[(&str, u64)] = &[("one anchor an hour", 24), ("one each ten minutes", 144), ("one a minute", 1_440)];

/// A day's price of gas, as a name, thousandths of a gwei, and what else is to pay there.
const PRICES: &[(&str, u64, &str)] = &[("L1 at 1 gwei", 1_000, ""), ("L2 at 0.005 gwei", 5, ", without its data fee")];

/// Dollars for an ether: an assumption, as the prices of gas are.
const ETHER_USD: u64 = 3_000;

/// What it costs to stay registered for a day: one renewal, and the anchors. In money by assumptions that the text names.
fn per_day(measured: &[(String, u64)]) -> Result<String, String> {
    let of = |name: &str| {
        let (_, what, _) = AIMS.iter().find(|row| row.0 == name).ok_or("no such row")?;
        measured.iter().find(|row| row.0 == *what).map(|row| row.1).ok_or_else(|| format!("no test measures {what:?}"))
    };
    let (renew, anchor) = (of("renew")?, of("anchor")?);
    let mut out =
        format!("a day of staying registered: one renewal and the anchors, {ETHER_USD} USD for an ether (assumed, as the gas prices)\n");
    for (name, anchors) in CADENCES {
        let gas = renew + anchor * anchors;
        out.push_str(&format!("{name:22} {gas:>11} gas"));
        for (chain, milligwei, besides) in PRICES {
            // One gas at a thousandth of a gwei is 10^-12 ether.
            let millionths = gas * milligwei * ETHER_USD / 1_000_000;
            out.push_str(&format!("   {chain}: {}.{:02} USD{besides}", millionths / 1_000_000, millionths % 1_000_000 / 10_000));
        }
        out.push('\n');
    }
    Ok(out)
}

/// A name without blanks, so that the second word of a row is its gas.
fn slug(what: &str) -> String {
    let words = what.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{AIMS, parse, per_day, table};

    #[test]
    fn a_measurement_is_read_from_a_trace_and_nothing_else_is() {
        let line = "    ├─ emit Gas(what: \"prove, depth 20\", gas: 91420 [9.142e4])";
        assert_eq!(parse(line), Some(("prove, depth 20".into(), 91_420)));
        assert_eq!(parse("    ├─ emit Gas(what: \"pin\", gas: 900)"), Some(("pin".into(), 900)));
        assert_eq!(parse("    ├─ emit Anchored(kSig: 0x00, size: 150)"), None);
    }

    #[test]
    fn a_day_is_one_renewal_and_its_anchors() {
        let measured: Vec<(String, u64)> = AIMS.iter().map(|row| (row.1.to_string(), row.2)).collect();
        let text = per_day(&measured).unwrap();
        // 130,000 + 24 × 80,000 gas at 1 gwei are 0.00205 ether.
        assert!(
            text.contains("one anchor an hour") && text.contains("2050000 gas   L1 at 1 gwei: 6.15 USD   L2 at 0.005 gwei: 0.03 USD"),
            "{text}"
        );
        assert!(per_day(&measured[..2]).is_err());
    }

    #[test]
    fn rows_above_their_aim_are_marked_and_an_aim_without_a_row_is_an_error() {
        let mut measured: Vec<(String, u64)> = AIMS.iter().map(|row| (row.1.to_string(), row.2)).collect();
        measured.push(("pin, header of 600 bytes".into(), 7));
        measured[0].1 += 5;
        let text = table(&measured).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), AIMS.len() + 2);
        assert!(lines[1].starts_with("anchor ") && lines[1].ends_with("80005     80000  ABOVE by 5"), "{}", lines[1]);
        assert_eq!(text.matches("ABOVE").count(), 1);
        assert_eq!(lines.last().unwrap().split_whitespace().collect::<Vec<_>>(), ["pin-header-of-600-bytes", "7"]);
        assert!(table(&measured[1..]).unwrap_err().contains("anchor, 150 to 300"));
    }
}
