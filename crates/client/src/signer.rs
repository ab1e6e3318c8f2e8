//! A program that signs payments with a key that is elsewhere: a hardware wallet, a key service. Protocol: docs/wallet.md.
//!
//! It is run without a shell, gets one JSON object on standard input, and prints one signature. Whatever it does, a payment is made only of a
//! signature that recovers to the wallet's address over the digest that was computed here.
//! - **Trust:** the program runs as the user and is believed in nothing but that signature. What it says on standard error is shown as text.
//! - **Invariant:** its time, its output and its words are bounded.
//!
//! Not here: which program (the command's wallet.toml), and what becomes of a payment that was not signed (`ask`).

use std::fmt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use candor_verify::bytes::{Address, Signature65};
use candor_verify::eip712::{K256, signer};
use candor_verify::payment::TokenDomain;
use candor_verify::text::one_line;
use candor_x402::scheme::ToSign;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

/// How long a program may take, its turn included: somebody reads an amount on a small screen and presses a button. An offer lasts between one
/// and two minutes.
const SIGN_WAIT: Duration = Duration::from_secs(60);

/// Most bytes of standard output: a signature is 132, and one line feed.
const OUTPUT_MAX: u64 = 1024;

/// Most bytes of standard error that are shown; the rest is read and dropped.
const SAID_MAX: u64 = 4096;

/// How long words that were written before the end are waited for, if somebody else still holds the pipe.
const SAID_GRACE: Duration = Duration::from_millis(200);

/// Why a program did not sign.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignerError {
    /// It could not be started.
    NotStarted {
        /// Its name.
        program: String,
        /// Why.
        what: String,
    },
    /// It took too long, and was ended.
    Late {
        /// How long it had, in seconds.
        seconds: u64,
    },
    /// It ended without success.
    Failed {
        /// Exit code or signal, in words.
        status: String,
        /// The last line of its standard error.
        said: String,
    },
    /// It printed more than a signature.
    TooLong {
        /// Bytes that it may print.
        limit: u64,
    },
    /// What it printed is no signature. Not shown: it could be a key.
    Malformed,
    /// The signature is another's, or of another digest.
    OtherKey {
        /// The wallet.
        expected: Address,
        /// Who signed, if that can be told.
        got: Option<Address>,
    },
    /// The offer was over when it was signed.
    OfferEnded,
}

impl SignerError {
    /// The check that refused, where it is what was printed that is wrong.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        match self {
            Self::TooLong { .. } | Self::Malformed | Self::OtherKey { .. } => Some("wallet.signature"),
            Self::NotStarted { .. } | Self::Late { .. } | Self::Failed { .. } | Self::OfferEnded => None,
        }
    }
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { program, what } => {
                write!(f, "the wallet's signer {program:?} could not be started: {what}; wallet.toml names it (docs/wallet.md)")
            }
            Self::Late { seconds } => write!(f, "the wallet's signer did not sign within {seconds} s and was ended; ask again"),
            Self::Failed { status, said } if said.is_empty() => write!(f, "the wallet's signer ended with {status} and said nothing"),
            Self::Failed { status, said } => write!(f, "the wallet's signer ended with {status}: {said}"),
            Self::TooLong { limit } => {
                write!(f, "refused wallet.signature: expected one signature from the signer, got more than {limit} bytes")
            }
            Self::Malformed => {
                f.write_str("refused wallet.signature: expected 0x and 130 hex digits on the signer's standard output, got something else")
            }
            Self::OtherKey { expected, got: Some(got) } => write!(
                f,
                "refused wallet.signature: expected a signature of {expected} over this payment, got one of {got}, or over something else"
            ),
            Self::OtherKey { expected, got: None } => {
                write!(f, "refused wallet.signature: expected a low-s signature of {expected}, got one of nobody")
            }
            Self::OfferEnded => f.write_str("the offer ended while it was being signed; ask again"),
        }
    }
}

impl std::error::Error for SignerError {}

/// A program that signs. Two payments are never before it at once: a person confirms one after the other.
pub struct SignerProgram {
    command: Vec<String>,
    // What it says on standard error, line by line, while it runs: "confirm on your device" is of use then only.
    say: fn(&str),
    wait: Duration,
    // Guards the program: held while it runs.
    turn: Mutex<()>,
}

