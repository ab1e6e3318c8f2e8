//! `candor ask` and `candor chat` as a buyer uses them: the price before it is paid, caps and consent, questions from files and pipes, a
//! conversation with one bundle for each answer.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use candor_devchain::dev_accounts;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Address;
use serde_json::{Value, json};

use crate::support::process::{PROGRAM, new_directory, signal};
use crate::support::{Ran, World};

/// The well-known account that `candor ask` pays from.
fn payer() -> Address {
    const PAYER: usize = 4;
    Address(dev_accounts::ALL[PAYER].address.into_array())
}

fn ask(world: &World, more: &[&str]) -> Ran {
    let rpc = world.rpc();
    world.candor(&[&["ask", "--rpc", &rpc, "--max-tokens", "8"][..], more].concat())
}

/// The same with this on standard input.
fn piped(world: &World, input: &str, arguments: &[&str]) -> Ran {
    let mut child = Command::new(PROGRAM)
        .args(["--json", "--state", world.state.to_str().unwrap()])
        .args(arguments)
        .args(["--rpc", &world.rpc()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
}

/// The request that a bundle holds.
fn asked(ran: &Ran) -> Value {
    let path = ran.json["bundle"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
    let bundle = Bundle::parse(&std::fs::read(path).unwrap()).unwrap();
    serde_json::from_slice(&bundle.request.body).unwrap()
}

/// Whether a command on a terminal, whose user answers so, says this; and whether anything was paid.
async fn on_a_terminal(world: &World, answer: &str, more: &str) -> (String, bool) {
    let before = world.balance(&payer()).await;
    let line =
        format!("{PROGRAM} --state {} ask 'On a terminal {answer}?' --max-tokens 8 --rpc {} {more}", world.state.display(), world.rpc());
    // Of util-linux, which every Debian has: a terminal for a program that is asked on one.
    let mut child =
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1)");
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(format!("{answer}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(typed);
    (String::from_utf8_lossy(&output.stdout).into_owned(), world.balance(&payer()).await != before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_shows_price_and_payee_and_pays_nothing() {
    let world = World::start(&[]);
    let before = world.balance(&payer()).await;
    let quoted = ask(&world, &["What does it cost?", "--quote"]);
    assert_eq!((quoted.code, &quoted.json["free"]), (0, &json!(false)), "{quoted:?}");
    let amount: u128 = quoted.json["amount"].as_str().unwrap().parse().unwrap();
    assert!(0 < amount && quoted.json["payee"].as_str().unwrap().starts_with("0x"), "{quoted:?}");
    assert_eq!((&quoted.json["asset_name"], &quoted.json["max_tokens"]), (&json!("USDC"), &json!(8)));
    assert_eq!(quoted.json["price"], format!("0.{amount:06}"));
    assert_eq!(world.balance(&payer()).await, before);
    // The same price is charged, and the same question costs no more than it said.
    let price = quoted.json["price"].as_str().unwrap();
    let bought = ask(&world, &["What does it cost?", "--max-price", price]);
    assert_eq!((bought.code, &bought.json["charged"]), (0, &json!(amount.to_string())), "{bought:?}");
    let paid = world.balance(&payer()).await;
    let below = format!("0.{:06}", amount - 1);
    let refused = ask(&world, &["And what now?", "--max-price", &below]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.json["error"].as_str().unwrap().contains(&format!("--max-price allows {below}")), "{refused:?}");
    assert_eq!(world.balance(&payer()).await, paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_held_the_connection_has_a_page_that_says_so_and_nobody_else_has() {
    let world = World::shared();
    let (live, later) = (world.state.join("live.html"), world.state.join("later.html"));
    let ran = ask(&world, &["Who saw this?", "--html", live.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let file = ran.json["bundle"].as_str().unwrap();
    assert_eq!(world.candor(&["verify", file, "--html", later.to_str().unwrap()]).code, 0);
    let grade = |path: &Path, word: &str| std::fs::read_to_string(path).unwrap().contains(&format!("</svg>{word}</p>"));
    assert!(grade(&live, "PROVEN TO YOU") && !grade(&live, "NOT PROVEN HERE"));
    assert!(grade(&later, "NOT PROVEN HERE") && !grade(&later, "PROVEN TO YOU"));
    // Nothing is paid for an answer whose page would be written over somebody's file.
    let taken = ask(&world, &["And this?", "--html", file]);
    assert!(taken.code == 2 && taken.json["error"].as_str().unwrap().contains("no page of a verdict"), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_travels_with_what_was_said_about_it() {
    let world = World::shared();
    let directory = new_directory();
    let note = directory.join("note.txt");
    std::fs::write(&note, "A receipt names the charge.").unwrap();
    let said = ["Sum up", "--system", "Be brief.", "--stop", "zebra", "--stop", "ape", "--top-p", "0.5", "--seed", "3"];
    let ran = ask(&world, &[&said[..], &["--file", note.to_str().unwrap()]].concat());
    let body = asked(&ran);
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up\n\nnote.txt:\nA receipt names the charge."},
    ]);
    assert_eq!((&body["messages"], &body["stop"]), (&messages, &json!(["zebra", "ape"])));
    assert_eq!((&body["top_p"], &body["seed"]), (&json!(0.5), &json!(3)));
    let piped = piped(&world, "What is an anchor?\n", &["ask", "--max-tokens", "8"]);
    assert_eq!(asked(&piped)["messages"][0]["content"], "What is an anchor?\n", "{piped:?}");
    let five: Vec<&str> = ["a", "b", "c", "d", "e"].into_iter().flat_map(|stop| ["--stop", stop]).collect();
    let refused = ask(&world, &[&["Hi"][..], &five].concat());
    assert!(refused.code == 2 && refused.json["error"].as_str().unwrap().contains("at most 4"), "{refused:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_price_above_the_threshold_is_paid_only_after_a_yes() {
    let world = World::start(&[]);
    let (said, paid) = on_a_terminal(&world, "n", "--ask-above 0.000001").await;
    assert!(said.contains("[y/N]") && said.contains("you did not say yes") && !paid, "{said}");
    let (said, paid) = on_a_terminal(&world, "y", "--ask-above 0.000001").await;
    assert!(said.contains("[y/N]") && said.contains("VERIFIED") && paid, "{said}");
    // Below it, and with --yes, nobody is asked; the price is shown all the same.
    for more in ["", "--ask-above 0.000001 --yes"] {
        let (said, paid) = on_a_terminal(&world, &format!("x{}", more.len()), more).await;
        assert!(!said.contains("[y/N]") && said.contains("paying 0.000") && paid, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_is_the_answer_alone_whatever_is_shown_and_asked_beside_it() {
    let world = World::shared();
    let file = world.state.join("answer.txt");
    let (said, paid) = on_a_terminal(&world, "y", &format!("--verbose --ask-above 0.000001 > {}", file.display())).await;
    assert!(said.contains("[y/N]") && said.contains("receipt.signature") && said.contains("kept in") && paid, "{said}");
    let bought = ask(&world, &["On a terminal y?"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{}\n", bought.json["text"].as_str().unwrap()));
    // For programs one value, whatever else was asked for.
    let state = world.state.to_str().unwrap();
    let arguments = ["--json", "--state", state, "ask", "Who?", "--verbose", "--max-tokens", "4", "--rpc", &world.rpc()];
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(value["verdict"]["outcome"], "verified");
}

/// How a conversation of these lines ends, and what it says for programs.
fn chatted(world: &World, input: &[u8]) -> (i32, Vec<Value>) {
    let mut child = Command::new(PROGRAM)
        .args(["--json", "--state", world.state.to_str().unwrap(), "chat", "--max-tokens", "8", "--rpc", &world.rpc()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_read_ends_a_conversation_and_what_was_paid_for_is_settled_and_kept() {
    let world = World::shared();
    let (code, said) = chatted(&world, b"Was it settled?\n\xff\xfe\nNot asked\n");
    assert_eq!((code, said.len()), (2, 2), "{said:?}");
    assert!(said[1]["error"].as_str().unwrap().contains("UTF-8"), "{said:?}");
    let bundle = Path::new(said[0]["bundle"].as_str().unwrap());
    let hints: Value = serde_json::from_slice(&std::fs::read(bundle.with_extension("hints.json")).unwrap()).unwrap();
    assert!(hints["transfer"].is_string() && hints["log"] == world.log(), "{hints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_closes_ends_a_conversation_and_what_was_paid_for_is_settled_and_kept() {
    let world = World::shared();
    let mut child = Command::new(PROGRAM)
        .args(["--json", "--state", world.state.to_str().unwrap(), "chat", "--max-tokens", "8", "--rpc", &world.rpc()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"Is anybody there?\n").unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    signal("HUP", child.id());
    drop(typed);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    let answer: Value = serde_json::from_str(&line).unwrap();
    let hints = Path::new(answer["bundle"].as_str().unwrap()).with_extension("hints.json");
    assert!(std::fs::read_to_string(hints).unwrap().contains("transfer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_keeps_a_bundle_for_each_answer_and_says_what_it_cost() {
    let world = World::shared();
    let (code, answers) = chatted(&world, b"What is a receipt?\n\nAnd an anchor?\n/new\nWhat is a log?\n");
    assert_eq!((code, answers.len()), (0, 3), "{answers:?}");
    let messages = |answer: &Value| {
        let bundle = Bundle::parse(&std::fs::read(Path::new(answer["bundle"].as_str().unwrap())).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&bundle.request.body).unwrap()["messages"].as_array().unwrap().clone()
    };
    // The second question brings the first and its answer along; after /new there is nothing to bring.
    let second = messages(&answers[1]);
    assert_eq!((second.len(), &second[1]["content"], &second[2]["content"]), (3, &answers[0]["text"], &json!("And an anchor?")));
    assert_eq!(messages(&answers[2]).len(), 1);
    let charged: u128 = answers.iter().map(|answer| answer["charged"].as_str().unwrap().parse::<u128>().unwrap()).sum();
    assert_eq!(answers[2]["spent"], format!("0.{charged:06} USDC for 3 answers"));
    for answer in &answers {
        let file = answer["bundle"].as_str().unwrap();
        assert_eq!(world.candor(&["verify", file, "--rpc", &world.rpc()]).code, 0, "{answer}");
    }
}
