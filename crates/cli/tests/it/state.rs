//! A state of another version is refused by name before anything in it is read, with the command that helps; and that command moves, and
//! deletes nothing. No chain and no node.

use std::fs;

use crate::support::process::{new_directory, run};

#[test]
fn a_state_of_another_version_is_refused_and_begun_anew_with_its_wallet_kept() {
    let state = new_directory();
    let passphrase = state.join("passphrase");
    fs::write(&passphrase, "correct horse\n").unwrap();
    let made = run(&state, &["wallet", "new", "--passphrase-file", passphrase.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(run(&state, &["policy", "new", "--dev"]).code, 0);
    assert_eq!(fs::read_to_string(state.join("VERSION")).unwrap(), "5\n");
    let policy = fs::read(state.join("policy.toml")).unwrap();

    // As it was before states had a version; and as a later program may leave it.
    for version in [None, Some("4"), Some("6")] {
        fs::remove_file(state.join("VERSION")).unwrap();
        if let Some(version) = version {
            fs::write(state.join("VERSION"), version).unwrap();
        }
        let said = format!("version {}", version.unwrap_or("0"));
        for arguments in [
            &["policy", "new"][..],
            &["bundles", "list"],
            &["verify", "any.candor"],
            &["wallet", "show", "--rpc", "http://127.0.0.1:1"],
            &["ask", "Hi", "--rpc", "http://127.0.0.1:1"],
            &["serve", "--rpc", "http://127.0.0.1:1"],
        ] {
            let ran = run(&state, arguments);
            let error = ran.json["error"].as_str().unwrap_or_default();
            assert!(ran.code == 2 && error.contains(&said) && error.contains("candor state reset --keep-wallet"), "{arguments:?}: {ran:?}");
        }
        assert_eq!(fs::read(state.join("policy.toml")).unwrap(), policy, "nothing was touched");

        let reset = run(&state, &["state", "reset", "--keep-wallet"]);
        assert_eq!(reset.code, 0, "{reset:?}");
        let aside = std::path::PathBuf::from(reset.json["aside"].as_str().unwrap());
        assert_eq!(fs::read(aside.join("policy.toml")).unwrap(), policy);
        assert!(state.join("wallet.json").exists() && !state.join("policy.toml").exists() && !state.join("tee").exists());
        assert_eq!(run(&state, &["bundles", "list"]).code, 0);
        fs::copy(aside.join("policy.toml"), state.join("policy.toml")).unwrap();
    }
    // What was moved is a state still, by its own version.
    fs::remove_file(state.join("policy.toml")).unwrap();
    assert_eq!(run(&state, &["policy", "new", "--dev"]).code, 0);
    let whole = run(&state, &["state", "reset"]);
    let aside = std::path::PathBuf::from(whole.json["aside"].as_str().unwrap());
    assert!(aside.join("wallet.json").exists() && !state.join("wallet.json").exists(), "{whole:?}");
    assert_eq!(run(&aside, &["bundles", "list"]).code, 0);
    fs::remove_dir_all(state).unwrap();
}
