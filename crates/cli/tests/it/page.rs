//! The verdict as a page, as users make it: where it is written, who may read it, and what it never costs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use candor_verify::bundle::Bundle;

use crate::support::World;
use crate::support::process::{self, new_directory};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn page(path: &Path) -> String {
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds prompt and answer");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.len() < 65_536, "{} bytes", page.len());
    assert!(!page.contains("<script") && !page.contains("127.0.0.1"), "no script, and no address of an endpoint");
    page
}

#[test]
fn the_page_says_what_the_verdict_says_offline_and_with_a_chain() {
    let world = World::shared();
    let out = world.state.join("page.html");
    let offline = world.candor(&["verify", text(world.bundle()), "--html", text(&out)]);
    assert_eq!((offline.code, &offline.json["page"]), (0, &text(&out).into()), "{offline:?}");
    let first = page(&out);
    assert!(first.contains("SELF-LOGGED") && first.contains("SIMULATED") && first.contains("No chain was asked"), "{first}");
    // Over an older page, and over nothing else.
    let asked = world.candor(&["verify", text(world.bundle()), "--rpc", &world.rpc(), "--html", text(&out)]);
    assert_eq!(asked.code, 0, "{asked:?}");
    let second = page(&out);
    assert!(second.contains("ANCHORED") && second.contains("SETTLED") && second.contains("31337"), "{second}");
}

#[test]
fn a_refused_bundle_has_a_page_that_says_so() {
    let world = World::shared();
    let (file, out) = (world.state.join("altered.candor"), world.state.join("altered.html"));
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    let frame = bundle.response.frames.iter_mut().find(|frame| frame.len() > 40).unwrap();
    frame.push(b' ');
    std::fs::write(&file, bundle.encode()).unwrap();
    let ran = world.candor(&["verify", text(&file), "--html", text(&out)]);
    assert_eq!((ran.code, &ran.json["refused"]), (1, &"response.commitment".into()), "{ran:?}");
    let shown = page(&out);
    assert!(["Refused", "response.commitment", "As the file claims", "SIMULATED"].iter().all(|word| shown.contains(word)), "{shown}");
    // On a terminal SIMULATED stands before the first grade, also of a refusal.
    let program = env!("CARGO_BIN_EXE_candor");
    let said = Command::new(program).args(["--state", text(&world.state), "verify", text(&file)]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.starts_with("REFUSED · SIMULATED   ") && said.contains("What ran?               REFUSED       by response.commitment"),
        "{said}"
    );
}

#[test]
fn a_page_is_written_over_nothing_but_a_page() {
    let world = World::shared();
    let (copy, before) = (world.state.join("precious.candor"), std::fs::read(world.bundle()).unwrap());
    std::fs::write(&copy, &before).unwrap();
    let link = world.state.join("link.html");
    std::os::unix::fs::symlink(&copy, &link).unwrap();
    for out in [&copy, &link] {
        let ran = world.candor(&["verify", text(&copy), "--html", text(out)]);
        assert_eq!(ran.code, 2, "{ran:?}");
        let error = format!("{}{}", ran.json, ran.stderr);
        assert!(error.contains("is no page of a verdict") && error.contains("--html"), "{ran:?}");
        assert_eq!(std::fs::read(&copy).unwrap(), before);
    }
    let nowhere = world.candor(&["verify", text(&copy), "--html", "/nowhere/at/all.html"]);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
}

#[test]
fn what_is_no_bundle_has_no_page() {
    let state = new_directory();
    let (file, out) = (state.join("none.candor"), state.join("none.html"));
    std::fs::write(&file, b"none").unwrap();
    assert_eq!(process::run(&state, &["verify", text(&file), "--html", text(&out)]).code, 1);
    assert!(!out.exists());
    std::fs::remove_dir_all(state).unwrap();
}

/// What the README leads to has to stay true: the file verifies, and the page is of this very file.
#[test]
fn the_first_answer_of_the_documentation_verifies_by_its_policy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/first-answer");
    let (state, out) = (new_directory(), new_directory().join("mine.html"));
    let policy = folder.join("policy.toml");
    let ran = process::run(&state, &["verify", text(&folder.join("answer.candor")), "--policy", text(&policy), "--html", text(&out)]);
    assert_eq!((ran.code, &ran.json["grades"]["ran"], &ran.json["simulated"]), (0, &"REPLAYABLE".into(), &true.into()), "{ran:?}");
    page(&out);
    // The page that was committed is of this very file.
    let digest = candor_verify::hash::sha256(&[&std::fs::read(folder.join("answer.candor")).unwrap()]);
    let committed = std::fs::read_to_string(folder.join("answer.html")).unwrap();
    assert!(committed.contains(digest.to_string().trim_start_matches("0x")));
}