impl SignerProgram {
    /// A program with its arguments. Each line of its standard error goes to `say`, made harmless.
    #[must_use]
    pub fn new(command: Vec<String>, say: fn(&str)) -> Self {
        Self { command, say, wait: SIGN_WAIT, turn: Mutex::new(()) }
    }

    pub(crate) async fn sign(&self, wallet: &Address, what: ToSign<'_>, domain: &TokenDomain) -> Result<Signature65, SignerError> {
        let digest = what.digest(domain);
        let asked = what.typed_data(domain).to_string();
        let in_turn = async {
            let _turn = self.turn.lock().await;
            self.run(asked.as_bytes()).await
        };
        let late = |_| SignerError::Late { seconds: self.wait.as_secs() };
        let printed = tokio::time::timeout(self.wait, in_turn).await.map_err(late)??;
        let signature = parse(&printed).ok_or(SignerError::Malformed)?;
        match signer(&K256, &digest, &signature) {
            Some(got) if got == *wallet => Ok(signature),
            got => Err(SignerError::OtherKey { expected: *wallet, got }),
        }
    }

    /// Standard output of one run. Whoever stops waiting ends the program.
    async fn run(&self, asked: &[u8]) -> Result<Vec<u8>, SignerError> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(SignerError::NotStarted { program: String::new(), what: "no program is named".into() });
        };
        let not_started = |what: String| SignerError::NotStarted { program: program.clone(), what };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| not_started(error.to_string()))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(not_started("it has no pipes".into()));
        };
        let mut last = String::new();
        let done = async {
            let ask = async {
                // One that needs no input may close it; what counts is what it prints.
                drop(stdin.write_all(asked).await);
                drop(stdin);
                Ok(())
            };
            let end = async { child.wait().await.map_err(|error| not_started(error.to_string())) };
            tokio::try_join!(ask, read(stdout), end)
        };
        let ended = {
            let (mut said, mut done) = (pin!(self.pass_on(stderr, &mut last)), pin!(done));
            tokio::select! {
                ended = &mut done => {
                    // Its last words may still be in the pipe; a child of its own may hold the pipe for ever.
                    drop(tokio::time::timeout(SAID_GRACE, said).await);
                    ended
                }
                () = &mut said => done.await,
            }
        };
        let ((), printed, status) = ended?;
        if status.success() { Ok(printed) } else { Err(SignerError::Failed { status: in_words(status), said: last }) }
    }

    /// Shows what is said on standard error, and keeps the last line.
    async fn pass_on(&self, stderr: impl AsyncRead + Unpin, last: &mut String) {
        let mut reader = BufReader::new(stderr.take(SAID_MAX));
        let mut line = Vec::new();
        // What cannot be read any more was said to nobody.
        while reader.read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes != 0) {
            let text = String::from_utf8_lossy(&line);
            let text = one_line(text.trim_end());
            if !text.is_empty() {
                (self.say)(&text);
                *last = text.into_owned();
            }
            line.clear();
        }
        // Read on, so that a talkative one is not stopped by a full pipe.
        drop(tokio::io::copy(&mut reader.into_inner().into_inner(), &mut tokio::io::sink()).await);
    }
}

impl fmt::Debug for SignerProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may name accounts.
        write!(f, "SignerProgram({:?})", self.command.first())
    }
}

async fn read(stdout: impl AsyncRead + Unpin) -> Result<Vec<u8>, SignerError> {
    let mut printed = Vec::new();
    // What broke off is no signature, and is judged as that.
    drop(stdout.take(OUTPUT_MAX.saturating_add(1)).read_to_end(&mut printed).await);
    let is_too_long = u64::try_from(printed.len()).is_ok_and(|length| OUTPUT_MAX < length);
    if is_too_long { Err(SignerError::TooLong { limit: OUTPUT_MAX }) } else { Ok(printed) }
}

/// 0x and 130 hex digits, white space around it. The last byte is 27 or 28, or 0 or 1 as libraries for keys have it.
fn parse(printed: &[u8]) -> Option<Signature65> {
    let text = std::str::from_utf8(printed).ok()?.trim();
    let mut signature = Signature65::from_hex(text)?;
    if let Some(v) = signature.0.last_mut().filter(|v| **v <= 1) {
        *v = v.saturating_add(27);
    }
    Some(signature)
}

