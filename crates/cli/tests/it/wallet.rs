//! Wallets: what they hold and buy, money that is waited for, keys that are elsewhere, and what leaves a wallet's file.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use candor_chain::Signer;
use candor_verify::bytes::{Address, Hash32, to_hex};

use crate::support::process::{self, Process, at_terminal, new_directory, run};
use crate::support::{World, take_hypervisor};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names the key with which [`a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown`] signs.
const SIGNER_KEY: &str = "CANDOR_TEST_SIGNER_KEY";

/// The program that wallets of these tests name is this one: a child process that knows a key and nothing of the wallet.
#[test]
fn a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown() {
    let key = std::env::var(SIGNER_KEY).ok().map(|key| Signer::from_bytes(&Hash32::from_hex(&key).unwrap().0).unwrap());
    let (signer, shown) = match key {
        Some(signer) => {
            let mut shown = String::new();
            std::io::stdin().read_to_string(&mut shown).unwrap();
            (signer, shown)
        }
        None => (Signer::random(), format!("{{\"digest\": \"{}\"}}", Hash32([7; 32]))),
    };
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let digest = Hash32::from_hex(shown["digest"].as_str().unwrap()).unwrap();
    let signature = signer.sign_digest(&digest).unwrap();
    assert_eq!(candor_verify::eip712::signer(&candor_verify::eip712::K256, &digest, &signature), Some(signer.address()));
    println!("{}", to_hex(&signature.0));
}

/// Writes the program that signs with a key. What the test says beside the signature is left out.
fn write_signer(path: &Path, signer: &Signer) {
    let program = std::env::current_exe().unwrap();
    let (key, test) = (Hash32(signer.to_bytes()), "wallet::a_test_program_that_is_started_as_a_signer_signs_what_it_is_shown");
    let script = format!(
        "#!/bin/sh\necho 'press the button' >&2\n{SIGNER_KEY}={key} '{}' --exact {test} --nocapture | grep -oE '0x[0-9a-f]{{130}}'\n",
        program.display()
    );
    std::fs::write(path, script).unwrap();
}

