//! An address as a QR code, for a telephone that looks at the terminal.
//!
//! The code holds the address and nothing else: a URI that names token and chain (EIP-681) is read by few wallets, and by some wrongly.

use std::io::IsTerminal as _;

use candor_verify::bytes::Address;
use qrcodegen::{QrCode, QrCodeEcc};

use crate::paint::{Ink, Line, Screen};

/// Modules of white around it, as the standard asks for.
const QUIET: i32 = 4;

/// Shows it, where somebody looks at a terminal.
pub(super) fn say(address: &Address) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    // 42 characters fit the third of forty sizes.
    let Ok(code) = QrCode::encode_text(&address.to_string(), QrCodeEcc::Low) else { return };
    for line in drawn(&code, Screen::of(false).is_utf8()) {
        Line::new().put(Ink::WhiteOnBlack, line).say();
    }
}

/// Its lines. What is drawn is the white: two rows a line in half blocks, or a row a line with two characters for each module.
fn drawn(code: &QrCode, is_utf8: bool) -> Vec<String> {
    let (from, to) = (-QUIET, code.size() + QUIET);
    // Outside of the code everything is white.
    let is_white = |x: i32, y: i32| !code.get_module(x, y);
    if !is_utf8 {
        let module = |x: i32, y: i32| if is_white(x, y) { "##" } else { "  " };
        return (from..to).map(|y| (from..to).map(|x| module(x, y)).collect()).collect();
    }
    let pair = |x: i32, y: i32| match (is_white(x, y), y + 1 < to && is_white(x, y + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    (from..to).step_by(2).map(|y| (from..to).map(|x| pair(x, y)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> QrCode {
        QrCode::encode_text(&Address([0xa5; 20]).to_string(), QrCodeEcc::Low).unwrap()
    }

    #[test]
    fn every_module_is_drawn_with_white_around_it_and_both_drawings_are_the_same() {
        let code = code();
        let side = usize::try_from(code.size() + 2 * QUIET).unwrap();
        let ascii: Vec<Vec<bool>> =
            drawn(&code, false).iter().map(|line| line.as_bytes().chunks(2).map(|module| module == b"##").collect()).collect();
        let mut blocks: Vec<Vec<bool>> = Vec::new();
        for line in drawn(&code, true) {
            blocks.push(line.chars().map(|c| matches!(c, '█' | '▀')).collect());
            blocks.push(line.chars().map(|c| matches!(c, '█' | '▄')).collect());
        }
        // An odd number of rows: below the last one is nothing.
        assert!(side % 2 == 1 && blocks.pop().unwrap().iter().all(|white| !white));
        assert_eq!(ascii, blocks);
        assert!(ascii.len() == side && ascii.iter().all(|row| row.len() == side));
        let at = |x: i32, y: i32| ascii[usize::try_from(y + QUIET).unwrap()][usize::try_from(x + QUIET).unwrap()];
        for (x, y) in (-QUIET..code.size() + QUIET).flat_map(|y| (-QUIET..code.size() + QUIET).map(move |x| (x, y))) {
            let is_inside = (0..code.size()).contains(&x) && (0..code.size()).contains(&y);
            assert_eq!(at(x, y), !(is_inside && code.get_module(x, y)), "{x} {y}");
        }
        // A finder pattern: dark ring, white ring, dark middle.
        assert_eq!([at(0, 0), at(1, 1), at(3, 3)], [false, true, false]);
    }

    #[test]
    fn it_fits_a_terminal_of_eighty_columns_either_way() {
        assert!([true, false].iter().all(|is_utf8| drawn(&code(), *is_utf8).iter().all(|line| line.chars().count() <= 80)));
    }
}
