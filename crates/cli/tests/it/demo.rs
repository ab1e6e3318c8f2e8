//! The demo's screen, as somebody sees it who never saw this before.

use std::path::Path;
use std::process::Command;

/// Runs it where nobody looks, in this locale, and gives what it said.
fn demo(locale: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
    let output = command.arg("demo").args(arguments).env("LC_ALL", locale).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What stands behind a word at the begin of a line, up to three blanks.
fn after<'a>(screen: &'a str, word: &str) -> &'a str {
    let line = screen.lines().find_map(|line| line.trim_start().strip_prefix(word)).unwrap_or_else(|| panic!("no {word}: {screen}"));
    line.trim_start().split("   ").next().unwrap()
}

#[test]
fn the_demo_fits_a_screen_and_its_last_lines_work() {
    let screen = demo("C", &[]);
    assert!(screen.is_ascii(), "{screen}");
    // Names of files and commands are as long as they are.
    let is_wide =
        |line: &&str| 79 < line.len() && !["See it", "Share it", "Check it"].iter().any(|word| line.trim_start().starts_with(word));
    assert_eq!(screen.lines().find(is_wide), None);
    assert!(screen.lines().count() <= 40, "{screen}");
    for words in [
        "SIMULATED",
        "What is a receipt?",
        "VERIFIED - SIMULATED - REPLAYABLE - ANCHORED",
        "PROVEN TO YOU",
        "SETTLED",
        "ten refused",
        "x answer altered   response.commitment",
        "x never logged     log.inclusion",
    ] {
        assert!(screen.contains(words), "no {words}: {screen}");
    }
    let (page, bundle) = (Path::new(after(&screen, "See it")), Path::new(after(&screen, "Share it")));
    assert!(std::fs::read_to_string(page).unwrap().contains("ANCHORED") && bundle.is_file());
    let check = Command::new("sh").args(["-c", after(&screen, "Check it")]).output().unwrap();
    assert!(check.status.success() && String::from_utf8_lossy(&check.stdout).starts_with("VERIFIED"), "{check:?}");
    std::fs::remove_dir_all(page.parent().unwrap()).unwrap();
}

#[test]
fn whoever_asks_for_it_is_told_every_check_and_what_to_do_by_hand() {
    let screen = demo("C.UTF-8", &["--verbose", "Who are you?"]);
    for words in ["✓ chain", "evidence.binding", "tls.key", "sha256sum", "CandorRegistry.prove", "verifies by the same code", "gas"] {
        assert!(screen.contains(words), "no {words}: {screen}");
    }
    assert!(!screen.contains('\u{1b}'), "nobody looks, so there is no colour");
    let page = Path::new(after(&screen, "See it")).parent().unwrap();
    std::fs::remove_dir_all(page).unwrap();
}