fn in_words(status: ExitStatus) -> String {
    status.code().map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use candor_verify::abi::Words;
    use candor_verify::bytes::{Amount, Hash32, to_hex};
    use candor_verify::hash::keccak256;
    use candor_verify::payment::Authorization;
    use candor_verify::scheme::Through;
    use candor_verify::time::UnixSeconds;

    use candor_x402::scheme::Allowance;
    use serde_json::Value;

    use super::*;
    use crate::wallet::Wallet;

    fn payment() -> (Authorization, TokenDomain) {
        let authorization = Authorization {
            from: Wallet::from_bytes(&[7; 32]).unwrap().address(),
            to: Address([2; 20]),
            value: Amount(12_345_678_901_234_567_890_123),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(1_800_000_000),
            nonce: Hash32([9; 32]),
            ..Authorization::default()
        };
        let domain = TokenDomain { name: "USD Coin".into(), version: "2".into(), chain_id: 8453, asset: Address([3; 20]) };
        (authorization, domain)
    }

    /// A program of its own for each test, gone with it.
    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, body: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("candor-signer-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("sign");
            std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            Self(directory)
        }

        fn path(&self) -> String {
            self.0.join("sign").to_str().unwrap().to_owned()
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn ignore(_: &str) {}

    async fn signed(name: &str, body: &str) -> Result<Signature65, SignerError> {
        let script = Script::new(name, body);
        // Through an interpreter that is there for certain: a file that was just written may still be open in a child of another test.
        let program = SignerProgram { wait: Duration::from_secs(2), ..SignerProgram::new(vec!["/bin/sh".into(), script.path()], ignore) };
        let (authorization, domain) = payment();
        program.sign(&authorization.from, ToSign::Payment(&authorization), &domain).await
    }

    async fn right() -> String {
        let (authorization, domain) = payment();
        to_hex(&Wallet::from_bytes(&[7; 32]).unwrap().sign(ToSign::Payment(&authorization), &domain).await.unwrap().0)
    }

    /// Hashes whatever typed data says, by the rules of EIP-712 and none of ours.
    fn hashed(data: &Value, kind: &str, value: &Value) -> Hash32 {
        let fields = |kind: &str| data["types"][kind].as_array().cloned();
        let text = |kind: &str| {
            let member = |field: &Value| format!("{} {}", field["type"].as_str().unwrap(), field["name"].as_str().unwrap());
            format!("{kind}({})", fields(kind).unwrap().iter().map(member).collect::<Vec<_>>().join(","))
        };
        // Whatever it names, in the order of the alphabet.
        let mut named: Vec<String> = fields(kind).unwrap().iter().map(|field| field["type"].as_str().unwrap().to_owned()).collect();
        named.retain(|kind| fields(kind).is_some());
        named.sort();
        let type_string = named.iter().fold(text(kind), |all, kind| all + &text(kind));
        let words = fields(kind).unwrap().iter().fold(Words::new(), |words, field| {
            let value = &value[field["name"].as_str().unwrap()];
            let number = || value.as_u64().map_or_else(|| value.as_str().unwrap().parse().unwrap(), u128::from);
            match field["type"].as_str().unwrap() {
                "string" => words.hash(&keccak256(&[value.as_str().unwrap().as_bytes()])),
                "address" => words.address(&Address::from_hex(value.as_str().unwrap()).unwrap()),
                "bytes32" => words.hash(&Hash32::from_hex(value.as_str().unwrap()).unwrap()),
                "uint256" => words.amount(Amount(number())),
                other => words.hash(&hashed(data, other, value)),
            }
        });
        keccak256(&[&keccak256(&[type_string.as_bytes()]).0, words.as_slice()])
    }

    #[test]
    fn what_the_program_is_shown_hashes_to_the_digest_that_is_checked() {
        let (authorization, domain) = payment();
        let through = Through::UptoProxy { spender: Address([5; 20]), facilitator: Address([6; 20]) };
        let mut nonce = Hash32::ZERO;
        nonce.0[16..].fill(0xab);
        let permit = Authorization { through, nonce, ..authorization };
        let allowance = Allowance { owner: authorization.from, value: Amount(7), nonce: 3, deadline: UnixSeconds(9) };
        for what in [ToSign::Payment(&authorization), ToSign::Payment(&permit), ToSign::Allowance(&allowance)] {
            let data = what.typed_data(&domain);
            let parts =
                [hashed(&data, "EIP712Domain", &data["domain"]), hashed(&data, data["primaryType"].as_str().unwrap(), &data["message"])];
            let digest = keccak256(&[&[0x19, 0x01], &parts[0].0, &parts[1].0]);
            assert_eq!((digest, data["digest"].as_str().unwrap()), (what.digest(&domain), digest.to_string().as_str()));
        }
    }

    #[tokio::test]
    async fn a_program_that_signs_as_the_wallet_is_taken_and_gets_the_payment_on_its_standard_input() {
        let right = right().await;
        let (authorization, domain) = payment();
        let digest = authorization.digest(&domain).to_string();
        let body = format!("grep -q '\"digest\":\"{digest}\"' || exit 7\necho ' {right}'");
        assert_eq!(to_hex(&signed("right", &body).await.unwrap().0), right);
        // The last byte as libraries for keys have it.
        let by_parity = format!("{}{:02x}", &right[..130], u8::from_str_radix(&right[130..], 16).unwrap() - 27);
        assert_eq!(to_hex(&signed("parity", &format!("echo {by_parity}")).await.unwrap().0), right);
    }

    #[tokio::test]
    async fn a_signature_of_another_key_or_over_something_else_is_refused_by_name() {
        let (authorization, domain) = payment();
        let other = Wallet::from_bytes(&[8; 32]).unwrap();
        let by_other = other.sign(ToSign::Payment(&authorization), &domain).await.unwrap();
        let over_other = Wallet::from_bytes(&[7; 32]).unwrap();
        let over_other = over_other.sign(ToSign::Payment(&Authorization { value: Amount(1), ..authorization }), &domain).await.unwrap();
        for (name, signature) in [("other", by_other), ("over", over_other)] {
            let error = signed(name, &format!("echo {}", to_hex(&signature.0))).await.unwrap_err();
            assert_eq!(error.check(), Some("wallet.signature"));
            assert!(matches!(error, SignerError::OtherKey { expected, .. } if expected == authorization.from), "{error}");
        }
        let error = signed("zero", &format!("echo 0x{}", "00".repeat(65))).await.unwrap_err();
        assert!(matches!(error, SignerError::OtherKey { got: None, .. }), "{error}");
    }

    #[tokio::test]
    async fn garbage_is_refused_and_not_shown() {
        let (right, secret) = (right().await, "11".repeat(32));
        for (name, body) in [
            ("nothing", "cat >/dev/null".to_owned()),
            ("bare", format!("echo {}", &right[2..])),
            ("short", format!("echo {}", &right[..130])),
            ("twice", format!("echo {right}; echo {right}")),
            ("key", format!("echo 0x{secret}")),
        ] {
            let error = signed(name, &body).await.unwrap_err();
            assert_eq!(error, SignerError::Malformed, "{name}");
            assert!(!error.to_string().contains(&secret));
        }
        let error = signed("endless", "yes").await.unwrap_err();
        assert_eq!((&error, error.check()), (&SignerError::TooLong { limit: OUTPUT_MAX }, Some("wallet.signature")));
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why_on_one_line_and_one_that_hangs_is_ended() {
        let error = signed("fails", "echo first >&2; printf 'no \\033[2Kdevice\\n' >&2; exit 3").await.unwrap_err();
        let expected = SignerError::Failed { status: "exit code 3".into(), said: "no \u{fffd}[2Kdevice".into() };
        assert_eq!(error, expected);
        let talkative = signed("talks", "yes no >&2 & sleep 0.2; kill $!; exit 1").await.unwrap_err();
        assert!(matches!(talkative, SignerError::Failed { .. }), "{talkative}");
        let marker = std::env::temp_dir().join(format!("candor-signer-hung-{}", std::process::id()));
        let body = format!("trap '' TERM; echo $$ > {}; exec sleep 1000", marker.display());
        assert_eq!(signed("hangs", &body).await.unwrap_err(), SignerError::Late { seconds: 2 });
        let pid = std::fs::read_to_string(&marker).unwrap();
        std::fs::remove_file(&marker).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        for _ in 0..100 {
            if !state().contains("(sleep) S") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it still runs: {}", state());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named_and_none_is_an_error() {
        let (authorization, domain) = payment();
        for (command, named) in [(vec!["/nonexistent/signer".to_owned()], "/nonexistent/signer"), (Vec::new(), "")] {
            let error =
                SignerProgram::new(command, ignore).sign(&authorization.from, ToSign::Payment(&authorization), &domain).await.unwrap_err();
            assert!(matches!(&error, SignerError::NotStarted { program, .. } if program == named), "{error}");
        }
    }
}
