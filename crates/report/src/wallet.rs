//! `wallet.toml`: a wallet whose key is elsewhere, and the program that signs with it. Protocol: docs/wallet.md.
//!
//! Not here: running it (`candor-client`), and who may write the file (`candor-cli`).

use std::fmt;

use candor_verify::bytes::Address;
use serde::Deserialize;

use crate::toml_text::{list, quoted};

/// What a `wallet.toml` says.
///
/// ```
/// use candor_report::{WalletText, WalletTextError};
///
/// let text = "address = \"0x0101010101010101010101010101010101010101\"\ncommand = [\"kms-sign\", \"--key\", \"7\"]";
/// let wallet = WalletText::parse(text).unwrap();
/// assert_eq!(wallet.command, ["kms-sign", "--key", "7"]);
/// assert_eq!(WalletText::parse(&wallet.to_toml()), Ok(wallet));
/// let here = WalletText::parse(&text.replace("kms-sign", "./kms-sign"));
/// assert!(matches!(here, Err(WalletTextError::Value { field: "command", .. })), "whose directory that is, nobody knows");
/// ```
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalletText {
    /// Whose signatures the program makes.
    pub address: Address,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Why a text is no wallet.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WalletTextError {
    /// No TOML, or a field that is unknown, missing or of another kind, in the words of the TOML reader.
    Toml(String),
    /// A value that its field cannot have. Arguments are not quoted: they may name accounts.
    Value {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

impl fmt::Display for WalletTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(message) => f.write_str(message),
            Self::Value { field, expected } => write!(f, "{field}: expected {expected}, got something else"),
        }
    }
}

impl std::error::Error for WalletTextError {}

/// Without the arguments.
impl fmt::Debug for WalletText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletText({}, {:?})", self.address, self.command.first())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    address: String,
    command: Vec<String>,
}

/// Most words of a command, and bytes of all of them: a program and its options, and no script.
const WORDS_MAX: usize = 64;
const BYTES_MAX: usize = 8192;

impl WalletText {
    /// A wallet of this address and program.
    ///
    /// # Errors
    /// `Value`: no address, or no program that could be meant.
    pub fn new(address: Address, command: Vec<String>) -> Result<Self, WalletTextError> {
        let refused = |field, expected| Err(WalletTextError::Value { field, expected });
        if address.is_zero() {
            return refused("address", "0x and 40 hex digits, not all zero");
        }
        let Some(program) = command.first().filter(|program| !program.is_empty()) else {
            return refused("command", "a program, and its arguments");
        };
        // A path that begins here would be whatever lies in the directory in which somebody happens to work.
        if program.contains('/') && !program.starts_with('/') {
            return refused("command", "a program by its name, or by its path from /");
        }
        let bytes: usize = command.iter().map(String::len).sum();
        if WORDS_MAX < command.len() || BYTES_MAX < bytes || command.iter().any(|word| word.contains('\0')) {
            return refused("command", "at most 64 words and 8192 bytes, without NUL");
        }
        Ok(Self { address, command })
    }

    /// Reads the text of a `wallet.toml`.
    ///
    /// # Errors
    /// `Toml` for the form, `Value` for what it says.
    pub fn parse(text: &str) -> Result<Self, WalletTextError> {
        let document: Document = toml::from_str(text).map_err(|error| WalletTextError::Toml(error.to_string().trim_end().to_owned()))?;
        let expected = "0x and 40 hex digits, not all zero";
        let address = Address::from_hex(&document.address).ok_or(WalletTextError::Value { field: "address", expected })?;
        Self::new(address, document.command)
    }

    /// The text of a `wallet.toml`, commented.
    #[must_use]
    pub fn to_toml(&self) -> String {
        format!(
            "# A wallet whose key is elsewhere. Each payment is shown to this program on its standard input, and it prints a signature: see\n\
             # docs/wallet.md. It runs as you, without a shell; whoever can write this file can run programs as you.\n\
             address = {}\ncommand = {}\n",
            quoted(&self.address),
            list(&self.command)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_word_for_word_and_no_other_text_is_one() {
        let words = ["/opt/sign", "--hd", "m/44'/60'/0'/0/0", "", "\"quoted\" \\ ünï\n"].map(str::to_owned);
        let wallet = WalletText::new(Address([1; 20]), words.to_vec()).unwrap();
        assert_eq!(WalletText::parse(&wallet.to_toml()), Ok(wallet));
        let address = Address([1; 20]);
        for command in [vec![], vec![""], vec!["../sign"], vec!["bin/sign"], vec!["sign"; WORDS_MAX + 1], vec!["a\0b"]] {
            let command = command.into_iter().map(str::to_owned).collect();
            assert!(matches!(WalletText::new(address, command), Err(WalletTextError::Value { field: "command", .. })));
        }
        for text in ["", "address = \"0x01\"\ncommand = [\"a\"]", "address = 1\ncommand = [\"a\"]"] {
            assert!(WalletText::parse(text).is_err(), "{text}");
        }
        let secret = WalletText::new(address, vec!["sign".into(), "SECRET".into()]).unwrap();
        assert!(!format!("{secret:?}").contains("SECRET"));
        let unknown = format!("{}shell = true\n", secret.to_toml());
        assert!(matches!(WalletText::parse(&unknown), Err(WalletTextError::Toml(message)) if message.contains("shell")));
    }
}