fn funded(world: &World, state: &Path) {
    let ran = run(state, &["wallet", "fund", "--rpc", &world.rpc()]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_whose_key_a_program_has_pays_for_an_answer_and_a_program_that_signs_otherwise_pays_nothing() {
    let world = World::shared();
    let (state, rpc) = (new_directory(), world.rpc());
    take_hypervisor(&world, &state);
    let (signer, program) = (Signer::random(), state.join("sign.sh"));
    write_signer(&program, &signer);
    let address = signer.address().to_string();
    let command = ["--", "/bin/sh", text(&program)];

    // Made only of a program that signs as the address.
    let other = Signer::random().address().to_string();
    let refused = run(&state, &[&["wallet", "new", "--address", &other], &command[..]].concat());
    assert_eq!((refused.code, &refused.json["check"]), (1, &"wallet.signature".into()), "{refused:?}");
    assert!(!state.join("wallet.toml").exists());
    let made = run(&state, &[&["wallet", "new", "--address", &address], &command[..]].concat());
    assert_eq!((made.code, &made.json["address"]), (0, &address.as_str().into()), "{made:?}");
    assert_eq!(std::fs::metadata(state.join("wallet.toml")).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&state, &["wallet", "new", "--passphrase-file", text(&program)]);
    assert!(again.code == 2 && again.json["error"].as_str().unwrap().contains("wallet.toml is there already"), "{again:?}");

    funded(&world, &state);
    let asked = run(&state, &["ask", "Hi", "--rpc", &rpc, "--max-tokens", "4"]);
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.stderr.contains("signer: press the button"), "{asked:?}");
    let paid = world.transfers_from(&signer.address()).await;
    assert_eq!(paid.iter().map(u128::to_string).collect::<Vec<_>>(), [asked.json["charged"].as_str().unwrap()]);
    let shown = run(&state, &["wallet", "show", "--rpc", &rpc]);
    assert_eq!((shown.code, &shown.json["signer"], &shown.json["address"]), (0, &"program".into(), &address.as_str().into()), "{shown:?}");

    // Another key behind the same program, and a program that fails.
    write_signer(&program, &Signer::random());
    let refused = run(&state, &["ask", "Hi again", "--rpc", &rpc, "--max-tokens", "4"]);
    assert_eq!((refused.code, &refused.json["check"]), (1, &"wallet.signature".into()), "{refused:?}");
    std::fs::write(&program, "echo 'no device' >&2; exit 5\n").unwrap();
    let failed = run(&state, &["ask", "Hi again", "--rpc", &rpc, "--max-tokens", "4"]);
    let error = failed.json["error"].as_str().unwrap();
    assert!(failed.code == 2 && error.contains("nothing was paid") && error.contains("exit code 5: no device"), "{failed:?}");
    // Nothing is held for what was never sent: the right program is asked for the same at once.
    write_signer(&program, &signer);
    let asked = run(&state, &["ask", "Hi again", "--rpc", &rpc, "--max-tokens", "4"]);
    assert_eq!(asked.code, 0, "{asked:?}");
    assert_eq!(world.transfers_from(&signer.address()).await.len(), 2);

    // It signs payments and no transaction, and there is no key to take away.
    let exported = run(&state, &["wallet", "export", text(&state.join("out.json"))]);
    assert!(exported.code == 2 && exported.json["error"].as_str().unwrap().contains("nothing to export"), "{exported:?}");
    std::fs::set_permissions(state.join("wallet.toml"), PermissionsExt::from_mode(0o666)).unwrap();
    let open = run(&state, &["wallet", "show", "--rpc", &rpc]);
    assert!(open.code == 2 && open.json["error"].as_str().unwrap().contains("only its owner can open"), "{open:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_wallet_shows_what_it_holds_in_the_tokens_own_words_and_how_many_answers_that_buys() {
    let world = World::shared();
    // Something of the world's policy, at the development wallet.
    let shown = world.candor(&["wallet", "show", "--rpc", &world.rpc()]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let held = &shown.json["assets"][0];
    assert_eq!((&held["symbol"], &held["decimals"], &held["asset"]), (&"USDC".into(), &6.into(), &world.token().to_string().into()));
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<u128>().unwrap();
    let (balance, most) = (number(&held["balance"]), number(&held["max_per_request"]));
    assert_eq!((number(&held["answers"]), number(&held["ten_answers"])), (balance / most, most * 10));
    // The node that the policy accepts sells for less than the policy's most.
    assert!(number(&held["node"]["price"]) < most && balance / most < number(&held["node"]["answers"]), "{held}");
    assert_eq!((&shown.json["needs_ether"], &shown.json["signer"]), (&false.into(), &"development".into()));
    let output = std::process::Command::new(process::PROGRAM)
        .args(["--state", text(&world.state), "wallet", "show", "--rpc", &world.rpc(), "--node", &world.api()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("needs no ether") && said.contains("100 tokens asked"), "{said}");
    assert!(!said.contains('█') && !said.contains("##"), "no picture into a pipe: {said}");
}

#[test]
fn where_to_send_money_is_shown_without_a_chain_and_what_is_not_known_has_its_reason() {
    let world = World::shared();
    let state = new_directory();
    let policy = text(&world.state.join("policy.toml")).to_owned();
    let (_, address) = own(&state);
    let away = ["wallet", "show", "--policy", &policy, "--rpc", "http://127.0.0.1:1"];
    let shown = run(&state, &away);
    let held = &shown.json["assets"][0];
    assert_eq!(
        (shown.code, &shown.json["address"], &held["balance"]),
        (2, &address.as_str().into(), &serde_json::Value::Null),
        "{shown:?}"
    );
    assert!(held["trouble"].as_str().unwrap().contains("127.0.0.1:1") && held["max_per_request"] == "10000", "{held}");
    let output = std::process::Command::new(process::PROGRAM).args(["--state", text(&state)]).args(away).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&address) && said.contains("not known") && said.contains("0.010000 TestUSD"), "{said}");
    // A contract that is not there is one row's reason too.
    let other = state.join("other.toml");
    let wrong = std::fs::read_to_string(&policy).unwrap().replace(&world.token().to_string(), "0x0000000000000000000000000000000000000001");
    std::fs::write(&other, wrong).unwrap();
    let shown = run(&state, &["wallet", "show", "--policy", text(&other), "--rpc", &world.rpc()]);
    assert!(shown.code == 2 && shown.json["assets"][0]["trouble"].as_str().unwrap().contains("no contract there"), "{shown:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_terminal_gets_the_address_as_a_picture_and_json_does_not() {
    let world = World::shared();
    let (code, screen) = at_terminal(&world.state, &["wallet", "show", "--rpc", &world.rpc()], "");
    assert!(code == 0 && screen.matches("\u{1b}[97;40m").count() == 19 && screen.contains('█'), "{screen}");
    let (code, screen) = at_terminal(&world.state, &["wallet", "show", "--json", "--rpc", &world.rpc()], "");
    assert!(code == 0 && !screen.contains('█') && screen.trim_start().starts_with('{'), "{screen}");
}

#[test]
fn a_wallet_that_waits_says_what_for_and_what_arrived() {
    let world = World::shared();
    let (state, address) = (new_directory(), Signer::random().address().to_string());
    let arguments = ["--json", "--state", text(&state), "wallet", "show", "--wait=2", "--address", &address, "--rpc", &world.rpc()];
    let waiting = Process::spawn(&state, "wallet", &arguments);
    waiting.logged(|line| line.contains("waiting 2 min at most for 0.100000 USDC") && line.contains(&address));
    assert!(waiting.said().is_empty());
    let ran = run(&state, &["wallet", "fund", "--address", &address, "--rpc", &world.rpc()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = waiting.line(|line| line.starts_with('{'));
    let shown: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&shown["arrived"]["amount"], &shown["arrived"]["money"]), (&"1000000000".into(), &"1000.000000 USDC".into()), "{line}");
    // What is there already is not waited for.
    let again = run(&state, &["wallet", "show", "--wait=1", "--address", &address, "--rpc", &world.rpc()]);
    assert_eq!((again.code, &again.json["arrived"]["amount"]), (0, &"1000000000".into()), "{again:?}");
    std::fs::remove_dir_all(state).unwrap();
}

/// A state with a wallet of its own: where its passphrase is, and its address.
fn own(state: &Path) -> (PathBuf, String) {
    let passphrase = state.join("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let made = run(state, &["wallet", "new", "--passphrase-file", text(&passphrase)]);
    assert_eq!(made.code, 0, "{made:?}");
    (passphrase, made.json["address"].as_str().unwrap().to_owned())
}

#[test]
fn a_keystore_is_exported_as_it_is_for_its_owner_only_and_over_no_file() {
    let (state, outside) = (new_directory(), new_directory());
    let none = run(&state, &["wallet", "export", text(&outside.join("none.json"))]);
    assert!(none.code == 2 && none.json["error"].as_str().unwrap().contains("no wallet of your own"), "{none:?}");
    let (_, address) = own(&state);
    let copy = outside.join("copy.json");
    let ran = run(&state, &["wallet", "export", text(&copy)]);
    assert_eq!((ran.code, &ran.json["address"]), (0, &address.as_str().into()), "{ran:?}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Some(Signer::load(&copy, "correct horse").unwrap().address()), Address::from_hex(&address));
    std::fs::write(&copy, "mine").unwrap();
    let ran = run(&state, &["wallet", "export", text(&copy)]);
    assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains("not touched"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "mine");
    std::fs::remove_dir_all(state).unwrap();
    std::fs::remove_dir_all(outside).unwrap();
}

#[test]
fn a_private_key_is_shown_to_a_person_who_said_yes_and_to_nobody_else() {
    let state = new_directory();
    let (passphrase, address) = own(&state);
    let export = ["wallet", "export", "--secret", "--passphrase-file", text(&passphrase)];
    // Into a pipe, into JSON, and to somebody who says no.
    let piped = run(&state, &export);
    assert!(piped.code == 2 && piped.json["error"].as_str().unwrap().contains("on a terminal only"), "{piped:?}");
    let (code, screen) = at_terminal(&state, &[&["--json"], &export[..]].concat(), "y\n");
    assert!(code == 2 && screen.contains("on a terminal only"), "{screen}");
    let key = |screen: &str| screen.split_whitespace().filter_map(Hash32::from_hex).find_map(|key| Signer::from_bytes(&key.0));
    let (code, screen) = at_terminal(&state, &export, "n\n");
    assert!(code == 2 && key(&screen).is_none() && screen.contains("can take everything"), "{screen}");
    let (code, screen) = at_terminal(&state, &export, "y\n");
    assert_eq!((code, key(&screen).map(|key| key.address())), (0, Address::from_hex(&address)), "{screen}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn of_two_wallets_none_is_chosen() {
    let world = World::shared();
    let state = new_directory();
    let (_, address) = own(&state);
    std::fs::write(state.join("wallet.toml"), format!("address = \"{address}\"\ncommand = [\"true\"]\n")).unwrap();
    let ran = run(&state, &["wallet", "show", "--rpc", &world.rpc()]);
    assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains("two wallets"), "{ran:?}");
    std::fs::remove_dir_all(state).unwrap();
}
