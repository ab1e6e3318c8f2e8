//! Whoever has another state: what was made elsewhere is refused with its root and with what trusting it would mean, `candor policy trust`
//! adds exactly that, and then it is accepted. Over the real program; one chain and one node for the file.

use std::path::Path;

use candor_verify::bundle::Bundle;
use serde_json::Value;

use crate::support::World;
use crate::support::process::{new_directory, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The line of a policy file that begins so.
fn line(state: &Path, field: &str) -> String {
    let policy = std::fs::read_to_string(state.join("policy.toml")).unwrap();
    policy.lines().find(|line| line.starts_with(&format!("{field} = "))).unwrap().to_owned()
}

#[test]
fn a_bundle_of_elsewhere_is_refused_with_its_root_and_accepted_once_it_is_trusted() {
    let world = World::shared();
    let state = new_directory();
    let refused = run(&state, &["verify", text(world.bundle())]);
    let advice = refused.json["advice"].as_str().unwrap_or_default();
    let trust = format!("candor policy trust {}", world.bundle().display());
    assert!(refused.code == 1 && advice.contains("SIMULATED") && advice.contains(&trust), "{refused:?}");

    // Nobody agreed, so nothing changed.
    let asked = run(&state, &["policy", "trust", text(world.bundle())]);
    assert!(asked.code == 2 && asked.json["error"].as_str().unwrap().contains("--yes"), "{asked:?}");
    assert!(!state.join("policy.toml").exists());

    let trusted = run(&state, &["policy", "trust", text(world.bundle()), "--yes"]);
    let found = &trusted.json;
    assert_eq!((trusted.code, &found["simulated"], &found["chain_id"]), (0, &true.into(), &31337.into()), "{trusted:?}");
    assert!(advice.contains(found["root"].as_str().unwrap()), "{advice}: {found}");
    assert_eq!(found["measurements"].as_array().map(Vec::len), Some(3), "{found}");
    for (field, value) in [("roots", "root"), ("workloads", "workload"), ("operators", "operator"), ("registries", "registry")] {
        let line = line(&state, field);
        assert!(line.contains(found[value].as_str().unwrap()), "{line}: {found}");
    }
    assert!(line(&state, "roots").contains("aws-nitro-g1"), "what was there stays");
    let verified = run(&state, &["verify", text(world.bundle())]);
    assert_eq!((verified.code, &verified.json["outcome"]), (0, &"verified".into()), "{verified:?}");
    let again = run(&state, &["policy", "trust", text(world.bundle())]);
    assert!(again.code == 0 && again.json["note"].as_str().unwrap().contains("already"), "{again:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_node_of_another_state_is_a_refusal_with_advice_and_is_paid_once_it_is_trusted() {
    let world = World::shared();
    let (state, rpc) = (new_directory(), world.rpc());
    // Its own policy, of its own root, is written on the way.
    for node in [&[][..], &["--node", &world.api()]] {
        let asked = run(&state, &[&["ask", "Hi", "--rpc", &rpc, "--max-tokens", "4"][..], node].concat());
        let error = asked.json["error"].as_str().unwrap_or_default();
        assert_eq!((asked.code, &asked.json["check"]), (1, &"attest.root".into()), "{asked:?}");
        assert!(error.contains("SIMULATED") && error.contains(&format!("candor policy trust {}", world.api())), "{error}");
    }
    let proxied = run(&state, &["proxy", "--rpc", &rpc, "--listen", "127.0.0.1:0"]);
    assert_eq!((proxied.code, &proxied.json["check"]), (1, &"attest.root".into()), "{proxied:?}");

    let (own, spend) = (line(&state, "roots"), line(&state, "max_per_day"));
    let trusted = run(&state, &["policy", "trust", &world.api(), "--yes"]);
    assert_eq!(trusted.code, 0, "{trusted:?}");
    let roots = line(&state, "roots");
    assert!(roots.contains(own.trim_start_matches("roots = [").trim_end_matches(']')), "{own} is in {roots}");
    assert_eq!(line(&state, "max_per_day"), spend, "every other value stays");
    let asked = run(&state, &["ask", "Hi", "--rpc", &rpc, "--max-tokens", "4"]);
    assert_eq!((asked.code, &asked.json["warning"]), (0, &Value::Null), "{asked:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn what_does_not_hold_under_any_policy_is_not_offered() {
    let world = World::shared();
    let state = new_directory();
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    bundle.evidence.manifest.k_hpke.0[0] ^= 1;
    let path = state.join("changed.candor");
    std::fs::write(&path, bundle.encode()).unwrap();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    for (what, check) in [(text(&path), "evidence.binding"), (readme, "bundle.form")] {
        let ran = run(&state, &["policy", "trust", what, "--yes"]);
        assert_eq!((ran.code, &ran.json["check"]), (1, &check.into()), "{ran:?}");
    }
    assert!(!state.join("policy.toml").exists());
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_simulated_root_is_kept_out_of_a_policy_for_a_main_network() {
    let world = World::shared();
    let state = new_directory();
    let policy = state.join("real.toml");
    let real = "[accept]\nworkloads = [\"0x0101010101010101010101010101010101010101010101010101010101010101\"]\nroots = [\"aws-nitro-g1\"]\n\
                registries = [{ chain_id = 8453, address = \"0x0202020202020202020202020202020202020202\" }]\n";
    std::fs::write(&policy, real).unwrap();
    let ran = run(&state, &["policy", "trust", text(world.bundle()), "--yes", "--policy", text(&policy)]);
    assert!(ran.code == 1 && ran.json["error"].as_str().unwrap().contains("8453"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), real);
    std::fs::remove_dir_all(state).unwrap();
}
